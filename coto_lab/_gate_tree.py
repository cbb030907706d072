"""The gates of a model as a tree, for ``print(gates)``."""

from __future__ import annotations

from collections.abc import Sequence


def as_tree(gates: Sequence[str], layers: Sequence[Sequence[str]]) -> str:
    """One line per gate under the module that holds them, with its layers; equal neighbours share a line.

    Args:
        gates: names, e.g. ``"vit.layers.0"``.
        layers: names of the layers of each gate.
    """
    lines: list[str] = []
    holder: str | None = None
    run: list[str] = []  # keys of neighbours with the same layers
    shown = ""

    def finish() -> None:
        if run:
            keys = run[0] if len(run) == 1 else f"{run[0]} ... {run[-1]} ({len(run)})"
            lines.append(f"    {keys}: {shown}" if shown else f"    {keys}")
        run.clear()

    for gate, members in zip(gates, layers, strict=True):
        parent, _, key = gate.rpartition(".")
        text = ", ".join(name.removeprefix(f"{gate}.") for name in members if name != gate)
        if parent != holder or text != shown:
            finish()
        if parent != holder:
            lines.append(f"{parent or '(the model itself)'}")
        holder, shown = parent, text
        run.append(key)
    finish()
    return "\n".join(lines)
