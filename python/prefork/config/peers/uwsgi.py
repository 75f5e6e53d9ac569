"""The options of uWSGI: those that have a counterpart, and reasons for all others.

Always: each of `uwsgi_names.NAMES` is in SETTINGS, is an alias, or fits one of REASONS.
"""

from __future__ import annotations

import os
import re
from fnmatch import fnmatchcase
from typing import Any

from prefork.config.peers.conversions import number, only_if, switch, tcp, unix_socket
from prefork.config.peers.setting import (
    Converter,
    Given,
    Implied,
    Impossible,
    Needless,
    Noted,
    Options,
    Peer,
    Setting,
    Takes,
    becomes,
    impossible,
    in_table,
    needless,
)
from prefork.config.peers.uwsgi_names import NAMES, SHORT, VERSION

PLAIN = ("http", "http-socket", "http11-socket", "socket")
WITH_TLS = ("https", "https-socket")


def each(value: Any) -> list[str]:
    """All values of an option that can be repeated."""
    return [str(one) for one in value] if isinstance(value, list | tuple) else [str(value)]


def last(value: Any) -> str:
    """The value of an option that counts once."""
    return each(value)[-1]


def _bind(_value: Any, given: Given) -> Options:
    """All addresses: they are one option here."""
    plain = [_address(entry, given) for name in PLAIN for entry in each(given.get(name, []))]
    entries = [entry.split(",") for name in WITH_TLS for entry in each(given.get(name, []))]
    if not entries:
        return {"bind": plain}
    mark = ",tls" if plain else ""
    return {"bind": plain + [_address(entry[0], given) + mark for entry in entries], **_tls(entries[0])}


def _tls(entry: list[str]) -> dict[str, object]:
    """`address,certificate,key[,ciphers[,ca]]`."""
    if len(entry) < 3:
        raise Impossible("expected address,certificate,key")
    options: dict[str, object] = {"tls_cert": entry[1], "tls_key": entry[2]}
    if len(entry) > 4 and entry[4]:
        required = entry[4].startswith("!")
        options |= {
            "tls_client_ca": entry[4].removeprefix("!"),
            "tls_client_auth": "required" if required else "optional",
        }
    return options


def _address(text: str, given: Given) -> str:
    if re.fullmatch(r"=\d+", text):
        raise Impossible("it is a shared socket: give its address, or fd://N for one that is passed")
    if "/" in text or text.startswith(("@", "\\0")) or not re.search(r":\d+$", text):
        if text.startswith("fd://"):
            return text
        path = text.replace("\\0", "@", 1) if text.startswith("\\0") else text
        return unix_socket(path) + (_permissions(given) if not path.startswith("@") else "")
    host, _, port = text.rpartition(":")
    return tcp(host, port)


def _redirect(value: Any, given: Given) -> Options:
    if not any(given.get(name) for name in WITH_TLS):
        raise Needless("there is no certificate")
    return {"redirect_http": [_address(one, {}) for one in each(value)]}


def _permissions(given: Given) -> str:
    """Settings of a Unix socket."""
    settings = ""
    if (mode := given.get("chmod-socket")) is not None:
        settings += f",mode={last(mode) if last(mode).isdigit() else '666'}"
    if (owner := given.get("chown-socket")) is not None:
        user, _, group = last(owner).replace(".", ":", 1).partition(":")
        settings += (f",user={user}" if user else "") + (f",group={group}" if group else "")
    return settings


def _permission(_value: Any, given: Given) -> Options:
    found = _bind(None, given)
    if not any("unix:" in str(address) for address in each(found["bind"])):
        raise Needless("there is no Unix socket")
    return found


def _processes(value: Any, given: Given) -> Options:
    if "cheaper" not in given:
        return {"workers": number(last(value))}
    return _cheaper(None, given)


def _cheaper(_value: Any, given: Given) -> Options:
    """A number of workers between two others."""
    least, most = int(number(last(given.get("cheaper", 1)))), int(number(last(given.get("processes", 1))))
    if least < 1 or most <= least:
        return {"workers": most}
    start = int(number(last(given.get("cheaper-initial", least))))
    return {"start": max(start, least), "min_spare": 1, "max_spare": max(least, 2), "max_clients": most}


def _initial(_value: Any, given: Given) -> Options:
    if "cheaper" not in given:
        raise Needless("without `cheaper` it has no meaning")
    return _cheaper(None, given)


def _delta(value: Any, given: Given) -> Options:
    if "max-requests" not in given:
        raise Needless("without max-requests it has no meaning")
    processes = int(number(last(given.get("processes", 1))))
    return {"max_requests_jitter": int(number(last(value))) * max(processes - 1, 1)}


def _megabytes(value: Any, _given: Given) -> Options:
    return {"max_memory": f"{number(last(value))}m"}


def _kilobytes_of_head(value: Any, _given: Given) -> Options:
    return {"max_head": max(int(number(last(value))), 1024)}


def _limit_post(value: Any, _given: Given) -> Options:
    return {"max_body": number(last(value)) or "1024g"}


def _once(key: str) -> Converter:
    return lambda value, _given: {key: last(value)}


def _number(key: str) -> Converter:
    return lambda value, _given: {key: number(last(value))}


def _static(_value: Any, given: Given) -> Options:
    """All directories: they are one option here. A single file has no counterpart."""
    found, files = [], []
    for name in ("static-map", "static-map2"):
        for entry in each(given.get(name, [])):
            prefix, _, place = entry.partition("=")
            if not place:
                raise Impossible("expected prefix=directory")
            if "." in os.path.basename(prefix) and os.path.basename(prefix) == os.path.basename(place):
                files.append(prefix)
                continue
            directory = f"{place.rstrip('/')}{prefix}" if name == "static-map2" else place
            found.append(f"{prefix}={directory}")
    if not files:
        return {"static": found}
    left = f"--static takes directories, and so this is left out: {', '.join(files)}"
    if not found:
        raise Impossible(left)
    return Noted({"static": found}, left)


def _umask(value: Any, _given: Given) -> Options:
    return {"umask": last(value).zfill(3)}


def _group(value: Any, given: Given) -> Options:
    with_all = "uid" in given and not last(given["uid"]).isdigit() and "no-initgroups" not in given
    return {"group": last(value), **({"initgroups": True} if with_all else {})}


def _lazy(value: Any, _given: Given) -> Options:
    if not switch(last(value)):
        raise Needless("it is off")
    return {"preload": False}


def _logging(value: Any, _given: Given) -> Options:
    if switch(last(value)):
        raise Needless("there is no access log unless --access-log names a file")
    return {"access_log": "-"}


def _request_log(value: Any, _given: Given) -> Options:
    text = last(value)
    kind, _, place = text.partition(":")
    if kind.partition(" ")[2]:
        kind = kind.partition(" ")[2]
    if kind == "file":
        return {"access_log": place}
    if kind == "stdio":
        return {"access_log": "-"}
    raise Impossible("--access-log takes a file")


def _log_format(_value: Any, _given: Given) -> Options:
    raise Impossible("--access-log-format has atoms such as %(h)s; write it anew")


def _name(value: Any, _given: Given) -> Options:
    return {"glue": re.sub(r"[^A-Za-z0-9._-]+", "-", last(value))[:64].strip("-")}


def _keep_alive(value: Any, _given: Given) -> Options:
    text = last(value)
    if text.isdigit() and text != "0":
        return {"keep_alive_timeout": number(text)}
    return {"keep_alive": text != "0"}


def _home(value: Any, _given: Given) -> Options:
    program = os.path.join(last(value), "bin/prefork")
    raise Impossible(f"start the program of that virtual environment: {program}")


def _path(value: Any, _given: Given) -> Options:
    raise Impossible(f"set PYTHONPATH={':'.join(each(value))} before the start")


def _mount(value: Any, _given: Given) -> Options:
    entries = each(value)
    if len(entries) > 1:
        raise Impossible(
            "one pool serves one application: run several behind a proxy, or join them in a WSGI middleware"
        )
    prefix = entries[0].partition("=")[0].rstrip("/")
    return {"root_path": prefix} if prefix.startswith("/") else {}


def _protocol(value: Any, _given: Given) -> Options:
    if last(value) in ("http", "https"):
        raise Needless("HTTP is what is spoken")
    raise Impossible(PROTOCOL)


def _stats(value: Any, _given: Given) -> Options:
    address = last(value)
    if re.fullmatch(r"(127\.0\.0\.1|\[::1\]):\d+", address):
        return {"admin": address}
    if "/" in address:
        return {"admin": unix_socket(address)}
    raise Impossible("--admin on 127.0.0.1 has a page, JSON and /metrics; another address needs a token")


PROTOCOL = (
    "a proxy has to speak HTTP (nginx: proxy_pass instead of uwsgi_pass); uwsgi, FastCGI and SCGI are not "
    "understood"
)
ENVIRONMENT = "set the environment before the start, or name a file of variables with --env-file"
TARGET = "it is part of the TARGET of `prefork serve TARGET`"
RELOAD = "`prefork reload`, or HUP, loads changed code"

SETTINGS: dict[str, Setting] = in_table(
    [
        becomes("http", "bind", "there is no separate process that speaks HTTP", convert=_bind),
        becomes("http-socket", "bind", convert=_bind),
        becomes("http11-socket", "bind", convert=_bind),
        becomes(
            "socket -s",
            "bind",
            "the proxy in front has to speak HTTP from now on: nginx's proxy_pass instead of uwsgi_pass",
            convert=_bind,
        ),
        becomes(
            "https", "bind tls_cert tls_key tls_client_ca", "with its certificate and key", convert=_bind
        ),
        becomes(
            "https-socket",
            "bind tls_cert tls_key tls_client_ca",
            "with its certificate and key",
            convert=_bind,
        ),
        becomes("http-to-https", "redirect_http", convert=_redirect),
        becomes(
            "chmod-socket -C",
            "bind",
            "the `mode` of the Unix socket's address",
            convert=_permission,
            takes=Takes.MAYBE,
        ),
        becomes(
            "chown-socket", "bind", "`user` and `group` of the Unix socket's address", convert=_permission
        ),
        becomes("listen -l", "backlog", convert=_number("backlog")),
        becomes(
            "reuse-port", "reuse_port", convert=only_if("reuse_port", True, "it is off"), takes=Takes.SWITCH
        ),
        becomes(
            "enable-proxy-protocol",
            "proxy_protocol",
            "both versions",
            convert=only_if("proxy_protocol", True, "it is off"),
            takes=Takes.SWITCH,
        ),
        becomes("processes -p", "workers", "with `cheaper` it is --max-clients", convert=_processes),
        becomes("threads", "threads", convert=_number("threads")),
        becomes(
            "cheaper",
            "start min_spare max_spare max_clients",
            "a pool that follows the load: it grows as soon as no worker is idle",
            convert=_cheaper,
        ),
        becomes("cheaper-initial", "start", convert=_initial),
        becomes(
            "harakiri -t",
            "request_timeout",
            "the client gets 504, and the worker is replaced if it is stuck",
            convert=_number("request_timeout"),
        ),
        becomes(
            "max-requests -R",
            "max_requests",
            "a worker serves until another one is ready",
            convert=_number("max_requests"),
        ),
        becomes(
            "max-requests-delta",
            "max_requests_jitter",
            "at random, and not by the number of the worker",
            convert=_delta,
        ),
        becomes("max-worker-lifetime", "max_age", convert=_number("max_age")),
        needless(
            "max-worker-lifetime-delta", "workers of --max-age are replaced up to a tenth earlier, at random"
        ),
        becomes(
            "reload-on-rss",
            "max_memory",
            "in megabytes; of memory that workers share, each uses a part",
            convert=_megabytes,
        ),
        becomes("evil-reload-on-rss", "max_memory", "in megabytes", convert=_megabytes),
        becomes("worker-reload-mercy", "graceful_timeout", convert=_number("graceful_timeout")),
        becomes("reload-mercy", "graceful_timeout", convert=_number("graceful_timeout")),
        becomes("buffer-size -b", "max_head", "there 4k by default, here 64k", convert=_kilobytes_of_head),
        becomes("limit-post", "max_body", "1g by default; 0 becomes 1024g", convert=_limit_post),
        becomes(
            "http-keepalive",
            "keep_alive keep_alive_timeout",
            "on by default",
            convert=_keep_alive,
            takes=Takes.MAYBE,
        ),
        becomes("http-headers-timeout", "header_timeout", convert=_number("header_timeout")),
        becomes("chdir", "chdir", "paths of other options do not depend on it here", convert=_once("chdir")),
        becomes("pidfile", "pid_file", convert=_once("pid_file")),
        becomes("uid", "user", convert=_once("user")),
        becomes(
            "gid",
            "group initgroups",
            "with all groups of a `uid` that is a name, as there, unless no-initgroups says otherwise",
            convert=_group,
        ),
        needless("no-initgroups", "--initgroups is off by default", takes=Takes.SWITCH),
        becomes("umask", "umask", "octal digits", convert=_umask),
        becomes("chroot", "chroot", convert=_once("chroot")),
        becomes(
            "lazy-apps",
            "preload",
            "each worker loads the application",
            convert=_lazy,
            takes=Takes.SWITCH,
        ),
        becomes("static-map", "static", "/prefix=directory", convert=_static),
        becomes("static-map2", "static", "/prefix=directory: the prefix is a folder of it", convert=_static),
        becomes(
            "disable-logging -L",
            "access_log",
            "there is no access log unless --access-log names a file",
            convert=_logging,
            takes=Takes.SWITCH,
        ),
        becomes("req-logger", "access_log", "a file, or `-` for standard output", convert=_request_log),
        becomes(
            "log-format",
            "access_log_format",
            "atoms such as %(h)s, as gunicorn has them",
            convert=_log_format,
        ),
        becomes("procname-prefix", "glue", "the name of the pool, for `prefork status`", convert=_name),
        becomes("procname", "glue", "the name of the pool, for `prefork status`", convert=_name),
        becomes(
            "mount",
            "root_path",
            "one application; its file or module is the TARGET of `prefork serve TARGET`",
            convert=_mount,
        ),
        becomes(
            "stats",
            "admin",
            "a page, JSON and /metrics over HTTP; an address that others reach needs --admin-token-file",
            convert=_stats,
        ),
        becomes("protocol", "", PROTOCOL, convert=_protocol),
        impossible("env", ENVIRONMENT),
        impossible(
            "home -H", "start the program of that virtual environment, HOME/bin/prefork", convert=_home
        ),
        impossible(
            "pythonpath",
            "set PYTHONPATH before the start. The working directory, or that of --chdir, is searched",
            convert=_path,
        ),
        needless("module -w", TARGET),
        needless("wsgi-file", TARGET),
        needless("callable", TARGET),
        impossible("daemonize -d", "use a service manager to run it in the background", harmless=("",)),
    ]
)

ALIASES = {
    "uwsgi-socket": "socket",
    "workers": "processes",
    "chmod": "chmod-socket",
    "wsgi": "module",
    "file": "wsgi-file",
    "virtualenv": "home",
    "venv": "home",
    "pyhome": "home",
    "python-path": "pythonpath",
    "pp": "pythonpath",
    "logger-req": "req-logger",
    "logformat": "log-format",
    "stats-server": "stats",
    "socket-protocol": "protocol",
    "httprouter": "http",
    "lazy": "lazy-apps",
    "pidfile2": "pidfile",
    "safe-pidfile": "pidfile",
    "safe-pidfile2": "pidfile",
    "immediate-uid": "uid",
    "immediate-gid": "gid",
    "ienv": "env",
    "daemonize2": "daemonize",
}

NEEDLESS = {
    "the manager is always there": "master",
    "a service manager is told by itself (Type=notify)": "notify-socket",
    "workers always die with the manager": "no-orphans",
    "TERM always ends the server": "die-on-term exit-on-reload use-abort",
    "a Unix socket and the pid file are removed at the end": "vacuum",
    "each worker has one interpreter, in which the application can start threads": (
        "single-interpreter enable-threads no-threads-wait py-call-* thread-stack* threads-stack*"
    ),
    "a server without an application does not start": "need-app no-default-app",
    "a client that has left costs nothing but a line at debug level": (
        "ignore-sigpipe ignore-write-errors write-errors-* disable-write-exception catch-exceptions"
    ),
    "new clients are shared by one queue, without a lock": (
        "thunder-lock* locks lock-engine ftok flock* persistent-ipcsem map-socket no-defer-accept"
    ),
    "the name of a process says what it is": (
        "auto-procname procname-append procname-master procname-prefix-spaced"
    ),
    "a stuck worker's stacks are logged": (
        "harakiri-verbose harakiri-no-arh no-harakiri-* harakiri-graceful-* harakiri-queue-threshold "
        "backtrace-depth py-tracebacker profiler"
    ),
    "the pool follows the load; --min-spare, --max-spare, --start and --max-clients say how far": (
        "cheap cheaper-* idle die-on-idle"
    ),
    "a worker is replaced when another one is ready, however soon that is": "min-worker-lifetime",
    "bodies are spooled to a file above --spool-above": "post-buffering* body-read-warning",
    "slow clients meet --header-timeout, --body-min-rate, --send-timeout and --keep-alive-timeout": (
        "so-*-timeout socket-*timeout http-timeout http-connect-timeout chunked-input-timeout so-keepalive"
    ),
    "there is no such limit or buffer": (
        "max-vars response-headers-limit socket-rcvbuf socket-sndbuf tcp-nodelay http-buffer-size "
        "start_response-nodelay chunked-input-limit http-*chunked* wsgi-accept-buffer*"
    ),
    "files are sent by sendfile(2) wherever that is possible, with ranges": (
        "disable-sendfile honour-range file-serve-mode fileserve-mode offload-thread* "
        "wsgi-disable-file-wrapper static-safe static-cache-paths* fd-safe safe-fd"
    ),
    "precompressed .br, .zst and .gz files and index.html of --static are served": (
        "static-gzip* static-index"
    ),
    "the types of files are known": "mime-file mimefile",
    "the log goes to standard error, one line for each record; the access log notices its rotation": (
        "log-master* threaded-logger log-date logdate log-prefix log-micros log-format-strftime "
        "logformat-strftime log-zero log-4xx log-5xx log-big log-slow log-ioerror log-sendfile "
        "log-reopen log-truncate log-maxsize log-backupname log-drain logfile-* touch-logre* "
        "touch-logrotate logger-list loggers-list"
    ),
    "REMOTE_ADDR is the client's address, behind --trusted-proxies too": "log-x-forwarded-for",
    "`prefork status` and /metrics of --admin have the memory of each worker": "memory-report",
    "the prefix is SCRIPT_NAME with --root-path": "manage-script-name ignore-script-name",
    "descriptors are closed in what the application starts": "close-on-exec* skip-zero honour-stdin reaper",
    "atexit handlers run when a worker ends": "skip-atexit*",
    "Python and HTTP are there without plugins, and without a process between clients and workers": (
        "plugin plugins need-plugin* plugin-* plugins-* autoload dlopen http-auto-gzip http-websockets "
        "http-raw-body http-manage-* http-processes http-workers http-quiet http-harakiri http-events "
        "http-stats* http-ss http-gracetime http-cheap http-server-name-as-http-host http-uid http-gid "
        "*-modifier1 *-modifier2 allowed-modifiers remap-modifier"
    ),
    "use `prefork upgrade` for a new program, `prefork scale` for more workers": "zerg*",
    "use `prefork reload`, `prefork stop`, `prefork drain`, `prefork resume`": (
        "master-fifo stop reload pause suspend resume"
    ),
    "the sockets of --reuse-port, or of the service manager, stay open": "shutdown-sockets",
    "the settings of TLS are those that are safe": (
        "ssl-enable* ssl-option ssl-session* ssl-tmp-dir ssl-verbose ssl-verify-depth https-export-cert "
        "https-session-context sni*"
    ),
    "it only prints something, or is read": (
        "help usage version show-config dump-options cflags dot-h config-py print iprint get *-list "
        "exit binary-append-data extract connect-and-read print-sym print-symbol python-version ini "
        "set-placeholder set-ph include inherit strict command-mode mode build-plugin"
    ),
}
"""Why options are not missed. A star stands for any characters."""

IMPOSSIBLE = {
    PROTOCOL: (
        "fastcgi-* scgi-* raw-socket puwsgi-socket suwsgi-socket ssl-socket udp shared-socket "
        "undeferred-shared-socket abstract-socket multicast* no-fd-passing cgi-mode upload-progress"
    ),
    RELOAD: (
        "touch-reload touch-workers-reload touch-chain-reload touch-exec touch-signal "
        "touch-mules-reload touch-spoolers-reload fs-* py-auto* python-auto* reload-on-exception* "
        "exception-handler propagate-touch"
    ),
    "--max-memory replaces a worker that uses too much memory": (
        "reload-on-as evil-reload-on-as reload-on-fd brutal-reload-on-fd"
    ),
    "use a queue of tasks, or a timer of the service manager": (
        "spooler* mule* farm cron* unique-cron* unique-legion-cron legion-cron signal* timer rbtimer"
    ),
    "run it as a service of its own, or call it in the application or in --mold-ready or --worker-start": (
        "attach-daemon* attach-control-daemon smart-attach-daemon* legion-*attach-daemon* "
        "daemons-honour-stdin worker-exec* exec-* call-* hook-* mount-as* mount-in* mount-p* umount-* "
        "after-request-* symcall* worker-mount wait-* file-write pyshell* pyrun python-raw test st "
        "binsh no-server"
    ),
    "one pool serves one application: run several servers, as services of their own": (
        "emperor* early-emperor vassal* heartbeat forkbomb-delay vhost* legion* subscri* "
        "start-unsubscribed unsubscribe-on-graceful-reload weight auto-weight force-gateway max-apps"
    ),
    "use a reverse proxy": (
        "fastrouter* rawrouter* sslrouter* http-to http-zerg http-fallback http-use-* "
        "http-subscription-* http-stud-* http-var http-resubscribe http-enable-proxy-protocol https2 "
        "route route-* final-route* error-route* response-route* error-page-* add-header rem-header "
        "del-header pull-header collect-header response-header-collect check-cache ping* tcp-fast* "
        "freebind"
    ),
    "--static takes a prefix and a directory; --static-cache says how long clients may keep files": (
        "check-static* static-check static-expires* static-skip-ext"
    ),
    "use a cache server, or a library": (
        "cache* add-cache-item load-file-in-cache* queue* sharedarea py-sharedarea rpc-*"
    ),
    "--admin has /metrics, and --statsd sends figures": (
        "stats-* metric* enable-metrics mem-collector-freq carbon* rrdtool* snmp* nagios alarm* "
        "segfault-alarm lq-alarm listen-queue-alarm backlog-alarm not-* log-alarm"
    ),
    "the log is written to standard error; --log-config or the application can configure Python's logging": (
        "logto* logger log-syslog log-socket log-encoder log-req-encoder log-req-route log-route "
        "log-filter rsyslog-*"
    ),
    "use --threads, more workers, or an ASGI application": "async gevent gevent-* ugreen* loop",
    "only WSGI and ASGI are understood": "web3 pump wsgi-lite",
    "use a WebSocket application of ASGI": "websocket-* websockets-*",
    "serve a module with `application = paste.deploy.loadapp('config:/srv/shop/production.ini')`": (
        "paste* ini-paste* pecan eval"
    ),
    "import it in the application": (
        "import pyimport py-import python-import shared-import shared-py* pymodule-alias post-pymodule-alias"
    ),
    "set it before the start, as a service manager or a container does": (
        "cgroup* namespace* ns ns-* unshare* setns* jail* jid-file jidfile libjail pivot-root "
        "pivot_root cap drop-after-* limit-as limit-nproc max-fd prio cpu-affinity never-swap ksm "
        "privileged-binary-patch* unprivileged-binary-patch* binary-path envdir early-envdir unenv "
        "reload-os-env add-gid master-as-root chdir2 force-cwd clock* check-interval pcre-jit optimize "
        "no-site py-programname py-program-name py-executable py-sys-executable pyargv py python "
        "python-worker-override re-fork* refork* wsgi-env-behavio* wsgi-strict"
    ),
    "write the TOML file as it should be: conditions are followed once, when the file is converted": (
        "for for-* endfor end-for if-* ifdir ifenv ifexists ifplugin endif end-if set declare-option* "
        "resolve blacklist end-blacklist whitelist end-whitelist inject-* fallback-config check-mount* "
        "mount-check mountpoint-check"
    ),
    "write it as INI first: `uwsgi --show-config` prints that": "xml xmlconfig yaml yml json js config",
}
"""What to do instead."""


def find(name: str) -> Setting | None:
    """An option of uWSGI by its name or its flag; None if there is none of that name."""
    name = SHORT.get(name, name.removeprefix("--"))
    if (known := ALIASES.get(name, name)) in SETTINGS:
        return SETTINGS[known]
    if name not in TAKES:
        return None
    for reasons, make in ((NEEDLESS, needless), (IMPOSSIBLE, impossible)):
        for why, patterns in reasons.items():
            if any(fnmatchcase(name, pattern) for pattern in patterns.split()):
                return make(name, why, takes=TAKES[name])
    return None


TAKES = {
    name.rstrip("!?"): {"!": Takes.SWITCH, "?": Takes.MAYBE}.get(name[-1], Takes.VALUE) for name in NAMES
}
"""What each option of uWSGI takes."""

IMPLIED = (
    Implied(
        "workers",
        1,
        "processes",
        "uWSGI's default; without this line the number follows the load",
        True,
        ("cheaper",),
    ),
    Implied("access_log", "-", "disable-logging", "uWSGI's default", True, ("req-logger",)),
)

UWSGI = Peer("uwsgi", VERSION, SETTINGS, IMPLIED, "uwsgi.ini", ALIASES)
