"""Which generation new workers are of."""

from __future__ import annotations

from typing import Any

from prefork.pool.generations import Generations, Tried


def spawn(*_: Any) -> None: ...


class Heard:
    """A canary."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def crashed(self, generation: int) -> None:
        self.heard.append(generation)

    def boot_failed(self, generation: int, why: str) -> None:
        self.heard.append((generation, why))


def tried(index: int = 3) -> Tried:
    return Tried(index, 10.0, 2, lambda _: None)


def test_a_generation_that_is_tried_is_not_the_current_one() -> None:
    generations = Generations()
    generations.tried = first = tried()
    assert generations.is_tried(3)
    assert not generations.is_tried(2)
    assert generations.current == 1
    assert generations.advance() is first
    assert generations.current == 2
    assert not generations.is_tried(3)


def test_one_that_is_dropped_leaves_the_number() -> None:
    generations = Generations()
    generations.tried = first = tried()
    generations.replaced = spawn
    assert generations.drop_next() is first
    assert generations.current == 1
    assert not generations.is_tried(3)
    assert getattr(generations, "replaced") is None  # noqa: B009  (mypy knows what was set)


def test_a_canary_has_both_generations_until_it_ends() -> None:
    generations, canary = Generations(), Heard()
    generations.tried = first = tried()
    assert generations.begin_canary(0.1, spawn, canary) is first  # type: ignore[arg-type]
    assert generations.current == 2
    assert generations.trial is not None
    assert generations.trial.previous == 1
    assert generations.spawn(2) is spawn
    assert generations.spawn(1) is None
    generations.crashed(2)
    generations.boot_failed(1, "why")
    assert canary.heard == [2, (1, "why")]
    assert generations.end_canary()
    assert generations.current == 2
    assert not generations.trial
    assert not generations.spawn(2)
    assert not generations.end_canary()


def test_a_canary_that_is_given_up_gives_the_number_back() -> None:
    generations = Generations()
    generations.begin_canary(0.1, spawn, Heard())  # type: ignore[arg-type]
    assert generations.drop_next() is None
    assert generations.current == 1
    assert not generations.trial
    generations.crashed(1)  # nothing compares
    generations.boot_failed(1, "why")
