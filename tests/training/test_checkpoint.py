from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from coto_lab import Linear, Recipe, Run, Task, Training, fit
from coto_lab.ground.files import read_tensors
from coto_lab.tasks.classification import Classification


def assert_same(a: Run, b: Run) -> None:
    """Bitwise, but for the seconds."""
    assert a.adapter.tensors.keys() == b.adapter.tensors.keys()
    assert all(torch.equal(a.adapter.tensors[key], b.adapter.tensors[key]) for key in a.adapter.tensors)
    columns = b.history.tensors()
    assert all(torch.equal(tensor, columns[name]) for name, tensor in a.history.tensors().items() if name != "seconds")


@pytest.fixture
def checkpoint(tiny_task: Task, recipe: Recipe, tmp_path: Path) -> Path:
    """The state after 5 of 16 steps."""
    training = Training(tiny_task, recipe)
    for _ in range(5):
        training.step()
    training.save(tmp_path / "state")
    return tmp_path / "state"


def test_a_training_goes_on_bitwise(tiny_task: Task, recipe: Recipe, runs: tuple[Run, Run], checkpoint: Path) -> None:
    steps = []
    resumed = fit(tiny_task, recipe, checkpoint=checkpoint, on_step=lambda record: steps.append(record.step), progress=False)
    assert_same(resumed, runs[0])
    assert steps == list(range(5, 16))


def test_a_training_can_go_back(tiny_task: Task, recipe: Recipe, runs: tuple[Run, Run], tmp_path: Path) -> None:
    training = Training(tiny_task, recipe)
    training.step()
    assert not training.coto.mask(0).all()  # some blocks have no moments yet, and get some below
    training.save(tmp_path / "state")
    for _ in training:
        pass
    training.load(tmp_path / "state")
    for _ in training:
        pass
    assert_same(training.run(), runs[0])


def test_a_finished_training_is_not_trained_again(tiny_task: Task, recipe: Recipe, tmp_path: Path) -> None:
    first = fit(tiny_task, recipe, checkpoint=tmp_path / "state", checkpoint_every=5, progress=False)
    written = (tmp_path / "state").read_bytes()
    second = fit(tiny_task, recipe, checkpoint=tmp_path / "state", on_step=lambda record: pytest.fail(), progress=False)
    assert_same(first, second)
    assert torch.equal(first.history.seconds, second.history.seconds)
    assert (tmp_path / "state").read_bytes() == written and os.listdir(tmp_path) == ["state"]


_KILLED = """
import sys, time
from coto_lab import Linear, Recipe, fit, load_task
recipe = Recipe(schedule=Linear(), dropout=0.1, steps=30, batch_size=8, weight_decay=0.1)
def on_step(record):
    print(record.step, flush=True)
    if record.step > 12:
        time.sleep(60)  # the kill comes here
fit(load_task("digits"), recipe, checkpoint=sys.argv[1], checkpoint_every=5, on_step=on_step, progress=False)
"""


@pytest.mark.slow
def test_a_killed_training_goes_on_bitwise(task: Task, tmp_path: Path) -> None:
    path = tmp_path / "state"
    with subprocess.Popen([sys.executable, "-c", _KILLED, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) == 12:  # the state is that of 10 steps; two more are lost
                process.send_signal(signal.SIGKILL)
        assert process.wait(timeout=60) == -signal.SIGKILL
    recipe = Recipe(schedule=Linear(), dropout=0.1, steps=30, batch_size=8, weight_decay=0.1)
    steps: list[int] = []
    resumed = fit(task, recipe, checkpoint=path, on_step=lambda record: steps.append(record.step), progress=False)
    assert steps[0] == 10
    assert_same(resumed, fit(task, recipe, progress=False))


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _cut_in_the_header(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:50])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _foreign(path: Path) -> None:
    save_file({"weight": torch.zeros(2)}, path)


def _no_safetensors(path: Path) -> None:
    path.write_text("Dear diary, " * 50)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("spoil", [_truncate, _cut_in_the_header, _empty, _foreign, _no_safetensors, _folder])
def test_a_spoilt_file_is_refused(tiny_task: Task, recipe: Recipe, checkpoint: Path, spoil: Callable[[Path], None]) -> None:
    spoil(checkpoint)
    with pytest.raises(ValueError, match=str(checkpoint)):
        fit(tiny_task, recipe, checkpoint=checkpoint, progress=False)


@pytest.mark.parametrize(
    ("field", "value"), [("seed", 1), ("schedule", Linear(ramp=0.5)), ("r", 4), ("method", "dora"), ("steps", 17)]
)
def test_the_state_of_another_recipe_is_refused(
    tiny_task: Task, recipe: Recipe, checkpoint: Path, field: str, value: object
) -> None:
    with pytest.raises(ValueError, match=rf"{checkpoint}.* is of another recipe: .*\"{field}\""):
        fit(tiny_task, replace(recipe, **{field: value}), checkpoint=checkpoint, progress=False)


@pytest.mark.parametrize("field", ["base", "name"])
def test_the_state_of_another_task_or_base_is_refused(tiny_task: Task, recipe: Recipe, checkpoint: Path, field: str) -> None:
    other = replace(tiny_task, **{field: "something else"})
    with pytest.raises(ValueError, match=rf"{checkpoint}.* is of another (task|base): tiny.*something else"):
        fit(other, recipe, checkpoint=checkpoint, progress=False)


class Flipped(Classification):
    """The labels are others, and its name tells nothing of it."""

    def batch(self, split, indices):
        batch = super().batch(split, indices)
        return batch | {"labels": len(self.classes) - 1 - batch["labels"]}


def test_the_state_of_a_training_on_other_data_or_in_another_dtype_is_refused(
    tiny_task: Classification, recipe: Recipe, checkpoint: Path
) -> None:
    settings = {field.name: getattr(tiny_task, field.name) for field in fields(tiny_task)}
    with pytest.raises(ValueError, match=rf"{checkpoint}.* is of another first batch: [0-9a-f]+, this training has [0-9a-f]+"):
        fit(Flipped(**settings), recipe, checkpoint=checkpoint, progress=False)
    with pytest.raises(
        ValueError, match=rf"{checkpoint}.* is of another dtype: float32, this training has bfloat16 and float32"
    ):
        half = replace(tiny_task, load_base=lambda: tiny_task.load_base().bfloat16())
        fit(half, recipe, checkpoint=checkpoint, progress=False)


def test_a_state_of_an_earlier_version_tells_neither(
    tiny_task: Task, recipe: Recipe, runs: tuple[Run, Run], checkpoint: Path
) -> None:
    tensors, metadata = read_tensors(checkpoint)
    save_file(
        tensors, checkpoint, metadata={key: text for key, text in metadata.items() if key not in ("first batch", "dtype")}
    )
    assert_same(fit(tiny_task, recipe, checkpoint=checkpoint, progress=False), runs[0])


def test_the_state_of_other_target_modules_is_refused(tiny_task: Task, recipe: Recipe, checkpoint: Path) -> None:
    with pytest.raises(ValueError, match=rf"{checkpoint}.* does not fit the model .*v_proj.*is \[.*, not expected"):
        fit(replace(tiny_task, target_modules=("q_proj",)), recipe, checkpoint=checkpoint, progress=False)


def test_a_refused_state_changes_nothing(
    tiny_task: Task, recipe: Recipe, runs: tuple[Run, Run], checkpoint: Path, tmp_path: Path
) -> None:
    other = Training(tiny_task, replace(recipe, seed=1))
    other.step()
    other.save(tmp_path / "other")
    (tmp_path / "short").write_bytes(checkpoint.read_bytes()[:-100])
    save_file({"weight": torch.zeros(2)}, tmp_path / "foreign")
    training = Training(tiny_task, recipe)
    for _ in range(3):
        training.step()
    for name in ("other", "short", "foreign"):
        with pytest.raises(ValueError, match=name):
            training.load(tmp_path / name)
    for _ in training:
        pass
    assert_same(training.run(), runs[0])


def test_a_full_disk_leaves_the_earlier_state(
    tiny_task: Task, recipe: Recipe, runs: tuple[Run, Run], checkpoint: Path, full_disk: Callable[[], AbstractContextManager]
) -> None:
    before = checkpoint.read_bytes()
    with full_disk(), pytest.raises(OSError, match=rf"could not write '{checkpoint}'.*Nothing was changed"):
        fit(tiny_task, recipe, checkpoint=checkpoint, checkpoint_every=3, progress=False)
    assert checkpoint.read_bytes() == before and os.listdir(checkpoint.parent) == ["state"]
    assert_same(fit(tiny_task, recipe, checkpoint=checkpoint, progress=False), runs[0])


@pytest.mark.parametrize("spoil", [_foreign, _no_safetensors, _folder])
def test_nothing_but_a_state_is_replaced(
    tiny_task: Task, recipe: Recipe, checkpoint: Path, spoil: Callable[[Path], None]
) -> None:
    spoil(checkpoint)
    before = None if checkpoint.is_dir() else checkpoint.read_bytes()
    with pytest.raises(
        FileExistsError, match=rf"checkpoint='{checkpoint}' is not a readable training state .*Choose another path"
    ):
        Training(tiny_task, recipe).save(checkpoint)
    assert checkpoint.is_dir() if before is None else checkpoint.read_bytes() == before


def test_the_file_is_as_readable_as_others(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    assert checkpoint.stat().st_mode == (tmp_path / "other").stat().st_mode


def test_the_file_holds_tensors_only(checkpoint: Path, tiny_task: Task, recipe: Recipe) -> None:
    kinds = {name.split("/")[0] for name in load_file(checkpoint)}
    assert kinds == {"history", "parameter", "optimizer", "rng"}


def test_saving_takes_no_part_in_the_training(tiny_task: Task, recipe: Recipe, runs: tuple[Run, Run], tmp_path: Path) -> None:
    assert_same(fit(tiny_task, recipe, checkpoint=tmp_path / "state", checkpoint_every=1, progress=False), runs[0])


def _rewrite(path: Path, change: Callable[[dict, dict], object]) -> None:
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    change(tensors, metadata)
    save_file(tensors, path, metadata=metadata)


def _first(tensors: dict, start: str) -> str:
    return min(name for name in tensors if name.startswith(start))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, m: m.update(format="else"), "is not a training state of coto_lab .*'else'.* Give a file that Training.save"),
        (lambda t, m: m.pop("recipe"), r"is damaged: its metadata lack \['recipe'\]"),
        (lambda t, m: (m.pop("task"), m.pop("base")), r"is damaged: its metadata lack \['base', 'task'\]"),
        (lambda t, m: m.pop("gates"), "is damaged: its history is of other gates"),
        (lambda t, m: m.update(modules="junk"), "is damaged: its history is of other gates"),
        (lambda t, m: t.update({_first(t, "parameter/"): torch.zeros(3, 5)}), r"the model .* is \[3, 5\], not \[2, 16\]"),
        (lambda t, m: t.pop(_first(t, "parameter/")), r"the model .* is missing, not \[2, 16\]"),
        (lambda t, m: t.update({_first(t, "optimizer/exp_avg/"): torch.zeros(7)}), r"the optimizer .* is \[7\], not \[2, 16\]"),
        (lambda t, m: t.update({_first(t, "optimizer/step/"): torch.zeros(1)}), r"the optimizer .* is \[1\], not \[\]"),
        (lambda t, m: t.pop(_first(t, "optimizer/exp_avg_sq/")), "the optimizer .*exp_avg_sq.* is missing"),
        (lambda t, m: t.update({"optimizer/exp_avg/x": torch.zeros(1)}), "the optimizer .*exp_avg/x is .* not expected"),
        (lambda t, m: t.update({"history/p": t["history/p"][:2].clone()}), r"the history .*p is \[2\], not \[5\]"),
        (lambda t, m: t.update({"history/loss": torch.tensor(1.0)}), r"the history .*loss is \[\], not \[1\]"),
        (lambda t, m: t.pop("history/mask"), "the history .*mask is missing"),
        (lambda t, m: t["history/gate_of_module"].add_(9), "is damaged: its history is of other gates"),
        (lambda t, m: t.update({"rng/1": torch.zeros(16, dtype=torch.uint8)}), r"another kind of device: .*\[5056, 16\] bytes"),
        (lambda t, m: t.update({"rng/0": t["rng/0"][:16].clone()}), r"another kind of device: .*\[16\] bytes.* has \[5056\]"),
        (lambda t, m: t.pop("rng/0"), r"another kind of device: .*\[\] bytes"),
    ],
)  # fmt: skip
def test_a_damaged_state_changes_nothing(
    tiny_task: Task, recipe: Recipe, checkpoint: Path, change: Callable, message: str
) -> None:
    training = Training(tiny_task, recipe)
    for _ in range(6):
        training.step()
    training.save(checkpoint.with_name("before"))
    _rewrite(checkpoint, change)
    with pytest.raises(ValueError, match=rf"{checkpoint}.*{message}"):
        training.load(checkpoint)
    training.save(checkpoint.with_name("after"))
    before, after = load_file(checkpoint.with_name("before")), load_file(checkpoint.with_name("after"))
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)


def test_a_folder_that_cannot_be_made_is_told_as_any_other_failure(tiny_task: Task, recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "folder" / "state"
    with pytest.raises(OSError, match=rf"could not write '{path}': .* MB are free there.*Nothing was changed"):
        Training(tiny_task, recipe).save(path)
    assert os.listdir(tmp_path) == ["file"]
