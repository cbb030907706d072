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


_one_thread = False


def one_thread() -> None:
    """Have all that the browser sends handled on the kernel's main thread, from now on.

    JupyterLab sends it to a subshell, from ipykernel 7 on a thread of its own. A training that was started there would run
    beside the cells, with the same evaluator and the same random numbers.
    """
    global _one_thread
    kernel = getattr(get_ipython(), "kernel", None)
    if kernel is None or _one_thread:
        return
    _one_thread = True
    handle = kernel.shell_handlers["comm_msg"]
    loop = kernel.io_loop.asyncio_loop

    def handle_on_main_thread(stream: Any, ident: Any, message: Any) -> Any:
        if _on_main_thread():
            return handle(stream, ident, message)

        async def later() -> None:
            handle(stream, ident, message)
            # While the subshell waits for one message, it says of others nothing more: see answers.
            kernel._publish_status("idle", "shell", message)

        return asyncio.wrap_future(asyncio.run_coroutine_threadsafe(later(), loop))  # the subshell waits for it

    kernel.shell_handlers["comm_msg"] = handle_on_main_thread


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

    def handle_and_answer(stream: Any, ident: Any, message: Any) -> Any:
        result = handle(stream, ident, message)
        if _on_main_thread():
            kernel._publish_status("idle", "shell", message)
        return result

    kernel.shell_handlers["comm_msg"] = handle_and_answer
    try:
        yield
    finally:
        kernel.shell_handlers["comm_msg"] = handle


@contextmanager
def interrupt_means(stop: Callable[[], None]) -> Iterator[None]:
    """Have the kernel's interrupt, and Ctrl-C in a script, call ``stop`` instead of raising KeyboardInterrupt.

    With no cell running, ipykernel ignores the interrupt otherwise.
    """
    if not _on_main_thread():  # only there may a signal be handled
        yield
        return

    def handle(*_: Any) -> None:
        stop()

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is handle:  # else a cell runs meanwhile, with a handler of its own
            signal.signal(signal.SIGINT, before)


def _on_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
