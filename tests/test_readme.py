"""The README's python runs as printed, with fewer steps."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from tiny_models import llama

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
TRAINER, SCRIPT = re.findall(r"^```python\n(.*?)^```$", README, flags=re.DOTALL | re.MULTILINE)


def shortened(code: str, **replacements: str) -> str:
    for long, short in replacements.items():
        pattern = rf"\b{long}=[^,)]+"
        assert re.search(pattern, code), f"the README sets no {long} any more"
        code = re.sub(pattern, f"{long}={short}", code)
    return code


def test_trainer_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tokens = torch.arange(6)
    names = {"model": llama(), "dataset": [{"input_ids": tokens, "labels": tokens}] * 16}

    exec(shortened(TRAINER, num_train_epochs="2, report_to='none', use_cpu=True, disable_tqdm=True"), names)

    callback = next(c for c in names["trainer"].callback_handler.callbacks if type(c).__name__ == "CoToCallback")
    assert callback.coto.masks().shape == (4, 3)  # 2 epochs of 16 examples in batches of 8, 3 blocks
    assert (tmp_path / "out/adapter/adapter_model.safetensors").exists()


def test_script_example(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {}

    exec(shortened(SCRIPT, steps="3", alphas="2"), names)

    printed = capsys.readouterr().out
    assert [run.recipe.seed for run in names["runs"]] == [0, 1]
    assert re.search(r"alphas +accuracy +loss", printed)
    assert "every other" in printed


def test_readme_counts_the_verdicts_of_the_evidence() -> None:
    claims = json.loads((ROOT / "data/evidence/evidence.json").read_text(encoding="utf-8"))["claims"]
    counts = [sum(claim["verdict"] == verdict for claim in claims) for verdict in ("holds", "does not hold", "cannot be told")]
    said = re.search(r"Of (\d+) claims (\d+) hold here, (\d+) do not, and (\d+) cannot be told", README)
    assert said is not None and [int(number) for number in said.groups()] == [len(claims), *counts]
    for picture in re.findall(r"!\[.+?\]\((.+?)\)", README):
        assert (ROOT / picture).exists()
