"""`transformers.Trainer`: its training with CoTo."""

from __future__ import annotations

from pathlib import Path

import trainer_features as features
from torch import nn
from trainer_models import TRAINER, adapted, make, same, weights

from coto_lab import CoToCallback

ABSENT = {
    "reference_is_the_disabled_adapter": "This training has no reference policy.",
    "reference_is_a_second_adapter": "This training has no reference policy.",
    "rollouts_see_the_whole_adapter": "This training makes no rollouts.",
}


def test_gates_follow_the_schedule(tmp_path: Path) -> None:
    features.gates_follow_the_schedule(TRAINER, tmp_path)


def test_all_gates_open_is_the_plain_training(tmp_path: Path) -> None:
    features.all_gates_open_is_the_plain_training(TRAINER, tmp_path)


def test_accumulation_with_a_short_last_group(tmp_path: Path) -> None:
    features.accumulation_with_a_short_last_group(TRAINER, tmp_path, groups=[2, 2, 1])


def test_clipping(tmp_path: Path) -> None:
    features.clipping(TRAINER, tmp_path)


def test_bf16(tmp_path: Path) -> None:
    features.bf16(TRAINER, tmp_path)


def test_checkpointing(tmp_path: Path) -> None:
    features.checkpointing(TRAINER, tmp_path)


def test_compiled(tmp_path: Path) -> None:
    features.compiled(TRAINER, tmp_path)


def test_evaluation_during_training(tmp_path: Path) -> None:
    features.evaluation_during_training(TRAINER, tmp_path)


def test_generation_during_training(tmp_path: Path) -> None:
    features.generation_during_training(TRAINER, tmp_path)


def test_early_stopping(tmp_path: Path) -> None:
    features.early_stopping(TRAINER, tmp_path)


def test_best_model_at_the_end(tmp_path: Path) -> None:
    features.best_model_at_the_end(TRAINER, tmp_path)


def test_resume(tmp_path: Path) -> None:
    features.resume(TRAINER, tmp_path)


def test_resume_with_more_steps(tmp_path: Path) -> None:
    features.resume_with_more_steps(TRAINER, tmp_path)


def test_epochs(tmp_path: Path) -> None:
    features.epochs(TRAINER, tmp_path)


def test_data_of_unknown_length(tmp_path: Path) -> None:
    features.data_of_unknown_length(TRAINER, tmp_path)


def fresh() -> nn.Module:
    return adapted()


def test_fresh_models_and_search(tmp_path: Path) -> None:
    """Two trainings in one trainer begin with a model of their own each, as the trials of a search do."""
    callback = CoToCallback(features.SOME, seed=features.SEED)
    trainer = make(TRAINER, tmp_path, callback, needs={"model_init": fresh})
    models = []
    for _ in range(2):
        trainer.train()
        models.append(trainer.model)
    assert models[0] is not models[1] and same(weights(models[0]), weights(models[1]))
    assert not same(weights(models[0]), weights(adapted()))
