"""`lightning.pytorch.Trainer`: with `CoToLightning` among its callbacks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.tuner import Tuner
from torch import Tensor
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

from coto_lab import Constant, Linear, Schedule, gates_of
from coto_lab.gating.lightning import CoToLightning

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),  # Lightning's advice
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),  # where a training resumes
    pytest.mark.filterwarnings("ignore:.*treespec, LeafSpec.*:FutureWarning"),  # of torch, about Lightning's own code
]

SCHEDULE = Linear(start=0.2)
WHOLE = [True] * BLOCKS


class Module(LightningModule):
    def __init__(self, model: peft.PeftModel | None = None, lr: float = 0.01, loss: Loss = loss_of):
        super().__init__()
        self.model, self.lr, self.loss = adapted() if model is None else model, lr, loss

    def training_step(self, batch: Batch, i: int) -> Tensor:
        return self.loss(self.model, batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return optimizer_of(self.model, self.lr)


class Validated(Module):
    def validation_step(self, batch: Batch, i: int) -> None:
        self.log("val_loss", self.model(**batch).loss)


def batches(n: int = 10) -> DataLoader:
    return DataLoader(rows(n), batch_size=BATCH)


def trainer_of(*callbacks: Any, **settings: Any) -> Trainer:
    saves = any(isinstance(callback, ModelCheckpoint) for callback in callbacks)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": saves}
    return Trainer(**{"accelerator": "cpu", "callbacks": list(callbacks), "max_epochs": 2, **quiet, **settings})


def train(module: Module, *callbacks: Any, ckpt_path: Path | None = None, **settings: Any) -> Trainer:
    trainer = trainer_of(*callbacks, **settings)
    trainer.fit(module, batches(), batches(4) if isinstance(module, Validated) else None, ckpt_path=ckpt_path)
    return trainer


def coto(schedule: Schedule = SCHEDULE) -> CoToLightning:
    return CoToLightning(schedule, seed=SEED)


def test_gates_follow_the_schedule() -> None:
    module, callback = Module(), coto()
    passes = Passes(module.model)
    train(module, callback)
    masks = drawn(SCHEDULE, 10)
    assert passes.training() == masks and callback.coto is not None and callback.coto.masks().tolist() == masks
    assert same(weights(module.model), train_by_hand(groups(epochs=2), masks))


def test_all_gates_open_is_the_plain_training() -> None:
    trained = []
    for callbacks in ([], [coto(Constant(1.0))]):
        module = Module(adapted(dropout=0.3))
        torch.manual_seed(1)
        train(module, *callbacks)
        trained.append(weights(module.model))
    assert same(*trained) and not same(trained[0], train_by_hand(groups(epochs=2)))  # that has no dropout


def test_accumulation_with_a_short_last_group() -> None:
    module = Module()
    passes = Passes(module.model)
    train(module, coto(), accumulate_grad_batches=2)
    steps, masks = groups(epochs=2, accumulation=2), drawn(SCHEDULE, 6)
    assert passes.training() == [mask for mask, group in zip(masks, steps, strict=True) for _ in group]
    assert same(weights(module.model), train_by_hand(steps, masks, divide_by=2))


def test_clipping() -> None:
    module = Module()
    train(module, coto(), gradient_clip_val=0.05)
    masks = drawn(SCHEDULE, 10)
    assert same(weights(module.model), train_by_hand(groups(epochs=2), masks, clip=0.05))
    assert not same(weights(module.model), train_by_hand(groups(epochs=2), masks))


def test_bf16() -> None:
    module = Module()
    train(module, coto(), precision="bf16-mixed")
    assert same(weights(module.model), train_by_hand(groups(epochs=2), drawn(SCHEDULE, 10), bf16=True))


def test_checkpointing() -> None:
    module, counts = Module(), []
    module.model.gradient_checkpointing_enable({"use_reentrant": False})
    module.model.enable_input_require_grads()
    recomputed = Recomputed(module.model)
    module.on_after_backward = lambda: counts.append(recomputed.take())  # type: ignore[method-assign]
    train(module, coto())
    masks = drawn(SCHEDULE, 10)
    assert counts == [expected_counts(mask) for mask in masks]
    assert same(weights(module.model), train_by_hand(groups(epochs=2), masks))


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")  # of torch's compiler
def test_compiled() -> None:
    module = Module()
    module.model.compile(backend="eager")  # it makes the graphs and runs them as they are, without the minute of making code
    train(module, coto(), max_steps=3)
    assert same(weights(module.model), train_by_hand(groups()[:3], drawn(SCHEDULE, 3)))


def test_evaluation_during_training() -> None:
    module = Validated()
    passes = Passes(module.model)
    trainer = train(module, coto(Constant(0.0)), val_check_interval=1)
    assert len(passes.others()) == 2 * (10 + 1) and all(mask == WHOLE for mask in passes.others())
    assert all(sum(mask) == 1 for mask in passes.training())  # p = 0 keeps one open in training
    reported = trainer.callback_metrics["val_loss"]
    assert trainer.validate(module, batches(4), verbose=False)[0]["val_loss"] == reported.item()


class Generates(Validated):
    def validation_step(self, batch: Batch, i: int) -> None:
        self.tokens = self.model.generate(input_ids=batch["input_ids"], max_new_tokens=4, do_sample=False)
        self.weights = weights(self.model)


def test_generation_during_training() -> None:
    module = Generates()
    passes = Passes(module.model)
    train(module, coto(Constant(0.0)), num_sanity_val_steps=0)
    other = adapted().eval()
    other.load_state_dict(module.weights, strict=False)
    *_, batch = batches(4)
    assert torch.equal(module.tokens, other.generate(input_ids=batch["input_ids"], max_new_tokens=4, do_sample=False))
    assert len(passes.others()) == 4 * 4 and all(mask == WHOLE for mask in passes.others())


def test_early_stopping() -> None:
    module = Validated()
    train(module, coto(), EarlyStopping("val_loss", min_delta=100.0, patience=1), max_epochs=10)
    assert same(weights(module.model), train_by_hand(groups(epochs=2), drawn(SCHEDULE, 50)[:10]))
    with pytest.raises(ValueError, match="carries no gates"):
        gates_of(module)


def test_best_model_at_the_end(tmp_path: Path) -> None:
    module, keep = (
        Validated(),
        ModelCheckpoint(tmp_path, monitor="val_loss", mode="max"),
    )  # the loss of the first epoch is higher
    trainer = train(module, coto(), keep)
    result = trainer.validate(module, batches(4), ckpt_path="best", weights_only=True, verbose=False)
    assert result[0]["val_loss"] == keep.best_model_score.item()
    assert same(weights(module.model), train_by_hand(groups(), drawn(SCHEDULE, 10)[:5]))


class Interrupted(Module):
    def on_train_epoch_start(self) -> None:
        if self.current_epoch == 1:
            raise TimeoutError


def interrupted(folder: Path, **settings: Any) -> Path:
    """The checkpoint of a training that ended by an error in its second epoch."""
    with pytest.raises(TimeoutError):
        train(Interrupted(), coto(), ModelCheckpoint(folder, filename="first"), **settings)
    return folder / "first.ckpt"


def test_resume(tmp_path: Path) -> None:
    module, callback = Module(), CoToLightning(SCHEDULE)  # the seed is in the checkpoint
    passes = Passes(module.model)
    train(module, callback, ModelCheckpoint(tmp_path), ckpt_path=interrupted(tmp_path))
    masks = drawn(SCHEDULE, 10)
    assert passes.training() == masks[5:]
    assert same(weights(module.model), train_by_hand(groups(epochs=2), masks))


def test_resume_with_more_steps(tmp_path: Path) -> None:
    module = Module()
    train(module, coto(), ModelCheckpoint(tmp_path), ckpt_path=interrupted(tmp_path), max_epochs=3)
    masks = drawn(SCHEDULE, 10)[:5] + drawn(SCHEDULE, 15)[5:]
    assert same(weights(module.model), train_by_hand(groups(epochs=3), masks))


def test_epochs() -> None:
    trained = []
    for settings in ({"max_epochs": 2}, {"max_steps": 10, "max_epochs": -1}):
        module = Module()
        train(module, coto(), **settings)
        trained.append(weights(module.model))
    assert same(*trained) and same(trained[0], train_by_hand(groups(epochs=2), drawn(SCHEDULE, 10)))


class Stream(IterableDataset):
    def __iter__(self) -> Iterator[Batch]:
        return iter(rows())


def test_data_of_unknown_length() -> None:
    module = Module()
    trainer_of(coto(), max_steps=7, max_epochs=-1).fit(module, DataLoader(Stream(), batch_size=BATCH))
    assert same(weights(module.model), train_by_hand(groups(epochs=2)[:7], drawn(SCHEDULE, 7)))
    with pytest.raises(ValueError, match=r"max_steps=-1: .*Set Trainer\(max_steps"):
        trainer_of(coto(), max_epochs=2).fit(Module(), DataLoader(Stream(), batch_size=BATCH))


def test_fresh_models_and_search(tmp_path: Path) -> None:
    callback, masks = coto(), drawn(SCHEDULE, 10)
    for lr in (0.01, 0.03):
        module = Module(lr=lr)
        train(module, callback)
        assert same(weights(module.model), train_by_hand(groups(epochs=2), masks, lr=lr))
    module, trainer = Module(), trainer_of(callback, max_epochs=4, default_root_dir=tmp_path)
    Tuner(trainer).lr_find(module, batches(), num_training=20, early_stop_threshold=None)
    assert module.lr != 0.01
    trainer.fit(module, batches())
    assert same(weights(module.model), train_by_hand(groups(epochs=4), drawn(SCHEDULE, 20), lr=module.lr))


def test_reference_is_the_disabled_adapter() -> None:
    module = Module(loss=with_disabled_reference)
    train(module, coto())
    expected = train_by_hand(groups(epochs=2), drawn(SCHEDULE, 10), loss=with_disabled_reference_by_hand)
    assert same(weights(module.model), expected)


def test_reference_is_a_second_adapter() -> None:
    module = Module(with_second_adapter(), loss=with_adapter_as_reference)
    train(module, coto())
    expected = train_by_hand(groups(epochs=2), drawn(SCHEDULE, 10), loss=with_adapter_as_reference_by_hand)
    assert same(weights(module.model), expected)


def test_rollouts_see_the_whole_adapter() -> None:
    module = Module(loss=on_a_rollout)
    passes = Passes(module.model)
    train(module, coto(), max_epochs=1)
    assert passes.training() == drawn(SCHEDULE, 5) and all(mask == WHOLE for mask in passes.others())
    assert same(weights(module.model), train_by_hand(groups(), drawn(SCHEDULE, 5), loss=on_a_rollout_by_hand))
