"""The report's own figures, and the lab's in colours for adapters."""

from __future__ import annotations

import torch

from coto_lab.figures import pruning_figure, sparsity_figure
from coto_lab.figures.style import STYLES
from coto_lab.probes.pruning import PruningTable
from coto_lab.probes.sparsity import SparsityCurve
from coto_lab.report.drawings import choose_looks, drawn, norm_figure, spectrum_figure
from coto_lab.report.spectra import Spectra

FOUND = Spectra(
    ("b.0.q", "b.0.v", "b.1.q"),
    ("b.0", "b.0", "b.1"),
    torch.tensor([5.0, 2.0, 1.0]).double(),
    torch.tensor([10.0, 10.0, 10.0]).double(),
    (torch.tensor([4.0, 3.0]).double(), torch.tensor([2.0]).double(), torch.tensor([1.0, 0.0]).double()),
)


def test_norms_are_a_map_of_blocks_and_kinds() -> None:
    (heat,) = norm_figure(FOUND).data
    assert list(heat.z) == [[50, 20], [10, None]] and tuple(heat.x) == ("q", "v") and tuple(heat.y) == ("0", "1")
    quantised = Spectra(FOUND.names, FOUND.blocks, FOUND.norm, torch.full((3,), torch.nan).double(), FOUND.singular)
    assert norm_figure(quantised).data[0].z[0] == [5, 2], "without a weight to compare with, the norms themselves"


def test_singular_values_are_a_line_for_each_block() -> None:
    low, high = spectrum_figure(FOUND).data
    assert (low.name, high.name) == ("block 0", "block 1") and low.line.color != high.line.color
    torch.testing.assert_close(torch.tensor(low.y), torch.tensor([20**0.5, 3.0]))


def test_looks_are_distinct_and_names_are_the_adapters() -> None:
    looks = choose_looks({"a": "LoRA", "b": "LoRA", "c": "CoTo"})
    assert looks["a"] == "LoRA" and looks["c"] == "CoTo" and looks["b"] not in ("LoRA", "CoTo") and looks["b"] in STYLES
    many = choose_looks(dict.fromkeys([*"abcdef", "LoRA", "CoTo"], "LoRA"))
    assert len(set(many.values())) == 8 and not STYLES.keys() & {many["LoRA"], many["CoTo"]}
    table = PruningTable(("all", "none"), *torch.tensor([[1.0, 0.0]] * 3).double())
    figure = drawn(pruning_figure, {"mine, of today": table, "CoTo": table}, {"mine, of today": "CoTo", "CoTo": "LoRA"})
    assert [bar.name for bar in figure.data] == ["mine, of today", "CoTo"]
    assert [bar.marker.color for bar in figure.data] == [STYLES[look]["color"] for look in ("CoTo", "LoRA")]
    assert figure.layout.showlegend is None


def test_a_lone_adapter_needs_no_legend() -> None:
    table = PruningTable(("all", "none"), *torch.tensor([[1.0, 0.0]] * 3).double())
    assert drawn(pruning_figure, {"mine": table}, {"mine": "LoRA"}).layout.showlegend is False
    curve = SparsityCurve(*torch.tensor([[0.0, 1.0]] * 3).double())
    lines = drawn(sparsity_figure, {"mine": curve}, {"mine": "LoRA"})
    assert [line.name for line in lines.data] == ["mine", "all entries 0"] and lines.layout.showlegend is None
