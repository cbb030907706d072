"""TRL's `KTOTrainer`: its training with CoTo."""

from __future__ import annotations

from pathlib import Path

import trainer_features as features
import trainer_references as references
from trainer_models import KTO

ABSENT = {
    "fresh_models_and_search": "TRL's trainers take no `model_init`.",
    "rollouts_see_the_whole_adapter": "This training makes no rollouts.",
}


def test_gates_follow_the_schedule(tmp_path: Path) -> None:
    features.gates_follow_the_schedule(KTO, tmp_path)


def test_all_gates_open_is_the_plain_training(tmp_path: Path) -> None:
    features.all_gates_open_is_the_plain_training(KTO, tmp_path)


def test_accumulation_with_a_short_last_group(tmp_path: Path) -> None:
    features.accumulation_with_a_short_last_group(KTO, tmp_path, groups=[2, 2, 1])


def test_clipping(tmp_path: Path) -> None:
    features.clipping(KTO, tmp_path)


def test_bf16(tmp_path: Path) -> None:
    features.bf16(KTO, tmp_path)


def test_checkpointing(tmp_path: Path) -> None:
    features.checkpointing(KTO, tmp_path)


def test_compiled(tmp_path: Path) -> None:
    features.compiled(KTO, tmp_path)


def test_evaluation_during_training(tmp_path: Path) -> None:
    features.evaluation_during_training(KTO, tmp_path)


def test_generation_during_training(tmp_path: Path) -> None:
    features.generation_during_training(KTO, tmp_path)


def test_early_stopping(tmp_path: Path) -> None:
    features.early_stopping(KTO, tmp_path)


def test_best_model_at_the_end(tmp_path: Path) -> None:
    features.best_model_at_the_end(KTO, tmp_path)


def test_resume(tmp_path: Path) -> None:
    features.resume(KTO, tmp_path)


def test_resume_with_more_steps(tmp_path: Path) -> None:
    features.resume_with_more_steps(KTO, tmp_path)


def test_epochs(tmp_path: Path) -> None:
    features.epochs(KTO, tmp_path)


def test_data_of_unknown_length(tmp_path: Path) -> None:
    features.data_of_unknown_length(KTO, tmp_path)


def test_reference_is_the_disabled_adapter(tmp_path: Path) -> None:
    references.reference_is_the_disabled_adapter(KTO, tmp_path)


def test_reference_is_a_second_adapter(tmp_path: Path) -> None:
    references.reference_is_a_second_adapter(KTO, tmp_path)
