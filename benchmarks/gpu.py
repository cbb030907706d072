"""On an accelerator: is all correct there, and how fast is it? ``python benchmarks/gpu.py [--quick] [--json FILE]``.

First the checks (`gpu_checks`), then the timings (`gpu_timings`), within seven minutes on a recent card. Nothing has to be
downloaded: weights and tokens are random, or are those of the embedded task. What breaks is named at the end and the rest
goes on, since a machine with an accelerator may not be at hand again. ``--json`` writes one file: ``"machine"``,
``"checks"`` (what each measured), ``"figures"`` (the keys of `catalogue`) and ``"failed"`` (name -> what went wrong). It is
written anew after each part, so an interrupted run leaves what it has.

Without an accelerator it says what it would do; with ``--quick`` it does so on a tiny model, on whatever there is.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from _report import machine, table
from catalogue import FIGURES, GPU_FIGURES
from gpu_checks import CHECKS, run_alone, summary
from gpu_timings import QUICKLY, WHOLE, timings

from coto_lab.ground.device import default_device
from coto_lab.ground.files import write_file

_CPUS_PER_CHECK = 2


class Report:
    """What was found so far, printed as it comes and written to a file after each part."""

    def __init__(self, path: Path | None):
        self.path, self.started = path, time.perf_counter()
        self.found: dict[str, Any] = {"machine": machine(), "checks": {}, "figures": {}, "failed": {}}

    def add(self, kind: str, name: str, part: Callable[[], dict[str, float]]) -> None:
        """Run a part; what it measures goes to ``kind``, or what went wrong to ``"failed"``."""
        try:
            figures = part()
            self.found[kind] |= {name: figures} if kind == "checks" else figures
            said = "holds" if kind == "checks" else "measured"
        except Exception as error:  # whatever it is, the rest goes on
            said = self.found["failed"][name] = f"{type(error).__name__}: {error}"
        print(f"{time.perf_counter() - self.started:4.0f} s  {name}: {said}", flush=True)
        if self.path:
            text = json.dumps(self.found, indent=2) + "\n"
            write_file(self.path, lambda path: path.write_text(text, encoding="utf-8"))


def measure(report: Report, quick: bool) -> None:
    """All checks, side by side, then all timings, one after the other."""
    with ThreadPoolExecutor(max(1, (os.cpu_count() or 1) // _CPUS_PER_CHECK)) as pool:
        results = {name: pool.submit(run_alone, name) for name in CHECKS}
        for name, result in results.items():
            report.add("checks", name, result.result)
    for name, timing in timings(QUICKLY if quick else WHOLE).items():
        report.add("figures", name, timing)
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="tiny models: shows that everything runs, measures nothing")
    parser.add_argument("--json", type=Path, help="also write what was found to this file")
    args = parser.parse_args()
    if default_device().type == "cpu" and not args.quick:
        print("There is no accelerator here. On one, this would check:")
        print("\n".join(f"  {name}: {summary(check)}" for name, check in CHECKS.items()))
        print("and time: " + ", ".join(timings(WHOLE)) + ".\nAdd --quick to see it all run here, on tiny models.")
        return
    report = Report(args.json)
    measure(report, args.quick)
    found = report.found
    print("\n" + ", ".join(f"{name} {value}" for name, value in found["machine"].items()) + "\n")
    print(table(found["figures"], FIGURES | GPU_FIGURES))
    print("\n".join(f"FAILED {name}: {what}" for name, what in found["failed"].items()))
    sys.exit(1 if found["failed"] else 0)


if __name__ == "__main__":
    main()
