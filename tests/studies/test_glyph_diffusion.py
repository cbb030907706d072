"""Content and style on the diffusion model: recipes, the table, and the adapters that ship."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from coto_lab import Constant, Linear
from coto_lab.adapters.adapter import Adapter
from coto_lab.ground.files import data_path
from coto_lab.studies import glyph_diffusion
from coto_lab.studies.glyph_diffusion import (
    PARTS,
    RULES,
    SEEDS,
    STORED,
    WAYS,
    adapter_name,
    load_stored,
    recipe_of,
    sampled_rows,
    stored_rows,
    table,
)
from coto_lab.studies.variants import best_rate, next_rate
from coto_lab.tasks.glyph_diffusion import NEW_CHARACTERS, load_content_task


def test_the_two_ways_differ_in_schedule_and_rate_alone() -> None:
    lora, coto = recipe_of("LoRA", 0.01, 3), recipe_of("CoTo", 0.02, 3)
    assert (lora.schedule, coto.schedule) == (Constant(), Linear())
    own = [{k: v for k, v in recipe.to_json().items() if k not in ("schedule", "lr")} for recipe in (lora, coto)]
    assert own[0] == own[1]


def test_the_table_has_every_seed_and_shares_in_percent() -> None:
    own = table()
    assert own["base"] == load_content_task().base
    for who in ("new", "known"):
        scores = own["scores"][who]
        assert set(scores) == {"base", *PARTS, *RULES}
        for what in (*PARTS, *RULES):
            for way in WAYS:
                shares = scores[what][way]
                assert {len(values) for values in shares.values()} == {len(SEEDS)}
                for content, style, both in zip(shares["content"], shares["style"], shares["both"], strict=True):
                    assert max(0, content + style - 100) - 1e-3 <= both <= min(content, style) + 1e-3 <= 100.002


def test_each_rate_has_the_lowest_mean_loss_of_a_sweep_that_went_on_to_both_sides() -> None:
    own = table()
    for way in WAYS:
        scores = {float(lr): [-loss for loss in losses] for lr, losses in own["sweep"][way].items()}
        assert own["lr"][way] == best_rate(scores)
        assert next_rate(scores) is None


def test_every_adapter_has_a_lower_test_loss_than_the_base() -> None:
    for losses in table()["loss"].values():
        assert all(max(losses[way]) < losses["base"] for way in WAYS)


@pytest.mark.parametrize("way", WAYS)
def test_stored_adapters_are_float32_on_the_table_s_base(way: str) -> None:
    for part in STORED:
        adapter = load_stored(part, way)
        assert adapter.base == table()["base"]
        assert {tensor.dtype for tensor in adapter.tensors.values()} == {torch.float32}
        assert len(adapter.modules) == 32
    ranks = {part: {a.shape[0] for a, _ in load_stored(part, way).factors().values()} for part in STORED}
    assert ranks == {"content": {8}, "style": {8}, "zip": {16}}


def test_the_rows_of_the_sheet_are_one_image_of_each_new_character() -> None:
    rows = sampled_rows("CoTo")
    assert list(rows) == ["base", *PARTS, *RULES]
    assert {tuple(images.shape) for images in rows.values()} == {(len(NEW_CHARACTERS), 1, 1, 16, 16)}
    assert len({images.sum().item() for images in rows.values()}) == len(rows)


def test_stored_rows_are_what_was_sampled() -> None:
    drawn, stored = sampled_rows("LoRA"), stored_rows("LoRA")
    assert list(stored) == list(drawn)
    for name, images in drawn.items():  # another machine rounds otherwise, and 20 steps of denoising carry that on
        assert (stored[name] - images.clamp(-1, 1)).abs().mean() < 0.02


def test_what_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="way='lora': there is 'LoRA' and 'CoTo'"):
        stored_rows("lora")
    with pytest.raises(ValueError, match="part='sum', way='LoRA': there is 'content', 'style', 'zip', with 'LoRA' or 'CoTo'"):
        load_stored("sum", "LoRA")
    with pytest.raises(ValueError, match="part='content', way='lora'"):
        load_stored("content", "lora")


def test_a_changed_adapter_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = adapter_name("style", "CoTo")
    shutil.copytree(data_path("gallery", "diffusion"), tmp_path / "gallery" / "diffusion")
    shutil.copy(data_path("gallery", "diffusion.json"), tmp_path / "gallery")
    monkeypatch.setattr(glyph_diffusion, "data_path", tmp_path.joinpath)
    assert isinstance(load_stored("style", "CoTo"), Adapter)
    config = tmp_path / "gallery" / name / "adapter_config.json"
    config.write_text(config.read_text() + " ")
    with pytest.raises(ValueError, match="is not the file that the gallery was made with"):
        load_stored("style", "CoTo")
