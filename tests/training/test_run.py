from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import peft
import pytest
import torch
from safetensors.torch import save_file

from coto_lab import Evaluator, Recipe, Run, Task, Variant, fit

FILES = ("adapter_config.json", "adapter_model.safetensors", "history.safetensors", "run.json")


def assert_same(a: Run, b: Run) -> None:
    assert (a.recipe, a.task, a.base) == (b.recipe, b.task, b.base)
    assert a.adapter.config == b.adapter.config
    assert a.adapter.tensors.keys() == b.adapter.tensors.keys()
    assert all(torch.equal(a.adapter.tensors[key], b.adapter.tensors[key]) for key in a.adapter.tensors)
    assert (a.history.gates, a.history.modules) == (b.history.gates, b.history.modules)
    columns = b.history.tensors()
    assert all(torch.equal(tensor, columns[name]) for name, tensor in a.history.tensors().items())


@pytest.fixture(scope="module")
def finished(tiny_task: Task, recipe: Recipe) -> dict[str, Run]:
    short = replace(recipe, steps=6, lr=0.05)
    return {method: fit(tiny_task, replace(short, method=method), progress=False) for method in ("lora", "dora", "hira")}


@pytest.mark.parametrize("method", ["lora", "dora", "hira"])
def test_what_is_saved_is_loaded(finished: dict[str, Run], method: str, tmp_path: Path) -> None:
    run = finished[method]
    assert run.save(tmp_path / "new" / "run") == tmp_path / "new" / "run"
    assert_same(Run.load(tmp_path / "new" / "run"), run)
    assert os.listdir(tmp_path / "new") == ["run"]


@pytest.mark.parametrize("method", ["lora", "dora", "hira"])
def test_peft_reads_the_folder(
    finished: dict[str, Run], method: str, tiny_task: Task, evaluator: Evaluator, tmp_path: Path
) -> None:
    finished[method].save(tmp_path / "run")
    model = peft.PeftModel.from_pretrained(tiny_task.load_base(), tmp_path / "run").eval()
    with torch.no_grad():
        logits = model(pixel_values=tiny_task.test_batch["pixel_values"]).logits
    assert torch.equal(logits, evaluator([Variant(finished[method].adapter)], outputs=True).logits[0])


def test_files_are_as_readable_as_others(finished: dict[str, Run], tmp_path: Path) -> None:
    finished["lora"].save(tmp_path / "run")
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    assert (tmp_path / "run").stat().st_mode == (tmp_path / "folder").stat().st_mode
    assert {file.stat().st_mode for file in (tmp_path / "run").iterdir()} == {(tmp_path / "file").stat().st_mode}


def test_a_run_is_replaced_if_told_and_nothing_else_is(finished: dict[str, Run], tmp_path: Path) -> None:
    path = tmp_path / "run"
    finished["lora"].save(path)
    with pytest.raises(FileExistsError, match=rf"path='{path}' exists; .*overwrite=True .*All others stay"):
        finished["dora"].save(path)
    assert_same(Run.load(path), finished["lora"])
    for name in ("notes.txt", "README.md", "checkpoint-5/adapter_model.safetensors"):  # the last two as PEFT and a Trainer do
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_text("mine")
    finished["dora"].save(path, overwrite=True)
    assert_same(Run.load(path), finished["dora"])
    assert {str(file.relative_to(path)) for file in path.rglob("*") if file.is_file() and file.read_bytes() == b"mine"} == {
        "notes.txt", "README.md", "checkpoint-5/adapter_model.safetensors"
    }  # fmt: skip
    assert sorted(os.listdir(path)) == sorted([*FILES, "notes.txt", "README.md", "checkpoint-5"])
    assert os.listdir(tmp_path) == ["run"]


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", ["thesis.txt", "adapter_model.safetensors", "run.json", "folder/run.json"])
def test_a_folder_without_a_run_is_refused(finished: dict[str, Run], tmp_path: Path, name: str, overwrite: bool) -> None:
    file = tmp_path / "proj" / name
    file.parent.mkdir(parents=True)
    file.write_text('{"name": "mine"}')
    with pytest.raises(FileExistsError, match=rf"path='{tmp_path}/proj' exists and does not hold a run") as caught:
        finished["lora"].save(tmp_path / "proj", overwrite=overwrite)
    assert "overwrite" not in str(caught.value) and str(tmp_path / "proj" / "run") in str(caught.value)
    assert [found for found in tmp_path.rglob("*") if found.is_file()] == [file]
    assert file.read_text() == '{"name": "mine"}'
    assert_same(Run.load(finished["lora"].save(tmp_path / "proj" / "run")), finished["lora"])  # what the message says


def test_an_empty_folder_takes_a_run_and_a_file_does_not(finished: dict[str, Run], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert_same(Run.load(finished["lora"].save(tmp_path / "empty")), finished["lora"])
    (tmp_path / "file").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(FileExistsError, match=f"path='{tmp_path}/file' is a file"):
            finished["lora"].save(tmp_path / "file", overwrite=overwrite)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("n", range(1, 9))
def test_a_mixture_of_two_runs_is_never_loaded(
    finished: dict[str, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n: int
) -> None:
    path = finished["lora"].save(tmp_path / "run")
    before = {name: (path / name).read_bytes() for name in FILES}
    rename, calls = Path.rename, []

    def until_the_disk_is_gone(self: Path, target: Path) -> Path:
        calls.append(self)
        if len(calls) > n:
            raise OSError("gone")
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", until_the_disk_is_gone)
        if n < 8:  # four files out, four in
            with pytest.raises(RuntimeError, match="could not be put back"):
                finished["dora"].save(path, overwrite=True)
        else:
            finished["dora"].save(path, overwrite=True)
    if n == 8:
        assert_same(Run.load(path), finished["dora"])
        return
    with pytest.raises(ValueError, match=r"run\.json' cannot be read"):
        Run.load(path)
    (hidden,) = path.glob(".coto_lab-*/old")
    for file in hidden.iterdir():  # as the message says, the earlier run can be put together again
        file.replace(path / file.name)
    assert {name: (path / name).read_bytes() for name in FILES} == before


@pytest.mark.parametrize("n_bytes", [0, 2000, 5000])
def test_a_full_disk_leaves_the_old_folder_and_no_other(
    finished: dict[str, Run], tmp_path: Path, full_disk: Callable[[int], AbstractContextManager], n_bytes: int
) -> None:
    path = tmp_path / "run"
    finished["lora"].save(path)
    with full_disk(n_bytes), pytest.raises(OSError, match=rf"could not write '{path}': .* MB are free"):
        finished["dora"].save(path, overwrite=True)
    assert_same(Run.load(path), finished["lora"])
    assert os.listdir(tmp_path) == ["run"] and sorted(os.listdir(path)) == sorted(FILES)


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("kept", [0, 0.5, None], ids=["empty", "truncated", "missing"])
def test_an_incomplete_folder_is_refused(finished: dict[str, Run], tmp_path: Path, file: str, kept: float | None) -> None:
    path = finished["lora"].save(tmp_path / "run") / file
    content = path.read_bytes()
    if kept is None:
        path.unlink()
    else:
        path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(ValueError, match=str(path)):
        Run.load(tmp_path / "run")


def test_files_of_another_kind_are_refused(finished: dict[str, Run], tmp_path: Path) -> None:
    path = finished["lora"].save(tmp_path / "run")
    save_file({"weight": torch.zeros(2)}, path / "history.safetensors")
    with pytest.raises(ValueError, match=r"history\.safetensors' is not a training history: it lacks .*'gate_of_module'"):
        Run.load(path)
    (path / "run.json").write_text("[1, 2]")
    with pytest.raises(ValueError, match=r"run\.json' holds a list, not an object"):
        Run.load(path)


def test_a_foreign_folder_is_refused(finished: dict[str, Run], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"run\.json' cannot be read as JSON"):
        Run.load(tmp_path)
    (tmp_path / "run.json").write_text('{"name": "something"}')
    with pytest.raises(
        ValueError, match=rf"path='{tmp_path}' holds no run .* missing fields \['base', 'format', 'recipe', 'task'\]"
    ):
        Run.load(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, r"holds no run of format 1: found format 2.*another version"),
        ({"recipe": {"schedule": None}}, r"run\.json' holds a broken recipe: schedule=None: must be"),
        ({"recipe": [1]}, r"run\.json' holds a broken recipe: .*\[1\] is not an object"),
        ({"recipe": {"lr": "fast"}}, r"run\.json' holds a broken recipe: lr='fast': must be a number"),
        ({"recipe": {"temperature": 1}}, r"unknown fields \['temperature'\]"),
        ({"recipe": {"schedule": {"name": "Zigzag"}}}, r"schedule 'Zigzag'"),
    ],
)
def test_a_run_of_another_version_is_refused(finished: dict[str, Run], tmp_path: Path, change: dict, message: str) -> None:
    path = finished["lora"].save(tmp_path / "run") / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ValueError, match=message):
        Run.load(tmp_path / "run")


def test_a_folder_that_cannot_be_made_is_told_as_any_other_failure(finished: dict[str, Run], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "run"
    with pytest.raises(OSError, match=rf"could not write '{path}': .*Nothing was changed"):
        finished["lora"].save(path)
