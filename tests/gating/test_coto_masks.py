"""CoTo's masks against their definition; its stepping is in ``test_coto``."""

import itertools
import random

import numpy as np
import pytest
import tiny_models as tiny
import torch
from scipy import stats

from coto_lab import Constant, CoTo, Linear, Sine, attach_gates
from coto_lab.gating.coto import draw_mask, expected_open, probabilities, tilted, training_masks

SAMPLES = 20_000


def drawn(n, p, seed=0, samples=SAMPLES):
    if np.ndim(p) == 0:  # the same at once, as a test below shows
        return training_masks(n, Constant(p), total_steps=samples, seed=seed)
    return torch.stack([draw_mask(n, p, seed, step) for step in range(samples)])


@pytest.fixture
def gates():
    return attach_gates(tiny.adapted().train())


# --- The distribution ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [0.0, 1e-12, 0.1, 0.5, 0.9, 1.0])
def test_every_pattern_is_as_frequent_as_under_rejection_sampling(p):
    n = 4
    patterns = [pattern for pattern in itertools.product([False, True], repeat=n) if any(pattern)]
    if p == 0:  # the limit of rejection sampling: one gate, uniformly
        chances = np.array([1 / n if sum(pattern) == 1 else 0 for pattern in patterns])
    else:  # what rejection keeps: independent gates, given that one is open; 1 - (1-p)^n without cancellation
        weights = np.array([p ** sum(pattern) * (1 - p) ** (n - sum(pattern)) for pattern in patterns])
        chances = weights / -np.expm1(n * np.log1p(-p)) if p < 1 else weights
    assert chances.sum() == pytest.approx(1)
    rows = [tuple(row) for row in drawn(n, p).tolist()]
    counts = np.array([rows.count(pattern) for pattern in patterns])
    assert counts.sum() == SAMPLES  # never all shut
    expected = SAMPLES * chances
    likely = expected >= 5
    assert counts[~likely].sum() <= 15 + 3 * expected[~likely].sum()
    if likely.sum() > 1:
        observed, wanted = counts[likely], expected[likely] * counts[likely].sum() / expected[likely].sum()
        assert stats.chisquare(observed, wanted).pvalue > 1e-3  # the seed is fixed: it passes always or never


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_marginals_and_pairs_are_those_of_gates_redrawn_until_one_opens(p):
    n = 12
    masks = drawn(n, p).double()
    some = 1 - (1 - p) ** n
    both = masks.T @ masks / SAMPLES
    assert masks.any(dim=1).all()
    for i, j in itertools.combinations_with_replacement(range(n), 2):
        chance = (p if i == j else p**2) / some
        assert abs(both[i, j] - chance) < 4.5 * np.sqrt(chance * (1 - chance) / SAMPLES)


@pytest.mark.parametrize("p", [0.0, 1e-300, 1e-12])
def test_at_p_zero_or_next_to_it_exactly_one_gate_opens_each_as_often(p):
    masks = drawn(12, p)
    assert set(masks.sum(dim=1).tolist()) == {1}
    assert stats.chisquare(masks.sum(dim=0)).pvalue > 1e-3


def test_p_one_opens_all_and_a_single_gate_is_always_open():
    assert drawn(12, 1.0, samples=200).all()
    assert drawn(1, 0.0, samples=200).all()
    assert drawn(12, 1 - 1e-12, samples=200).all()


def test_gates_of_different_probabilities_open_as_under_rejection_sampling():
    p = np.array([0.05, 0.0, 0.3, 1e-3])
    masks = drawn(4, p).double()
    assert masks.any(dim=1).all() and not masks[:, 1].any()
    chances = p / (1 - np.prod(1 - p))
    assert np.abs(masks.mean(0).numpy() - chances).max() < 4.5 * np.sqrt(0.25 / SAMPLES)
    assert drawn(3, np.array([0.0, 1.0, 0.0]), samples=50).tolist() == [[False, True, False]] * 50


def test_patterns_of_gates_of_different_probabilities_are_as_frequent_as_under_rejection_sampling():
    p = (0.5, 0.1, 0.9)
    patterns = [pattern for pattern in itertools.product([False, True], repeat=3) if any(pattern)]
    weights = np.array(
        [np.prod([p_i if is_open else 1 - p_i for p_i, is_open in zip(p, row, strict=True)]) for row in patterns]
    )
    rows = [tuple(row) for row in drawn(3, np.array(p)).tolist()]
    counts = np.array([rows.count(pattern) for pattern in patterns])
    assert stats.chisquare(counts, SAMPLES * weights / weights.sum()).pvalue > 1e-3


def test_a_tilt_makes_high_gates_drop_more_and_keeps_both_ends():
    np.testing.assert_allclose(tilted(0.25, 3, 1.0), [0.5, 0.25, 0.0625])
    np.testing.assert_allclose(tilted(0.25, 3, -1.0), [0.0625, 0.25, 0.5])
    assert tilted(0.4, 5, 0.0).tolist() == [0.4] * 5
    assert tilted(0.0, 3, 1.0).tolist() == [0, 0, 0] and tilted(1.0, 3, 1.0).tolist() == [1, 1, 1]
    share = training_masks(8, Linear(), total_steps=3000, seed=0, tilt=1.0).double().mean(0)
    assert (share.diff() < 0.02).all() and share[0] - share[-1] > 0.15


@pytest.mark.parametrize("n", [1, 3, 8])
def test_the_expected_number_of_open_gates_is_that_of_all_patterns(n):
    patterns = np.array([pattern for pattern in itertools.product([0, 1], repeat=n) if any(pattern)])
    rng = np.random.default_rng(n)
    for p in (np.full(n, 0.3), rng.random(n), np.eye(n)[0] * 0.4):  # one for all; each its own; some at 0
        weights = np.prod(np.where(patterns == 1, p, 1 - p), axis=1)
        assert expected_open(n, p) == pytest.approx((weights * patterns.sum(1)).sum() / weights.sum())
    assert expected_open(n, 0.3) == pytest.approx(n * 0.3 / (1 - 0.7**n))


def test_the_expected_number_of_open_gates_at_the_ends_and_over_steps():
    assert expected_open(8, 0.0) == 1 and expected_open(8, 1.0) == 8
    assert expected_open(8, 1e-300) == pytest.approx(1) and expected_open(8, 1e-12) == pytest.approx(1)
    p = probabilities(Linear(), 4000)
    expected = expected_open(8, p[:, None])
    assert expected.shape == (4000,) and (np.diff(expected) >= 0).all()
    drawn = training_masks(8, Linear(), total_steps=4000, seed=0).double().sum(1)
    assert abs(drawn.mean().item() - expected.mean()) < 0.1
    tilted_p = tilted(p[:, None], 8, 1.0)
    drawn = training_masks(8, Linear(), total_steps=4000, seed=0, tilt=1.0).double().sum(1)
    assert abs(drawn.mean().item() - expected_open(8, tilted_p).mean()) < 0.1


@pytest.mark.parametrize(
    "schedule", [Constant(0.0), Constant(1e-13), Constant(0.5), Constant(1.0), Linear(), Sine(0.1, 0.9, 0.3)]
)
@pytest.mark.parametrize("tilt", [0.0, 0.7])
def test_all_steps_at_once_are_what_each_step_draws(schedule, tilt):
    for n in (1, 5, 8):
        masks = training_masks(n, schedule, total_steps=60, seed=3, tilt=tilt)
        steps = [draw_mask(n, tilted(schedule(step / 60), n, tilt), 3, step) for step in range(60)]
        assert torch.equal(masks, torch.stack(steps))


def test_a_gate_is_open_in_every_tower_and_each_tower_has_its_own_distribution():
    towers = [0, 0, 1, 1, 1, -1]
    masks = training_masks(towers, Constant(0.2), total_steps=SAMPLES, seed=3)
    assert masks[:, :2].any(1).all() and masks[:, 2:5].any(1).all() and not masks[:, 5].all()
    chances = np.array([*[0.2 / (1 - 0.8**2)] * 2, *[0.2 / (1 - 0.8**3)] * 3, 0.2])
    assert np.abs(masks.double().mean(0).numpy() - chances).max() < 4.5 * np.sqrt(0.25 / SAMPLES)
    assert abs(torch.corrcoef(masks.double().T)[0, 2]) < 0.03  # towers are drawn apart
    told = torch.stack([draw_mask(towers, 0.2, 3, step) for step in range(50)])
    assert torch.equal(told, masks[:50])
    one = torch.stack([draw_mask([0] * 6, 0.2, 3, step) for step in range(50)])
    assert torch.equal(one, training_masks(6, Constant(0.2), total_steps=50, seed=3))
    assert not torch.equal(one, told)


# --- Purity --------------------------------------------------------------------------------------------------------------


def test_a_mask_depends_on_seed_and_step_alone():
    forth = [draw_mask(8, 0.5, 3, step) for step in range(50)]
    torch.manual_seed(99)
    back = [draw_mask(8, 0.5, 3, step) for step in reversed(range(50))][::-1]
    assert all(torch.equal(one, other) for one, other in zip(forth, back, strict=True))
    assert len({tuple(mask.tolist()) for mask in forth}) > 20
    assert any(not torch.equal(mask, draw_mask(8, 0.5, 4, step)) for step, mask in enumerate(forth))


def test_masks_stay_the_same_across_versions():
    masks = torch.stack([draw_mask(6, 0.4, seed=1, step=step) for step in (0, 1, 1000)])
    assert masks.int().tolist() == [
        [1, 0, 1, 1, 0, 1],
        [1, 1, 0, 1, 0, 1],
        [1, 1, 0, 0, 0, 1],
    ]  # recorded, so runs can be redone


def test_neighbouring_steps_and_seeds_are_uncorrelated():
    flips = (torch.stack([draw_mask(8, 0.5, seed, step) for seed in range(40) for step in range(100)])).double()
    centred = (flips - flips.mean()).view(40, 100, 8)
    for one, other in ((centred[:, 1:], centred[:, :-1]), (centred[1:], centred[:-1])):
        assert abs((one * other).mean() / centred.var()) < 4 / np.sqrt(one.numel())


def test_the_global_generators_are_untouched(gates):
    def states():
        name, keys, *rest = np.random.get_state()
        return torch.get_rng_state().tolist(), (name, keys.tolist(), *rest), random.getstate()

    before = states()
    coto = CoTo(gates, Linear(), total_steps=20, seed=5)
    coto.step()
    coto.masks()
    assert states() == before
