from __future__ import annotations

from coto_lab.figures import gains_figure
from coto_lab.figures.method_gains import BETTER, OPEN, WORSE, verdicts
from coto_lab.figures.style import STYLES

ALONE = {"LoRA": (1.0, -0.5, 2.5), "DoRA": (2.0, 0.5, 3.5), "OFT": (-2.0, -3.0, -1.0), "IA3": (0.1, 0.0, 0.2)}
FUSED = dict.fromkeys(ALONE, (5.0, 4.0, 6.0))


def test_an_interval_that_touches_0_decides_nothing() -> None:
    assert verdicts(ALONE) == {BETTER: ["DoRA"], OPEN: ["LoRA", "IA3"], WORSE: ["OFT"]}


def test_bars_are_shares_of_the_methods() -> None:
    figure = gains_figure({"alone": ALONE, "fused": FUSED}, {"fused": 60.0})
    better, open_, worse, guess = figure.data
    assert [list(bar.y) for bar in (better, open_, worse)] == [[25, 100], [50, 0], [25, 0]]
    assert [list(bar.customdata) for bar in (better, worse)] == [["DoRA", "LoRA, DoRA, OFT, IA3"], ["OFT", ""]]
    assert (list(guess.x), list(guess.y), guess.name) == (["fused"], [60.0], "your guess, fused")
    assert (better.marker.color, worse.marker.color) == (STYLES["CoTo"]["color"], STYLES["LoRA"]["color"])
    assert len({bar.marker.pattern.shape for bar in (better, open_, worse)}) == 3, "a second cue beside the colour"
    assert len(gains_figure({"alone": ALONE}).data) == 3
