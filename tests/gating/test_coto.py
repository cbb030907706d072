"""CoTo's stepping on a real model."""

import numpy as np
import pytest
import tiny_models as tiny
import torch

from coto_lab import Constant, CoTo, Linear, Sine, attach_gates
from coto_lab.gating.coto import draw_mask, training_masks


@pytest.fixture
def gates():
    return attach_gates(tiny.adapted().train())


# --- Stepping ------------------------------------------------------------------------------------------------------------


def test_masks_tells_beforehand_what_stepping_does(gates):
    coto = CoTo(gates, Linear(), total_steps=12, seed=3)
    told = coto.masks()
    assert (told.shape, told.dtype) == ((12, 3), torch.bool)
    done = [gates.mask]  # step 0 is set when it is made
    for step in range(1, 12):
        returned = coto.step()
        assert coto.current_step == step
        assert torch.equal(returned, gates.mask)
        done.append(returned)
    assert torch.equal(torch.stack(done), told)
    assert told[9:].all()  # beyond 75% of the training, all are open
    assert torch.equal(told, training_masks(3, Linear(), total_steps=12, seed=3))  # no model is needed to know


def test_stepping_obeys_the_tilt(gates):
    coto = CoTo(gates, Constant(0.5), total_steps=40, seed=3, tilt=1.0)
    told = training_masks(3, Constant(0.5), total_steps=40, seed=3, tilt=1.0)
    assert torch.equal(torch.stack([coto.go_to(step) for step in range(40)]), told)
    assert not torch.equal(told, training_masks(3, Constant(0.5), total_steps=40, seed=3))
    with pytest.raises(ValueError, match="tilt=nan: must be a finite number"):
        CoTo(gates, Linear(), total_steps=40, tilt=float("nan"))
    assert not told.all()


def test_the_probability_follows_the_schedule_over_the_total_steps(gates):
    coto = CoTo(gates, Linear(), total_steps=300)
    assert [coto.probability(step) for step in (0, 75, 225, 300, 1000)] == pytest.approx([0, 1 / 3, 1, 1, 1])
    masks = CoTo(gates, Constant(0.4), total_steps=3000, seed=1).masks()
    assert masks.double().mean().item() == pytest.approx(0.4 / (1 - 0.6**3), abs=0.02)


def test_steps_beyond_the_last_keep_the_end_of_the_schedule(gates):
    coto = CoTo(gates, Linear(), total_steps=2)
    for _ in range(5):
        coto.step()
    assert gates.mask.all()


@pytest.mark.parametrize("total_steps", [0, -1, 10.5, True])
def test_total_steps_below_one_is_refused(gates, total_steps):
    with pytest.raises(ValueError, match=f"total_steps={total_steps}: must be a whole number, at least 1"):
        CoTo(gates, Linear(), total_steps=total_steps)
    assert gates.mask.all()


def test_a_negative_seed_or_step_is_refused(gates):
    with pytest.raises(ValueError, match="seed=-1: must be a whole number, from 0 to"):
        CoTo(gates, Linear(), total_steps=10, seed=-1)
    coto = CoTo(gates, Linear(), total_steps=10)
    before = gates.mask
    with pytest.raises(ValueError, match="step=-1: must be a whole number, at least 0"):
        coto.go_to(-1)
    assert coto.current_step == 0
    assert torch.equal(gates.mask, before)


def test_a_large_seed_is_a_seed_of_its_own():
    seeds = (0, 2**32, 2**64, 2**100)
    assert len({tuple(training_masks(8, Constant(0.5), total_steps=8, seed=seed).flatten().tolist()) for seed in seeds}) == 4


def test_state_goes_on_where_it_was_taken(gates):
    first = CoTo(gates, Sine(), total_steps=30, seed=7)
    for _ in range(4):
        first.step()
    state = first.state_dict()
    assert state == {"seed": 7, "total_steps": 30, "step": 4}
    expected = [gates.mask, *(first.step() for _ in range(5))]
    second = CoTo(attach_gates(tiny.adapted().train()), Sine(), total_steps=1)
    second.load_state_dict(state)
    assert second.state_dict() == state
    assert torch.equal(torch.stack([second.gates.mask, *(second.step() for _ in range(5))]), torch.stack(expected))


def test_the_least_values_are_allowed_and_the_defaults_are_seed_0_and_no_tilt(gates):
    coto = CoTo(gates, Linear(), total_steps=1)
    assert coto.state_dict() == {"seed": 0, "total_steps": 1, "step": 0} and coto.tilt == 0
    assert torch.equal(gates.mask, draw_mask(3, 0.0, 0, 0))
    coto = CoTo(gates, Constant(0.5), total_steps=30, seed=7)
    assert torch.equal(coto.masks(), training_masks(3, Constant(0.5), total_steps=30, seed=7, tilt=0.0))
    for state in ({"seed": 0, "total_steps": 1, "step": 0}, {"seed": 2**63 - 1, "total_steps": 5, "step": 1}):
        coto.load_state_dict(state)
        assert coto.state_dict() == state
        assert torch.equal(gates.mask, draw_mask(3, 0.5, state["seed"], state["step"]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"step": -1}, "step=-1"), ({"step": None}, "step=None"), ({"seed": -1}, "seed=-1"), ({"seed": 2**63}, "seed="),
        ({"total_steps": 0}, "total_steps=0"), ({"total_steps": 2.5}, r"total_steps=2\.5"),
    ],
)  # fmt: skip
def test_a_bad_state_changes_nothing(gates, change, message):
    coto = CoTo(gates, Linear(), total_steps=30, seed=7)
    coto.step()
    before, mask = coto.state_dict(), gates.mask
    good = {"seed": 1, "total_steps": 20, "step": 19}
    with pytest.raises(ValueError, match=f"^{message}"):
        coto.load_state_dict(good | change)
    with pytest.raises(ValueError, match=r"state lacks \['seed', 'step'\]"):
        coto.load_state_dict({"total_steps": 9})
    assert coto.state_dict() == before and torch.equal(gates.mask, mask)


def test_numbers_of_numpy_are_stored_as_those_of_python(gates):
    coto = CoTo(gates, Linear(), total_steps=np.int64(30), seed=np.int32(7))
    coto.go_to(np.int64(3))
    assert {type(value) for value in coto.state_dict().values()} == {int}
    assert torch.equal(gates.mask, draw_mask(3, coto.probability(3), 7, 3))


def test_a_single_gate_is_warned_of_unless_nothing_is_to_be_dropped():
    gates = attach_gates(tiny.adapted("LoRA", tiny.llama(layers=1)).train())
    with pytest.warns(
        UserWarning, match=r"'model\.layers\.0': the only gate in its part of the model, so it is always open.*by='module'"
    ) as seen:
        CoTo(gates, Linear(), total_steps=10)
    assert seen[0].filename == __file__
    CoTo(gates, Constant(1.0), total_steps=10)  # no warning: the suite makes them errors


def train(model, steps=4):
    """Train with adapter dropout from the global RNG; yield the adapter after every step."""
    model.train()
    parameters = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    optimizer = torch.optim.AdamW(parameters.values(), lr=0.05, weight_decay=0.1)
    torch.manual_seed(1)
    for _ in range(steps):
        model(input_ids=tiny.TOKENS, labels=tiny.TOKENS).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        yield parameters


def with_dropout():
    return tiny.adapted("LoRA", lora_dropout=0.3)


def test_p_one_is_bitwise_plain_lora_even_with_adapter_dropout():
    plain, model = with_dropout(), with_dropout()
    coto = CoTo(attach_gates(model), Constant(1.0), total_steps=4)
    *_, expected = train(plain)
    for _ in train(model):
        coto.step()
    trained = dict(model.named_parameters())
    assert all(torch.equal(trained[name], expected[name]) for name in expected)


def test_a_training_moves_exactly_the_adapters_that_its_masks_open():
    model = with_dropout()
    coto = CoTo(attach_gates(model), Constant(0.4), total_steps=6, seed=1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    masks = coto.masks()
    for step, parameters in enumerate(train(model, steps=6)):
        moved = {int(name.split("layers.")[1][0]) for name in parameters if not torch.equal(parameters[name], before[name])}
        assert moved == set(masks[step].nonzero().flatten().tolist())
        before = {name: value.clone() for name, value in model.state_dict().items()}
        coto.step()
    assert not masks.all(dim=0).any()  # every block was dropped at some step
    assert masks.any(dim=0).all()  # and trained at another
