"""Signals become a flag, and everything is put back."""

from __future__ import annotations

import os
import signal

import pytest

from polysense.training.interrupts import Interrupts


def test_the_first_sets_the_flag_and_the_second_stops() -> None:
    with Interrupts() as interrupts:
        assert interrupts.received is None
        os.kill(os.getpid(), signal.SIGTERM)
        assert interrupts.received == "SIGTERM"
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        assert interrupts.received == "Ctrl-C"


def test_at_once() -> None:
    with Interrupts() as interrupts:
        with pytest.raises(KeyboardInterrupt), interrupts.at_once():
            os.kill(os.getpid(), signal.SIGINT)
    with Interrupts() as interrupts:
        with interrupts.at_once():
            pass
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupts.received == "Ctrl-C"


def test_a_forked_worker_ignores_it() -> None:
    with Interrupts() as interrupts:
        interrupts._process = os.getpid() + 1  # as in a child that inherited the handler
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupts.received is None


def test_handlers_are_put_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with Interrupts():
        assert signal.getsignal(signal.SIGINT) not in before
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
