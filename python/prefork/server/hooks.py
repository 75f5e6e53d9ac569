"""The hooks of a server: what it calls for its requests and errors, and the log lines that go with them.

Always: a hook that fails is logged, and the request goes on. It must know no service.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from prefork.errors import UnknownEvent, UnknownSession
from prefork.logs.logger import concerning

if TYPE_CHECKING:
    from prefork._engine import AccessLog, Request, Response
    from prefork.config.options import ServerOptions
    from prefork.config.values import Hook
    from prefork.kernel.delivery import Target
    from prefork.kernel.kernel import Kernel, Session
    from prefork.server.sockets import Listening, Place

logger = logging.getLogger("prefork.server")

RequestEnded: TypeAlias = "Callable[[Request | None, Response], object]"

HOOKS = ("log_handler", "log2_handler", "setup_handler", "closed_handler", "error_handler")


def hook_targets(options: ServerOptions) -> list[Target]:
    """What the hooks name as a session."""
    hooks = [getattr(options, name) for name in HOOKS]
    return [hook[0] for hook in hooks if isinstance(hook, tuple)]


class Hooks:
    """The hooks that `options` name. They run as events of `session`, which is the server.

    `on_serving` and `on_request_ended` are called beside `setup_handler` and `log2_handler`.
    """

    def __init__(
        self,
        kernel: Kernel,
        session: Session,
        options: ServerOptions,
        on_serving: Sequence[Callable[[Session], object]],
        on_request_ended: Sequence[RequestEnded],
        access_logs: Sequence[AccessLog] = (),
    ) -> None:
        self._kernel = kernel
        self._session = session
        self._options = options
        self._on_serving = on_serving
        self._on_request_ended = on_request_ended
        self._access_logs = access_logs

    def check(self) -> None:
        """Raises UnknownSession or UnknownEvent if a hook names an event that does not exist."""
        for name in HOOKS:
            hook = getattr(self._options, name)
            if isinstance(hook, tuple):
                try:
                    self._kernel.resolve(*hook)
                except (UnknownSession, UnknownEvent) as error:
                    raise type(error)(f"{name}: {error}") from None

    def serving(self, sockets: Listening) -> None:
        """Clients are accepted on these sockets. Raises what an observer raises."""
        for place in sockets.places:
            self._invoke(self._options.setup_handler, place.port, place.address)
        for observer in self._on_serving:
            observer(self._session)

    def closed(self, places: Sequence[Place]) -> None:
        """The server, which listened there, has ended."""
        for place in places:
            self._call(self._options.closed_handler, place.port, place.address)

    # --- requests ----------------------------------------------------------------------------------------

    def request_started(self, request: Request | None, remote_ip: str) -> None:
        """A request came, and its head is known; None if it is malformed."""
        self._call(self._options.log_handler, request, remote_ip)

    @property
    def request_ended(self) -> RequestEnded | None:
        """To be called after each response; None if no hook or observer is set."""
        wanted = self._options.log2_handler or self._options.debug or self._on_request_ended
        return self._call_request_ended if wanted else None

    @property
    def access_log(self) -> AccessLog | None:
        """Where the engine writes a line for each response; None if nowhere."""
        return self._access_logs[0] if self._access_logs else None

    def _call_request_ended(self, request: Request | None, response: Response) -> None:
        if logger.isEnabledFor(logging.DEBUG):
            about = None if request is None else concerning(request)
            logger.debug("%s -> %s by %s", request, response.code, response.handler, extra=about)
        self._call(self._options.log2_handler, request, response)
        for observer in self._on_request_ended:
            self._call(observer, request, response)

    # --- errors ------------------------------------------------------------------------------------------

    def error(self, text: str, remote_ip: str | None) -> None:
        """Something went wrong, and is in the log already."""
        self._call(self._options.error_handler, text, remote_ip)

    def application_error(
        self,
        text: str,
        remote_ip: str,
        error: BaseException | None = None,
        about: dict[str, str] | None = None,
    ) -> None:
        """The application broke a rule, or raised `error`, which is logged with its traceback. `about` says
        what the request is called.
        """
        self._kernel.end_if_abandoned(error)
        logger.error("%s", text, exc_info=error, extra=about)
        self.error(text, remote_ip)

    def client_error(self, text: str, remote_ip: str, about: dict[str, str] | None = None) -> None:
        """Something went wrong for one client."""
        logger.info("client %s: %s", remote_ip, text, extra=about)
        self.error(text, remote_ip)

    def server_warning(self, text: str) -> None:
        """Something went wrong, or is right again, for the server as a whole."""
        logger.warning("%s", text)
        self.error(text, None)

    def _call(self, hook: Hook, *args: object) -> None:
        """Calls a hook of a request. SystemExit too is logged: one request must not end the process."""
        try:
            self._invoke(hook, *args)
        except (SystemExit, KeyboardInterrupt) as error:
            self._kernel.report(self._session, f"hook {hook}", args, error)

    def _invoke(self, hook: Hook, *args: object) -> None:
        if hook is None:
            return
        kernel = self._kernel
        if callable(hook):
            kernel.invoke(self._session, getattr(hook, "__qualname__", repr(hook)), hook, *args)
            return
        try:
            session, function = kernel.resolve(*hook)
        except (UnknownSession, UnknownEvent) as error:
            logger.error("hook %s.%s: %s", *hook, error)
        else:
            kernel.invoke(session, hook[1], function, *args)
