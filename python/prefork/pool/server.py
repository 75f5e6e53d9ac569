"""`PreForkServer`: an `HTTPServer` whose requests are served by a pool of workers.

The same object exists in the manager and, as a copy, in every worker. What differs by process is its role: a
`Manager` or a `Worker`. With `start_servers=0` there is no pool, and the role is that of any `HTTPServer`.
"""

from __future__ import annotations

import dataclasses
import logging
import signal
import socket
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Unpack

from prefork._engine import die_with_parent
from prefork.config.checked import changed
from prefork.config.options import PreForkOptions
from prefork.errors import (
    NeverReady,
    NotUpgraded,
    OptionError,
    TargetError,
    UnknownEvent,
    UnknownSession,
)
from prefork.kernel.events import event
from prefork.kernel.forking import exit_at_once
from prefork.pool.manager import Manager
from prefork.pool.reload import Reloadable
from prefork.pool.role import PoolMember
from prefork.pool.spawner import ForkSpawner, MoldEnded, NotMolded, Spawner
from prefork.pool.worker import Worker, tell_failure
from prefork.pool.worker_hooks import ALL, OF_MANAGER, WorkerHooks
from prefork.server.arguments import check_arguments
from prefork.server.role import BOOT_FAILED
from prefork.server.server import HTTPServer

if TYPE_CHECKING:
    from prefork.config.keywords import PreForkKeywords
    from prefork.kernel.delivery import Target
    from prefork.kernel.kernel import Kernel
    from prefork.pool.attached import Attach, Attached
    from prefork.pool.command import Command
    from prefork.pool.mold import BecomeWorker
    from prefork.pool.predecessor import Predecessor
    from prefork.pool.reload import OnDone
    from prefork.pool.upgrade import OnDone as UpgradeDone
    from prefork.server.context import Context
    from prefork.server.hooks import Hooks
    from prefork.server.listener import Listener
    from prefork.server.role import Role

logger = logging.getLogger("prefork.pool")


class Application(Reloadable, Protocol):
    """An application that a mold loads."""

    first: Any
    """What `read` would have returned at the start."""

    def preloads(self, read: Any) -> bool:
        """Whether a mold loads it, and not each worker."""

    def load(self, read: Any) -> object:
        """In a mold, or in a worker: loads the application, and has the server serve it. Raises PreforkError
        and NotMolded.
        """

    def reforks(self, read: Any) -> bool:
        """Whether a worker may become the next mold."""

    def settle(self, ours: Collection[int]) -> list[str]:
        """In such a worker, which serves no more: has the application close what workers must not share.
        Returns what is open all the same, but for the descriptors `ours`. Raises PreforkError.
        """


class PreForkServer(HTTPServer):
    """Serves from a pool of processes; the options are those of `PreForkOptions`.

    Raises OptionError for one that cannot be used. `kernel.run()` binds, takes the glue and forks; an address
    or a glue that cannot be had ends it with one line (BindError, GlueInUse).
    """

    options_class = PreForkOptions
    options: PreForkOptions
    _worker_hooks: WorkerHooks
    attachments: ClassVar[list[Callable[[PreForkServer], Attach[Manager]]]] = []
    """What floors above this one attach to each manager: called when the sockets are open. Raising a
    PreforkError ends the start.
    """

    def __init__(self, kernel: Kernel, **options: Unpack[PreForkKeywords]) -> None:
        self._member = PoolMember()
        self._watchers: list[tuple[Target, str]] = []
        self.application: Application | None = None
        """What a mold loads. None: this process has what its workers serve."""
        self.command: Command | None = None
        """How this process was started, for an upgrade."""
        self.predecessor: Predecessor | None = None
        """The manager whose place this one takes."""
        self.own_attachments: list[Attach[Manager]] = []
        """What is attached to the manager of this server alone."""
        self.log_directories: list[str] = []
        """In which workers open their logs again after a rotation, also in a sandbox."""
        super().__init__(kernel, **options)  # type: ignore[misc]  # `options_class` has those of a pool

    @property
    def glue(self) -> str | None:
        """The name under which `prefork status` finds the pool (manager); None elsewhere."""
        return self._member.glue

    @property
    def workers(self) -> list[int]:
        """The pids of the workers, oldest first (manager); empty elsewhere."""
        return self._member.workers

    def is_child(self) -> bool:
        """Whether this process is a worker."""
        return self._member.is_child

    # --- the processes -----------------------------------------------------------------------------------

    def _first_role(self, context: Context, listener: Listener) -> Role:
        if not self.options.start_servers:
            self._member = PoolMember()
            for hook in self._worker_hooks.names:
                logger.warning("start_servers is 0, so there is no worker: %s is not called", hook)
            return super()._first_role(context, listener)
        if self.options.refork_after and self.application is None:
            raise OptionError(
                "refork_after is for an application that `prefork serve` loads into a process of its own; "
                "this one is a program, or is served with --chroot"
            )
        attachments = [*(attachment(self) for attachment in self.attachments), *self.own_attachments]
        if self.options.refork_after:
            attachments.append(self._attach_reforker)
        manager = self._member = Manager(
            context,
            self.options,
            listener,
            self._make_spawner,
            self._post_to_watchers,
            self._ended,
            self._worker_hooks,
            self.log_directories,
            self.application,
            attachments,
            self.predecessor,
        )
        self.predecessor = None
        return manager

    def _attach_reforker(self, manager: Manager) -> Attached:
        from prefork.pool.reforker import Reforker  # here: few pools have it

        return Reforker(self.kernel.loop, manager, self.options.refork_after)

    def _make_spawner(self, manager: Manager) -> Spawner:
        """Manager: workers are forks of a mold that loads the application, or else of this process."""
        if self.application is None:
            worker = self._make_worker(manager)
            return ForkSpawner(
                self.kernel,
                partial(self._prepare_workers, manager, worker),
                partial(self._become_worker, manager, worker),
            )
        from prefork.pool.mold_spawner import MoldSpawner  # here: a program has no mold

        return MoldSpawner(
            self.kernel,
            self.options.boot_timeout,
            self.application.first,
            partial(self._become_mold, manager),
            never_loaded=partial(self._never_loaded, manager),
            renewed=manager.workers_can_be_spawned,
            is_wanted=manager.may_spawn_workers,
        )

    def _never_loaded(self, manager: Manager, end: MoldEnded) -> None:
        """Manager: the first mold has no application: the run ends."""
        if end.exit_status == NotMolded.exit_status:
            self.kernel.keeps_signals = False  # the process goes on
        manager.end_run(_refusal(end))

    def _make_worker(self, manager: Manager) -> Worker:
        return Worker(manager.context, self.service, manager.listener, self._worker_hooks)

    def _become_mold(self, manager: Manager, source: Any, channel: socket.socket) -> None:
        """Mold: this child was just forked. Returns in its workers."""
        from prefork.pool.mold import Mold

        assert self.application is not None
        manager_pid = manager.resources.manager_pid
        manager.leave_to_manager()
        load = partial(self._load, manager, source)
        mold = Mold(self.kernel, channel, manager_pid, links=self.application.reforks(source))
        if self.application.preloads(source):
            mold.run(load)
        else:
            mold.run(lambda: partial(self._load_in_worker, manager, load))

    def _load_in_worker(
        self, manager: Manager, load: Callable[[], BecomeWorker], index: int, channel: socket.socket | None
    ) -> None:
        """Worker: this child was just forked, by a mold that has no application."""
        if not die_with_parent(manager.resources.manager_pid):
            exit_at_once(BOOT_FAILED)
        try:
            become_worker = load()
        except BaseException as error:
            self.kernel.end_if_abandoned(error)
            tell_failure(error, manager.resources.reports.open_writer())
            exit_at_once(BOOT_FAILED)
        self.kernel.end_if_abandoned()
        become_worker(index, channel)

    def _load(self, manager: Manager, source: Any) -> BecomeWorker:
        assert self.application is not None
        self._worker_hooks.forget_imports()
        self.application.load(source)
        manager.prepare_sandbox(self.options)
        context = manager.context
        manager.context = dataclasses.replace(context, options=self._in_use(self.options, manager.listener))
        self._worker_hooks = WorkerHooks(self.options)
        self.service.attach(manager.context)
        return self._make_workers(manager)

    def _make_workers(self, manager: Manager) -> BecomeWorker:
        """Mold: what makes a worker of a forked child."""
        worker = self._make_worker(manager)
        self._prepare_workers(manager, worker)
        if self.options.refork_after and self.application is not None:
            from prefork.pool.next_mold import NextMold  # here: most workers never become one

            worker.make_next_mold = partial(
                NextMold,
                self.kernel,
                manager.resources,
                self.application.settle,
                partial(self._make_workers, manager),
            )
        return partial(self._become_worker, manager, worker)

    def _prepare_workers(self, manager: Manager, worker: Worker) -> None:
        """Before the forks. Another pool of this program may have forked since the last ones."""
        manager.resources.stacks.prepare(self.kernel)
        worker.prepare()

    def _become_worker(
        self, manager: Manager, worker: Worker, index: int, channel: socket.socket | None = None
    ) -> None:
        """Worker: this child was just forked, for the slot `index`."""
        self._role = self._member = worker
        if channel is not None and worker.make_next_mold is not None:
            worker.next_mold = worker.make_next_mold(channel)
        boot = worker.boot(manager, index, self.options)
        worker.startup = self.kernel.spawn(boot, session=self, event="boot", args=())

    def scale(self, **limits: object) -> None:
        """Manager: changes `min_spare_servers`, `max_spare_servers` and `max_clients` while the pool runs.

        Raises OptionError.
        """
        had_guards = self.options.is_guarded
        self.use(changed(self.options, limits))
        if self.options.is_guarded and not had_guards:
            # A worker starts its guard at its boot, by the options of the process that forked it.
            if self.application is None:
                self._member.replace_workers()
            else:
                self._member.reload(None)

    def set_log_level(self, name: str) -> list[int]:
        """Changes the level of the log, here and in the workers. Returns those that cannot be told."""
        return self._member.set_log_level(name)

    def use(self, options: PreForkOptions) -> None:
        """Manager: these are the options from now on. Raises OptionError."""
        self._member.change_options(options)
        self.options = options

    def reload(self, on_done: OnDone | None = None) -> bool:
        """Manager: reads the certificates again, and replaces the workers by ones with new code and options.

        `on_done` hears how that ends. False: the server is stopping, or does not listen.
        """
        super()._on_hup(signal.SIGHUP)
        return self._member.reload(on_done)

    def _on_hup(self, _signum: int) -> None:
        """Manager: also replaces the workers, as HUP does elsewhere, by ones with new code and options. In a
        program they get its copy of the code.
        """
        if why := self.why_no_reload:
            logger.warning("HUP changes nothing: %s", why)
            return
        if self.options.start_servers:
            if self.application is None:
                logger.warning("HUP: replacing every worker; code that has changed on disk needs a restart")
            else:
                logger.warning("HUP: loading the application again")
        self.reload()

    @property
    def why_no_reload(self) -> str:
        """Why; empty if it can."""
        if self.is_stopping or self._member.has_left:
            return "the server is stopping"
        return "an upgrade is under way" if self._member.is_upgrading else ""

    def upgrade(self, on_done: UpgradeDone | None = None) -> None:
        """Manager: has another one, from the command line of this process, take its place, with what is
        installed now. `on_done` hears how that ends. Raises NotUpgraded.
        """
        self._member.upgrade(self.command, on_done)

    @event("_usr2")
    def _on_usr2(self, _signum: int) -> None:
        try:
            self.upgrade()
        except NotUpgraded as error:
            logger.error("USR2 changes nothing: %s", error)

    def _ended(self) -> None:
        """As after a signal, if another manager has taken the place of this one."""
        if self._member.has_left and self.kernel is not None:
            self._end_within(0)
        super()._ended()

    @event("_int")
    def _on_int(self, _signum: int) -> None:
        """Worker: nothing. A terminal sends it to the whole group, and the manager acts on it.

        It is bound for the application, which may handle it: the exit of a handler must not be the worker's.
        """

    @event("_term")
    def _on_term(self, signum: int) -> None:
        """Worker: ends, usually because its manager sent the signal.

        A second signal changes nothing: systemd signals every process of a service, and the manager signals
        too. For a quick end it kills.
        """
        logger.debug("%s: ending when all requests are finished", signal.Signals(signum).name)
        self.shutdown(graceful=True)

    def register(self, session: Target, name: str) -> bool:
        """Manager: has an event called with ('forked', 'spare' or 'died', pid) for every worker. True.

        Raises UnknownSession and UnknownEvent.
        """
        self.kernel.resolve(session, name)
        if (session, name) not in self._watchers:
            self._watchers.append((session, name))
        return True

    def _post_to_watchers(self, what: str, pid: int) -> None:
        for session, name in self._watchers:
            self.kernel.post(session, name, what, pid)

    # --- handlers ----------------------------------------------------------------------------------------

    def _targets(self) -> list[Target]:
        named = [*self.options.fork_handlers, *(session for session, _ in self._watchers)]
        return [*super()._targets(), *(target for target in named if not isinstance(target, str))]

    def _check_events(self, hooks: Hooks) -> None:
        super()._check_events(hooks)
        # Those of a worker are found where the application is loaded.
        self._worker_hooks = WorkerHooks(self.options, OF_MANAGER if self.application is not None else ALL)
        self._check_fork_handlers(self.options.fork_handlers)

    def _check_fork_handlers(self, fork_handlers: Mapping[Target, str]) -> None:
        for alias, name in fork_handlers.items():
            try:
                self.kernel.resolve(alias, name)
            except (UnknownSession, UnknownEvent) as error:
                raise type(error)(f"fork_handlers: {error}") from None

    def set_handlers(self, handlers: Iterable[Mapping[str, object]], *, replace: bool = False) -> bool:
        """Manager: replaces the handlers for new workers; `replace` also replaces those that run, one by one.

        Refused in a worker: returns False and logs. Raises OptionError, UnknownSession and UnknownEvent.
        """
        if not self._member.may_change("SETHANDLERS"):
            return False
        super().set_handlers(handlers)
        if replace:
            self._member.replace_workers()
        return True

    def get_fork_handlers(self) -> dict[Target, str]:
        """A copy of the fork handlers: alias -> event."""
        return dict(self.options.fork_handlers)

    def set_fork_handlers(self, fork_handlers: Mapping[Target, str], *, replace: bool = False) -> bool:
        """Manager: what new workers call from now on; `replace` also replaces those that run, one by one.

        Refused in a worker, and if it is no mapping of alias to event: returns False and logs.
        """
        if not self._member.may_change("SETFORKHANDLERS"):
            return False
        try:
            self.change_fork_handlers(fork_handlers)
        except (OptionError, UnknownSession, UnknownEvent) as error:
            logger.error("SETFORKHANDLERS: %s", error)
            return False
        if replace:
            self._member.replace_workers()
        return True

    def change_fork_handlers(self, fork_handlers: Mapping[Target, str]) -> None:
        """Manager: what new workers call from now on. Raises OptionError, UnknownSession and UnknownEvent."""
        options = changed(self.options, {"fork_handlers": fork_handlers})
        self._check_fork_handlers(options.fork_handlers)
        self.options = options

    # --- the events of the same meaning ------------------------------------------------------------------

    @event("ISCHILD")
    def _on_is_child(self) -> bool:
        return self.is_child()

    @event("GETFORKHANDLERS")
    def _on_get_fork_handlers(self, *args: Any) -> bool:
        session, name = check_arguments(self, "GETFORKHANDLERS", args)
        return self.kernel.post(session, name, self.get_fork_handlers())

    @event("SETFORKHANDLERS")
    def _on_set_fork_handlers(self, fork_handlers: Mapping[Target, str], replace: bool = False) -> bool:
        return self.set_fork_handlers(fork_handlers, replace=replace)

    @event("SETHANDLERS")
    def _on_set_handlers(self, handlers: Iterable[Mapping[str, object]], replace: bool = False) -> bool:
        return self.set_handlers(handlers, replace=replace)

    @event("REGISTER")
    def _on_register(self, session: Target, name: str) -> bool:
        return self.register(session, name)


def _refusal(end: MoldEnded) -> BaseException:
    """What ends a server whose application was never loaded."""
    if not end.why:
        return SystemExit(end.exit_status)
    kinds: tuple[type[NotMolded | TargetError], ...] = (NotMolded, TargetError)
    return next((kind for kind in kinds if kind.exit_status == end.exit_status), NeverReady)(str(end))
