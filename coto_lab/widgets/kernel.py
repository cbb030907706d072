"""Functions that let a kernel handle messages of the browser while it trains."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

from IPython import get_ipython

_TURNS = 10  # turns of the event loop; a message of the browser needs several turns from the socket to its callback


async def listen(in_cell: bool) -> None:
    """Let the kernel handle what the browser sent, such as a click.

    Args:
        in_cell: whether a cell awaits this function. ipykernel below version 7 then handles no message until it is polled.
    """
    for _ in range(_TURNS):
        await asyncio.sleep(0)
    if in_cell and int(version("ipykernel").split(".")[0]) < 7:
        from jupyter_ui_poll import ui_events

        async with ui_events() as poll:
            await poll(_TURNS)


_one_thread = False


def one_thread() -> None:
    """From now on, handle all messages of the browser on the kernel's main thread.

    JupyterLab sends these messages to a subshell, which is a thread of its own from ipykernel 7 on. A training that was started
    there would run at the same time as the cells, with the same evaluator and the same random numbers.
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
            # While the subshell waits for one message, it does not report that others were handled; see `answers`.
            kernel._publish_status("idle", "shell", message)

        return asyncio.wrap_future(asyncio.run_coroutine_threadsafe(later(), loop))  # the subshell waits for this future

    kernel.shell_handlers["comm_msg"] = handle_on_main_thread


@contextmanager
def answers() -> Iterator[None]:
    """While a cell waits, tell the browser that its messages were handled.

    ipykernel 7 handles these messages beside the cell and does not report that. ipywidgets sends a second change of a widget
    only after a report that the first change was handled. Without the report, a slider that was moved once would no longer
    work, even after the cell has ended.
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
    """Make the kernel's interrupt, and Ctrl-C in a script, call ``stop`` instead of raising KeyboardInterrupt.

    Without this, ipykernel ignores an interrupt while no cell runs.
    """
    if not _on_main_thread():  # Python allows signal handlers only there
        yield
        return

    def handle(*_: Any) -> None:
        stop()

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is handle:  # otherwise a cell is running, with a handler of its own
            signal.signal(signal.SIGINT, before)


def _on_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
