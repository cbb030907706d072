"""Any optimiser goes through a file and back to the bit."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from coto_lab import Recipe, Task, Training, fit
from coto_lab.adapters.methods.lora import LoRA
from coto_lab.training import optimizer_state


class Odd(torch.optim.Optimizer):
    """Its state is of other shapes and types than the parameters, nested, and partly in its groups."""

    def __init__(self, groups: Any):
        super().__init__(groups, {"lr": 0.1, "weight_decay": 0.0, "taken": 0})

    def step(self, closure: None = None) -> None:
        for group in self.param_groups:
            group["taken"] += 1
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["rows"] = torch.zeros(len(parameter), dtype=torch.float64)  # torch would cast it to float32
                    state["seen"] = torch.zeros((), dtype=torch.int64)
                    state["past"] = [parameter.detach().clone(), {"name": "first", "at": (0, 1.5), "none": None}]
                state["rows"] += parameter.grad.double().square().mean(1)
                state["seen"] += 1
                assert state["past"][1] == {"name": "first", "at": (0, 1.5), "none": None}
                pull = (parameter.detach() - state["past"][0]) / (group["taken"] + state["seen"])
                scale = (state["rows"] / state["seen"]).sqrt().float()[:, None] + 1e-3
                parameter.data -= group["lr"] * (parameter.grad / scale + pull)


OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD,
    "momentum": lambda groups: torch.optim.SGD(groups, momentum=0.9, nesterov=True),
    "adagrad": torch.optim.Adagrad,
    "rmsprop": lambda groups: torch.optim.RMSprop(groups, momentum=0.5, centered=True),
    "adafactor": torch.optim.Adafactor,  # factored: a row and a column for each matrix
    "amsgrad": lambda groups: torch.optim.AdamW(groups, amsgrad=True),
    "nadam": torch.optim.NAdam,
    "rprop": torch.optim.Rprop,
    "odd": Odd,
}


@dataclass(frozen=True)
class Other(LoRA):
    """LoRA, trained by another optimiser."""

    name: ClassVar[str] = "other"
    by: str = "sgd"

    def recognises(self, config: dict[str, Any]) -> bool:
        return False

    def optimizer(self, groups: Sequence[dict[str, Any]]) -> torch.optim.Optimizer:
        return OPTIMIZERS[self.by](groups)


def assert_same(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    assert a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("by", OPTIMIZERS)
def test_a_training_by_any_optimizer_goes_on_bitwise(tiny_task: Task, recipe: Recipe, tmp_path: Path, by: str) -> None:
    recipe = replace(recipe, method=Other(by=by), lr=0.02, steps=10)
    whole = fit(tiny_task, recipe, progress=False)
    training = Training(tiny_task, recipe)
    for _ in range(5):
        training.step()
    training.save(tmp_path / "state")
    steps: list[int] = []
    resumed = fit(
        tiny_task, recipe, checkpoint=tmp_path / "state", on_step=lambda record: steps.append(record.step), progress=False
    )
    assert steps == list(range(5, 10))
    assert_same(resumed.adapter.tensors, whole.adapter.tensors)
    assert torch.equal(resumed.history.loss, whole.history.loss)


def _trained(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()


@pytest.mark.parametrize("by", OPTIMIZERS)
def test_what_was_packed_is_json_and_comes_back(by: str) -> None:
    first, second = nn.Linear(3, 2, bias=False), nn.Linear(3, 2, bias=False)
    one, two = (OPTIMIZERS[by]([{"params": list(model.parameters())}]) for model in (first, second))
    _trained(first, one)
    packed, tensors = optimizer_state.pack(one, first)
    assert {name: tensor.shape for name, tensor in tensors.items()} == optimizer_state.shapes_in(packed)
    optimizer_state.restore(two, second, optimizer_state.unpack(json.loads(json.dumps(packed)), tensors))
    again, others = optimizer_state.pack(two, second)
    assert again == packed
    assert_same(others, tensors)
    assert [tensor.dtype for tensor in others.values()] == [tensor.dtype for tensor in tensors.values()]


def test_tensors_are_named_by_what_they_are_and_by_their_parameter() -> None:
    model = nn.Linear(3, 2, bias=False)
    optimizer = Odd([{"params": list(model.parameters())}])
    _trained(model, optimizer)
    _, tensors = optimizer_state.pack(optimizer, model)
    assert list(tensors) == ["rows/weight", "seen/weight", "past/0/weight"]
    assert optimizer_state.class_of(optimizer) == "Odd"
    assert optimizer_state.names_in_groups(optimizer, model) == [["weight"]]
    tensors["rows/weight"].zero_()
    assert optimizer.state[model.weight]["rows"].all(), "what is packed is a copy"


def test_what_a_file_cannot_hold_is_refused(tiny_task: Task, recipe: Recipe, tmp_path: Path) -> None:
    training = Training(tiny_task, recipe)
    training.step()
    next(iter(training.optimizer.state.values()))["draws"] = torch.Generator()
    said = r"the optimiser AdamW keeps a Generator in 'draws/base_model.*', which a checkpoint cannot hold: .* Train without"
    with pytest.raises(TypeError, match=said):
        training.save(tmp_path / "state")
    assert list(tmp_path.iterdir()) == []


def _rewrite(path: Path, change: Callable[[dict[str, str]], object]) -> None:
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    change(metadata)
    save_file(tensors, path, metadata=metadata)


def _as_version_1(metadata: dict[str, str]) -> None:
    metadata["format"] = "coto_lab training 1"
    del metadata["optimizer"]


def _without_what_groups_say_today(metadata: dict[str, str]) -> None:
    kept = json.loads(metadata["optimizer"])
    for group in dict(kept["state"]["dict"])["param_groups"]["list"]:
        group["dict"] = [pair for pair in group["dict"] if pair[0] not in ("names", "row", "scaling")]
    metadata["optimizer"] = json.dumps(kept)


def _in_another_order(kept: dict[str, Any]) -> dict[str, Any]:
    groups = dict(kept["state"]["dict"])["param_groups"]
    dict(groups["list"][0]["dict"])["params"]["list"].reverse()
    return kept


@pytest.fixture
def checkpoint(tiny_task: Task, recipe: Recipe, tmp_path: Path) -> Path:
    training = Training(tiny_task, recipe)
    for _ in range(2):
        training.step()
    assert len(training.optimizer.state) < len(training.optimizer.param_groups[0]["params"]), "some have no state yet"
    training.save(tmp_path / "state")
    return tmp_path / "state"


def test_a_file_of_the_earlier_format_is_read_and_replaced(tiny_task: Task, recipe: Recipe, checkpoint: Path) -> None:
    whole = fit(tiny_task, recipe, progress=False)
    _rewrite(checkpoint, _as_version_1)
    assert_same(fit(tiny_task, recipe, checkpoint=checkpoint, progress=False).adapter.tensors, whole.adapter.tensors)
    with safe_open(checkpoint, framework="pt") as file:
        assert file.metadata()["format"] == "coto_lab training 2"


def test_a_file_whose_groups_lack_entries_of_today_goes_on(tiny_task: Task, recipe: Recipe, checkpoint: Path) -> None:
    whole = fit(tiny_task, recipe, progress=False)
    _rewrite(checkpoint, _without_what_groups_say_today)
    assert_same(fit(tiny_task, recipe, checkpoint=checkpoint, progress=False).adapter.tensors, whole.adapter.tensors)


def test_a_file_of_the_earlier_format_is_of_adamw(tiny_task: Task, recipe: Recipe, tmp_path: Path) -> None:
    training = Training(tiny_task, replace(recipe, method=Other()))
    training.save(tmp_path / "state")
    _rewrite(tmp_path / "state", _as_version_1)
    with pytest.raises(ValueError, match=r"is of another optimizer: AdamW, this training has SGD\. Give the training"):
        training.load(tmp_path / "state")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda kept: None, "is damaged: the state of its optimizer cannot be read. Give another file"),
        (lambda kept: kept | {"class": "SGD"}, "is of another optimizer: SGD, this training has AdamW"),
        (lambda kept: kept | {"state": 3}, "does not fit the optimizer"),
        (lambda kept: kept | {"state": {"set": []}}, "is damaged: the state of its optimizer"),
        (lambda kept: kept | {"state": {"dict": kept["state"]["dict"][1:]}}, "does not fit the optimizer"),
        (lambda kept: kept | {"state": {"dict": kept["state"]["dict"][:1]}}, "is damaged: the state of its optimizer"),
        (lambda kept: json.loads(json.dumps(kept).replace("layers.0", "layers.9")), "does not fit the optimizer"),
        (lambda kept: _in_another_order(kept), "is damaged: the state of its optimizer"),
    ],
    ids=["nothing", "class", "number", "set", "no state", "no groups", "names", "order"],
)
def test_a_damaged_state_is_refused(
    tiny_task: Task, recipe: Recipe, checkpoint: Path, change: Callable[[dict[str, Any]], Any], message: str
) -> None:
    training = Training(tiny_task, recipe)
    before = {name: parameter.detach().clone() for name, parameter in training.model.named_parameters()}
    _rewrite(checkpoint, lambda m: m.update(optimizer=json.dumps(change(json.loads(m["optimizer"])))))
    with pytest.raises(ValueError, match=message):
        training.load(checkpoint)
    assert not training.optimizer.state
    assert_same(dict(training.model.named_parameters()), before)
