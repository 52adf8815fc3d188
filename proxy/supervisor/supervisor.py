"""The supervisor: binds, forks, watches, and changes what runs. Never inside trio.

One loop: wait for a signal, a child's word or a quarter of a second, then look at
everything there is to do. A change of configuration has two phases. First every socket
it needs is opened and every worker is asked to take it; when all have, what is no
longer wanted is closed. When one refuses, all go back to what they had.
"""

from __future__ import annotations

import gc
import logging
import os
import select
import signal
import socket
import time
from pathlib import Path
from typing import Any

import attrs

import meshfilters
from meshfilters.errors import ConfigError
from proxy import logs
from proxy.agent.totals import Totals
from proxy.config import parse
from proxy.config.model import Log
from proxy.ipc.messages import Applied, Apply, Message, Shutdown
from proxy.supervisor import boot, limits, resume, upgrade
from proxy.supervisor.change import Running, Watched
from proxy.supervisor.children import Child, fork
from proxy.supervisor.fleet import Fleet, cause
from proxy.supervisor.signals import Signals
from proxy.supervisor.sockets import CannotListen, Listening, shown

log = logging.getLogger("tulle.supervisor")

TICK = 0.25
ENDED_AT_ONCE = 1
ECHO = 0.3
"""Seconds in which a second signal is taken for the first one's echo."""

NO_FILE = Path("<command line>")


def run(text: str, path: Path | None) -> int:
    """Run the proxy that ``text`` configures until it is told to stop; the exit code.

    ``path`` is the file the text is from, to be read again when it changes; None when
    there is no file. Raises ConfigError before anything has been done; 3 is for what
    the machine does not let us do.
    """
    logs.reserve()
    state = upgrade.resumed()
    logs.configure(Log(), "supervisor", queued=False)
    try:
        if state is not None:
            supervisor = Supervisor.resume(state)
        else:
            supervisor = Supervisor.start(text, path)
        return supervisor.run()
    except (CannotListen, limits.TooLow) as error:
        log.error("%s", error)
        return boot.CANNOT_BOOT


def complain(error: Exception) -> None:
    """A line in the log for each problem."""
    for line in str(error).splitlines():
        log.error("%s", line)


def _freeze() -> None:
    # What is here is shared with the children as long as nobody touches it, and a
    # collector run touches everything.
    gc.collect()
    gc.freeze()


@attrs.define(eq=False)
class Supervisor:
    """Holds the sockets and the totals, and has the children."""

    running: Running
    watched: Watched
    listening: Listening
    totals: tuple[int, int]
    signals: Signals = attrs.field(factory=Signals)
    fleet: Fleet = attrs.field(init=False)
    _code: dict[str, tuple[int, int]] = attrs.field(factory=dict)
    """The files of the code, as they were when it was loaded."""
    _next: Running | None = None
    """The configuration that workers are being asked to take."""
    _asked: set[int] = attrs.field(factory=set)
    """Numbers of the workers that have not answered yet."""
    _check: upgrade.Check | None = None
    _exit_code: int | None = None
    _stopped_at: float = 0.0
    _has_been_ready: bool = False

    def __attrs_post_init__(self) -> None:
        self.fleet = Fleet(self._fork, time.monotonic)
        self._code = upgrade.code(self.running.packages)

    @classmethod
    def start(cls, text: str, path: Path | None) -> Supervisor:
        """Check everything that can be checked, and listen."""
        config = parse(text, path or NO_FILE, looks_inside=True)
        logs.configure(config.log, "supervisor", queued=False)
        limits.prepare(config)
        running = Running(text, config, 1)
        listening = Listening()
        listening.open(running.places)
        log.info("tulle %s, pid %s", meshfilters.__version__, os.getpid())
        supervisor = cls(running, Watched(path), listening, Totals.open_files())
        supervisor._announce()
        return supervisor

    @classmethod
    def resume(cls, state: dict[str, Any]) -> Supervisor:
        """Go on where the program that executed this one left off."""
        path = None if state["path"] is None else Path(state["path"])
        listening = resume.restore_listening(state)
        running = resume.restore_running(state, listening, path or NO_FILE)
        zero, one = state["totals"]
        supervisor = cls(running, Watched(path), listening, (zero, one))
        supervisor._has_been_ready = True
        fleet = supervisor.fleet
        fleet.last_number, fleet.restarts = state["last_number"], state["restarts"]
        fleet.children = resume.restore_children(state, time.monotonic())
        listening.close_others(running.places)
        _freeze()
        fleet.renew(running.slots, running.number, running.config.grace)
        supervisor._announce()
        return supervisor

    def run(self) -> int:
        """Supervise until everything has ended."""
        _freeze()
        try:
            # The children start in this turn: there is nobody yet to wait for.
            self._turn()
            while self._exit_code is None or self.fleet.children:
                self._wait()
                self._turn()
            return self._exit_code
        finally:
            if self._check is not None:
                self._check.stop()
            self.listening.close_others(())
            self.signals.close()

    # One turn of the loop

    def _wait(self) -> None:
        poll = select.poll()
        poll.register(self.signals, select.POLLIN)
        for child in self.fleet.children:
            channel = child.channel
            if not channel.is_over:
                events = select.POLLIN | (select.POLLOUT if channel.has_unsent else 0)
                poll.register(channel, events)
        poll.poll(TICK * 1000)

    def _turn(self) -> None:
        for signum in self.signals.take():
            self._obey(signum)
        for child, message in self.fleet.hear():
            self._heard(child, message)
        self.fleet.watch()
        for child, code in self.fleet.reap():
            self._ended(child, code)
        if self._exit_code is not None:
            self._go_on_stopping()
        else:
            self._replace_the_old()
            self.fleet.fill(self.running.slots, self.running.number)
            self._look_for_changes()
        self._tell()

    def _obey(self, signum: signal.Signals) -> None:
        if signum in {signal.SIGTERM, signal.SIGINT}:
            self._stop(signum.name)
        elif signum == signal.SIGHUP and self._exit_code is None:
            log.info("SIGHUP: reading the configuration again")
            self._reload(may_upgrade=True)

    def _heard(self, child: Child, message: Message) -> None:
        if isinstance(message, Shutdown):
            self._stop("the admin port")
        elif isinstance(message, Applied):
            self._answered(child, message)

    def _ended(self, child: Child, code: int) -> None:
        self._asked.discard(child.number)
        if child.state == "draining" or self._exit_code is not None:
            log.info("%s (pid %s) %s", child.name, child.pid, cause(code))
        elif child.replaces is not None and child.state == "starting":
            log.error("%s (pid %s) %s", child.name, child.pid, cause(code))
            log.error("the worker it was to replace goes on")
        elif not self._has_been_ready:
            log.error("%s (pid %s) %s", child.name, child.pid, cause(code))
            self._exit_code = code if code > boot.BUG else boot.CANNOT_BOOT
            self._begin_to_stop()
        else:
            self.fleet.lost(child, code)

    def _tell(self) -> None:
        is_ready = self._exit_code is None and self.fleet.is_ready(self.running.slots)
        if is_ready and not self._has_been_ready:
            self._has_been_ready = True
            log.info("ready")
        self.fleet.tell(is_ready)

    def _replace_the_old(self) -> None:
        for child in self.fleet.workers:
            if child.state == "ready" and child.replaces is not None:
                for old in self.fleet.workers:
                    if old.number == child.replaces:
                        self.fleet.drain(old, self.running.config.grace)
                child.replaces = None

    # The end

    def _stop(self, why: str) -> None:
        now = time.monotonic()
        if self._exit_code is None:
            log.info("%s: finishing within %g s", why, self.running.config.grace)
            self._exit_code = 0
            self._begin_to_stop()
        # timeout(1) and some shells signal a process and then its whole group.
        elif now - self._stopped_at > ECHO:
            log.warning("%s again: ending at once", why)
            self._exit_code = ENDED_AT_ONCE
            self.fleet.kill_all()

    def _begin_to_stop(self) -> None:
        self._stopped_at = time.monotonic()
        # The agent comes first, so that nobody is sent here any more.
        self._tell()
        self.listening.close_others(self.running.admin_places)
        for worker in self.fleet.workers:
            self.fleet.drain(worker, self.running.config.grace)

    def _go_on_stopping(self) -> None:
        if all(each.role == "agent" for each in self.fleet.children):
            self.fleet.quit_agent()

    # Changes

    def _look_for_changes(self) -> None:
        if self._check is not None:
            self._look_at_check(self._check)
        elif self._next is not None:
            if not self._asked:
                self._commit(self._next)
        elif self.watched.has_changed(time.monotonic()):
            log.info("%s has changed", self.watched.path)
            self._reload(may_upgrade=False)

    def _reload(self, *, may_upgrade: bool) -> None:
        text = self.running.text
        try:
            if self.watched.path is not None:
                text = self.watched.read()
            if may_upgrade and self._check is None and self._has_new_code():
                log.info("the code has changed: checking it")
                origin = self.watched.path or NO_FILE
                self._check = upgrade.Check.start(text, origin)
                return
            self._propose(text)
        except (ConfigError, CannotListen) as error:
            complain(error)
            log.error("the configuration stays as it was")

    def _has_new_code(self) -> bool:
        # What was loaded since keeps the state in which it was first seen.
        self._code = {**upgrade.code(self.running.packages), **self._code}
        return upgrade.code(self.running.packages) != self._code

    def _propose(self, text: str) -> None:
        if text == self.running.text:
            log.info("the configuration is as it was")
            return
        if self._next is not None:
            # Workers are still taking the last one; the file is read again after.
            self.watched.forget()
            return
        config = parse(text, self.watched.path or NO_FILE)
        following = Running(text, config, self.running.number + 1)
        self.listening.open({**self.running.places, **following.places})
        self._next = following
        self._asked = {each.number for each in self.fleet.workers}
        for worker in self.fleet.workers:
            self._apply(worker, following, self.running)

    def _apply(self, worker: Child, config: Running, before: Running) -> None:
        opened = config.changed_listeners(before) if worker.slot < config.slots else []
        sockets = [
            self.listening.sockets[place]
            for listener in opened
            for place in config.places_of(worker.slot)[listener.name]
        ]
        counts = [(each.name, len(each.address)) for each in opened]
        worker.configuration = config.number
        worker.channel.send(Apply(config.text, config.number, counts), sockets)

    def _answered(self, worker: Child, answer: Applied) -> None:
        self._asked.discard(worker.number)
        following = self._next
        if answer.error is None or following is None:
            return
        if answer.number == following.number:
            complain(ConfigError(answer.error))
            log.error("%s refused it: the configuration stays as it was", worker.name)
            worker.configuration = self.running.number
            self._go_back(following)

    def _go_back(self, refused: Running) -> None:
        self._next = None
        self.running = attrs.evolve(self.running, number=refused.number + 1)
        for worker in self.fleet.workers:
            if worker.configuration == refused.number:
                self._apply(worker, self.running, refused)
        self.listening.close_others(self.running.places)

    def _commit(self, following: Running) -> None:
        before, self.running, self._next = self.running, following, None
        logs.configure(following.config.log, "supervisor", queued=False)
        if following.slots < before.slots:
            limits.warn_of_shrinking()
        # Only when the worker has the last copy of a socket does it end with it.
        self.listening.close_others(following.places)
        for worker in self.fleet.workers:
            if worker.slot >= following.slots:
                self.fleet.drain(worker, following.config.grace)
            elif worker.configuration != following.number:
                self._apply(worker, following, before)
        if following.agent_differs(before):
            self.fleet.quit_agent()
        log.info("the configuration is in use")
        self._announce()

    def _look_at_check(self, check: upgrade.Check) -> None:
        code = check.ended()
        if code is None:
            return
        if code:
            self._check = None
            complain(ConfigError(check.complaint()))
            log.error("the code on the disk does not work: this one goes on")
        elif all(each.channel.is_idle for each in self.fleet.children):
            resume.leave(
                *(self.running, check.text, self.watched.path),
                *(self.listening, self.totals, self.fleet),
            )

    # Children

    def _fork(self, child: Child) -> None:
        def become(end: socket.socket) -> int:
            sockets = self._let_go(child)
            config = self.running.config
            if child.role == "agent":
                admin = sockets["admin"]
                return boot.run_agent(child.number, end, config, admin, self.totals)
            origin = self.watched.path or NO_FILE
            slots = self.running.slots
            return boot.run_worker(child.name, end, config, origin, sockets, slots)

        child.pid, child.channel = fork(become)

    def _let_go(self, child: Child) -> dict[str, list[socket.socket]]:
        """In a child: keep its own sockets and close everybody else's."""
        if child.role == "agent":
            wanted = {"admin": list(self.running.admin_places)}
        else:
            wanted = self.running.places_of(child.slot)
        kept = {
            name: [self.listening.sockets.pop(place) for place in places]
            for name, places in wanted.items()
        }
        self.listening.release()
        self.signals.release()
        for each in self.fleet.children:
            each.channel.close()
        if child.role == "worker":
            for file in self.totals:
                os.close(file)
        return kept

    def _announce(self) -> None:
        config = self.running.config
        admin = self.running.admin_places
        for place in admin:
            log.info("admin on %s", shown(self.listening.sockets[place]))
        for name, places in self.running.places_of(0).items():
            for place in places:
                where = shown(self.listening.sockets[place])
                direction = config.listeners[name].direction
                log.info("%s (%s) on %s", name, direction, where)
