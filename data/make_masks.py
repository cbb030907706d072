"""Score the gallery's LoRA and CoTo with every choice of open blocks: ``python data/make_masks.py``.

Writes ``data/evidence/masks.json``, from which the site's front page draws stability figures for any block. The scores are those
behind sections 6 and 9 of EVIDENCE.md, which has only means over them. An adapter that the file has already is not scored
again, so a run that was interrupted goes on where it ended. One adapter takes half a minute on one core.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path
from typing import Any

import torch

from coto_lab import Evaluator, Variant, load_task
from coto_lab.ground.files import read_json, write_file
from coto_lab.studies.evidence.lab import PART
from coto_lab.studies.gallery import SEEDS, SWEPT, load_adapters, run_name
from coto_lab.studies.legs import DIGITS

OUT = Path(__file__).parent / "evidence" / "masks.json"
BLOCKS = 8


def all_masks() -> torch.Tensor:
    """All choices of open blocks, bool ``[256, 8]``: bit i of a mask's number says whether block i is open."""
    return (torch.arange(2**BLOCKS)[:, None] >> torch.arange(BLOCKS)) & 1 > 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT, help="the file that is written (%(default)s)")
    options = parser.parse_args()
    part = load_task(DIGITS.tasks[0]).every(PART)
    examples = part.size("test")
    found: dict[str, Any] = read_json(options.out) if options.out.exists() else {"examples": examples, "right": {}}
    if found["examples"] != examples:
        raise SystemExit(f"{options.out} has scores on {found['examples']} examples, and not on {examples}: delete it.")
    evaluator, masks = Evaluator(part), all_masks()
    for method in SWEPT:
        for seed in SEEDS:
            name = run_name(method, seed)
            if name in found["right"]:
                continue
            scores = evaluator([Variant(load_adapters(method)[seed], mask) for mask in masks])
            found["right"][name] = (scores.accuracy * examples).round().int().tolist()
            write_file(options.out, partial(_write, found=found))
            print(f"{name}: {examples} examples, {len(masks)} masks", flush=True)


def _write(path: Path, found: dict[str, Any]) -> None:
    """Write the scores, one adapter a line."""
    lines = ",\n".join(f"    {json.dumps(name)}: {json.dumps(right)}" for name, right in sorted(found["right"].items()))
    path.write_text(f'{{\n  "examples": {found["examples"]},\n  "right": {{\n{lines}\n  }}\n}}\n', encoding="utf-8")


if __name__ == "__main__":
    main()
