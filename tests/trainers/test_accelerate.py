"""A loop of your own with `accelerate`: `attach_gates`, `CoTo`, and ``coto.step()`` after every optimiser step."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from torch.utils.data import DataLoader, IterableDataset
from trained_by_hand import (
    BATCH,
    BLOCKS,
    SEED,
    Batch,
    Loss,
    Passes,
    Recomputed,
    adapted,
    drawn,
    expected_counts,
    groups,
    loss_of,
    on_a_rollout,
    on_a_rollout_by_hand,
    optimizer_of,
    rows,
    train_by_hand,
    with_adapter_as_reference,
    with_adapter_as_reference_by_hand,
    with_disabled_reference,
    with_disabled_reference_by_hand,
    with_second_adapter,
)
from trained_weights import same, weights

from coto_lab import Constant, CoTo, Linear, Schedule, attach_gates
from coto_lab.gating.checkpointing import let_backward_stop

SCHEDULE = Linear(start=0.2)
WHOLE = [True] * BLOCKS
ABSENT = {
    "early_stopping": "The loop is the user's own, and so is the decision when it ends.",
    "best_model_at_the_end": "The loop is the user's own, and so is the choice of what it keeps.",
    "epochs": "The loop is the user's own: CoTo is told the number of steps.",
    "fresh_models_and_search": "The loop is the user's own: each training attaches gates to its model.",
}


@pytest.fixture(autouse=True)
def accelerate_afresh() -> Iterator[None]:
    """Accelerate keeps its precision and its accumulation for the whole process."""
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


class Training:
    """A user's loop, of which a checkpoint holds all that accelerate saves, and CoTo."""

    def __init__(
        self,
        model: peft.PeftModel | None = None,
        *,
        schedule: Schedule | None = SCHEDULE,
        steps: int = 10,
        data: Any = None,
        clip: float | None = None,
        loss: Loss = loss_of,
        **settings: Any,
    ):
        self.steps, self.clip, self.loss = steps, clip, loss
        self.accelerator = Accelerator(cpu=True, **settings)
        model = adapted() if model is None else model
        data = DataLoader(rows() if data is None else data, batch_size=BATCH)
        self.model, self.optimizer, self.data = self.accelerator.prepare(model, optimizer_of(model), data)
        self.coto = None
        if schedule is not None:
            self.gates = attach_gates(self.accelerator.unwrap_model(self.model))
            self.coto = CoTo(self.gates, schedule, total_steps=steps, seed=SEED)
            self.accelerator.register_for_checkpointing(self.coto)
        self.step = 0

    def run(self, until: int | None = None) -> Training:
        while self.step < (until or self.steps):
            for batch in self.data:
                with self.accelerator.accumulate(self.model):
                    with self.accelerator.autocast():
                        loss = self.loss(self.model, batch)
                    self.accelerator.backward(loss)
                    if self.clip and self.accelerator.sync_gradients:
                        self.accelerator.clip_grad_norm_(self.model.parameters(), self.clip)
                    self.optimizer.step()
                    self.optimizer.zero_grad()
                if self.accelerator.sync_gradients:
                    self.step += 1
                    if self.coto is not None:
                        self.coto.step()
                    self.after_step()
                if self.step == (until or self.steps):
                    break
        return self

    def after_step(self) -> None:
        """What a test looks at after each step."""

    def weights(self) -> Any:
        return weights(self.accelerator.unwrap_model(self.model))


def test_gates_follow_the_schedule() -> None:
    model = adapted()
    passes, training = Passes(model), Training(model).run()
    masks = drawn(SCHEDULE, 10)
    assert training.coto is not None and passes.training() == masks == training.coto.masks().tolist()
    assert same(training.weights(), train_by_hand(groups(epochs=2), masks))


def test_all_gates_open_is_the_plain_training() -> None:
    trained = []
    for schedule in (None, Constant(1.0)):
        torch.manual_seed(1)
        trained.append(Training(adapted(dropout=0.3), schedule=schedule).run().weights())
    assert same(*trained) and not same(trained[0], train_by_hand(groups(epochs=2)))  # that has no dropout


def test_accumulation_with_a_short_last_group() -> None:
    model = adapted()
    passes, training = Passes(model), Training(model, steps=6, gradient_accumulation_steps=2).run()
    steps, masks = groups(epochs=2, accumulation=2), drawn(SCHEDULE, 6)
    assert passes.training() == [mask for mask, group in zip(masks, steps, strict=True) for _ in group]
    assert same(training.weights(), train_by_hand(steps, masks, divide_by=2))


def test_clipping() -> None:
    trained, masks = Training(clip=0.05).run().weights(), drawn(SCHEDULE, 10)
    assert same(trained, train_by_hand(groups(epochs=2), masks, clip=0.05))
    assert not same(trained, train_by_hand(groups(epochs=2), masks))


def test_bf16() -> None:
    trained = Training(mixed_precision="bf16").run().weights()
    assert same(trained, train_by_hand(groups(epochs=2), drawn(SCHEDULE, 10), bf16=True))


def test_checkpointing() -> None:
    model = adapted()
    model.gradient_checkpointing_enable({"use_reentrant": False})
    model.enable_input_require_grads()
    let_backward_stop(model)
    recomputed, counts, training = Recomputed(model), [], Training(model)
    training.after_step = lambda: counts.append(recomputed.take())  # type: ignore[method-assign]
    masks = drawn(SCHEDULE, 10)
    assert same(training.run().weights(), train_by_hand(groups(epochs=2), masks))
    assert counts == [expected_counts(mask) for mask in masks]


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")  # of torch's compiler
def test_compiled() -> None:
    model = adapted()
    model.compile(backend="eager")  # it makes the graphs and runs them as they are, without the minute of making code
    assert same(Training(model, steps=3).run().weights(), train_by_hand(groups()[:3], drawn(SCHEDULE, 3)))


def test_evaluation_during_training() -> None:
    model, evaluated = adapted(), []
    passes, training = Passes(model), Training(model, schedule=Constant(0.0))
    validation = training.accelerator.prepare(DataLoader(rows(4), batch_size=4))
    (batch,) = validation

    def evaluate() -> None:
        training.model.eval()
        with torch.no_grad():
            evaluated.append((training.model(**batch).loss, weights(model)))
        training.model.train()

    training.after_step = evaluate  # type: ignore[method-assign]
    training.run()
    assert passes.others() == [WHOLE] * 10 and all(sum(mask) == 1 for mask in passes.training())
    loss, at_the_end = evaluated[-1]
    other = adapted().eval()
    other.load_state_dict(at_the_end, strict=False)
    assert torch.equal(other(**batch).loss, loss)


def test_generation_during_training() -> None:
    model, generated = adapted(), []
    passes, training = Passes(model), Training(model, schedule=Constant(0.0))
    prompt = next(iter(training.data))["input_ids"]

    def generate() -> None:
        tokens = training.accelerator.unwrap_model(training.model).generate(input_ids=prompt, max_new_tokens=4, do_sample=False)
        generated.append((tokens, weights(model)))

    training.after_step = generate  # type: ignore[method-assign]
    training.run()
    assert passes.others() == [WHOLE] * 4 * 10
    tokens, at_the_end = generated[-1]
    other = adapted().eval()
    other.load_state_dict(at_the_end, strict=False)
    assert torch.equal(other.generate(input_ids=prompt, max_new_tokens=4, do_sample=False), tokens)


def test_resume(tmp_path: Path) -> None:
    interrupted = Training(adapted(dropout=0.3))
    torch.manual_seed(1)
    interrupted.run(until=5).accelerator.save_state(tmp_path)
    expected = interrupted.run().weights()
    AcceleratorState._reset_state(reset_partial_state=True)
    model = adapted(dropout=0.3)
    passes, training = Passes(model), Training(model)
    training.accelerator.load_state(tmp_path)
    training.step = 5
    assert same(training.run().weights(), expected) and passes.training() == drawn(SCHEDULE, 10)[5:]


def test_resume_with_more_steps(tmp_path: Path) -> None:
    Training(steps=5).run(until=5).accelerator.save_state(tmp_path)
    AcceleratorState._reset_state(reset_partial_state=True)
    training = Training(steps=10)
    training.accelerator.load_state(tmp_path)
    assert training.coto is not None and training.coto.total_steps == 5  # as in the checkpoint
    training.coto.total_steps, training.step = 10, 5
    training.coto.go_to(5)
    masks = drawn(SCHEDULE, 5) + drawn(SCHEDULE, 10)[5:]
    assert same(training.run().weights(), train_by_hand(groups(epochs=2), masks))


class Stream(IterableDataset):
    def __iter__(self) -> Iterator[Batch]:
        return iter(rows())


def test_data_of_unknown_length() -> None:
    assert same(Training(steps=7, data=Stream()).run().weights(), train_by_hand(groups(epochs=2)[:7], drawn(SCHEDULE, 7)))


def test_reference_is_the_disabled_adapter() -> None:
    trained = Training(loss=with_disabled_reference).run().weights()
    assert same(trained, train_by_hand(groups(epochs=2), drawn(SCHEDULE, 10), loss=with_disabled_reference_by_hand))


def test_reference_is_a_second_adapter() -> None:
    trained = Training(with_second_adapter(), loss=with_adapter_as_reference).run().weights()
    assert same(trained, train_by_hand(groups(epochs=2), drawn(SCHEDULE, 10), loss=with_adapter_as_reference_by_hand))


def test_rollouts_see_the_whole_adapter() -> None:
    model = adapted()
    passes, training = Passes(model), Training(model, steps=5, loss=on_a_rollout).run()
    assert passes.training() == drawn(SCHEDULE, 5) and all(mask == WHOLE for mask in passes.others())
    assert same(training.weights(), train_by_hand(groups(), drawn(SCHEDULE, 5), loss=on_a_rollout_by_hand))
