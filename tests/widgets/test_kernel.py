"""What an interrupt means while a training runs; listening is tested with real kernels in tests/notebook/test_kernels.py."""

import os
import signal

import pytest

from coto_lab.widgets.kernel import interrupt_means


@pytest.fixture(autouse=True)
def handler():
    before = signal.getsignal(signal.SIGINT)
    yield before
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_calls_instead_of_raising_and_later_raises_again(handler):
    calls = []
    with interrupt_means(lambda: calls.append("stop")):
        os.kill(os.getpid(), signal.SIGINT)
    assert calls == ["stop"] and signal.getsignal(signal.SIGINT) is handler


def test_the_handler_of_a_cell_that_began_meanwhile_stays():
    def of_cell(*_):
        raise AssertionError("nobody interrupts")

    with interrupt_means(lambda: None):
        signal.signal(signal.SIGINT, of_cell)
    assert signal.getsignal(signal.SIGINT) is of_cell
