"""The gates of a model as a tree, for ``print(gates)``."""

from __future__ import annotations

from collections.abc import Sequence

_MOST = 12  # a line names at most this many layers; a block with many experts has hundreds


def as_tree(gates: Sequence[str], layers: Sequence[Sequence[str]]) -> str:
    """One line per gate with its layers, under the module that holds the gates; neighbours with equal layers share a line.

    Args:
        gates: names, e.g. ``"vit.layers.0"``.
        layers: names of the layers of each gate.
    """
    lines: list[str] = []
    holder: str | None = None
    run: list[str] = []  # last parts of the names of neighbouring gates with the same layers
    shown = ""

    def finish() -> None:
        if run:
            in_order = len(run) > 1 and all(key[-1:].isdigit() for key in run)
            keys = f"{run[0]} ... {run[-1]} ({len(run)})" if in_order else ", ".join(run)
            lines.append(f"    {keys}: {shown}" if shown else f"    {keys}")
        run.clear()

    for gate, members in zip(gates, layers, strict=True):
        parent, _, key = gate.rpartition(".")
        names = [name.removeprefix(f"{gate}.") for name in members if name != gate]
        text = ", ".join(names[:_MOST]) + (f", ... ({len(names)})" if len(names) > _MOST else "")
        if parent != holder or text != shown:
            finish()
        if parent != holder:
            lines.append(f"{parent or '(the model itself)'}")
        holder, shown = parent, text
        run.append(key)
    finish()
    return "\n".join(lines)
