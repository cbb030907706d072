"""Our LoRALinear against PEFT's layer, and its rows against separate layers."""

import copy

import peft
import pytest
import tiny_models as tiny
import torch
from torch import nn

from coto_lab import LoRALinear

IN, OUT, R, ALPHA = 6, 5, 2, 3.0


@pytest.fixture
def base():
    torch.manual_seed(0)
    return nn.Linear(IN, OUT)


@pytest.fixture
def x():
    return torch.randn(4, 3, IN, generator=torch.Generator().manual_seed(1))


def pefts(base, dropout=0.0):
    model = nn.Sequential(copy.deepcopy(base))
    config = peft.LoraConfig(r=R, lora_alpha=ALPHA, lora_dropout=dropout, target_modules=["0"])
    return peft.get_peft_model(model, config).base_model.model[0]


def pair(base, dropout=0.0):
    """The same adapter, off its start, in our layer and in PEFT's."""
    ours = tiny.randomise(LoRALinear(copy.deepcopy(base), R, ALPHA, dropout=dropout))
    theirs = pefts(base, dropout)
    with torch.no_grad():
        theirs.lora_A["default"].weight.copy_(ours.lora_A)
        theirs.lora_B["default"].weight.copy_(ours.lora_B)
    return ours, theirs


def rows_layer(base, rows=4, dropout=0.0):
    generator = torch.Generator().manual_seed(4)
    return tiny.randomise(LoRALinear(copy.deepcopy(base), R, ALPHA, rows=rows, dropout=dropout, generator=generator))


# --- Against PEFT --------------------------------------------------------------------------------------------------------


def test_output_and_gradients_equal_pefts(base, x):
    ours, theirs = pair(base)
    outputs = []
    for layer in (ours, theirs):
        leaf = x.clone().requires_grad_()
        output = layer(leaf)
        output.square().sum().backward()
        outputs.append((output, leaf.grad))
    torch.testing.assert_close(outputs[0], outputs[1])
    torch.testing.assert_close(ours.lora_A.grad, theirs.lora_A["default"].weight.grad)
    torch.testing.assert_close(ours.lora_B.grad, theirs.lora_B["default"].weight.grad)
    assert ours.base_layer.weight.grad is ours.base_layer.bias.grad is None


def test_the_same_global_seed_draws_the_a_of_peft(base):
    theirs = pefts(base)
    torch.manual_seed(3)
    theirs.reset_lora_parameters("default", True)
    torch.manual_seed(3)
    ours = LoRALinear(base, R, ALPHA)
    assert torch.equal(ours.lora_A, theirs.lora_A["default"].weight)
    assert torch.equal(ours.lora_B, theirs.lora_B["default"].weight)


def test_a_generator_draws_a_alone(base):
    before = torch.get_rng_state()
    first, second = (LoRALinear(base, R, ALPHA, generator=torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first.lora_A, second.lora_A)
    assert torch.equal(torch.get_rng_state(), before)


def test_merge_equals_pefts_and_leaves_the_layer(base, x):
    ours, theirs = pair(base)
    before = copy.deepcopy(ours.state_dict())
    merged = ours.merge()
    theirs.merge()
    assert type(merged) is nn.Linear
    torch.testing.assert_close(merged.weight, theirs.get_base_layer().weight)
    assert torch.equal(merged.bias, base.bias)
    torch.testing.assert_close(merged(x), ours(x))
    assert all(torch.equal(value, before[name]) for name, value in ours.state_dict().items())
    torch.testing.assert_close(ours.delta_weight(), theirs.get_delta_weight("default"))


def test_merge_keeps_type_and_a_missing_bias():
    layer = tiny.randomise(LoRALinear(nn.Linear(IN, OUT, bias=False, dtype=torch.float64), R, ALPHA))
    merged = layer.merge()
    assert merged.bias is None
    assert merged.weight.dtype == layer.lora_A.dtype == torch.float64


@pytest.mark.parametrize("training", [True, False])
def test_dropout_equals_pefts_in_training_and_is_off_in_evaluation(base, x, training):
    ours, theirs = (layer.train(training) for layer in pair(base, dropout=0.5))
    outputs = []
    for layer in (ours, theirs):
        torch.manual_seed(5)
        outputs.append(layer(x))
    torch.testing.assert_close(*outputs)
    assert torch.equal(ours(x), ours(x)) is not training


def test_a_new_layer_computes_the_base_and_only_the_adapter_trains(base, x):
    for rows in (None, 4):
        layer = LoRALinear(base, R, ALPHA, rows=rows)
        assert torch.equal(layer(x), base(x))
        assert [name for name, parameter in layer.named_parameters() if parameter.requires_grad] == ["lora_A", "lora_B"]
    assert repr(layer).splitlines()[0] == "LoRALinear("
    assert "r=2, scaling=1.5, rows=4" in repr(layer)


# --- Gate and rows -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [None, 4])
def test_a_shut_gate_is_the_base_bitwise_and_gives_no_gradient(base, x, rows):
    layer = tiny.randomise(LoRALinear(base, R, ALPHA, rows=rows))
    opened = layer(x)
    layer.gate = False
    leaf = x.clone().requires_grad_()
    output = layer(leaf)
    assert torch.equal(output, base(x))
    output.sum().backward()
    assert layer.lora_A.grad is layer.lora_B.grad is None
    layer.gate = True
    assert torch.equal(layer(x), opened)
    assert not torch.equal(opened, output)


@pytest.mark.parametrize("shape", [(4, 3, IN), (4, 2, 3, IN), (4, 0, IN)], ids=str)
@pytest.mark.parametrize("pattern", [(1, 1, 1, 1), (1, 0, 1, 0), (0, 0, 0, 1), (0, 0, 0, 0)], ids=str)
def test_rows_equal_separate_layers_in_output_and_gradients(base, shape, pattern):
    mask = torch.tensor(pattern, dtype=torch.bool)
    layer = rows_layer(base)
    layer.gate = mask
    x = torch.randn(shape, generator=torch.Generator().manual_seed(2)).requires_grad_()
    output = layer(x)
    output.square().sum().backward()
    assert (layer.lora_A.grad is None) is not mask.any().item()
    for i, is_open in enumerate(mask.tolist()):
        single = LoRALinear(copy.deepcopy(base), R, ALPHA)
        single.gate = is_open
        with torch.no_grad():
            single.lora_A.copy_(layer.lora_A[i])
            single.lora_B.copy_(layer.lora_B[i])
        row = x.detach()[i].requires_grad_()
        expected = single(row)
        expected.square().sum().backward()
        torch.testing.assert_close(output[i], expected)
        torch.testing.assert_close(x.grad[i], row.grad)
        for name in ("lora_A", "lora_B"):
            grad, oracle = getattr(layer, name).grad, getattr(single, name).grad
            if is_open:
                torch.testing.assert_close(grad[i], oracle)
            else:
                assert oracle is None
                assert grad is None or not grad[i].any()
    assert torch.equal(output[~mask], base(x)[~mask])


def test_each_row_takes_its_share_of_a_flat_batch(base):
    layer = rows_layer(base)
    layer.gate = torch.tensor([True, False, True, True])
    x = torch.randn(4, 2, 3, IN)
    torch.testing.assert_close(layer(x.flatten(0, 1)), layer(x).flatten(0, 1))


def test_an_input_of_single_vectors_and_a_single_row_of_rank_1_are_allowed(base):
    layer = rows_layer(base)
    x = torch.randn(8, IN, generator=torch.Generator().manual_seed(2))  # two vectors for each row
    torch.testing.assert_close(layer(x), layer(x.view(4, 2, IN)).flatten(0, 1))
    single = tiny.randomise(LoRALinear(base, 1, ALPHA, rows=1))
    torch.testing.assert_close(single(x), base(x) + ALPHA * x @ single.lora_A[0].T @ single.lora_B[0].T)


def test_rows_are_drawn_one_after_the_other_as_separate_layers_are(base):
    torch.manual_seed(7)
    layer = LoRALinear(base, R, ALPHA, rows=3)
    torch.manual_seed(7)
    assert all(torch.equal(layer.lora_A[i], LoRALinear(base, R, ALPHA).lora_A) for i in range(3))


def test_dropout_of_rows_acts_in_training_only(base, x):
    layer = rows_layer(base, dropout=0.5)
    torch.manual_seed(5)
    first = layer(x)
    assert not torch.equal(first, layer(x))
    torch.manual_seed(5)
    assert torch.equal(first, layer(x))
    assert torch.equal(layer.eval()(x), rows_layer(base)(x))


def test_the_weight_update_of_rows_is_the_stack_of_theirs(base):
    layer = rows_layer(base)
    expected = torch.stack([ALPHA / R * layer.lora_B[i] @ layer.lora_A[i] for i in range(4)])
    torch.testing.assert_close(layer.delta_weight(), expected)
    with pytest.raises(ValueError, match="rows=4 has no single merged weight"):
        layer.merge()


# --- Refusals ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"r": 0}, "r=0: the rank"),
        ({"rows": 0}, "rows=0: give at least one"),
        ({"dropout": 1.0}, r"dropout=1\.0: must be in \[0, 1\)"),
        ({"dropout": -0.1}, r"dropout=-0\.1"),
    ],
    ids=str,
)
def test_a_bad_setting_is_refused_and_the_base_left_trainable(base, settings, message):
    with pytest.raises(ValueError, match=message):
        LoRALinear(base, **{"r": R, "alpha": ALPHA, **settings})
    assert base.weight.requires_grad


def test_a_base_that_is_no_linear_is_refused():
    with pytest.raises(TypeError, match=r"must be an nn\.Linear, got Conv2d"):
        LoRALinear(nn.Conv2d(1, 1, 1), R, ALPHA)


@pytest.mark.parametrize("shape", [(3, 2, IN), (6, IN), (IN,)], ids=str)
def test_an_input_that_does_not_fit_the_rows_is_refused(base, shape):
    with pytest.raises(ValueError, match=r"must be \[rows · n, \.\.\., features\] with rows = 4"):
        rows_layer(base)(torch.zeros(shape))


@pytest.mark.parametrize(
    ("gate", "found"),
    [(torch.ones(3, dtype=torch.bool), r"torch\.bool \[3\]"), (torch.ones(4), r"torch\.float32 \[4\]")],
    ids=["short", "float"],
)
def test_a_gate_that_does_not_fit_the_rows_is_refused(base, x, gate, found):
    layer = rows_layer(base)
    layer.gate = gate
    with pytest.raises(ValueError, match=rf"BoolTensor \[4\], got {found}"):
        layer(x)
