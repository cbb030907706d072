"""`transformers.Trainer`: its training with CoTo."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trainer_features as features
from torch import Tensor, nn
from trained_weights import same, weights
from trainer_models import TRAINER, adapted, make
from transformers import TrainerCallback

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


class Keep(TrainerCallback):
    """The learning rate and the weights of each training, at its end."""

    def __init__(self) -> None:
        self.trainings: list[tuple[float, dict[str, Tensor]]] = []

    def on_train_end(self, args: Any, state: Any, control: Any, model: nn.Module, **_: Any) -> None:
        self.trainings.append((args.learning_rate, weights(model)))


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::optuna.exceptions.ExperimentalWarning")
def test_fresh_models_and_search(tmp_path: Path) -> None:
    """Each trial of a search begins with a model of its own, and ends with the weights of a training by itself."""
    keep, callback = Keep(), CoToCallback(features.SOME, seed=features.SEED)
    trainer = make(TRAINER, tmp_path, callback, keep, needs={"model_init": lambda: adapted()})
    best = trainer.hyperparameter_search(
        lambda trial: {"learning_rate": trial.suggest_float("learning_rate", 1e-3, 1e-1, log=True)},
        n_trials=3,
        direction="minimize",
        backend="optuna",
    )
    rates = [lr for lr, _ in keep.trainings]
    assert len(set(rates)) == 3 and best.hyperparameters["learning_rate"] in rates
    for lr, found in keep.trainings:
        again = CoToCallback(features.SOME, seed=features.SEED)
        alone = make(TRAINER, tmp_path, again, needs={"model_init": lambda: adapted()}, learning_rate=lr)
        alone.train()
        assert same(found, weights(alone.model))
