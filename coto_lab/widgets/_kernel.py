"""What lets a kernel listen while it trains."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

from IPython import get_ipython

_TURNS = 10  # of the event loop: what the browser sends needs several, from the socket to its callback


async def listen(in_cell: bool) -> None:
    """Let the kernel handle what the browser sent, such as a click.

    Args:
        in_cell: whether a cell awaits this. Below version 7, ipykernel then hears nothing until it is polled.
    """
    for _ in range(_TURNS):
        await asyncio.sleep(0)
    if in_cell and int(version("ipykernel").split(".")[0]) < 7:
        from jupyter_ui_poll import ui_events

        async with ui_events() as poll:
            await poll(_TURNS)


@contextmanager
def answers() -> Iterator[None]:
    """Have the browser told, while a cell waits, that what it sent was handled.

    ipykernel 7 handles that beside the cell and says nothing. ipywidgets sends no second change of a widget before it hears
    that the first was handled: a slider that was moved once would be dead, even when the cell is over.
    """
    kernel = getattr(get_ipython(), "kernel", None)
    if kernel is None:
        yield
        return
    handle = kernel.shell_handlers["comm_msg"]

    def handle_and_answer(stream: Any, ident: Any, message: Any) -> None:
        handle(stream, ident, message)
        kernel._publish_status("idle", "shell", message)

    kernel.shell_handlers["comm_msg"] = handle_and_answer
    try:
        yield
    finally:
        kernel.shell_handlers["comm_msg"] = handle


@contextmanager
def interrupt_means(stop: Callable[[], None]) -> Iterator[None]:
    """Have the kernel's interrupt, and Ctrl-C in a script, call ``stop`` instead of raising KeyboardInterrupt."""
    if threading.current_thread() is not threading.main_thread():  # only there may a signal be handled
        yield
        return
    before = signal.signal(signal.SIGINT, lambda *_: stop())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
