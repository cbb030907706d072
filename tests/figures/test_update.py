from __future__ import annotations

import pytest
import torch

from coto_lab.figures.style import STYLES
from coto_lab.figures.update import update_figure


def of_rank(r: int, seed: int, shape: tuple[int, int] = (6, 5)) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape[0], r, generator=generator) @ torch.randn(r, shape[1], generator=generator)


UPDATES = {"LoRA": of_rank(2, 0), "CoTo": of_rank(2, 1)}


def test_entries_on_one_scale_centred_at_0() -> None:
    figure = update_figure(UPDATES)
    maps = [trace for trace in figure.data if trace.type == "heatmap"]
    assert [trace.name for trace in maps] == ["LoRA", "CoTo"] and {trace.coloraxis for trace in maps} == {"coloraxis"}
    for trace, update in zip(maps, UPDATES.values(), strict=True):
        assert torch.equal(torch.tensor(trace.z), update)
    top = max(update.abs().max().item() for update in UPDATES.values())
    assert (figure.layout.coloraxis.cmin, figure.layout.coloraxis.cmax) == pytest.approx((-top, top))


def test_the_rank_is_seen_in_the_singular_values() -> None:
    for trace in [trace for trace in update_figure(UPDATES, values=4).data if trace.type == "scatter"]:
        expected = torch.linalg.matrix_norm(UPDATES[trace.name]).item()  # Frobenius: the root of their squares' sum
        assert list(trace.x) == [1, 2, 3, 4] and trace.line.color == STYLES[trace.name]["color"]
        assert torch.tensor(trace.y).norm().item() == pytest.approx(expected, rel=1e-6)
        assert trace.y[1] > 0.1 and trace.y[2] < 1e-5


def test_no_more_values_than_there_are_and_every_axis_is_labelled() -> None:
    figure = update_figure({"mine": torch.nn.Parameter(of_rank(1, 2))})
    _, marks = figure.data
    assert len(marks.y) == 5
    assert [figure.layout[axis].title.text for axis in ("xaxis", "yaxis", "xaxis2")] == [
        "input", "output", "number, from the largest",
    ]  # fmt: skip
    assert figure.layout.height


@pytest.mark.parametrize("updates", [{}, {"a": torch.ones(2, 3), "b": torch.ones(3, 2)}, {"a": torch.ones(3)}])
def test_updates_that_cannot_stand_side_by_side_are_refused(updates: dict[str, torch.Tensor]) -> None:
    with pytest.raises(ValueError, match=r"updates must be matrices \[out, in\] of one shape"):
        update_figure(updates)
