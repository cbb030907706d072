"""CoTo in an unmodified Trainer. The two-process cases are in test_two_processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from tiny_models import config_of, vit
from torch import Tensor, nn
from trained_weights import same, weights
from transformers import EarlyStoppingCallback, Trainer, TrainerCallback, TrainingArguments

from coto_lab import Constant, CoToCallback, Linear, Schedule, Sine, gates_of
from coto_lab.gating.coto import draw_mask

N, BATCH = 22, 4  # 6 batches an epoch; with accumulation over 4, groups of 4 and 2; over 2, three groups


def images(n: int = N) -> list[dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [{"pixel_values": torch.randn(1, 8, 8, generator=generator), "labels": torch.tensor(i % 3)} for i in range(n)]


def tiny_peft(dropout: float = 0.0) -> nn.Module:
    torch.manual_seed(0)
    return peft.get_peft_model(vit(layers=4), config_of("LoRA", lora_dropout=dropout))


def make_trainer(
    folder: Path,
    *callbacks: TrainerCallback,
    model: nn.Module | None = None,
    trainer_class: type[Trainer] = Trainer,
    **settings: Any,
) -> Trainer:
    defaults: dict[str, Any] = {
        "max_steps": 6,
        "per_device_train_batch_size": BATCH,
        "learning_rate": 0.01,
        "weight_decay": 0.1,
    }
    quiet = {"save_strategy": "no", "logging_strategy": "no", "report_to": [], "disable_tqdm": True, "use_cpu": True}
    args = TrainingArguments(folder, **{**defaults, **quiet, **settings})
    model = model if model is not None else tiny_peft(dropout=0.3)
    return trainer_class(model=model, args=args, train_dataset=images(), eval_dataset=images(8), callbacks=list(callbacks))


def classes(model: nn.Module) -> list[type]:
    return [type(module) for module in model.modules()]


class Watch:
    """Which adapters really ran: forward hooks on their first factors."""

    def __init__(self, model: nn.Module):
        self.model = model
        self.forwards: list[tuple[bool, set[str]]] = []  # training?, blocks whose adapter ran
        base = model.get_base_model()
        base.register_forward_pre_hook(lambda module, _: self.forwards.append((module.training, set())))
        for name, module in base.named_modules():
            if name.endswith("lora_A.default"):
                block = name[: name.index(".attention")]
                module.register_forward_hook(lambda *_, block=block: self.forwards[-1][1].add(block))

    def masks(self, blocks: list[str], training: bool) -> list[list[bool]]:
        return [[block in ran for block in blocks] for mode, ran in self.forwards if mode is training]


BLOCKS = [f"vit.layers.{i}" for i in range(4)]


@pytest.mark.parametrize("accumulation", [1, 2, 4])
def test_gates_are_drawn_once_per_optimiser_step(tmp_path: Path, accumulation: int) -> None:
    model, schedule, epochs = tiny_peft(), Constant(0.4), 2
    watch, callback = Watch(model), CoToCallback(schedule, seed=3)
    trainer = make_trainer(
        tmp_path, callback, model=model, max_steps=-1, num_train_epochs=epochs, gradient_accumulation_steps=accumulation
    )
    trainer.train()
    sizes = {1: [1] * 6, 2: [2] * 3, 4: [4, 2]}[accumulation] * epochs  # micro-batches of each group, the last one short
    assert trainer.state.global_step == len(sizes)
    expected = [draw_mask(4, 0.4, 3, step).tolist() for step, size in enumerate(sizes) for _ in range(size)]
    assert watch.masks(BLOCKS, training=True) == expected
    assert len({tuple(mask) for mask in expected}) > 1


@pytest.mark.parametrize("schedule", [None, Linear(ramp=0.0), Linear(ramp=1.0), Sine(end=0.5)], ids=repr)
def test_gates_follow_the_schedule_over_the_steps_of_the_trainer(tmp_path: Path, schedule: Schedule | None) -> None:
    model = tiny_peft()
    watch, callback = Watch(model), CoToCallback(schedule)
    make_trainer(tmp_path, callback, model=model, max_steps=9, seed=7).train()
    p = schedule or Linear()
    expected = [draw_mask(4, p(step / 9), 7, step).tolist() for step in range(9)]  # seed: that of the arguments
    assert watch.masks(BLOCKS, training=True) == expected
    assert callback.coto is not None and callback.coto.masks().tolist() == expected


def test_by_module_gates_every_layer_on_its_own(tmp_path: Path) -> None:
    model, callback = tiny_peft(), CoToCallback(Constant(0.5), seed=0, by="module")
    before = weights(model)
    make_trainer(tmp_path, callback, model=model, max_steps=1, weight_decay=0.0).train()
    mask = draw_mask(8, 0.5, 0, 0).tolist()
    moved = [not torch.equal(before[name], tensor) for name, tensor in weights(model).items() if "lora_B" in name]
    assert moved == mask and 0 < sum(mask) < 8


class WithReference(Trainer):
    """Asks the model without its adapter first, as preference training does for its reference."""

    def compute_loss(self, model: Any, inputs: dict[str, Tensor], *args: Any, **kwargs: Any) -> Any:
        with torch.no_grad(), model.disable_adapter(), torch.random.fork_rng():
            assert torch.equal(model(**inputs).logits, vit(layers=4)(**inputs).logits)
        return super().compute_loss(model, inputs, *args, **kwargs)


def test_disabling_the_adapter_within_a_step_keeps_the_gates(tmp_path: Path) -> None:
    model = tiny_peft()
    watch = Watch(model)
    make_trainer(tmp_path, CoToCallback(Constant(0.4), seed=3), model=model, trainer_class=WithReference).train()
    drawn = [draw_mask(4, 0.4, 3, step).tolist() for step in range(6)]
    assert watch.masks(BLOCKS, training=True) == [mask for own in drawn for mask in ([False] * 4, own)]


def test_every_evaluation_sees_the_whole_adapter(tmp_path: Path) -> None:
    model = tiny_peft()
    watch = Watch(model)
    trainer = make_trainer(
        tmp_path, CoToCallback(Constant(0.0)), model=model, eval_strategy="steps", eval_steps=2, eval_on_start=True
    )
    trainer.train()
    trainer.evaluate()
    evaluations = watch.masks(BLOCKS, training=False)
    assert len(evaluations) >= 5 and all(all(mask) for mask in evaluations)
    assert all(sum(mask) == 1 for mask in watch.masks(BLOCKS, training=True))  # while p = 0 keeps one open in training


def test_the_reported_loss_is_that_of_the_whole_adapter(tmp_path: Path) -> None:
    model = tiny_peft()
    trainer = make_trainer(tmp_path, CoToCallback(Constant(0.3)), model=model, eval_strategy="steps", eval_steps=3)
    trainer.train()
    reported = trainer.state.log_history
    final = [entry["eval_loss"] for entry in reported if entry.get("step") == 6 and "eval_loss" in entry][-1]
    batch = {name: torch.stack([image[name] for image in images(8)]) for name in ("pixel_values", "labels")}
    with torch.no_grad():
        assert final == pytest.approx(model.eval()(**batch).loss.item(), rel=1e-6)


def test_gates_come_off_when_training_ends(tmp_path: Path) -> None:
    model = tiny_peft()
    before = classes(model)
    make_trainer(tmp_path, CoToCallback(), model=model).train()
    assert classes(model) == before
    with pytest.raises(ValueError, match="carries no gates"):
        gates_of(model)


def test_gates_come_off_after_early_stopping(tmp_path: Path) -> None:
    model = tiny_peft()
    before = classes(model)
    trainer = make_trainer(
        tmp_path,
        CoToCallback(Constant(0.3)),
        EarlyStoppingCallback(early_stopping_patience=1, early_stopping_threshold=100.0),
        model=model,
        max_steps=50,
        eval_strategy="steps",
        eval_steps=1,
        save_strategy="steps",
        save_steps=1,
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
    )
    trainer.train()
    assert trainer.state.global_step < 50 and classes(model) == before


class Interrupt(TrainerCallback):
    """Somebody presses Ctrl-C in the given step."""

    def __init__(self, step: int):
        self.step: int | None = step

    def on_substep_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == self.step:
            raise KeyboardInterrupt


def test_after_an_exception_the_model_evaluates_open_and_trains_again(tmp_path: Path) -> None:
    model, interrupt = tiny_peft(), Interrupt(2)
    watch, before = Watch(model), classes(model)
    trainer = make_trainer(
        tmp_path, CoToCallback(Constant(0.0)), interrupt, model=model, max_steps=3, gradient_accumulation_steps=2
    )
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    trainer.evaluate()
    assert watch.masks(BLOCKS, training=False)[-1] == [True] * 4
    interrupt.step = None
    make_trainer(tmp_path / "other", CoToCallback(), model=model).train()  # another callback replaces the gates that are there
    assert classes(model) == before
    with pytest.raises(ValueError, match="carries no gates"):
        gates_of(model)
    watch.forwards.clear()
    trainer.train()
    assert trainer.state.global_step == 3 and classes(model) == before
    expected = [draw_mask(4, 0.0, 42, step).tolist() for step in range(3) for _ in range(2)]
    assert watch.masks(BLOCKS, training=True) == expected


def test_a_second_training_may_be_longer(tmp_path: Path) -> None:
    model, callback = tiny_peft(), CoToCallback(seed=1)
    trainer = make_trainer(tmp_path, callback, model=model, max_steps=4)
    trainer.train()
    trainer.args.max_steps = 8
    watch = Watch(model)
    trainer.train()
    expected = [draw_mask(4, Linear()(step / 8), 1, step).tolist() for step in range(8)]
    assert watch.masks(BLOCKS, training=True) == expected


@pytest.mark.parametrize("accumulation", [1, 2])
def test_p_1_is_bitwise_a_trainer_without_callback(tmp_path: Path, accumulation: int) -> None:
    trained = []
    for callbacks in ([], [CoToCallback(Constant(1.0))]):
        trainer = make_trainer(tmp_path, *callbacks, gradient_accumulation_steps=accumulation)
        trainer.train()
        trained.append(weights(trainer.model))
    assert same(*trained) and not same(trained[0], weights(tiny_peft()))


SAVING = {"save_strategy": "steps", "gradient_accumulation_steps": 2, "max_steps": 10}


def coto() -> CoToCallback:
    return CoToCallback(Linear(start=0.2), seed=5)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Tensor]]:
    """Ten steps with a checkpoint after the fifth, in the middle of the second epoch; the folder and the weights."""
    folder = tmp_path_factory.mktemp("trainer")
    trainer = make_trainer(folder, coto(), save_steps=5, **SAVING)
    trainer.train()
    return folder, weights(trainer.model)


def test_a_resumed_training_is_bitwise_the_uninterrupted_one(
    tmp_path: Path, uninterrupted: tuple[Path, dict[str, Tensor]]
) -> None:
    folder, expected = uninterrupted
    trainer = make_trainer(tmp_path, coto(), save_steps=5, **SAVING)
    trainer.train(resume_from_checkpoint=str(folder / "checkpoint-5"))
    assert same(weights(trainer.model), expected)


def test_a_checkpoint_without_coto_resumes_with_it_and_saves(tmp_path: Path) -> None:
    make_trainer(tmp_path, save_steps=5, **SAVING).train()
    trainer = make_trainer(tmp_path, coto(), save_steps=5, **SAVING)
    watch = Watch(trainer.model)
    trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-5"))
    schedule: Schedule = Linear(start=0.2)
    expected = [draw_mask(4, schedule(step / 10), 5, step).tolist() for step in range(5, 10) for _ in range(2)]
    assert watch.masks(BLOCKS, training=True) == expected
    saved = peft.PeftModel.from_pretrained(vit(layers=4), tmp_path / "checkpoint-10", is_trainable=True)
    assert same(weights(saved), weights(trainer.model))


_KILLED = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from gating.test_callback import SAVING, TrainerCallback, coto, make_trainer

class Report(TrainerCallback):
    def on_substep_end(self, args, state, control, **_):
        if state.global_step == 7:  # the eighth step, between its two micro-batches
            print("now", flush=True)
            time.sleep(60)

make_trainer(Path(sys.argv[1]), coto(), Report(), save_steps=5, **SAVING).train()
"""


@pytest.mark.slow
def test_a_killed_training_resumes_bitwise(tmp_path: Path, uninterrupted: tuple[Path, dict[str, Tensor]]) -> None:
    command = [sys.executable, "-c", _KILLED, str(tmp_path), str(Path(__file__).parents[1])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line == "now\n":
                process.send_signal(signal.SIGKILL)
        assert process.wait(timeout=60) == -signal.SIGKILL
    assert os.listdir(tmp_path) == ["checkpoint-5"]
    trainer = make_trainer(tmp_path, coto(), save_steps=5, **SAVING)
    trainer.train(resume_from_checkpoint=True)
    assert same(weights(trainer.model), uninterrupted[1])


def test_a_model_without_adapters_is_refused(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, CoToCallback(), model=vit(layers=2))
    with pytest.raises(ValueError, match="has no adapter layers"):
        trainer.train()
