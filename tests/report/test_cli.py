"""The command: what it writes and prints, and one line for everything that is wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import datasets
import peft
import pytest
from tiny_hub_models import save_causal
from tiny_models import randomise

from coto_lab import Adapter
from coto_lab.ground.files import data_path
from coto_lab.report.cli import main

DIGITS = str(data_path("gallery", "coto-seed0"))


@pytest.fixture(scope="module")
def causal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a language model of 16 blocks, an adapter of it, and data."""
    from coto_lab.tasks.hub.causal import SupervisedFineTuning

    folder = tmp_path_factory.mktemp("causal")
    rows = datasets.Dataset.from_dict({"question": ["a?", "bb?", "c?", "dd?"] * 2, "answer": ["a", "b", "c", "d"] * 2})
    for split in ("train", "test"):
        (folder / "data").mkdir(exist_ok=True)
        rows.to_json(folder / "data" / f"{split}.jsonl")
    model = save_causal(folder / "model", layers=16)
    base = SupervisedFineTuning(model, str(folder / "data"), prompt="question").load_base()
    config = peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"])
    adapter = Adapter.from_model(randomise(peft.get_peft_model(base, config), 1))
    Adapter(adapter.config | {"base_model_name_or_path": model}, adapter.tensors).save(folder / "adapter")
    return folder


@pytest.mark.slow
def test_a_language_model_of_16_blocks_that_the_adapter_names(
    causal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Beyond 12 blocks the values are estimated, and the best blocks are found one by one."""
    out, save = tmp_path / "page.html", tmp_path / "pruned"
    columns = ["--data", str(causal / "data"), "--task", "causal", "--prompt", "question"]
    wanted = ["--examples", "8", "--minutes", "0", "--keep", "0.25", "--save", str(save), "--out", str(out)]
    assert main(["report", str(causal / "adapter"), *columns, *wanted]) == 0
    said = capsys.readouterr().out
    assert "adapter answers " in said and f"It is saved in {save}, a folder that PEFT loads." in said
    assert said.endswith(f"The report is in {out}.\n")
    html = out.read_text(encoding="utf-8")
    assert "Shapley values estimated from 8 random orders of the 16 blocks" in html
    assert "found by leaving out one block after another (126 choices were compared)" in html  # 16 + 15 + ... + 5
    assert len(Adapter.load(save).modules) == 8


def test_everything_that_is_wrong_is_one_line_and_exit_code_2(
    causal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    taken = tmp_path / "taken.html"
    taken.touch()
    adapter, data = str(causal / "adapter"), str(causal / "data")
    bad = [
        (["nowhere", "--data", "digits"], "'nowhere' is no folder"),
        ([str(tmp_path), "--data", "digits"], "cannot be read as JSON"),
        ([DIGITS, "--data", "strings/rotate-back"], "was trained on another base model"),
        ([adapter, "--data", "digits"], "does not fit the base model"),
        ([DIGITS, "--data", "nothing"], "say with --task what kind of data set it is"),
        ([DIGITS, "--data", "digits", "--out", str(taken)], "exists: choose another name, or allow to overwrite it"),
        ([DIGITS, "--data", "digits", "--keep", "1.5"], "keep=1.5: must be the share of the blocks to keep"),
        (
            [DIGITS, "--data", "digits", "--keep", "0.5", "--save", str(tmp_path)],
            "exists, and a pruned adapter replaces nothing",
        ),
        (
            [DIGITS, "--data", "digits", "--keep", "0.5", "--save", str(tmp_path / "new"), "--out", str(taken / "page.html")],
            "taken.html' is a file, and no folder",
        ),
        ([DIGITS, "--data", "digits", "--examples", "0"], "examples=0"),
        (
            [adapter, "--data", data, "--task", "causal", "--prompt", "nothing"],
            "has no column 'nothing'; it has 'question', 'answer'",
        ),
    ]
    for arguments, message in bad:
        out = [] if "--out" in arguments else ["--out", str(tmp_path / "new.html")]
        assert main(["report", *arguments, *out]) == 2, arguments
        lines = capsys.readouterr().err.splitlines()
        assert lines[-1].startswith("python -m coto_lab report: error: ") and message in lines[-1], lines
        assert not (tmp_path / "new.html").exists() and not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required: command"),
        (["report", "x"], "required: --data"),
        (["report", "x", "--data", "d", "--keep", "much"], "--keep"),
    ],
)
def test_a_wrong_command_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    said = capsys.readouterr().err
    assert stopped.value.code == 2 and message in said and len(said.splitlines()) == 1


def test_it_is_a_command_of_the_package(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "coto_lab", "report", "nowhere", "--data", "digits"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("python -m coto_lab report: error: 'nowhere' is no folder") and done.stderr.count("\n") == 1
