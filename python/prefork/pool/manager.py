"""The process that owns a pool: it binds the sockets, and never reads a byte from a client.

Owns: what the processes of the pool share (`resources.py`), and the supervisor that keeps the workers.
Always: the glue and the memory are gone when the pool has ended, and no worker outlives the manager.
"""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import signal
from asyncio import Handle, TimerHandle
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from prefork._engine import LOG_LEVEL, REOPEN_LOG, STACKS, TASKS, TRACEBACKS
from prefork.config.machine import Computed
from prefork.errors import (
    GlueInUse,
    NeverReady,
    NotUpgraded,
    OptionError,
    OutOfResources,
    PreforkError,
    ScoreboardUnavailable,
)
from prefork.logs.escaping import escape_line
from prefork.logs.formats import tracebacks_to
from prefork.pool.access_log import hear_reopening
from prefork.pool.log_level import hear_level, set_level
from prefork.pool.orphans import Orphans
from prefork.pool.recycler import Recycler
from prefork.pool.reload import OnDone, Reload, Reloadable
from prefork.pool.resources import PoolResources
from prefork.pool.role import UNUSED_SIGNALS_OF_MANAGER, PoolMember
from prefork.pool.scoreboard import format_states
from prefork.pool.shared_sockets import SharedSockets
from prefork.pool.spawner import Spawner
from prefork.pool.status_line import StatusLine
from prefork.pool.succession import Succession
from prefork.pool.supervisor import Supervisor
from prefork.server import service_manager
from prefork.server.role import Role

if TYPE_CHECKING:
    from prefork.config.options import PreForkOptions
    from prefork.pool.attached import Attach, Attached
    from prefork.pool.command import Command
    from prefork.pool.overview import Overview
    from prefork.pool.predecessor import Predecessor
    from prefork.pool.sandbox import Sandbox
    from prefork.pool.upgrade import OnDone as UpgradeDone
    from prefork.pool.worker_hooks import WorkerHooks
    from prefork.server.context import Context
    from prefork.server.listener import Listener

logger = logging.getLogger("prefork.pool")

SPARE_SLOTS = 64
"""Slots beyond twice `max_clients`: workers still drain in theirs while others take their place."""


class Manager(Role, PoolMember):
    """`make_spawner(manager)` makes what spawns its workers; `source` is what a reload reads again. Each
    `attach(manager)` of `attachments` makes what lives as long as the pool. `tell` is the supervisor's.

    `ended()` is called when the last worker has ended after `shutdown`.
    """

    unused_signals = UNUSED_SIGNALS_OF_MANAGER

    def __init__(
        self,
        context: Context,
        options: PreForkOptions,
        listener: Listener,
        make_spawner: Callable[[Manager], Spawner],
        tell: Callable[[str, int], object],
        ended: Callable[[], object],
        hooks: WorkerHooks,
        log_directories: Iterable[str],
        source: Reloadable | None = None,
        attachments: Sequence[Attach[Manager]] = (),
        former: Predecessor | None = None,
    ) -> None:
        self.context = context
        self._kernel = context.kernel
        self._options = options
        self.listener = listener
        self._make_spawner = make_spawner
        self._tell = tell
        self._ended = ended
        self._hooks = hooks
        self._source = source
        self._attachments = attachments
        self._attached: Sequence[Attached] = ()
        self.before_drain: list[Callable[[float], Awaitable[object]]] = []
        """What `prefork drain` awaits before the listener closes, each for as many seconds at most."""
        self._log_directories = log_directories
        self.sandbox: Sandbox | None = None
        """What its workers enter."""
        self._stopping = False
        self._serves = False
        self._resources: PoolResources | None = None
        self._supervisor: Supervisor | None = None
        self._spawner: Spawner | None = None
        self._reload: Reload | None = None
        self._succession = Succession(context.kernel, former, self._take_over, self._leave)
        self._shared: SharedSockets | None = None
        self._retry: TimerHandle | None = None
        self._show: Handle | None = None
        self._orphans: Orphans | None = None
        self._line: StatusLine | None = None
        self._recycler: Recycler | None = None

    @property
    def resources(self) -> PoolResources:
        """What its workers share with it. A pool that runs has them."""
        assert self._resources is not None
        return self._resources

    @property
    def glue(self) -> str | None:
        return self._resources.socket.glue if self._resources else None

    @property
    def workers(self) -> list[int]:
        return self._supervisor.pids if self._supervisor else []

    @property
    def status(self) -> str:
        supervisor = self._supervisor
        return "" if supervisor is None or self._line is None else self._line.of(supervisor.overview())

    @property
    def decisions(self) -> list[dict[str, Any]]:
        """What the pool has decided of late, and why, the newest last. Ages are in seconds."""
        return [] if self._supervisor is None else self._supervisor.decisions

    @property
    def predecessor(self) -> Predecessor | None:
        """The manager whose place this one takes, until it has let go."""
        return self._succession.former

    @property
    def is_reloading(self) -> bool:
        if self._supervisor is None:
            return False
        return self._reload is not None or self._supervisor.overview().is_reloading

    @property
    def is_stopping(self) -> bool:
        """Whether the pool ends, or another manager has taken its place."""
        return self._stopping

    # --- beginning ---------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Makes the pool, or wakes it. Raises GlueInUse: the operator has to choose another glue.

        Without shared memory the pool is tried again each `prefork_interval`, or OutOfResources is raised if
        another manager serves on.
        """
        with contextlib.suppress(RuntimeError, ValueError):  # off the main thread no signal can be bound
            self._kernel.signal(signal.SIGHUP, self._options.alias, "_hup")
            if self._source is not None and not self._kernel.program_handles(signal.SIGUSR2):
                self._kernel.signal(signal.SIGUSR2, self._options.alias, "_usr2")
        try:
            self._start()
        except (OSError, ScoreboardUnavailable) as error:
            if self.predecessor is not None:
                raise OutOfResources(f"cannot create the scoreboard: {error}") from error
            self._log_failure(error)
            self._start_later()

    def _begin_again(self) -> None:
        """Its sockets are others than before."""
        if self._spawner is not None:
            self._spawner.renew()
        self.begin()

    def _start(self) -> None:
        supervisor = self._supervisor or self._open()
        self._watch_shared()
        self.listener.watch()
        self._serves = False
        supervisor.start()

    def _start_later(self) -> None:
        self._retry = self._kernel.loop.call_later(self._options.prefork_interval, self._start_again)

    def _start_again(self) -> None:
        try:
            self._start()
        except (OSError, ScoreboardUnavailable):
            self._start_later()  # it is logged once
        except GlueInUse as error:
            self._log_failure(error)
            self._start_later()

    def _log_failure(self, error: Exception) -> None:
        interval_s = self._options.prefork_interval
        logger.error("cannot create the scoreboard: %s; trying again every %g s", error, interval_s)

    def _take_news(self, what: str, pid: int) -> None:
        """What the supervisor tells of a worker. Clients are served when the first one is a spare."""
        if what == "spare" and not self._serves:
            self._serves = True
            if self.predecessor is None:
                self._kernel.between_turns(self._call_serving_hooks)
            else:
                self.predecessor.ready(self._kernel.loop)
        self._tell(what, pid)

    def _worker_died(self, pid: int, status: int) -> None:
        self._hooks.try_call("worker_died", pid=pid, status=status)

    def _give_up(self, why: str) -> None:
        attempts = (
            "1 attempt" if self._options.boot_failures == 1 else f"{self._options.boot_failures} attempts"
        )
        self.end_run(
            NeverReady(
                f"no worker was ever ready, in {attempts} (--boot-failures); the first one failed: "
                f"{escape_line(why)}"
            )
        )

    def end_run(self, error: BaseException) -> None:
        """The pool can never serve: `run()` ends with an error."""

        def end() -> NoReturn:
            raise error

        self._kernel.between_turns(end)  # at its top level

    def workers_can_be_spawned(self) -> None:
        """The spawner has been unable to, and is able again."""
        if self._supervisor is not None:
            self._supervisor.try_again()

    def may_spawn_workers(self) -> bool:
        """Whether it may have workers spawned again."""
        return self._supervisor is not None and self._supervisor.may_spawn

    def _call_serving_hooks(self) -> None:
        if self.listener.sockets is not None:
            self.context.hooks.serving(self.listener.sockets)

    def _open(self) -> Supervisor:
        options, kernel = self._options, self._kernel
        self.prepare_sandbox(options)
        if isinstance(options.max_clients, Computed):
            logger.info("max_clients %d: %s", int(options.max_clients), options.max_clients.why)
        slots = 2 * options.max_clients + SPARE_SLOTS
        self._resources = resources = self._succession.make_resources(
            slots, options.ipc_glue, self.about, self.listener.sockets
        )
        # For a worker whose Python is stuck: C writes its tracebacks, without the GIL. It is prepared before
        # the fork, so workers share the memory.
        faulthandler.register(TRACEBACKS, file=tracebacks_to(), all_threads=True)
        resources.stacks.prepare(kernel)
        hear_level(kernel)
        hear_reopening(kernel)
        self._spawner = spawner = self._make_spawner(self)
        self._supervisor = supervisor = Supervisor(
            kernel.loop,
            options,
            resources,
            spawner,
            self._take_news,
            self._emptied,
            self._give_up,
            self._worker_died,
        )
        self._shared = SharedSockets(kernel.loop, self._replace_shut)
        self._orphans = Orphans(kernel.loop, self._children)
        self._line = StatusLine(resources.board)
        self._recycler = Recycler(kernel.loop, options, supervisor)
        kernel.loop.add_reader(resources.board.wakeup_fileno(), self._wake)
        if self.predecessor is None:
            kernel.loop.add_reader(resources.socket.fileno(), resources.socket.respond)
        self._succession.wait()
        if options.debug_scoreboard:
            self._show = kernel.loop.call_soon(self._show_states)
        made = [attach(self) for attach in self._attachments]
        self._attached = [one for one in made if one is not None]
        return supervisor

    def prepare_sandbox(self, options: PreForkOptions) -> None:
        """What workers with these options enter. Also in a mold: a reload may have changed them.

        Raises OptionError, SandboxIncomplete and OSError, as `Sandbox` does.
        """
        if options.sandbox == "off":
            self.sandbox = None
            return
        from prefork.pool.sandbox import Sandbox  # here: without it, in no worker's memory

        if self.sandbox is None or not self.sandbox.is_of(options):
            self.sandbox = Sandbox(options, self._log_directories)

    def _children(self) -> list[int]:
        """All processes that it waits for."""
        owners = (self._supervisor, self._spawner, self._succession)
        return [pid for one in owners if one is not None for pid in one.pids]

    # --- the managers before and after this one -----------------------------------------------------------

    def _take_over(self) -> None:
        """The former manager has let go."""
        self.listener.lend(lent=False)
        socket = self.resources.socket
        socket.take_over()
        self._kernel.loop.add_reader(socket.fileno(), socket.respond)
        self._kernel.between_turns(self._call_serving_hooks)

    def upgrade(self, command: Command | None, on_done: UpgradeDone | None = None) -> None:
        """Has another manager, from the command line of this one, take its place. `on_done` hears how that
        ends. Raises NotUpgraded.
        """
        if command is None or self._source is None:
            raise NotUpgraded(
                "what a program has of its own cannot be handed to another process: restart it, or serve its "
                "application with `prefork serve`"
            )
        sockets = self.listener.sockets
        if self._supervisor is None or sockets is None or self._stopping:
            raise NotUpgraded("the server does not serve: it starts, stops or does not listen")
        if self.is_reloading:
            raise NotUpgraded("a reload is under way: try again when it has ended")
        boot_timeout_s = self._options.boot_timeout
        self._succession.begin(command, boot_timeout_s, self.resources, sockets, self._attached, on_done)

    def _leave(self, pid: int, stays: str) -> None:
        """Another manager is ready: lets go of what shows this one, and has the workers finish."""
        assert self._supervisor is not None
        self.has_left = self._stopping = True
        for one in self._attached:
            one.leave()
        self._kernel.loop.remove_reader(self.resources.socket.fileno())
        self.resources.socket.close()
        if self._shared is not None:
            self._shared.watch([])
        self.listener.lend(lent=True)
        if (manager := service_manager.service_manager()) is not None:
            manager.main_pid(pid)
        self._supervisor.leave(moves=not stays)

    def about(self) -> dict[str, object]:
        """What readers of the scoreboard are told of the manager beside what is in there."""
        sockets, certificates = self.listener.sockets, self.listener.certificates
        about: dict[str, object] = {}
        for one in self._attached:
            about |= one.about()
        return about | {
            "listeners": [] if sockets is None else sockets.describe(self._options),
            "certificates": [] if certificates is None else certificates.describe(),
            "queued": self.resources.queue_length,
            "decisions": self.decisions,
            "ending": [] if self._supervisor is None else self._supervisor.ending,
        }

    def _wake(self) -> None:
        """A worker has taken one of the last spares, or has booted."""
        self.resources.clear_wakeup()
        if self._supervisor is not None:
            self._supervisor.act()

    # --- sockets that a worker shuts down ------------------------------------------------------------------

    def _watch_shared(self) -> None:
        if self._shared is not None:
            sockets = self.listener.sockets
            listening = [] if sockets is None else [one.fileno() for one in sockets.sockets]
            self._shared.watch([self.resources.queue_fileno, *listening])

    def _replace_shut(self, filenos: Collection[int]) -> None:
        """A process of the pool has shut down sockets that all of them need."""
        assert self._supervisor is not None
        queue = self.resources.queue_fileno
        if queue in filenos:
            logger.error("a worker has shut down the queue of the pool: making another, and new workers")
            self._cancel_reload("a worker has shut down the queue")
            self._succession.cancel("a worker has shut down the queue")
            self.resources.renew_queue()
            if self._spawner is not None:
                self._spawner.renew()
            self._supervisor.replace()
            self._watch_shared()
        if any(fileno != queue for fileno in filenos):
            logger.error("a worker has shut down the listening socket: making another, and new workers")
            self.stop_listen()
            self.start_listen()

    def _show_states(self) -> None:
        logger.warning("%s", format_states(self.resources.board))
        self._show = self._kernel.loop.call_later(1.0, self._show_states)

    # --- the server's methods ----------------------------------------------------------------------------

    def start_listen(self) -> bool:
        """Opens the listener again, and spawns workers."""
        return not self._stopping and self.listener.reopen(self._begin_again)

    def stop_listen(self) -> bool:
        """Closes the listener; the workers finish and end."""
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if self._supervisor is not None and not self._stopping:
            self._cancel_reload("the server stops listening")
            self._succession.cancel("the server stops listening")
            self._supervisor.pause()
        if self._shared is not None:
            self._shared.watch([self.resources.queue_fileno])
        return self.listener.close()

    def shutdown(self, *, graceful: bool) -> None:
        """Ends the server: the workers finish within `graceful_timeout`, or are killed."""
        if self.has_left and graceful:
            return  # its workers finish already
        self._cancel_reload("the server is stopping")
        self._succession.cancel("the server is stopping")
        self._stopping = True
        # The workers are told first. To close the sockets shuts them down, which in a pool that goes on is an
        # error for a worker.
        if self._supervisor is not None:
            self._supervisor.stop(graceful=graceful)
        self.stop_listen()
        if self._supervisor is None:
            self._ended()

    def replace_workers(self) -> None:
        if self._supervisor is not None:
            self._supervisor.replace()

    @property
    def is_upgrading(self) -> bool:
        """Whether another manager is about to take its place."""
        return self._succession.is_upgrading

    def reload(self, on_done: OnDone | None = None) -> bool:
        """Has workers with new code and options replace the others; `on_done` hears how that ends. False:
        there is no pool, or it ends.
        """
        supervisor, spawner = self._supervisor, self._spawner
        if supervisor is None or spawner is None or self._stopping or self.listener.sockets is None:
            return False
        self._cancel_reload("another reload takes its place")
        self._reload = reload = Reload(
            self._kernel.loop, spawner, supervisor, self._source, self._options, self._reload_ended
        )
        reload.watch(on_done)
        reload.begin()
        return True

    def restart(self) -> bool:
        """Loads new code and options, and has only that serve from now on: the workers take no request any
        more, and clients wait. False: as `reload`, or the new options cannot be used, which is logged.
        """
        supervisor, spawner = self._supervisor, self._spawner
        if supervisor is None or spawner is None or self._stopping or self.listener.sockets is None:
            return False
        self._cancel_reload("the server begins anew")
        self._succession.cancel("the server begins anew")
        source: Any = None
        if self._source is not None:
            try:
                source = self._source.read()
                self._source.accept(source)
            except PreforkError as error:
                logger.error("restart: %s", escape_line(str(error)))
                return False
        supervisor.restart(spawner.restart(source))
        return True

    def refork(self, index: int, on_done: OnDone) -> bool:
        """Has the worker of a slot become the next mold; `on_done` hears how that ends. False: there is no
        mold, or something else is under way.
        """
        from prefork.pool.mold_spawner import MoldSpawner  # here: few pools do it
        from prefork.pool.refork import Refork

        supervisor, spawner = self._supervisor, self._spawner
        is_free = self._reload is None and not self.is_upgrading and self.predecessor is None
        serves = not self._stopping and self.listener.sockets is not None
        if supervisor is None or not isinstance(spawner, MoldSpawner) or not (is_free and serves):
            return False
        self._reload = refork = Refork(
            self._kernel.loop, spawner, supervisor, self._options, self._reload_ended, index
        )
        refork.watch(on_done)
        refork.begin()
        return True

    @property
    def reload_stage(self) -> str:
        """What the reload that is under way waits for."""
        return "" if self._reload is None else self._reload.stage

    def _reload_ended(self, reload: Reload) -> None:
        if self._reload is reload:
            self._reload = None

    def _cancel_reload(self, why: str) -> None:
        if self._reload is not None:
            self._reload.cancel(why)

    def recycle(self, pids: Collection[int]) -> None:
        """Replaces these workers by fresh ones: each serves on until another is ready."""
        if (supervisor := self._supervisor) is not None:
            slots = supervisor.overview().pids
            supervisor.recycle([index for index, pid in slots.items() if pid in pids])

    def change_options(self, options: PreForkOptions) -> None:
        """Keeps the pool by these options from now on, and publishes them. Raises OptionError."""
        if self._resources is not None:
            most = self._resources.board.capacity - SPARE_SLOTS // 2
            if options.max_clients > most:
                raise OptionError(
                    f"max_clients: expected at most {most}, because the scoreboard of this pool has no more "
                    f"room, got {options.max_clients}; start the server with a larger --max-clients"
                )
        self._options = options
        if self._supervisor is not None:
            self._supervisor.change(options)

    def set_log_level(self, name: str) -> list[int]:
        """Changes the level of the log in this process and its workers. Returns those that cannot be told."""
        level = set_level(name)
        if self._supervisor is None:
            return []
        self.resources.board.publish(log_level=level)
        return self._supervisor.send(LOG_LEVEL)

    def ask_for_stacks(self, pid: int) -> bool:
        """Has a worker write its stacks to `resources.stacks`. False: it would end by the signal."""
        return self._supervisor is not None and not self._supervisor.send(STACKS, [pid])

    def ask_for_tasks(self, pid: int) -> bool:
        """As `ask_for_stacks`, for the tasks of its loop."""
        return self._supervisor is not None and not self._supervisor.send(TASKS, [pid])

    def overview(self) -> Overview | None:
        """What the pool has now, and what it wants; None without a pool."""
        return None if self._supervisor is None else self._supervisor.overview()

    def replace_process(self) -> None:
        """Does nothing: this is no worker."""

    def reopen_logs(self) -> None:
        """Has the workers open the file of the access log again. Those that are deaf notice it later."""
        if self._supervisor is not None:
            self._supervisor.send(REOPEN_LOG)

    # --- ending ------------------------------------------------------------------------------------------

    def _emptied(self) -> None:
        """The last worker has ended."""
        self._close()
        self._ended()

    def run_ended(self) -> None:
        """Kills every worker, whatever ended the kernel."""
        self._cancel_reload("the server ends")
        if self._supervisor is not None:
            self._supervisor.kill()
        self._close()
        self.stop_listen()

    def _close(self) -> None:
        """Releases the glue and the memory."""
        if self._resources is None:
            return
        for one in self._attached:
            one.close()
        self._attached = ()
        self._succession.close()
        loop = self._kernel.loop
        if self._show is not None:
            self._show.cancel()
        if self._orphans is not None:
            self._orphans.close()
        if self._recycler is not None:
            self._recycler.close()
        loop.remove_reader(self._resources.board.wakeup_fileno())
        if not self.has_left:
            loop.remove_reader(self._resources.socket.fileno())
        if self._shared is not None:
            self._shared.close()
            self._shared = None
        if self._spawner is not None:
            self._spawner.close()
        self._drop_pool()

    def abandon(self) -> None:
        self.close_pool()
        self.listener.abandon()

    def discard(self) -> None:
        self._drop_pool()
        self.listener.close()
        self._ended()

    def _drop_pool(self) -> None:
        self.close_pool()
        self._supervisor = self._spawner = self._resources = None

    def close_pool(self) -> None:
        """Closes the descriptors of the pool. A worker calls it, on its copy of the manager.

        It frees nothing: in a worker that would write to memory that it shares with the others.
        """
        self._discard_own()
        if self._resources is not None:
            self._resources.close()

    def _discard_own(self) -> None:
        """In a child: closes its copies of what only a manager has."""
        for one in (*self._attached, self._succession, self._supervisor, self._reload):
            if one is not None:
                one.discard()
        if self._spawner is not None:
            self._spawner.discard()
        if self._shared is not None:
            self._shared.discard()

    def leave_to_manager(self) -> None:
        """In a mold: closes what it has of its manager, but for what its workers need."""
        service_manager.discard()
        self._discard_own()
        self.resources.socket.close()
        self._supervisor = self._spawner = self._shared = None
        self._attached = ()
