"""Figures are read on light pages and on dark ones, at a desk and in a lecture hall."""

from __future__ import annotations

from collections.abc import Iterator

import plotly.graph_objects as go
import pytest
import torch

from coto_lab.figures import STYLES, interpolation_figure, ramp_figure
from coto_lab.figures.style import dress, stroke, style
from coto_lab.figures.sweep import sweep_figure
from coto_lab.figures.theme import INK, on_white, page_css, set_text_size
from coto_lab.gating.schedules import Linear
from coto_lab.probes.interpolation import Curve

BLACK, WHITE = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)


def contrast(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """From 1 to 21, by WCAG 2.1 (relative luminance of sRGB)."""

    def luminance(color: tuple[float, ...]) -> float:
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in color]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


def rgb(color: str) -> tuple[float, ...]:
    return tuple(byte / 255 for byte in bytes.fromhex(color[1:]))


@pytest.fixture
def large() -> Iterator[None]:
    set_text_size("large")
    yield
    set_text_size("normal")


def test_ink_is_read_on_white_and_on_black_and_lines_are_seen() -> None:
    for page in (WHITE, BLACK):
        assert contrast(rgb(INK), page) > 4.5  # WCAG's level AA for text
        looks = [*STYLES.values(), *(style("unknown", position) for position in range(3))]
        assert min(contrast(rgb(look["color"]), page) for look in looks) > 2


def test_paper_is_transparent_and_white_in_a_file() -> None:
    figure = ramp_figure({"CoTo": Linear()})
    template = figure.layout.template.layout
    assert template.paper_bgcolor == template.plot_bgcolor == "rgba(0, 0, 0, 0)" and template.font.color == INK
    printed = on_white(figure)
    assert printed.layout.paper_bgcolor == printed.layout.plot_bgcolor == "white"
    assert contrast(rgb(printed.layout.font.color), WHITE) > 7
    assert figure.layout.paper_bgcolor is None, "the figure itself is as it was"


def test_the_style_sheet_turns_ink_into_the_font_colour_of_the_theme() -> None:
    for part in ("fill", "stroke"):
        assert f'[style*="{part}: rgb(118, 118, 119)"] {{ {part}: var(--jp-ui-font-color1' in page_css()


def test_dashes_lie_over_a_wider_solid_line() -> None:
    solid, dashed = stroke("CoTo"), stroke("LoRA")
    assert solid["line"]["dash"] == "solid" != dashed["line"]["dash"]
    assert solid["line"]["width"] > dashed["line"]["width"] and solid["zorder"] < dashed["zorder"]
    half = torch.tensor([0.0, 1.0], dtype=torch.float64)
    same = Curve(half, half, half, "fuse")
    lora, coto = interpolation_figure({"LoRA": same, "CoTo": same}).data[::2]
    assert lora.zorder > coto.zorder and lora.line.width < coto.line.width


def test_large_letters(large: None) -> None:
    figure = ramp_figure({"CoTo": Linear()})
    assert figure.layout.template.layout.font.size == 17 and figure.layout.height > 360
    titled = sweep_figure({"a title": {"CoTo": {0.1: torch.tensor([0.9])}}})
    assert titled.layout.annotations[0].font.size > 13
    assert "--jp-widgets-font-size: 18px" in page_css()
    set_text_size("normal")
    assert ramp_figure({"CoTo": Linear()}).layout.height == 360 and "--jp-widgets-font-size" not in page_css()


def test_an_unknown_size_is_refused() -> None:
    with pytest.raises(ValueError, match="size='huge': use one of 'normal', 'large'"):
        set_text_size("huge")


def test_the_legend_is_on_the_left_and_the_toolbar_on_the_right() -> None:
    layout = dress(go.Figure(), 400).layout
    assert layout.legend.x == 0 and layout.legend.xanchor in (None, "left") and layout.modebar.orientation in (None, "h")
