"""The comparison of variants: the rule of its sweeps, its recipes, how large its methods are, and the adapters that ship."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from coto_lab import Constant, Linear, Run, load_task
from coto_lab.adapters.methods.registry import find_method
from coto_lab.ground.files import sha256
from coto_lab.studies import variants
from coto_lab.studies.variants import (
    COTO,
    ENTRIES,
    FARTHEST,
    PLAIN,
    RATES,
    SEEDS,
    STEPS,
    SWEEP_SEEDS,
    TASKS,
    WAYS,
    best_rate,
    load_variant,
    next_rate,
    recipe_of,
    run_name,
)

# The sweep


def test_the_best_rate_has_the_highest_mean_and_of_equal_ones_is_the_lowest() -> None:
    assert best_rate({0.1: [50, 90], 0.01: [80, 80], 0.001: [99, 0]}) == 0.01
    assert best_rate({0.1: [70], 0.01: [70], 0.001: [10]}) == 0.01


@pytest.mark.parametrize(
    ("scores", "further"),
    [
        ({0.003: 1, 0.01: 3, 0.03: 2}, None),  # the best is inside
        ({0.003: 1, 0.01: 2, 0.03: 3}, 0.1),
        ({0.003: 1, 0.01: 2, 0.03: 3, 0.1: 4}, 0.3),
        ({0.003: 3, 0.01: 2, 0.03: 1}, 0.001),
        ({0.001: 4, 0.003: 3, 0.01: 2}, 0.0003),
        ({0.001: 3, 0.003: 3, 0.01: 3}, 0.0003),  # of equal ones the lowest, so it goes on there
        ({30.0: 1, 100.0: 2}, None),  # the farthest
        ({1e-5: 2, 3e-5: 1}, None),
    ],
)
def test_the_sweep_goes_on_beyond_an_end_that_is_best(scores: dict[float, float], further: float | None) -> None:
    assert next_rate({lr: [score] for lr, score in scores.items()}) == further


def test_a_sweep_that_always_rises_takes_every_half_factor_of_ten_up_to_the_farthest() -> None:
    tried = list(RATES)
    while (lr := next_rate({rate: [rate] for rate in tried})) is not None:
        tried.append(lr)
    assert tried[-1] == FARTHEST[1] and tried == sorted(set(tried))
    assert {f"{rate:.0e}"[0] for rate in tried} == {"1", "3"} and len(tried) == 10


# The recipes


def test_the_sweep_has_seeds_of_its_own() -> None:
    assert len(SEEDS) == 5 and not set(SEEDS) & set(SWEEP_SEEDS)


@pytest.mark.parametrize("leg", TASKS)
@pytest.mark.parametrize("name", ENTRIES)
def test_both_ways_differ_in_the_schedule_alone(leg: str, name: str) -> None:
    plain, coto = (recipe_of(leg, name, way, 0.02, 3) for way in WAYS)
    assert replace(plain, schedule=coto.schedule) == coto
    assert (plain.schedule, coto.schedule) == (Constant(), Linear())
    assert (plain.steps, plain.lr, plain.seed) == (STEPS[leg], 0.02, 3)
    assert plain.r == ENTRIES[name].rank.get(leg, 4)
    assert plain.adapter_method == find_method(ENTRIES[name].method)


def test_names() -> None:
    assert run_name("digits", "LoRA-Pro, SGD", COTO) == "variants/digits/lora-pro-sgd-coto"
    assert run_name("strings", "LoRA+", PLAIN) == "variants/strings/lora-plus-plain"
    assert len({run_name(leg, name, way) for leg in TASKS for name in ENTRIES for way in WAYS}) == 2 * 2 * len(ENTRIES)


@pytest.mark.parametrize("leg", TASKS)
def test_what_is_called_equal_is_equal(leg: str) -> None:
    task = load_task(TASKS[leg])
    numbers = {}
    for name in ENTRIES:
        model = recipe_of(leg, name, PLAIN, 1e-3, 0).put_on(task.load_base(), task.target_modules)
        numbers[name] = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    off = {name: abs(number / numbers["LoRA"] - 1) for name, number in numbers.items()}
    allowed = {"rank 4": 0, "equal rank": 0.125, "equal parameters": 0.01, "nearly equal parameters": 0.125}
    assert {name: off[name] for name, entry in ENTRIES.items() if off[name] > allowed.get(entry.at, 1)} == {}
    assert [name for name, entry in ENTRIES.items() if entry.at not in allowed] == ["VeRA", "IA3"]
    assert numbers["IA3"] < numbers["VeRA"] < numbers["LoRA"]
    assert [name for name, entry in ENTRIES.items() if entry.at == "equal rank" and off[name]] == ["DoRA"]  # its magnitudes


# The adapters that ship


@pytest.fixture
def gallery(runs: tuple[Run, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A gallery with one method on one leg, in half precision."""
    adapter = runs[0].adapter
    half = replace(adapter, tensors={name: tensor.half() for name, tensor in adapter.tensors.items()})
    folder = tmp_path / "gallery" / run_name("digits", "LoRA", COTO)
    half.save(folder)
    hashes = {str(path.relative_to(tmp_path / "gallery")): sha256(path) for path in folder.iterdir()}
    content = {"legs": {"digits": {"base": "tiny base", "sha256": hashes}}}
    (tmp_path / "gallery" / variants.TABLE).write_text(json.dumps(content), encoding="utf-8")
    monkeypatch.setattr(variants, "data_path", tmp_path.joinpath)
    return folder


def test_a_kept_adapter_is_loaded_in_full_precision_with_its_base(gallery: Path, runs: tuple[Run, Run]) -> None:
    found, own = load_variant("digits", "LoRA", COTO), runs[0].adapter
    assert found.base == "tiny base" and found.tensors.keys() == own.tensors.keys()
    for name, tensor in own.tensors.items():
        assert found.tensors[name].dtype == torch.float32
        assert torch.equal(found.tensors[name], tensor.half().float())


@pytest.mark.parametrize("how", ["changed", "missing"])
def test_a_file_that_is_not_the_one_that_was_made_is_named(gallery: Path, how: str) -> None:
    path = gallery / "adapter_model.safetensors"
    content = path.read_bytes()
    path.unlink()
    if how == "changed":
        path.write_bytes(content[:-2] + bytes([content[-2] ^ 1]) + content[-1:])
    with pytest.raises(ValueError, match=f"'{path}' is not the file .* make it again: make variants"):
        load_variant("digits", "LoRA", COTO)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("letters", "LoRA", PLAIN), r"leg='letters': not in the comparison; there is 'digits'"),
        (("digits", "lora", PLAIN), r"name='lora': not in the comparison; there is 'LoRA', 'rsLoRA', .*'IA3'"),
        (("digits", "LoRA", "coto"), r"way='coto': not in the comparison; there is 'plain', 'CoTo'"),
    ],
)
def test_what_is_not_there_is_refused_and_what_is_there_named(gallery: Path, arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_variant(*arguments)
