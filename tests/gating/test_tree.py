"""The lines that ``print(gates)`` shows, written out by hand."""

from __future__ import annotations

import pytest

from coto_lab.gating.tree import as_tree


def lines(**layers: list[str]) -> list[str]:
    """The lines for gates whose layers are given by their names within the gate; ``__`` stands for a dot."""
    inside = {gate.replace("__", "."): own for gate, own in layers.items()}
    return as_tree(list(inside), [[f"{gate}.{layer}" for layer in own] for gate, own in inside.items()]).split("\n")


def test_equal_neighbours_share_a_line() -> None:
    found = lines(m__0=["q", "v"], m__1=["q", "v"], m__2=["q", "v"], m__3=["q"], m__4=["q", "v"])
    assert found == ["m", "    0 ... 2 (3): q, v", "    3: q", "    4: q, v"]


def test_two_neighbours_are_enough() -> None:
    assert lines(m__8=["q"], m__9=["q"]) == ["m", "    8 ... 9 (2): q"]


def test_each_module_that_holds_gates_has_a_line_above_them() -> None:
    found = lines(enc__0=["q"], enc__1=["q"], dec__0=["q"], dec__1=["q", "v"])
    assert found == ["enc", "    0 ... 1 (2): q", "dec", "    0: q", "    1: q, v"]


def test_gates_without_numbers_are_listed_by_name() -> None:
    assert lines(m__down=["q"], m__up=["q"]) == ["m", "    down, up: q"]
    assert lines(m__0=["q"], m__up=["q"]) == ["m", "    0, up: q"]  # not all are numbers
    assert lines(m__block_0=["q"], m__block_1=["q"]) == ["m", "    block_0 ... block_1 (2): q"]


def test_a_gate_that_is_its_own_only_layer_has_no_list_of_layers() -> None:
    assert as_tree(["m.0.q", "m.0.v", "m.1.q"], [["m.0.q"], ["m.0.v"], ["m.1.q"]]).split("\n") == [
        "m.0", "    q, v", "m.1", "    q",
    ]  # fmt: skip


def test_a_gate_at_the_top_is_in_the_model_itself() -> None:
    assert as_tree(["0", "1"], [["0"], ["1"]]).split("\n") == ["(the model itself)", "    0 ... 1 (2)"]


@pytest.mark.parametrize(("n", "end"), [(12, "l11"), (13, "l11, ... (13)"), (100, "l11, ... (100)")])
def test_at_most_twelve_layers_of_a_gate_are_named(n: int, end: str) -> None:
    expected = ", ".join(f"l{i}" for i in range(11))
    assert lines(m__0=[f"l{i}" for i in range(n)]) == ["m", f"    0: {expected}, {end}"]
