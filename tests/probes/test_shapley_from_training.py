from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from coto_lab import Constant, CoTo, Evaluator, Exponential, Linear, Run, Schedule, Task, Variant, attach_gates
from coto_lab.probes.shapley import ShapleyValues, exact_shapley, shapley
from coto_lab.probes.shapley_from_training import Agreement, agreement, expected_marginals, owen_estimate
from coto_lab.training.history import History

WORTHS = torch.tensor([0, 0.1, 0.5, 0.4, 0.2, 1.1, 1.2, 2.0], dtype=torch.float64)  # of three players, bit i for player i


def play(loss: Callable[[Tensor], Tensor], p: Tensor, n: int = 3, noise: float = 0.02, seed: int = 0) -> History:
    """The history of a training whose gates open independently with p, and whose loss is that of its masks."""
    generator = torch.Generator().manual_seed(seed)
    steps = len(p)
    mask = torch.rand(steps, n, generator=generator, dtype=torch.float64) < p[:, None]
    losses = loss(mask) + noise * torch.randn(steps, generator=generator, dtype=torch.float64)
    gates = tuple(f"layers.{i}" for i in range(n))
    none = torch.zeros(steps, dtype=torch.float64)
    return History(gates, gates, torch.arange(n), losses, none, p, none, mask, torch.zeros(steps, n))


def ramp(steps: int, schedule: Schedule) -> Tensor:
    return torch.tensor([schedule(t / steps) for t in range(steps)], dtype=torch.float64)


def coalition_loss(worths: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda mask: 2 - worths[(mask * 2 ** torch.arange(mask.shape[1])).sum(1)]


def additive(shares: list[float]) -> Tensor:
    worths = [sum(share for i, share in enumerate(shares) if index >> i & 1) for index in range(2 ** len(shares))]
    return torch.tensor(worths, dtype=torch.float64)


@pytest.mark.parametrize("schedule", [Linear(), Exponential(), Linear(start=0.02, end=0.98, ramp=1.0)], ids=repr)
def test_a_ramp_over_a_fixed_game_gives_its_shapley_values(schedule: Schedule) -> None:
    record = owen_estimate(play(coalition_loss(WORTHS), ramp(6000, schedule)), bins=8)
    exact = exact_shapley(WORTHS)
    assert (record.players, record.value, record.method) == (("layers.0", "layers.1", "layers.2"), "loss", "owen")
    assert record.values.tolist() == pytest.approx(exact.tolist(), abs=0.04)
    assert (exact[:, None] - exact).abs()[~torch.eye(3).bool()].min() > 0.08, "the three must not pass for one another"
    assert record.standard_error is not None and (record.standard_error < 0.02).all()
    assert (record.v_empty, record.v_full) == pytest.approx((float("nan"),) * 2, nan_ok=True)


def test_an_additive_game_is_found_exactly() -> None:
    """Without noise, in an additive game, the regression finds it exactly from few steps."""
    record = owen_estimate(play(coalition_loss(additive([0.3, -0.2, 1.0])), ramp(60, Linear()), noise=0), bins=2)
    assert record.values.tolist() == pytest.approx([0.3, -0.2, 1.0], abs=1e-9)
    assert record.standard_error is not None and record.standard_error.abs().max() < 1e-9


def test_a_loss_that_falls_during_training_is_no_contribution() -> None:
    p = ramp(4000, Linear())
    falling = play(lambda mask: 3 - 3 * torch.arange(len(mask)) / len(mask) - 0.1 * mask[:, 1], p)
    assert owen_estimate(falling).values.tolist() == pytest.approx([0, 0.1, 0], abs=0.01)


def test_standard_errors_are_honest() -> None:
    records = [
        owen_estimate(play(coalition_loss(additive([0.3, -0.2, 1.0])), ramp(300, Linear()), noise=0.5, seed=seed), bins=3)
        for seed in range(60)
    ]
    scatter = torch.stack([record.values for record in records]).std(0)
    expected = torch.stack([record.standard_error for record in records if record.standard_error is not None]).mean(0)
    torch.testing.assert_close(scatter, expected, rtol=0.3, atol=0)


def test_cotos_own_masks_over_a_real_finished_adapter(tiny_task: Task, runs: tuple[Run, Run], evaluator: Evaluator) -> None:
    """What is left of the error when the adapter stands still: gates that are never all shut, and bins."""
    exact = shapley(tiny_task, runs[0], value="loss", evaluator=evaluator)
    gates = attach_gates(runs[0].adapter.attach(tiny_task.load_base()))
    masks = CoTo(gates, Linear(), total_steps=2000, seed=0).masks()
    distinct, position = masks.unique(dim=0, return_inverse=True)
    loss = evaluator([Variant(runs[0].adapter, mask) for mask in distinct]).loss[position]
    still = replace(play(lambda mask: loss, ramp(2000, Linear()), n=4, noise=0), mask=masks, gates=gates.names)
    record = owen_estimate(still)
    assert record.players == exact.players
    assert agreement(record, exact).pearson > 0.98


def test_a_real_history(runs: tuple[Run, Run]) -> None:
    record = owen_estimate(runs[0].history, bins=1)
    assert record.players == runs[0].history.gates and record.values.isfinite().all()


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (Constant(1.0), "p = 1, every gate open, at all 200 steps"),
        (Constant(0.5), "p from 0.5 to 0.5 at all 200 steps"),
        (Linear(start=0.6), "p from 0.6 to 0.997 at all 150 steps"),
    ],
    ids=repr,
)
def test_a_history_without_a_ramp_is_refused(schedule: Schedule, message: str) -> None:
    with pytest.raises(ValueError, match=rf"history has {message} .*schedule=Linear\(\)"):
        owen_estimate(play(coalition_loss(WORTHS), ramp(200, schedule)))


def test_masks_that_never_vary_are_refused() -> None:
    history = play(coalition_loss(WORTHS), ramp(200, Linear()))
    with pytest.raises(ValueError, match="masks that vary"):
        owen_estimate(replace(history, mask=torch.ones_like(history.mask)))


@pytest.mark.parametrize(("steps", "bins", "message"), [(40, 10, "bin 0 has 3 steps"), (200, 50, "bin 0 has 3 steps")])
def test_too_many_bins_are_refused(steps: int, bins: int, message: str) -> None:
    with pytest.raises(ValueError, match=rf"bins={bins}: {message}.* 5 unknowns .*Use fewer bins"):
        owen_estimate(play(coalition_loss(WORTHS), ramp(steps, Linear())), bins)
    with pytest.raises(ValueError, match="bins=0: must be a whole number, at least 1"):
        owen_estimate(play(coalition_loss(WORTHS), ramp(steps, Linear())), 0)


# What a player adds at p


def test_expected_marginals_are_those_of_independent_draws() -> None:
    ps = torch.tensor([0.0, 0.3, 1.0])
    found = expected_marginals(WORTHS, ps)
    masks = (torch.arange(8)[:, None] >> torch.arange(3) & 1).bool()
    for i in range(3):
        others = [k for k in range(3) if k != i]
        for column, p in enumerate(ps.tolist()):
            chance = torch.where(masks[:, others], p, 1 - p).double().prod(1) * ~masks[:, i]
            gain = WORTHS[(torch.arange(8) + 2**i) % 8] - WORTHS
            assert found[i, column].item() == pytest.approx((chance * gain).sum().item())


def test_their_mean_over_p_is_the_shapley_value() -> None:
    ps = (torch.arange(1000) + 0.5) / 1000
    assert torch.allclose(expected_marginals(WORTHS, ps).mean(1), exact_shapley(WORTHS), atol=1e-5)


def test_one_player_adds_the_same_at_every_p() -> None:
    assert expected_marginals(torch.tensor([1.0, 3.0]), torch.tensor([0.0, 0.7])).tolist() == [[2.0, 2.0]]


@pytest.mark.parametrize("worths", [torch.ones(1), torch.ones(6), torch.ones(2, 2)])
def test_worths_that_are_no_game_are_refused(worths: Tensor) -> None:
    with pytest.raises(ValueError, match="must be \\[2\\^n\\]"):
        expected_marginals(worths, torch.tensor([0.5]))


# Agreement


def record(*values: float) -> ShapleyValues:
    players = tuple(map(str, range(len(values))))
    return ShapleyValues(players, torch.tensor(values, dtype=torch.float64), "loss", "exact", 0, sum(values))


def test_agreement_by_hand() -> None:
    # Deviations (-2, -1, 0, 3) and (-1, -2, 0, 3): 13 / 14. Ranks 1 2 3 4 and 2 1 3 4: 1 - 6 · 2 / (4 · 15).
    found = agreement(record(1, 2, 3, 6), record(2, 1, 3, 6))
    assert (found.pearson, found.spearman) == pytest.approx((13 / 14, 0.8))
    assert found.frame().to_dict("list") == {"pearson": [found.pearson], "spearman": [found.spearman]}
    turned = agreement(record(1, 2, 4), record(-1, -2, -4))
    assert isinstance(turned, Agreement) and (turned.pearson, turned.spearman) == pytest.approx((-1, -1))


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (record(1, 2, 3), record(1, 2, 3, 4), "must be the same, three or more"),
        (record(1, 2), record(1, 2), "must be the same, three or more"),
        (record(1, 2, 3), record(2, 2, 2), "b has the value 2 for every player"),
    ],
)
def test_what_cannot_be_compared_is_refused(a: ShapleyValues, b: ShapleyValues, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        agreement(a, b)
