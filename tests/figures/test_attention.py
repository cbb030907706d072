from __future__ import annotations

import numpy as np
import pytest
import torch

from coto_lab.figures.attention import attention_figure
from coto_lab.probes.attention import AttentionMaps


def maps(seed: int, heads: int = 2, prompt: int = 5) -> AttentionMaps:
    """Three blocks, bodies of three characters, answers of two characters and the end; what comes later is not seen."""
    shares = torch.rand(3, heads, 3, prompt + 2, generator=torch.Generator().manual_seed(seed)).tril(prompt - 1)
    return AttentionMaps(shares / shares.sum(-1, keepdim=True), prompt, 10)


BEFORE, AFTER = maps(0), maps(1)


def test_one_map_per_model_in_percent_on_one_scale() -> None:
    figure = attention_figure({"base": BEFORE, "LoRA": AFTER}, block=1, head=0)
    assert [trace.name for trace in figure.data] == ["base", "LoRA"]
    for trace, found in zip(figure.data, (BEFORE, AFTER), strict=True):
        expected = 100 * found.weights[1, 0].double().numpy()
        shown = np.array(trace.z, dtype=float)  # None becomes NaN
        seen = ~np.isnan(shown)
        np.testing.assert_allclose(shown[seen], expected[seen])
        assert (seen == np.tril(np.ones((3, 7), dtype=bool), 4)).all(), "later characters have no colour"
        assert list(trace.x) == ["sign", "1", "2", "3", "=", "a1", "a2"] and list(trace.y) == ["1", "2", ";"]
        assert trace.coloraxis == "coloraxis"
    assert (figure.layout.coloraxis.cmin, figure.layout.coloraxis.cmax) == (0, 100)
    assert figure.layout.yaxis.autorange == "reversed" and figure.layout.height
    assert "block 1" in figure.layout.coloraxis.colorbar.title.text and "head 0" in figure.layout.coloraxis.colorbar.title.text


def test_without_a_head_the_mean_of_all() -> None:
    figure = attention_figure({"base": BEFORE}, block=2)
    np.testing.assert_allclose(figure.data[0].z[0][:5], 100 * BEFORE.weights[2].mean(0)[0, :5].double().numpy(), rtol=1e-6)
    assert "mean of the heads" in figure.layout.coloraxis.colorbar.title.text


def test_axes_are_labelled() -> None:
    figure = attention_figure({"base": BEFORE, "LoRA": AFTER}, block=0)
    assert figure.layout.xaxis.title.text == figure.layout.xaxis2.title.text == "place looked at"
    assert figure.layout.yaxis.title.text == "answer character"


@pytest.mark.parametrize("given", [{}, {"a": BEFORE, "b": maps(0, heads=1)}, {"a": BEFORE, "b": maps(0, prompt=6)}])
def test_maps_that_cannot_stand_side_by_side_are_refused(given: dict[str, AttentionMaps]) -> None:
    with pytest.raises(ValueError, match="maps must be of one model and of examples of the same lengths, at least one"):
        attention_figure(given, block=0)


@pytest.mark.parametrize(
    ("place", "told"), [({"block": 3}, "block=3: must be from 0 to 2"), ({"block": 0, "head": -1}, "head=-1")]
)
def test_a_block_or_head_that_is_not_there_is_refused(place: dict[str, int], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        attention_figure({"base": BEFORE}, **place)
