"""The live training in real kernels: of the newest ipykernel, and of what Colab has (``tests/colab.txt``)."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from queue import Empty
from typing import Any

import pytest
from environments import FAST, kernels_of, made
from jupyter_client import KernelManager
from jupyter_client.blocking import BlockingKernelClient

STEPS = 100_000
START, PAUSE, STOP = range(3)

SETUP = f"""
if "live" in globals():
    live.stop.click()
import threading
from coto_lab import Linear, Recipe, load_task
from coto_lab.notebook import setup
from coto_lab.widgets import LiveTraining
setup(threads=1)
recipes = {{"LoRA": Recipe(steps={STEPS}), "CoTo": Recipe(schedule=Linear(), steps={STEPS})}}
live = LiveTraining(load_task("digits"), recipes)
threads = set()
for button in (live.start, live.pause, live.stop):
    button.on_click(lambda _: threads.add(threading.current_thread().name))
print(*(button.comm.comm_id for button in (live.start, live.pause, live.stop)))
"""


@pytest.fixture(scope="module", params=["newest", "colab"])
def python(request: pytest.FixtureRequest) -> Path:
    return made("colab") if request.param == "colab" else Path(sys.executable)


class Kernel:
    """A kernel that is told to run cells, and gets clicks as a browser sends them."""

    def __init__(self, manager: KernelManager, client: BlockingKernelClient):
        self.manager, self.client = manager, client
        self.said: dict[str, str] = {}  # by the message that asked
        self.replied: list[str] = []
        self.handled: list[str] = []  # messages after which the kernel said that it was idle
        self.subshell: str | None = None  # where clicks go: JupyterLab sends them to a thread of their own, if there are any

    def send(self, code: str) -> str:
        """Ask to run a cell, and do not wait."""
        return self.client.execute(code)

    def run(self, code: str) -> str:
        """Run a cell; what it printed."""
        return self.wait(self.send(code))

    def wait(self, message: str, seconds: float = 120) -> str:
        """What a cell printed, once the kernel has replied to it."""
        end = time.monotonic() + seconds
        while message not in self.replied:
            assert time.monotonic() < end, f"no reply after {seconds} s; printed so far: {self.said}"
            try:
                reply = self.client.get_shell_msg(timeout=0.1)
            except Empty:
                pass
            else:
                assert reply["content"].get("status") == "ok", reply["content"]
                self.replied.append(reply["parent_header"]["msg_id"])
        later = self.client.kernel_info()  # what was printed comes another way, but before all that the kernel tells of this
        while later not in self.handled:
            self.hear(timeout=60)
        return self.said.get(message, "")

    def hear(self, timeout: float) -> dict[str, Any]:
        """The next of what the kernel tells everybody; Empty if there is none for so many seconds."""
        output = self.client.get_iopub_msg(timeout=timeout)
        asked = output["parent_header"].get("msg_id", "")
        if output["content"].get("execution_state") == "idle":
            self.handled.append(asked)
        if output["msg_type"] == "stream":
            self.said[asked] = self.said.get(asked, "") + output["content"]["text"]
        return output

    def wait_until_it_trains(self) -> None:
        """Until a live view says that some steps are done, while its cell runs."""
        while not re.search(r"Training.{0,9}: step [1-9]", str(self.hear(timeout=60)["content"].get("data"))):
            pass

    def open_subshell(self) -> None:
        """As JupyterLab does; ipykernel has none below version 7."""
        if "kernel subshells" in self.client.kernel_info(reply=True)["content"].get("supported_features", []):
            self.client.control_channel.send(self.client.session.msg("create_subshell_request"))
            self.subshell = self.client.get_control_msg(timeout=10)["content"]["subshell_id"]

    def click(self, button: str) -> str:
        data = {"method": "custom", "content": {"event": "click"}}
        message = self.client.session.msg("comm_msg", {"comm_id": button, "data": data})
        message["header"]["subshell_id"] = self.subshell
        self.client.shell_channel.send(message)
        return message["header"]["msg_id"]


@pytest.fixture(scope="module")
def kernel(python: Path) -> Iterator[Kernel]:
    """One for all tests of a Python: it takes long until the lab is imported. Each test makes a view of its own."""
    manager = kernels_of(python)()
    manager.start_kernel(env=os.environ | FAST, stderr=subprocess.DEVNULL)
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        yield Kernel(manager, client)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def test_start_trains_while_the_kernel_is_free_and_pause_and_stop_work(kernel: Kernel) -> None:
    kernel.open_subshell()
    buttons = kernel.run(SETUP).splitlines()[-1].split()

    def says(state: str, beyond: int = 0) -> int:
        """The number of steps, once the view says that state, and more steps than ``beyond``."""
        end = time.monotonic() + 30
        while True:
            code = "print(live.text.value.split('>')[1].split(':')[0], live._side_by_side.done)"
            said, steps = kernel.run(code).rsplit(maxsplit=1)
            if said == state and int(steps) > beyond:
                return int(steps)
            assert time.monotonic() < end, f"it says {said!r} at step {steps}"

    kernel.click(buttons[START])
    says("Training", beyond=says("Training"))
    kernel.click(buttons[PAUSE])
    held = says("Paused")
    time.sleep(1)
    assert says("Paused") == held
    kernel.click(buttons[PAUSE])
    says("Training", beyond=held)
    kernel.click(buttons[STOP])
    assert 0 < says("Stopped") < STEPS
    assert kernel.run("print(len(live.runs['LoRA'].history) == live._side_by_side.done, live.start.disabled)").split() == [
        "True",
        "False",
    ]
    kernel.click(buttons[START])
    says("Training", beyond=says("Training"))
    kernel.click(buttons[STOP])
    says("Stopped")
    assert kernel.run("print(*threads)").split() == ["MainThread"]


def test_a_cell_that_trains_hears_pause_stop_and_interrupt_and_the_next_cell_waits(kernel: Kernel) -> None:
    kernel.subshell = None  # clicks go where they go without a subshell
    buttons = kernel.run(SETUP).splitlines()[-1].split()
    training = kernel.send("runs = await live.train()\nprint('trained', len(runs['LoRA'].history), live.text.value)")
    after = kernel.send("print('after', len(runs['CoTo'].history))")
    kernel.wait_until_it_trains()
    paused = kernel.click(buttons[PAUSE])
    time.sleep(1)
    kernel.click(buttons[STOP])
    trained, then = kernel.wait(training), kernel.wait(after)
    assert trained.startswith("trained ") and "Stopped:" in trained
    steps = trained.split()[1]
    assert 0 < int(steps) < STEPS and then.split() == ["after", steps]
    assert paused in kernel.handled  # else the browser would wait, and send nothing more of that widget

    training = kernel.send("runs = await live.train()\nprint(len(runs['LoRA'].history))")
    kernel.wait_until_it_trains()
    kernel.manager.interrupt_kernel()
    assert 0 < int(kernel.wait(training)) < STEPS
