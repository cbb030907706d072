"""Score the gallery's LoRA and CoTo with every choice of open blocks: ``python data/make_masks.py``.

Writes ``data/evidence/masks.json``, from which the site's front page draws its figures for any block. The scores are those
behind sections 6 and 9 of EVIDENCE.md, which has only means over them. Pairs of seeds, fused 1:1, are scored with all blocks
open and with each block shut. What the file has already is not scored again, so a run that was interrupted goes on where it
ended. All of it takes about six minutes on one core.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path
from typing import Any

import torch

from coto_lab import Adapter, Evaluator, Variant, load_task, merge
from coto_lab.ground.files import read_json, write_file
from coto_lab.probes.shapley import all_coalitions
from coto_lab.studies.evidence.lab import PART
from coto_lab.studies.evidence.records import PAIRS
from coto_lab.studies.gallery import SEEDS, SWEPT, load_adapters, run_name
from coto_lab.studies.legs import DIGITS

OUT = Path(__file__).parent / "evidence" / "masks.json"
BLOCKS = 8


def one_shut() -> torch.Tensor:
    """All blocks open, then block 0 shut, then block 1, and so on: bool ``[9, 8]``."""
    return torch.cat([torch.ones(1, BLOCKS, dtype=torch.bool), ~torch.eye(BLOCKS, dtype=torch.bool)])


def pair_name(method: str, pair: tuple[int, int]) -> str:
    """The name of two fused seeds, such as ``"coto-seed0+3"``."""
    return f"{run_name(method, pair[0])}+{pair[1]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=OUT, help="the file that is written (%(default)s)")
    options = parser.parse_args()
    part = load_task(DIGITS.tasks[0]).every(PART)
    examples, evaluator = part.size("test"), Evaluator(part)
    found: dict[str, Any] = {"examples": examples, "right": {}, "fused": {}}
    if options.out.exists():
        found = read_json(options.out)
    if found["examples"] != examples:
        raise SystemExit(f"{options.out} has scores on {found['examples']} examples, and not on {examples}: delete it.")

    def add(kind: str, name: str, adapter: Adapter, masks: torch.Tensor) -> None:
        if name not in found[kind]:
            accuracy = evaluator([Variant(adapter, mask) for mask in masks]).accuracy
            found[kind][name] = (accuracy * examples).round().int().tolist()
            write_file(options.out, partial(write, found=found))
            print(f"{name}: {examples} examples, {len(masks)} masks", flush=True)

    for method in SWEPT:
        adapters = load_adapters(method)
        for seed in SEEDS:
            add("right", run_name(method, seed), adapters[seed], all_coalitions(BLOCKS))
        for pair in PAIRS:
            add("fused", pair_name(method, pair), merge([adapters[seed] for seed in pair]), one_shut())


def write(path: Path, found: dict[str, Any]) -> None:
    """Write the scores, one adapter a line."""

    def lines(kind: str) -> str:
        own = sorted(found[kind].items())
        return ",\n".join(f"    {json.dumps(name)}: {json.dumps(right)}" for name, right in own)

    kinds = ",\n".join(f'  "{kind}": {{\n{lines(kind)}\n  }}' for kind in ("right", "fused"))
    path.write_text(f'{{\n  "examples": {found["examples"]},\n{kinds}\n}}\n', encoding="utf-8")


if __name__ == "__main__":
    main()
