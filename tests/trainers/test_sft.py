"""TRL's `SFTTrainer`: its training with CoTo."""

from __future__ import annotations

from pathlib import Path

import trainer_features as features
from trainer_models import SFT

ABSENT = {
    "fresh_models_and_search": "TRL's trainers take no `model_init`.",
    "reference_is_the_disabled_adapter": "This training has no reference policy.",
    "reference_is_a_second_adapter": "This training has no reference policy.",
    "rollouts_see_the_whole_adapter": "This training makes no rollouts.",
}


def test_gates_follow_the_schedule(tmp_path: Path) -> None:
    features.gates_follow_the_schedule(SFT, tmp_path)


def test_all_gates_open_is_the_plain_training(tmp_path: Path) -> None:
    features.all_gates_open_is_the_plain_training(SFT, tmp_path)


def test_accumulation_with_a_short_last_group(tmp_path: Path) -> None:
    features.accumulation_with_a_short_last_group(SFT, tmp_path, groups=[2, 2, 1])


def test_clipping(tmp_path: Path) -> None:
    features.clipping(SFT, tmp_path)


def test_bf16(tmp_path: Path) -> None:
    features.bf16(SFT, tmp_path)


def test_checkpointing(tmp_path: Path) -> None:
    features.checkpointing(SFT, tmp_path)


def test_compiled(tmp_path: Path) -> None:
    features.compiled(SFT, tmp_path)


def test_evaluation_during_training(tmp_path: Path) -> None:
    features.evaluation_during_training(SFT, tmp_path)


def test_generation_during_training(tmp_path: Path) -> None:
    features.generation_during_training(SFT, tmp_path)


def test_early_stopping(tmp_path: Path) -> None:
    features.early_stopping(SFT, tmp_path)


def test_best_model_at_the_end(tmp_path: Path) -> None:
    features.best_model_at_the_end(SFT, tmp_path)


def test_resume(tmp_path: Path) -> None:
    features.resume(SFT, tmp_path)


def test_resume_with_more_steps(tmp_path: Path) -> None:
    features.resume_with_more_steps(SFT, tmp_path)


def test_epochs(tmp_path: Path) -> None:
    features.epochs(SFT, tmp_path)


def test_data_of_unknown_length(tmp_path: Path) -> None:
    features.data_of_unknown_length(SFT, tmp_path)
