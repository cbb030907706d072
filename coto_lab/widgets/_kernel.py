"""What lets a kernel listen while it trains."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version

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
