"""The README's python runs as printed, with fewer steps."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path

import nbformat
import pytest
import torch
from datasets import Dataset, DatasetDict
from tiny_classifiers import save_parquet, save_text_model
from tiny_models import llama

from coto_lab import Classification, Run
from coto_lab.studies.evidence.page import of_legs
from coto_lab.studies.evidence.rows import counted

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
TRAINER, SCRIPT, HUB, OWN = re.findall(r"^```python\n(.*?)^```$", README, flags=re.DOTALL | re.MULTILINE)


def shortened(code: str, **replacements: str) -> str:
    for long, short in replacements.items():
        pattern = rf"\b{long}=[^,)]+"
        assert re.search(pattern, code), f"the README no longer sets {long}"
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


@pytest.mark.slow
def test_script_example(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {}

    with warnings.catch_warnings():
        warnings.simplefilter("error")  # also those that the other tests let pass
        exec(shortened(SCRIPT, steps="3", alphas="2"), names)

    printed = capsys.readouterr().out
    assert [run.recipe.seed for run in names["runs"]] == [0, 1]
    assert re.search(r"alphas +accuracy +loss", printed)
    assert "every other" in printed


@pytest.mark.slow
def test_hub_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pairs = {"sentence1": ["it is good", "it is bad"] * 8, "sentence2": ["good", "very good"] * 8, "label": [1, 0] * 8}
    rows = Dataset.from_dict(pairs)
    data = save_parquet(tmp_path / "mrpc", DatasetDict({"train": rows, "validation": rows}))
    model = save_text_model(tmp_path / "roberta", "roberta")
    code = HUB.replace('"FacebookAI/roberta-base"', f"{model!r}, {data!r}")
    assert code != HUB

    exec(shortened(code, steps="4"), {})

    assert (tmp_path / "mrpc.html").stat().st_size > 1e6
    assert (tmp_path / "mrpc.safetensors").exists() and Run.is_saved_in(tmp_path / "runs/mrpc")


@pytest.mark.filterwarnings("ignore:run_b does not say by a hash:UserWarning")
def test_own_task_example(
    tiny_task: Classification, runs: tuple[Run, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    runs[1].adapter.save("out/adapter")
    names = {"load_base": tiny_task.load_base, "train": tiny_task.train, "test": tiny_task.test}

    exec(shortened(OWN, steps="2, r=2"), names)

    assert names["run"].task == "pets" and names["run"].base == "my-model, revision 1"


def test_readme_counts_the_verdicts_of_the_evidence() -> None:
    evidence = json.loads((ROOT / "data/evidence/evidence.json").read_text(encoding="utf-8"))
    for leg in of_legs(evidence):
        assert f"n the {leg}, {counted(evidence['claims'], leg)}" in " ".join(README.split())


def test_what_the_readme_links_to_and_shows_is_there() -> None:
    targets = {target.split("#")[0] for target in re.findall(r"\]\(([^)]+)\)", README) if "://" not in target}
    assert "pages/live.png" in targets and [target for target in targets if not (ROOT / target).exists()] == []
    assert (ROOT / "pages/live.png").stat().st_size < 300e3


def test_readme_lists_every_notebook() -> None:
    listed = re.findall(r"^\| \[.+?\]\((notebooks/.+?)\)", README, flags=re.MULTILINE)
    assert listed == sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("notebooks/*.ipynb"))


def test_the_picture_is_made_by_cells_that_the_notebook_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "pages")
    import picture

    notebook = picture.until_trained(nbformat.read(ROOT / "notebooks/03_training_live.ipynb", as_version=4))
    *_, last = notebook.cells
    assert last.id == picture.TRAINS and "live.train()" in last.source
    assert any("LiveTraining(" in cell.source for cell in notebook.cells)
