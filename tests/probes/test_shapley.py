from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import permutations

import pytest
import torch
from tiny_models import vit
from torch import Tensor

from coto_lab import Evaluator, Recipe, Run, Scores, Task, Variant, fit
from coto_lab.probes.shapley import ShapleyValues, exact_shapley, sample_marginals, shapley


def game(n: int, worth: Callable[[set[int]], float]) -> Tensor:
    """The worths of all coalitions of players 0 to n - 1, bit i for player i."""
    coalitions = [{i for i in range(n) if index >> i & 1} for index in range(2**n)]
    return torch.tensor([float(worth(coalition)) for coalition in coalitions], dtype=torch.float64)


def by_orders(worths: Tensor) -> list[float]:
    """Shapley values from their other definition: the mean marginal contribution over all orders."""
    n = worths.numel().bit_length() - 1
    orders = list(permutations(range(n)))
    values = [0.0] * n
    for order in orders:
        index = 0
        for player in order:
            values[player] += (worths[index | 1 << player] - worths[index]).item() / len(orders)
            index |= 1 << player
    return values


class Counting(Evaluator):
    """An evaluator that writes down what it was asked."""

    def __init__(self, task: Task):
        super().__init__(task)
        self.calls: list[list[Variant]] = []

    def __call__(self, variants: Sequence[Variant], *, split: str = "test") -> Scores:
        self.calls.append(list(variants))
        return super().__call__(variants, split=split)


# The formula


@pytest.mark.parametrize(
    ("worths", "expected"),
    [
        # A left glove and two right ones: a pair is worth 1.
        (game(3, lambda s: 0 in s and len(s) > 1), [2 / 3, 1 / 6, 1 / 6]),
        # Weights 3, 2, 1, and 4 are a majority: player 0 is in every one, and needs any other.
        (game(3, lambda s: sum([3, 2, 1][i] for i in s) >= 4), [2 / 3, 1 / 6, 1 / 6]),
        # Weights 2, 1, 1, 1, and 3 are a majority: the pivot is player 0 in half of the orders.
        (game(4, lambda s: sum([2, 1, 1, 1][i] for i in s) >= 3), [1 / 2, 1 / 6, 1 / 6, 1 / 6]),
        (game(3, lambda s: 5 + sum([3, -2, 0.5][i] for i in s)), [3, -2, 0.5]),
        (game(1, lambda s: 7 * len(s) + 1), [7]),
    ],
    ids=["gloves", "majority of 3", "majority of 4", "additive", "alone"],
)
def test_games_with_known_values(worths: Tensor, expected: list[float]) -> None:
    values = exact_shapley(worths)
    assert values.dtype == torch.float64
    assert values.tolist() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("n", [2, 5])
def test_any_game_has_the_mean_over_all_orders(n: int) -> None:
    worths = torch.randn(2**n, generator=torch.Generator().manual_seed(n), dtype=torch.float64)
    assert exact_shapley(worths).tolist() == pytest.approx(by_orders(worths), abs=1e-12)


def test_axioms() -> None:
    a, b = torch.randn(2, 2**6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(exact_shapley(a).sum(), a[-1] - a[0])  # efficiency
    torch.testing.assert_close(exact_shapley(2 * a - 3 * b), 2 * exact_shapley(a) - 3 * exact_shapley(b))  # linearity
    size = torch.tensor([index.bit_count() for index in range(2**6)])
    torch.testing.assert_close(exact_shapley(size.double() ** 2), torch.full((6,), 6.0, dtype=torch.float64))  # symmetry
    dummy = a[torch.arange(2**6) & ~(1 << 2)]  # player 2 changes nothing
    assert exact_shapley(dummy)[2] == 0 and (exact_shapley(dummy)[[0, 1, 3, 4, 5]] != 0).all()


@pytest.mark.parametrize("shape", [(0,), (1,), (3,), (2, 2), ()])
def test_worths_must_be_those_of_all_coalitions(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"worths has shape .*: must be \[2\^n\]"):
        exact_shapley(torch.zeros(shape))


# Real runs


@pytest.mark.parametrize("value", ["accuracy", "loss"])
def test_blocks_of_a_run(tiny_task: Task, runs: tuple[Run, Run], value: str) -> None:
    evaluator = Counting(tiny_task)
    record = shapley(tiny_task, runs[0], value=value, evaluator=evaluator)
    assert record.players == runs[0].history.gates and record.method == "exact" and record.standard_error is None
    (variants,) = evaluator.calls  # all at once
    assert len({tuple(variant.mask.tolist()) for variant in variants}) == len(variants) == 2**4

    masks = [torch.tensor([bool(index >> i & 1) for i in range(4)]) for index in range(2**4)]
    scores = evaluator([Variant(runs[0].adapter, mask) for mask in masks])
    worths = scores.accuracy if value == "accuracy" else scores.loss[0] - scores.loss
    assert record.values.tolist() == pytest.approx(by_orders(worths), abs=1e-9)
    assert (record.v_empty, record.v_full) == pytest.approx((worths[0].item(), worths[-1].item()))
    assert record.values.sum().item() == pytest.approx(record.v_full - record.v_empty)  # efficiency


def test_an_adapter_that_does_nothing_is_a_dummy(tiny_task: Task, runs: tuple[Run, Run], evaluator: Evaluator) -> None:
    tensors = {name: t * 0 if ".layers.1." in name else t for name, t in runs[0].adapter.tensors.items()}
    run = replace(runs[0], adapter=replace(runs[0].adapter, tensors=tensors))
    values = shapley(tiny_task, run, value="loss", evaluator=evaluator).values
    assert values[1].item() == pytest.approx(0, abs=1e-7) and values.abs().sum() > 1e-4


def test_the_estimate_is_near_the_exact_values(tiny_task: Task, runs: tuple[Run, Run]) -> None:
    evaluator = Counting(tiny_task)
    exact = shapley(tiny_task, runs[0], players="module", value="loss", evaluator=evaluator)
    assert len(exact.players) == 8 and exact.players[0].startswith(runs[0].history.gates[0])
    evaluator.calls.clear()
    guess = shapley(tiny_task, runs[0], "module", "loss", method="sampling", samples=20, seed=3, evaluator=evaluator)
    (variants,) = evaluator.calls
    assert len({tuple(variant.mask.tolist()) for variant in variants}) == len(variants) <= 2**8

    assert guess.method == "sampling" and guess.players == exact.players and guess.standard_error is not None
    deviations = (guess.values - exact.values) / guess.standard_error
    assert deviations.abs().max() < 4 and 0.3 < deviations.square().mean().sqrt() < 2
    assert guess.values.sum().item() == pytest.approx(guess.v_full - guess.v_empty, abs=1e-5)  # in every order
    assert (guess.v_empty, guess.v_full) == pytest.approx((exact.v_empty, exact.v_full))


def test_a_seed_decides_and_the_global_state_stays(tiny_task: Task, runs: tuple[Run, Run], evaluator: Evaluator) -> None:
    def estimate(seed: int) -> ShapleyValues:
        return shapley(tiny_task, runs[0], value="loss", method="sampling", samples=5, seed=seed, evaluator=evaluator)

    before = torch.random.get_rng_state()
    first, again, other = estimate(0), estimate(0), estimate(1)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(first.values, again.values) and not torch.equal(first.values, other.values)


@pytest.fixture(scope="module")
def deep(tiny_task: Task, recipe: Recipe) -> tuple[Task, Run]:
    """Thirteen blocks, 26 modules."""
    deep = replace(tiny_task, base="deep base", load_base=lambda: vit(layers=13), test=tiny_task.test.select(range(6)))
    with torch.random.fork_rng():  # vit() seeds the global generator
        return deep, fit(deep, replace(recipe, steps=2), progress=False)


def test_beyond_12_players_it_samples(deep: tuple[Task, Run]) -> None:
    evaluator = Counting(deep[0])
    record = shapley(*deep, value="loss", samples=3, evaluator=evaluator)
    assert record.method == "sampling" and len(record.players) == 13
    (variants,) = evaluator.calls
    assert len(variants) <= 2 + 3 * 12  # nobody, everybody, and those between them in three orders


def test_more_than_20_are_too_many_for_the_exact_method(deep: tuple[Task, Run]) -> None:
    with pytest.raises(ValueError, match=r"2\^26 coalitions of the 26 players \(modules\): 20 .* Use method='sampling'"):
        shapley(*deep, players="module", method="exact")


def test_more_than_4096_coalitions_come_in_several_calls(
    tiny_task: Task, runs: tuple[Run, Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluator = Counting(tiny_task)
    whole = shapley(tiny_task, runs[0], value="loss", evaluator=evaluator)
    monkeypatch.setattr("coto_lab.probes.shapley._CHUNK", 6)  # 16 coalitions of 4 blocks in place of 8192 of 13
    in_parts = shapley(tiny_task, runs[0], value="loss", evaluator=evaluator)
    assert [len(call) for call in evaluator.calls] == [16, 6, 6, 4]
    torch.testing.assert_close(in_parts.values, whole.values)


def test_standard_errors_are_honest() -> None:
    """Over many seeds, the estimates scatter as their own standard errors say."""
    worths = torch.randn(2**4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    bits = 2 ** torch.arange(4)
    estimates, errors = [], []
    for seed in range(40):
        marginals, v_empty, v_full = sample_marginals(lambda c: worths[(c * bits).sum(1)], 4, 15, seed)
        assert (v_empty, v_full) == (worths[0].item(), worths[-1].item()) and marginals.shape == (15, 4)
        estimates.append(marginals.mean(0))
        errors.append(marginals.std(0) / 15**0.5)
    scatter = torch.stack(estimates).std(0)
    torch.testing.assert_close(scatter, torch.stack(errors).mean(0), rtol=0.35, atol=0)
    deviation = torch.stack(estimates).mean(0) - exact_shapley(worths)
    assert (deviation.abs() < 4 * scatter / 40**0.5).all()  # unbiased


# The record


@pytest.mark.parametrize(
    ("values", "spread"), [([2, 2, 2, 2], 0), ([0, 0, 0, 8], 3**0.5), ([1, 3], 0.5), ([-1, 3], 2), ([-1, -3], 0.5)]
)
def test_spread_is_the_coefficient_of_variation(values: list[float], spread: float) -> None:
    players = tuple(map(str, range(len(values))))
    record = ShapleyValues(players, torch.tensor(values, dtype=torch.float64), "loss", "exact", 0, sum(values))
    assert record.spread == pytest.approx(spread)


def test_frame_has_a_row_per_player() -> None:
    values, error = torch.tensor([[0.5, 0.25], [0.1, 0.2]], dtype=torch.float64)
    record = ShapleyValues(("a", "b"), values, "loss", "exact", 0, 0.75)
    assert record.frame().to_dict("list") == {"player": ["a", "b"], "shapley": [0.5, 0.25]}
    estimate = replace(record, method="sampling", standard_error=error)
    assert estimate.frame()["standard_error"].tolist() == [0.1, 0.2]


# Bad input


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"players": "head"}, "players='head': must be one of 'block', 'module'"),
        ({"value": "f1"}, "value='f1': must be one of 'accuracy', 'loss'"),
        ({"method": "kernel"}, "method='kernel': must be one of 'auto', 'exact', 'sampling'"),
        ({"samples": 1}, "samples=1: must be a whole number, at least 2"),
        ({"seed": -1}, "seed=-1: must be a whole number, from 0"),
    ],
)
def test_bad_input_is_refused(
    tiny_task: Task, runs: tuple[Run, Run], evaluator: Evaluator, arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        shapley(tiny_task, runs[0], evaluator=evaluator, **arguments)


def test_a_run_of_another_base_is_refused(tiny_task: Task, runs: tuple[Run, Run], evaluator: Evaluator) -> None:
    with pytest.raises(ValueError, match="run was trained on another base model"):
        shapley(tiny_task, replace(runs[0], base="another"), evaluator=evaluator)
