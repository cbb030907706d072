"""Train plain LoRA once on every task on strings, and write what it scores: ``python data/make_string_tasks.py``.

``data/gallery/string_tasks.json`` has for each task the accuracy of the base alone and with the adapter, the loss, and the
seconds that the training took, one task after the other. It shows that each task can be learned; with one seed it compares
nothing.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch

from coto_lab import Evaluator, Variant, fit, load_task
from coto_lab.ground.files import write_file
from coto_lab.studies.string_tasks import RECIPE, TABLE
from coto_lab.tasks.strings import TASKS


def measure(name: str) -> dict[str, Any]:
    """Train and score one task."""
    task = load_task(name)
    started = time.perf_counter()
    adapter = fit(task, RECIPE, progress=False).adapter
    seconds = time.perf_counter() - started
    evaluator = Evaluator(task)
    shut = torch.zeros(len(evaluator.sites(adapter)), dtype=torch.bool)
    scores = evaluator([Variant(adapter), Variant(adapter, shut)])
    trained, base = (round(100 * value, 4) for value in scores.accuracy.tolist())
    return {
        "base": base,
        "LoRA": trained,
        "loss": round(scores.loss[0].item(), 4),
        "seconds": round(seconds, 1),
        "examples": task.size("train"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "gallery" / TABLE, help="the table")
    arguments = parser.parse_args()
    found = {}
    for name in TASKS:
        found[name] = measure(f"strings/{name}")
        print(f"{name}: {found[name]}", flush=True)
    content = {"recipe": RECIPE.to_json(), "tasks": found}
    write_file(arguments.out, lambda path: path.write_text(json.dumps(content, indent=1) + "\n"))


if __name__ == "__main__":
    main()
