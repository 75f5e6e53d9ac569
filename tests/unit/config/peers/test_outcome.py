"""What becomes of single settings."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any

import pytest

from prefork.config.checked import EXTERNAL
from prefork.config.peers import uwsgi
from prefork.config.peers.gunicorn import GUNICORN
from prefork.config.peers.outcome import Found, Outcome, outcomes
from prefork.config.peers.setting import Fate, Setting
from prefork.config.peers.uvicorn import UVICORN
from prefork.config.peers.uwsgi import UWSGI

FIND: dict[str, Callable[[str], Setting | None]] = {
    "gunicorn": GUNICORN.find,
    "uvicorn": UVICORN.find,
    "uwsgi": uwsgi.find,
}
PEERS = {peer.name: peer for peer in (GUNICORN, UVICORN, UWSGI)}


def all_of(peer: str, given: dict[str, Any]) -> list[Outcome]:
    found = Found(PEERS[peer], "a file", given=given)
    return outcomes(found, FIND[peer], lambda _key, _value: None)


def options_of(peer: str, given: dict[str, Any]) -> dict[str, object]:
    """The options that these settings become."""
    return {key: value for one in all_of(peer, given) for key, value in one.options.items()}


def post_fork(_server: object, _worker: object) -> None: ...


def marks_dead(_server: object, worker: Any) -> None:
    from prometheus_client import multiprocess

    multiprocess.mark_process_dead(worker.pid)


@pytest.mark.parametrize(
    ("given", "options"),
    [
        ({"bind": ":8000"}, {"bind": ["0.0.0.0:8000"]}),
        ({"bind": "localhost"}, {"bind": ["localhost:8000"]}),
        ({"bind": ["[::1]:80", "tcp://a:1", "fd://3"]}, {"bind": ["[::1]:80", "a:1", "fd://3"]}),
        ({"bind": ["unix:/run/a.sock", "unix:///b"]}, {"bind": ["unix:/run/a.sock", "unix:/b"]}),
        ({"workers": "4"}, {"workers": 4}),
        ({"timeout": 60}, {"request_timeout": 60}),
        ({"timeout": 60, "threads": 4}, {"heartbeat_timeout": 60, "threads": 4}),
        ({"timeout": 60, "worker_class": "gthread"}, {"heartbeat_timeout": 60}),
        ({"keepalive": 5}, {"keep_alive_timeout": 5}),
        ({"keepalive": 0}, {"keep_alive": False}),
        ({"limit_request_line": 4096}, {"max_line": 8190}),
        ({"limit_request_line": 0}, {"max_line": 16 << 20}),
        ({"limit_request_field_size": 1024, "limit_request_line": 2048}, {"max_line": 2048}),
        ({"umask": 0o027}, {"umask": "027"}),
        ({"umask": "0o27"}, {"umask": "027"}),
        ({"raw_env": ["SCRIPT_NAME=/shop"]}, {"root_path": "/shop"}),
        ({"proc_name": "my shop [web]"}, {"glue": "my-shop-web"}),
        ({"forwarded_allow_ips": "*"}, {"trusted_proxies": ["*"]}),
        ({"forwarded_allow_ips": "10.0.0.0/8"}, {"trusted_proxies": ["10.0.0.0/8", "unix"]}),
        (
            {"proxy_protocol": "auto", "proxy_allow_ips": "10.0.0.1"},
            {"proxy_protocol": True, "trusted_proxies": ["127.0.0.1", "::1", "10.0.0.1", "unix"]},
        ),
        ({"proxy_protocol": "v2"}, {"proxy_protocol": True}),
        ({"statsd_host": "localhost"}, {"statsd": "localhost:8125"}),
        ({"loglevel": "WARNING"}, {"log_level": "warning"}),
        ({"header_map": "refuse"}, {"underscores": "reject"}),
        ({"http2_cleartext": True}, {"h2c": True}),
        ({"http_protocols": "h1", "certfile": "c"}, {"tls_cert": "c", "tls_alpn": "http/1.1"}),
        (
            {"certfile": "c", "cert_reqs": ssl.CERT_REQUIRED, "ca_certs": "a"},
            {"tls_cert": "c", "tls_client_auth": "required", "tls_client_ca": "a"},
        ),
        (
            {"certfile": "c", "ca_certs": "a"},
            {"tls_cert": "c", "tls_client_auth": "none", "tls_client_ca": "a"},
        ),
        ({"chdir": "/srv", "certfile": "c"}, {"chdir": "/srv", "tls_cert": "/srv/c"}),
        ({"chdir": "/srv", "accesslog": "-"}, {"chdir": "/srv", "access_log": "-"}),
        ({"child_exit": marks_dead}, {"worker_died": "prometheus_client.multiprocess:mark_process_dead"}),
        ({"websocket_max_message_size": 0, "worker_class": "asgi"}, {"ws_max_message": "1g"}),
        ({"logconfig_dict": {"version": 1}}, {"log_config": {"version": 1}}),
        ({"control_socket_disable": True}, {"control_socket": "off"}),
    ],
)
def test_settings_of_gunicorn_become_options(given: dict[str, Any], options: dict[str, object]) -> None:
    assert options_of("gunicorn", given) == options


@pytest.mark.parametrize(
    ("given", "options"),
    [
        ({"host": "0.0.0.0"}, {"bind": ["0.0.0.0:8000"]}),
        ({"host": "::1", "port": 9000}, {"bind": ["[::1]:9000"]}),
        ({"uds": "/run/a.sock", "port": 9000}, {"bind": ["unix:/run/a.sock"]}),
        ({"fd": 3}, {"bind": ["fd://3"]}),
        ({"proxy_headers": False}, {"forwarded": "off"}),
        ({"access_log": True}, {"access_log": "-"}),
        ({"interface": "asgi3"}, {"interface": "asgi"}),
        ({"interface": "wsgi", "lifespan": "on"}, {"interface": "wsgi"}),
        ({"limit_max_requests": "100"}, {"max_requests": 100}),
        ({"ws_per_message_deflate": "false"}, {"ws_deflate": False}),
        ({"ssl_certfile": "c", "ssl_version": 5}, {"tls_cert": "c", "tls_min_version": "1.2"}),
        ({"timeout_graceful_shutdown": 5}, {"graceful_timeout": 5}),
        ({"log_level": "trace"}, {"log_level": "debug"}),
        ({"app_dir": "src"}, {"chdir": "src"}),
    ],
)
def test_options_of_uvicorn_become_options(given: dict[str, Any], options: dict[str, object]) -> None:
    assert options_of("uvicorn", given) == options


@pytest.mark.parametrize(
    ("given", "options"),
    [
        ({"http": ":8000"}, {"bind": ["0.0.0.0:8000"]}),
        (
            {"socket": "/run/a.sock", "chmod-socket": "660", "chown-socket": "www:data"},
            {"bind": ["unix:/run/a.sock,mode=660,user=www,group=data"]},
        ),
        ({"socket": "@name"}, {"bind": ["unix:@name"]}),
        (
            {"http": ":80", "https": ":443,c.pem,k.pem"},
            {"bind": ["0.0.0.0:80", "0.0.0.0:443,tls"], "tls_cert": "c.pem", "tls_key": "k.pem"},
        ),
        (
            {"https-socket": ":443,c.pem,k.pem,HIGH,!ca.pem"},
            {
                "bind": ["0.0.0.0:443"],
                "tls_cert": "c.pem",
                "tls_key": "k.pem",
                "tls_client_ca": "ca.pem",
                "tls_client_auth": "required",
            },
        ),
        ({"processes": "4"}, {"workers": 4}),
        (
            {"processes": "8", "cheaper": "2"},
            {"start": 2, "min_spare": 1, "max_spare": 2, "max_clients": 8},
        ),
        (
            {"max-requests": "100", "max-requests-delta": "5", "processes": "4"},
            {"max_requests": 100, "max_requests_jitter": 15, "workers": 4},
        ),
        ({"reload-on-rss": "256"}, {"max_memory": "256m"}),
        ({"harakiri": "30"}, {"request_timeout": 30}),
        ({"lazy-apps": "true"}, {"preload": False}),
        ({"static-map": ["/a=/x", "/b=/y"]}, {"static": ["/a=/x", "/b=/y"]}),
        ({"static-map2": "/static=/srv"}, {"static": ["/static=/srv/static"]}),
        ({"static-map": ["/a=/x", "/favicon.ico=/y/favicon.ico"]}, {"static": ["/a=/x"]}),
        ({"limit-post": "0"}, {"max_body": "1024g"}),
        ({"uid": "www", "gid": "1000"}, {"user": "www", "group": "1000", "initgroups": True}),
        ({"uid": "www", "gid": "data", "no-initgroups": "true"}, {"user": "www", "group": "data"}),
        ({"uid": "12345", "gid": "1000"}, {"user": "12345", "group": "1000"}),
        ({"req-logger": "file:/var/log/a"}, {"access_log": "/var/log/a"}),
        ({"stats": "127.0.0.1:1717"}, {"admin": "127.0.0.1:1717"}),
        ({"chdir": "/srv", "pidfile": "a.pid"}, {"chdir": "/srv", "pid_file": "/srv/a.pid"}),
        ({"mount": "/shop=app.py"}, {"root_path": "/shop"}),
    ],
)
def test_options_of_uwsgi_become_options(given: dict[str, Any], options: dict[str, object]) -> None:
    assert options_of("uwsgi", given) == options


@pytest.mark.parametrize(
    ("peer", "given", "fate", "words"),
    [
        ("gunicorn", {"worker_class": "gevent"}, Fate.IMPOSSIBLE, "threads"),
        ("gunicorn", {"worker_class": "uvicorn.workers.UvicornWorker"}, Fate.NEEDLESS, "recognized"),
        ("gunicorn", {"worker_class": "uvicorn_worker.UvicornWorker", "threads": 4}, Fate.NEEDLESS, ""),
        ("gunicorn", {"raw_env": ["KEY=secret"]}, Fate.IMPOSSIBLE, "file of variables"),
        ("gunicorn", {"post_fork": post_fork}, Fate.IMPOSSIBLE, "worker_start"),
        ("gunicorn", {"child_exit": post_fork}, Fate.IMPOSSIBLE, "worker_died"),
        ("gunicorn", {"daemon": True}, Fate.IMPOSSIBLE, "service manager"),
        ("gunicorn", {"daemon": False}, Fate.NEEDLESS, "off"),
        ("gunicorn", {"errorlog": "-"}, Fate.NEEDLESS, "standard error"),
        ("gunicorn", {"errorlog": "/var/log/shop"}, Fate.IMPOSSIBLE, "log_config"),
        ("gunicorn", {"certfile": "c", "ciphers": "HIGH:!aNULL"}, Fate.IMPOSSIBLE, "tls_ciphers"),
        ("gunicorn", {"workers": "many"}, Fate.IMPOSSIBLE, "a whole number"),
        ("gunicorn", {"keepalive": "soon"}, Fate.IMPOSSIBLE, "a number"),
        ("gunicorn", {"cert_reqs": 2}, Fate.NEEDLESS, "no certificate"),
        ("gunicorn", {"certfile": "c", "cert_reqs": 2}, Fate.IMPOSSIBLE, "tls_client_ca"),
        ("gunicorn", {"forwarder_headers": "REMOTE_USER"}, Fate.IMPOSSIBLE, "proxy"),
        ("gunicorn", {"secure_scheme_headers": {"X-SCHEME": "https"}}, Fate.IMPOSSIBLE, "X-Forwarded-Proto"),
        ("gunicorn", {"logconfig_dict": {"a": object()}}, Fate.IMPOSSIBLE, "log_config"),
        ("gunicorn", {"pythonpath": "/a,/b"}, Fate.IMPOSSIBLE, "PYTHONPATH=/a:/b"),
        ("uvicorn", {"interface": "asgi2"}, Fate.IMPOSSIBLE, "guarantee_single_callable"),
        ("uvicorn", {"log_config": "log.yaml"}, Fate.IMPOSSIBLE, "convert"),
        ("uvicorn", {"limit_concurrency": 10}, Fate.IMPOSSIBLE, "max_queue"),
        ("uvicorn", {"date_header": False}, Fate.IMPOSSIBLE, "Date"),
        ("uvicorn", {"access_log": False}, Fate.NEEDLESS, "access_log"),
        ("uvicorn", {"reload_dirs": ["src"]}, Fate.NEEDLESS, "nothing is watched"),
        ("uwsgi", {"home": "/srv/venv"}, Fate.IMPOSSIBLE, "/srv/venv/bin/prefork"),
        ("uwsgi", {"master": "true"}, Fate.NEEDLESS, "manager"),
        ("uwsgi", {"emperor": "/etc/uwsgi"}, Fate.IMPOSSIBLE, "services"),
        ("uwsgi", {"protocol": "fastcgi"}, Fate.IMPOSSIBLE, "HTTP"),
        ("uwsgi", {"mount": ["/a=a.py", "/b=b.py"]}, Fate.IMPOSSIBLE, "one application"),
        ("uwsgi", {"static-map": "/favicon.ico=/y/favicon.ico"}, Fate.IMPOSSIBLE, "/favicon.ico"),
        ("uwsgi", {"socket": "=0"}, Fate.IMPOSSIBLE, "shared socket"),
    ],
)
def test_what_has_no_counterpart_is_explained(
    peer: str, given: dict[str, Any], fate: Fate, words: str
) -> None:
    found = all_of(peer, given)[-1]
    assert found.fate is fate
    assert found.options == {}
    assert words in found.note
    assert "--" not in found.note.replace("--env-file", "")


def test_what_is_left_out_is_said() -> None:
    (found,) = all_of("uwsgi", {"static-map": ["/a=/x", "/favicon.ico=/y/favicon.ico"]})
    assert found.note == "static takes directories, and so this is left out: /favicon.ico"


@pytest.mark.parametrize("peer", PEERS)
def test_no_value_is_too_strange(peer: str) -> None:
    """Configuration files are programs: anything may stand there."""
    for name in PEERS[peer].settings:
        for value in (object(), "", [], {}, -1, "no such thing", print, b"bytes", None, 1.5, True):
            for one in all_of(peer, {name: value}):
                assert set(one.options) <= EXTERNAL.keys()
                assert one.note or one.options
