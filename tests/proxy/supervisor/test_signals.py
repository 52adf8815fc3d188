"""Signals are taken in order, once, and everything is put back."""

from __future__ import annotations

import os
import signal

from proxy.supervisor.signals import Signals


def test_signals_are_taken_once_and_in_order() -> None:
    signals = Signals()

    os.kill(os.getpid(), signal.SIGHUP)
    os.kill(os.getpid(), signal.SIGTERM)

    assert signals.take() == [signal.SIGHUP, signal.SIGTERM]
    assert signals.take() == []
    assert signals.fileno() >= 0
    signals.close()


def test_what_was_blocked_is_not_lost() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
    # To this thread: another one of the test run's may not block it.
    signal.raise_signal(signal.SIGHUP)

    signals = Signals()

    assert signals.take() == [signal.SIGHUP]
    signals.close()
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def test_closing_puts_the_handlers_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    signals = Signals()
    assert signal.getsignal(signal.SIGTERM) is not before

    signals.close()

    assert signal.getsignal(signal.SIGTERM) is before
    assert signal.set_wakeup_fd(-1) == -1
