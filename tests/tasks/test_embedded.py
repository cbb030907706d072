from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from coto_lab.ground.files import data_path
from coto_lab.tasks import embedded
from coto_lab.tasks.embedded import identity, load_embedded

FOLDERS = {"glyph-vit": "AutoModelForImageClassification", "letter-llama": "AutoModelForCausalLM"}


@pytest.fixture(params=FOLDERS)
def copied(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An embedded model to damage."""
    folder = shutil.copytree(data_path(request.param), tmp_path / request.param)
    monkeypatch.setattr(embedded, "data_path", tmp_path.joinpath)
    return folder


def load(folder: Path) -> torch.nn.Module:
    return load_embedded(folder.name, FOLDERS[folder.name], attention="eager")


def test_two_copies_share_nothing(copied: Path) -> None:
    first, second = load(copied), load(copied)
    assert first.name_or_path == f"coto_lab/{copied.name}"
    places = [{parameter.data_ptr() for parameter in model.parameters()} for model in (first, second)]
    assert not places[0] & places[1]
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_the_identity_is_that_of_the_weights(copied: Path) -> None:
    before = identity(copied.name)
    weights = copied / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    assert identity(copied.name) != before
    weights.unlink()
    with pytest.raises(FileNotFoundError):
        identity(copied.name)


def changed(folder: Path, **settings: object) -> None:
    config = folder / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | settings))


def without_a_tensor(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors.popitem()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def with_a_nan(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    next(iter(tensors.values())).fill_(torch.nan)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


class Bomb:
    def __reduce__(self) -> tuple[object, ...]:
        return pytest.fail, ("a pickle was loaded",)


DAMAGES = {
    "no config": lambda folder: (folder / "config.json").unlink(),
    "empty config": lambda folder: (folder / "config.json").write_text("{}"),
    "fewer blocks": lambda folder: changed(folder, num_hidden_layers=4),
    "more blocks": lambda folder: changed(folder, num_hidden_layers=9),
    "another width": lambda folder: changed(folder, hidden_size=32),
    "truncated": lambda folder: (folder / "model.safetensors").write_bytes(b"1234567890"),
    "pickle": lambda folder: (folder / "model.safetensors").write_bytes(pickle.dumps(Bomb())),
    "no weights": lambda folder: (folder / "model.safetensors").unlink(),
    "a tensor is missing": without_a_tensor,
    "a tensor is NaN": with_a_nan,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_folder_is_named_with_what_to_do(copied: Path, damage: str) -> None:
    DAMAGES[damage](copied)
    make = f"python data/make_{copied.name.replace('-', '_')}.py"
    with pytest.raises(ValueError, match=f"the base model in '{copied}' .*Restore the folder .*{make}"):
        load(copied)
