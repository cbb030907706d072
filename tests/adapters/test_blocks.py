"""Blocks and towers that gates find, on tiny models of many architectures: the right answers stand in ``architectures``.

The table of what was found, ``pages/blocks.md``, is written again by the command in `WRITE`.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from architectures import ALL, Architecture
from peft.tuners.tuners_utils import BaseTunerLayer

from coto_lab import attach_gates

TABLE = Path(__file__).parents[2] / "pages/blocks.md"
WRITE = "COTO_LAB_WRITE=1 .venv/bin/python -m pytest tests/adapters/test_blocks.py"
HEADING = f"""# Blocks of architectures

This table says which blocks `coto_lab.attach_gates` finds in tiny random models of {len(ALL)} architectures, and which adapter
layers lie on no block and are always open. A test compares it with what the gates find; to write it again, run `{WRITE}`.

| architecture | class | blocks found | always open |
|---|---|---|---|
"""


@dataclass(frozen=True)
class Found:
    class_name: str
    blocks: tuple[str, ...]
    towers: list[int]
    outside: tuple[str, ...]
    messages: tuple[str, ...]


@cache
def found(architecture: Architecture) -> Found:
    model = architecture.adapted()
    layers = adapter_layers(model)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        gates = attach_gates(model)
    outside = tuple(name for name in layers if name not in gates.modules)
    messages = tuple(str(warning.message) for warning in caught)
    kind = type(model.get_base_model())
    class_name = "by hand" if kind.__module__.startswith("architectures.") else f"`{kind.__name__}`"
    return Found(class_name, gates.names, gates.towers.tolist(), outside, messages)


def adapter_layers(model: object) -> dict[str, BaseTunerLayer]:
    """The outermost adapter layers by their names in the base model: attention and experts hold some within others."""
    layers = {name: module for name, module in model.get_base_model().named_modules() if isinstance(module, BaseTunerLayer)}
    return {name: layer for name, layer in layers.items() if not any(name.startswith(f"{other}.") for other in layers)}


def is_in(name: str, part: str) -> bool:
    return f"{name}.".startswith(f"{part}.")


def renumbered(labels: list[int]) -> list[int]:
    """The same partition with the numbers 0, 1, ... in their order."""
    return [list(dict.fromkeys(labels)).index(label) for label in labels]


every_architecture = pytest.mark.parametrize("architecture", ALL, ids=str)


# The answers


@every_architecture
def test_answers_cover_every_adapter_layer(architecture: Architecture) -> None:
    layers = adapter_layers(architecture.adapted())

    assert (
        tuple(name for name in layers if not any(is_in(name, block) for block in architecture.blocks)) == architecture.outside
    )
    assert [block for block in architecture.blocks if not any(is_in(name, block) for name in layers)] == []
    assert len(architecture.tower_of_block) == len(architecture.blocks)


@pytest.mark.parametrize(
    ("architecture", "part"), [pytest.param(a, part, id=f"{a}: {part}") for a in ALL for part in a.part_batches]
)
def test_a_part_batch_reaches_one_tower(architecture: Architecture, part: str) -> None:
    model = architecture.adapted()
    architecture.part_batches[part](model.get_base_model()).sum().backward()

    reached = {name for name, layer in adapter_layers(model).items() for p in layer.parameters() if p.grad is not None}
    towers = {
        tower
        for block, tower in zip(architecture.blocks, architecture.tower_of_block, strict=True)
        if any(is_in(name, block) for name in reached)
    }
    assert len(towers) == 1


# What the gates find


@every_architecture
def test_blocks(architecture: Architecture) -> None:
    assert found(architecture).blocks == architecture.blocks


@every_architecture
def test_layers_outside_blocks_are_named(architecture: Architecture) -> None:
    seen = found(architecture)
    assert seen.outside == architecture.outside
    assert len(seen.messages) == (1 if architecture.outside else 0), seen.messages
    assert set(architecture.outside[:8]) <= set(re.findall(r"[\w.]*\w", "".join(seen.messages)))


@every_architecture
def test_towers(architecture: Architecture) -> None:
    assert renumbered(found(architecture).towers) == architecture.tower_of_block


# The table


def runs(names: Iterable[str]) -> Iterator[str]:
    """Names whose last numbers follow one another as one: ``layers.0 … 2 (3)``."""
    texts: list[str] = []
    numbers: list[int] = []
    for name in names:
        text, digits = re.fullmatch(r"(.*?)(\d*)", name).groups()
        if digits and texts and text == texts[-1] and int(digits) == numbers[-1] + 1:
            numbers.append(int(digits))
            continue
        yield from _run(texts, numbers)
        texts, numbers = [text], [int(digits)] if digits else []
    yield from _run(texts, numbers)


def _run(texts: list[str], numbers: list[int]) -> Iterator[str]:
    if texts:
        first, *_ = (f"{texts[0]}{number}" for number in numbers or [""])
        yield f"`{first} … {numbers[-1]}` ({len(numbers)})" if len(numbers) > 1 else f"`{first}`"


def largest_without(name: str, blocks: Iterable[str]) -> str:
    """The largest module around an adapter layer that holds no block."""
    parts = name.split(".")
    prefixes = (".".join(parts[: i + 1]) for i in range(len(parts)))
    return next(prefix for prefix in prefixes if not any(is_in(block, prefix) for block in blocks))


def row(architecture: Architecture) -> str:
    seen = found(architecture)
    outside = dict.fromkeys(largest_without(name, seen.blocks) for name in seen.outside)
    cells = (architecture.name, seen.class_name, ", ".join(runs(seen.blocks)), ", ".join(runs(outside)))
    return f"| {' | '.join(cells)} |".replace("|  |", "| |")


def test_runs_of_names() -> None:
    assert list(runs(["a.0", "a.1", "a.2", "b.1.0", "b.2.0", "0", "2", "c"])) == [
        "`a.0 … 2` (3)", "`b.1.0`", "`b.2.0`", "`0`", "`2`", "`c`",
    ]  # fmt: skip


def test_table() -> None:
    table = HEADING + "".join(f"{row(architecture)}\n" for architecture in ALL)
    if os.environ.get("COTO_LAB_WRITE") == "1":
        TABLE.write_text(table, encoding="utf-8")
    assert TABLE.is_file() and TABLE.read_text(encoding="utf-8") == table, f"the table is old; write it again: {WRITE}"
