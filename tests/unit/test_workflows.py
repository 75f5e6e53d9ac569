"""The workflows of .github/ parse, hold no logic of their own, and have no more rights than they use."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
GITHUB = ROOT / ".github"

if not GITHUB.is_dir():
    pytest.skip("the tests run without the sources", allow_module_level=True)

WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
TEMPLATES = [path for path in sorted((GITHUB / "ISSUE_TEMPLATE").glob("*.yml")) if path.stem != "config"]


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def triggers(workflow: Any) -> Any:
    return workflow[True]  # YAML 1.1 reads `on` so


def steps(path: Path) -> Iterator[dict[str, Any]]:
    for job in load(path)["jobs"].values():
        yield from job["steps"]


def make_knows(target: str) -> bool:
    done = subprocess.run(
        ["make", "--question", target], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return "No rule to make target" not in done.stderr


def test_there_is_one_for_changes_and_one_for_releases() -> None:
    ci, release = (load(GITHUB / "workflows" / f"{name}.yml") for name in ("ci", "release"))
    assert triggers(ci).keys() == {"push", "pull_request"}
    assert triggers(release) == {"push": {"tags": ["v*"]}}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_each_command_is_a_target_of_the_makefile(path: Path) -> None:
    commands = [step["run"] for step in steps(path) if "run" in step]
    assert commands
    for command in commands:
        found = re.fullmatch(r"make (\w+)", command)
        assert found, f"{command!r} is logic: it belongs to the Makefile"
        assert make_knows(found[1]), f"the Makefile has no target {found[1]}"


def test_a_target_that_is_not_there_is_found() -> None:
    assert make_knows("wheels")
    assert not make_knows("wheeels")


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_each_step_runs_a_command_or_an_action_of_a_version(path: Path) -> None:
    for step in steps(path):
        assert ("run" in step) != ("uses" in step), step
        assert re.fullmatch(r"[\w-]+/[\w-]+@(?:v\d+|release/v\d+)", step.get("uses", "a/b@v1")), step
        assert step.keys() <= {"run", "uses", "with", "name"}, step


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_job_has_an_end_and_only_the_one_that_publishes_may_sign(path: Path) -> None:
    workflow = load(path)
    assert workflow["permissions"] == {"contents": "read"}
    for name, job in workflow["jobs"].items():
        assert job["timeout-minutes"] <= 90
        signs = any(step.get("uses", "").startswith(("pypa/", "actions/attest")) for step in job["steps"])
        assert ("id-token" in job.get("permissions", {})) == signs, name
        assert signs == ("environment" in job), name


def test_every_interpreter_is_tested_and_released() -> None:
    """Those of the classifiers."""
    metadata = (ROOT / "pyproject.toml").read_text()
    versions = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', metadata)
    ci, release = (load(GITHUB / "workflows" / f"{name}.yml") for name in ("ci", "release"))
    assert ci["jobs"]["test"]["strategy"]["matrix"]["python"] == versions
    (setup,) = (step for step in release["jobs"]["build"]["steps"] if "setup-python" in step.get("uses", ""))
    assert setup["with"]["python-version"].split() == versions


def test_every_platform_is_released_once() -> None:
    from release.platforms import PLATFORMS

    matrix = load(GITHUB / "workflows" / "release.yml")["jobs"]["build"]["strategy"]["matrix"]["include"]
    assert sorted(name for each in matrix for name in each["platforms"].split()) == sorted(PLATFORMS)
    assert [each["files"] for each in matrix].count("dist/*") == 1  # the source distribution


def test_the_list_of_linked_code_that_is_attested_is_there() -> None:
    (attested,) = (
        step["with"]["sbom-path"]
        for step in steps(GITHUB / "workflows" / "release.yml")
        if "attest-sbom" in step.get("uses", "")
    )
    assert (ROOT / attested).is_file()


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_a_template_asks_what_its_form_can_show(path: Path) -> None:
    template = load(path)
    assert {"name", "description", "body"} <= template.keys() <= {"name", "description", "labels", "body"}
    ids = [question["id"] for question in template["body"]]
    assert len(set(ids)) == len(ids)
    for question in template["body"]:
        assert question["type"] == "textarea"
        assert question["attributes"]["label"]
        assert question["attributes"].keys() <= {"label", "description", "render"}
        assert question.keys() <= {"type", "id", "attributes", "validations"}
