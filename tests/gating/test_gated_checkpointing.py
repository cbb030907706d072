"""Gates under gradient checkpointing, which runs parts of the model twice: both kinds give the gradients of none."""

import pytest
import tiny_models as tiny
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from coto_lab import LoRALinear, attach_gates

MIDDLE_OFF = torch.tensor([True, False, True])
every_method = pytest.mark.parametrize("method", tiny.METHODS)
both_checkpointings = pytest.mark.parametrize("reentrant", [False, True], ids=["non-reentrant", "reentrant"])
# What PyTorch says of a reentrant part in a pass without gradients.
pytestmark = pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad:UserWarning")


def of_block(names, block):
    return {name for name in names if f"layers.{block}." in name}


def checkpointed(method, reentrant):
    model = tiny.adapted(method)
    model.enable_input_require_grads()  # as transformers' Trainer does; without it, the reentrant kind finds no gradient
    model.gradient_checkpointing_enable({"use_reentrant": reentrant})
    return model


@every_method
@both_checkpointings
def test_checkpointing_gives_the_same_gradients(method, reentrant):
    model, plain = checkpointed(method, reentrant), tiny.adapted(method)
    for each in (model, plain):
        attach_gates(each).train_with(MIDDLE_OFF)
    ours, theirs = tiny.gradients(model), tiny.gradients(plain)
    assert {name for name, grad in ours.items() if grad is None} == of_block(ours, 1)
    assert all(torch.equal(ours[name], theirs[name]) for name in set(ours) - of_block(ours, 1))


CHANGES = pytest.mark.parametrize("change", [[False, True, True], [True, True, True]], ids=["shut another", "open"])


def same_gradients(model, theirs):
    ours = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert ours.keys() == theirs.keys()
    return all((ours[n] is theirs[n] is None) or torch.equal(ours[n], theirs[n]) for n in ours)


@CHANGES
def test_changing_gates_between_forward_and_backward_raises(change):
    model = checkpointed("LoRA", reentrant=False).train()
    gates = attach_gates(model)
    gates.train_with(MIDDLE_OFF)
    loss = model(input_ids=tiny.TOKENS, labels=tiny.TOKENS).loss
    gates.train_with(torch.tensor(change))
    with pytest.raises(RuntimeError, match=r"'model\.layers\.\d' was changed between forward and backward"):
        loss.backward()


def test_a_change_is_noticed_at_a_later_step_too():
    model = checkpointed("LoRA", reentrant=False)
    gates = attach_gates(model)
    gates.train_with(MIDDLE_OFF)
    tiny.gradients(model)  # a first step, whose gates are those of the change
    gates.train_with(~MIDDLE_OFF)
    loss = model(input_ids=tiny.TOKENS, labels=tiny.TOKENS).loss
    gates.train_with(MIDDLE_OFF)
    with pytest.raises(RuntimeError, match=r"'model\.layers\.\d' was changed between forward and backward"):
        loss.backward()


def test_a_training_pass_with_other_gates_that_nothing_goes_back_through_is_no_change():
    model, plain = checkpointed("LoRA", reentrant=False), tiny.adapted()
    gates = attach_gates(model)
    attach_gates(plain).train_with(MIDDLE_OFF)
    gates.train_with(MIDDLE_OFF)
    tiny.gradients(model)
    model.zero_grad()
    loss = model(input_ids=tiny.TOKENS, labels=tiny.TOKENS).loss
    gates.open()
    tiny.training_logits(model)
    gates.train_with(MIDDLE_OFF)
    loss.backward()
    assert same_gradients(model, tiny.gradients(plain))


@CHANGES
def test_reentrant_checkpointing_recomputes_with_the_gates_of_its_forward_pass(change):
    model, plain = checkpointed("LoRA", reentrant=True).train(), tiny.adapted()
    gates = attach_gates(model)
    gates.train_with(MIDDLE_OFF)
    attach_gates(plain).train_with(MIDDLE_OFF)
    loss = model(input_ids=tiny.TOKENS, labels=tiny.TOKENS).loss
    gates.train_with(torch.tensor(change))
    loss.backward()
    assert same_gradients(model, tiny.gradients(plain))


def test_two_masks_before_one_backward_pass():
    """Right without checkpointing and with the reentrant kind; noticed, by PyTorch itself, with the other kind."""
    masks = [torch.tensor(mask) for mask in ([True, False, True], [False, True, True])]

    def loss_of_both(model):
        gates = attach_gates(model.train())
        losses = []
        for mask in masks:
            gates.train_with(mask)
            losses.append(model(input_ids=tiny.TOKENS, labels=tiny.TOKENS).loss)
        return sum(losses)

    plain, reentrant, other = tiny.adapted(), checkpointed("LoRA", reentrant=True), checkpointed("LoRA", reentrant=False)
    loss_of_both(plain).backward()
    theirs = {name: parameter.grad for name, parameter in plain.named_parameters() if parameter.requires_grad}
    assert all(grad is not None for grad in theirs.values())
    loss_of_both(reentrant).backward()
    assert same_gradients(reentrant, theirs)
    loss = loss_of_both(other)
    with pytest.raises(RuntimeError, match=r"torch\.utils\.checkpoint"):
        loss.backward()


def test_a_part_checkpointed_within_a_checkpointed_part_recomputes_with_the_same_gates():
    torch.manual_seed(0)
    model = nn.Sequential(*(LoRALinear(nn.Linear(4, 4), r=2, alpha=4) for _ in range(3)))
    tiny.randomise(model)
    gates = attach_gates(model)
    x = torch.randn(5, 4, requires_grad=True)
    gates.train_with(MIDDLE_OFF)
    model(x).square().sum().backward()
    theirs = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.requires_grad}
    model.zero_grad()

    def inner(y):
        return checkpoint(model[2], checkpoint(model[1], y, use_reentrant=True), use_reentrant=True)

    output = checkpoint(lambda y: inner(model[0](y)), x, use_reentrant=True).square().sum()
    gates.train_with(~MIDDLE_OFF)
    output.backward()
    assert same_gradients(model, theirs)


@pytest.mark.parametrize("before", [[1], []], ids=["opened", "closed"])
def test_reentrant_checkpointing_in_evaluation_recomputes_with_the_gates_of_its_forward_pass(before):
    torch.manual_seed(0)
    model = nn.Sequential(*(LoRALinear(nn.Linear(4, 4), r=2, alpha=4) for _ in range(3)))
    gates = attach_gates(tiny.randomise(model).eval())
    x = torch.randn(5, 4, requires_grad=True)
    gates.close(before)
    model(x).square().sum().backward()
    theirs = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert (theirs["1.lora_A"] is None) == bool(before)
    model.zero_grad()
    output = checkpoint(model, x, use_reentrant=True).square().sum()
    gates.open() if before else gates.close(1)
    output.backward()
    assert same_gradients(model, theirs)


@both_checkpointings
@pytest.mark.parametrize("how", ["no_grad", "inference_mode", "disabled", "closed"])
def test_a_reference_pass_between_forward_and_backward_is_not_refused(reentrant, how):
    model, plain = checkpointed("LoRA", reentrant).train(), tiny.adapted()
    gates = attach_gates(model)
    gates.train_with(MIDDLE_OFF)
    attach_gates(plain).train_with(MIDDLE_OFF)
    opened, base = tiny.logits(tiny.adapted()), tiny.logits(tiny.llama().eval())
    loss = model(input_ids=tiny.TOKENS, labels=tiny.TOKENS).loss
    if how == "disabled":
        with model.disable_adapter():
            assert torch.equal(tiny.training_logits(model), base)
    elif how == "closed":
        with gates.only([]):
            assert torch.equal(tiny.training_logits(model), base)
    else:  # sampling in training mode: open, with the checkpoints that are on in training mode
        with getattr(torch, how)():
            assert torch.equal(model(tiny.TOKENS).logits, opened)
    loss.backward()
    assert same_gradients(model, tiny.gradients(plain))


@both_checkpointings
def test_an_evaluation_between_forward_and_backward_is_no_change(reentrant):
    model, plain = checkpointed("LoRA", reentrant).train(), tiny.adapted()
    gates = attach_gates(model)
    gates.train_with(MIDDLE_OFF)
    attach_gates(plain).train_with(MIDDLE_OFF)
    loss = model(input_ids=tiny.TOKENS, labels=tiny.TOKENS).loss
    opened = tiny.logits(model.eval())
    with gates.only(1):
        assert not torch.equal(tiny.logits(model), opened)
    model.train()
    loss.backward()
    assert same_gradients(model, tiny.gradients(plain))


@pytest.mark.parametrize("inner", [False, True], ids=["non-reentrant inside", "reentrant inside"])
@pytest.mark.parametrize("outer", [False, True], ids=["in non-reentrant", "in reentrant"])
def test_both_kinds_may_be_nested(outer, inner):
    torch.manual_seed(0)
    model = nn.Sequential(*(LoRALinear(nn.Linear(4, 4), r=2, alpha=4) for _ in range(3)))
    tiny.randomise(model)
    attach_gates(model).train_with(MIDDLE_OFF)
    x = torch.randn(5, 4, requires_grad=True)
    model(x).square().sum().backward()
    theirs = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.requires_grad}
    model.zero_grad()

    def part(y):
        return checkpoint(model[2], checkpoint(model[1], model[0](y), use_reentrant=inner), use_reentrant=inner)

    checkpoint(part, x, use_reentrant=outer).square().sum().backward()
    assert same_gradients(model, theirs)


def test_evaluation_mode_after_the_forward_pass_does_not_change_its_recomputation():
    model, plain = checkpointed("LoRA", reentrant=True).train(), tiny.adapted()
    attach_gates(model).train_with(MIDDLE_OFF)
    attach_gates(plain).train_with(MIDDLE_OFF)
    loss = model(input_ids=tiny.TOKENS, labels=tiny.TOKENS).loss
    model.eval()
    loss.backward()
    assert same_gradients(model, tiny.gradients(plain))


@pytest.mark.parametrize("reentrant", [None, False, True], ids=["none", "non-reentrant", "reentrant"])
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")  # dynamo looks at it
def test_compiled_blocks_are_checkpointed_right(reentrant):
    torch._dynamo.reset()
    torch.manual_seed(0)
    model = nn.ModuleList(nn.Sequential(LoRALinear(nn.Linear(4, 4), r=2, alpha=4), nn.Tanh()) for _ in range(3))
    tiny.randomise(model)
    gates = attach_gates(model)
    x = torch.randn(5, 4, requires_grad=True)

    def passes(how):
        y = x
        for block in model:
            y = block(y) if how is None else checkpoint(block, y, use_reentrant=how)
        model.zero_grad()
        y.square().sum().backward()
        grads = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.requires_grad}
        return y.detach(), {name: None if grad is None else grad.clone() for name, grad in grads.items()}

    masks = [MIDDLE_OFF, torch.tensor([False, True, True])]
    expected = []
    for mask in masks:
        gates.train_with(mask)
        expected.append(passes(None))
    for block in model:
        block.compile(backend="eager")
    for mask, (output, theirs) in zip(masks, expected, strict=True):
        gates.train_with(mask)
        ours, _ = passes(reentrant)
        torch.testing.assert_close(ours, output)
        assert same_gradients(model, theirs)
    with torch.no_grad():  # sampling
        y = x
        for block in model:
            y = block(y)
    gates.open()
    torch.testing.assert_close(y, passes(None)[0])


def test_sampling_within_a_backward_pass_is_open():
    model = tiny.adapted()
    opened = tiny.logits(model)
    attach_gates(model.train()).train_with(MIDDLE_OFF)
    sampled = []
    weight = torch.ones(1, requires_grad=True)
    (weight * 2).register_hook(lambda _: sampled.append(tiny.logits(model)))
    output = weight * 2
    output.register_hook(lambda _: sampled.append(tiny.logits(model)))
    output.sum().backward()
    assert len(sampled) == 1 and torch.equal(sampled[0], opened)
