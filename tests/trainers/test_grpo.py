"""TRL's `GRPOTrainer`: its training with CoTo."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import trainer_features as features
import trainer_references as references
from trainer_models import BLOCKS, GRPO, Watch, adapted, make

from coto_lab import Constant, CoToCallback

ABSENT = {
    "fresh_models_and_search": "TRL's trainers take no `model_init`.",
}


def test_gates_follow_the_schedule(tmp_path: Path) -> None:
    features.gates_follow_the_schedule(GRPO, tmp_path)


def test_all_gates_open_is_the_plain_training(tmp_path: Path) -> None:
    features.all_gates_open_is_the_plain_training(GRPO, tmp_path)


def test_accumulation_with_a_short_last_group(tmp_path: Path) -> None:
    features.accumulation_with_a_short_last_group(GRPO, tmp_path, groups=[2, 1], rows=3, steps_per_generation=3)


def test_clipping(tmp_path: Path) -> None:
    features.clipping(GRPO, tmp_path)


def test_bf16(tmp_path: Path) -> None:
    features.bf16(GRPO, tmp_path)


def test_checkpointing(tmp_path: Path) -> None:
    features.checkpointing(GRPO, tmp_path)


def test_compiled(tmp_path: Path) -> None:
    features.compiled(GRPO, tmp_path)


def test_evaluation_during_training(tmp_path: Path) -> None:
    features.evaluation_during_training(GRPO, tmp_path, random=True)


def test_generation_during_training(tmp_path: Path) -> None:
    features.generation_during_training(GRPO, tmp_path)


def test_early_stopping(tmp_path: Path) -> None:
    features.early_stopping(GRPO, tmp_path)


def test_best_model_at_the_end(tmp_path: Path) -> None:
    features.best_model_at_the_end(GRPO, tmp_path)


def test_resume(tmp_path: Path) -> None:
    features.resume(GRPO, tmp_path)


def test_resume_with_more_steps(tmp_path: Path) -> None:
    features.resume_with_more_steps(GRPO, tmp_path)


def test_epochs(tmp_path: Path) -> None:
    features.epochs(GRPO, tmp_path)


def test_data_of_unknown_length(tmp_path: Path) -> None:
    features.data_of_unknown_length(GRPO, tmp_path)


def test_reference_is_the_disabled_adapter(tmp_path: Path) -> None:
    references.reference_is_the_disabled_adapter(GRPO, tmp_path)


def test_reference_is_a_second_adapter(tmp_path: Path) -> None:
    references.reference_is_a_second_adapter(GRPO, tmp_path)


def test_rollouts_see_the_whole_adapter(tmp_path: Path) -> None:
    """Every pass of a rollout uses every block, and the first rollout, before any step, is that of a training without CoTo."""
    rollouts: list[list[str]] = []

    def reward(completions: list[str], **_: Any) -> list[float]:
        rollouts.append(completions)
        return [float(len(text)) for text in completions]

    first = []
    for callbacks in ([CoToCallback(Constant(0.0))], []):
        model = adapted()
        watch = Watch(model)
        trainer = make(GRPO, tmp_path, *callbacks, model=model, needs={"reward_funcs": reward}, beta=0.0)  # no reference
        rollouts.clear()
        torch.manual_seed(0)
        trainer.train()
        first.append(rollouts[0])
        generated = [each.mask for each in watch.passes if not each.gradients]
        assert len(generated) >= len(rollouts) == trainer.state.global_step and all(all(mask) for mask in generated)
        assert all(sum(mask) == (1 if callbacks else BLOCKS) for mask in watch.trained())
    assert first[0] == first[1]
