"""Signals as bytes in a socket: handlers only enqueue, the loop acts."""

from __future__ import annotations

import signal
import socket

from proxy.supervisor.children import HANDLED


class Signals:
    """The signals the supervisor handles, from the moment it is made until ``close``."""

    def __init__(self) -> None:
        self._receiver, self._sender = socket.socketpair()
        self._receiver.setblocking(False)
        self._sender.setblocking(False)
        signal.set_wakeup_fd(self._sender.fileno(), warn_on_full_buffer=False)
        self._before = {each: signal.signal(each, _enqueued) for each in HANDLED}
        # They were blocked across an exec, so that none was lost.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)

    def fileno(self) -> int:
        return self._receiver.fileno()

    def take(self) -> list[signal.Signals]:
        """What has come since the last call, in order."""
        try:
            return [signal.Signals(each) for each in self._receiver.recv(4096)]
        except BlockingIOError:
            return []

    def release(self) -> None:
        """Close this process's copies and leave the rest alone: for a child."""
        self._receiver.close()
        self._sender.close()

    def close(self) -> None:
        """Put everything back as it was."""
        signal.set_wakeup_fd(-1)
        for signum, handler in self._before.items():
            signal.signal(signum, handler)
        self.release()


def _enqueued(signum: int, frame: object) -> None:
    """The wakeup descriptor has it already."""
