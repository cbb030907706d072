"""The schedule and the draws of CoTo inside PEFT are those of this package, number by number."""

from __future__ import annotations

from typing import Any

import pytest
from coto_in_peft import CotoConfig, open_blocks

from coto_lab import Linear
from coto_lab.gating.coto import draw_mask


class TestCotoConfig:
    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"initial_p": 1.5}, "`initial_p` must be between 0 and 1, got 1.5"),
            ({"ramp": -0.1}, "`ramp` must be between 0 and 1, got -0.1"),
            ({"ramp": float("nan")}, "`ramp` must be between 0 and 1, got nan"),
            ({"total_steps": 0}, "`total_steps` must be at least 1, got 0"),
            ({"seed": -1}, "`seed` must not be negative, got -1"),
        ],
    )
    def test_out_of_range(self, settings: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            CotoConfig(**settings)

    def test_no_schedule_without_total_steps(self) -> None:
        with pytest.raises(ValueError, match="`total_steps` is not set"):
            CotoConfig().probability(0)

    @pytest.mark.parametrize(("start", "ramp"), [(0.0, 0.75), (0.1, 0.5), (0.3, 1.0), (0.2, 0.0)])
    def test_schedule_is_that_of_coto_lab(self, start: float, ramp: float) -> None:
        config, schedule = CotoConfig(total_steps=100, initial_p=start, ramp=ramp), Linear(start=start, ramp=ramp)
        assert [config.probability(step) for step in range(101)] == [schedule(step / 100) for step in range(101)]
        assert config.probability(1000) == 1


class TestOpenBlocks:
    @pytest.mark.parametrize("p", [0.0, 1e-12, 0.05, 0.3, 0.5, 0.9, 1 - 1e-12, 1.0])
    @pytest.mark.parametrize("n_blocks", [1, 2, 3, 12, 80])
    def test_same_masks_as_coto_lab(self, n_blocks: int, p: float) -> None:
        for seed in (0, 1, 12345, 2**63 - 1):
            for step in (*range(50), 10**9):
                opened = open_blocks(n_blocks, p, seed, step)
                assert opened == draw_mask(n_blocks, p, seed, step).tolist()
                assert any(opened)
