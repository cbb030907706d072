from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from same import same

from coto_lab import Adapter, Linear, Recipe, Run, Task, fit, fit_many
from coto_lab.adapters import methods
from coto_lab.adapters.configuration import json_values
from coto_lab.adapters.methods.dora import DoRA
from coto_lab.adapters.methods.method import Method
from coto_lab.adapters.methods.registry import find_method, from_json, known_methods, method_of, short_form, to_json

CONTRIBUTING = Path(__file__).parents[3] / "CONTRIBUTING.md"
METHODS = list(known_methods())
AS_LORA = ("lora-plus", "lora-pro", "olora", "pissa")  # train otherwise, and what they leave behind is a plain LoRA
SHORT = Recipe(r=2, schedule=Linear(start=1.0), steps=2, batch_size=4)


@pytest.fixture
def new_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Puts a file beside those of the methods, for the time of the test."""
    monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(tmp_path)])
    added = []

    def write(name: str, code: str) -> None:
        (tmp_path / f"{name}.py").write_text(code, encoding="utf-8")
        added.append(name)

    yield write
    for name in added:
        sys.modules.pop(f"{methods.__name__}.{name}", None)
        vars(methods).pop(name, None)
    importlib.invalidate_caches()


def example() -> tuple[str, str]:
    """The method and its test that CONTRIBUTING.md shows."""
    section = CONTRIBUTING.read_text(encoding="utf-8").split("## Add a method")[1].split("\n## ")[0]
    method, test = re.findall(r"```python\n(.*?)```", section, flags=re.DOTALL)
    return method, test


def check(task: Task, recipe: Recipe, folder: Path) -> Run:
    """Train, save, load and merge, as must be possible with every method."""
    run = fit(task, recipe, progress=False)
    start = fit(task, replace(recipe, lr=1e-30), progress=False).adapter
    assert any(not torch.equal(tensor, start.tensors[key]) for key, tensor in run.adapter.tensors.items())
    run.save(folder)
    assert Run.load(folder).recipe == recipe
    base, model = task.load_base(), run.adapter.attach(task.load_base())
    update, merged = run.adapter.update(base), model.merge_and_unload()
    assert sorted(update) == sorted(run.adapter.modules)
    assert all(name.endswith(tuple(task.target_modules)) for name in update)
    for name, change in update.items():
        torch.testing.assert_close(base.get_submodule(name).weight + change, merged.get_submodule(name).weight)
    return run


@pytest.mark.parametrize("name", METHODS)
def test_every_method_trains_and_is_recognised(name: str, tiny_task: Task, tmp_path: Path) -> None:
    run = check(tiny_task, replace(SHORT, method=name), tmp_path / "run")
    expected = find_method("lora" if name in AS_LORA else name)
    assert run.adapter.method == Adapter.load(tmp_path / "run").method == expected
    factors = find_method(name).factors(run.adapter)
    for module, (a, b) in (factors or {}).items():
        torch.testing.assert_close(b @ a, run.adapter.update(tiny_task.load_base())[module.removeprefix("base_model.model.")])


@pytest.mark.parametrize("name", [name for name, kind in known_methods().items() if not kind.trains_in_rows])
def test_fit_many_trains_one_by_one_what_cannot_be_stacked(name: str, tiny_task: Task) -> None:
    recipes = [replace(SHORT, method=name, schedule=Linear(), seed=seed) for seed in (0, 1)]
    for run, recipe in zip(fit_many(tiny_task, recipes, n_jobs=1, progress=False), recipes, strict=True):
        assert same(run.adapter, fit(tiny_task, recipe, progress=False).adapter)


def test_a_configuration_is_recognised_by_one_method_at_most() -> None:
    for name in METHODS:
        config = json_values(Recipe(method=name).peft_config(["q_proj"]).to_dict())
        found = [kind.name for kind in known_methods().values() if kind().recognises(config)]
        assert found == (["lora"] if name in ("lora-plus", "lora-pro") else [name])
    assert method_of({"peft_type": "FOURIERFT"}) is None and method_of({}) is None


def test_there_are_those_of_the_folder() -> None:
    assert METHODS == [
        "boft", "dora", "hira", "ia3", "loha", "lokr", "lora", "lora-plus", "lora-pro", "miss", "oft", "olora", "pissa",
        "randlora", "rslora", "vera",
    ]  # fmt: skip
    assert [name for name, kind in known_methods().items() if kind.trains_in_rows] == sorted((*AS_LORA, "lora", "rslora"))


# --- The example of CONTRIBUTING.md ------------------------------------------------------------------------------------------


def test_the_example_becomes_a_method_by_lying_in_the_folder(
    tiny_task: Task, tmp_path: Path, new_file: Callable[[str, str], None]
) -> None:
    method, test = example()
    with pytest.raises(ValueError, match=f"method='gralora': must be one of {', '.join(map(repr, METHODS))}, or a Method"):
        Recipe(method="gralora")
    new_file("gralora", method)
    run = check(tiny_task, replace(SHORT, method="gralora"), tmp_path / "run")
    assert run.adapter.method == find_method("gralora")
    scope: dict[str, object] = {}
    exec(compile(test, "test_gralora.py", "exec"), scope)
    (checks,) = (thing for name, thing in scope.items() if name.startswith("test_"))
    checks()  # type: ignore[operator]


def test_options_are_stored_and_read_back(new_file: Callable[[str, str], None]) -> None:
    new_file("gralora", example()[0])
    kind = known_methods()["gralora"]
    recipe = Recipe(method=kind(k=4))
    assert recipe.to_json()["method"] == {"name": "gralora", "k": 4}
    assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe != Recipe(method="gralora")
    assert recipe.adapter_method == kind(k=4) and recipe.peft_config(["q_proj"]).gralora_k == 4
    assert Recipe(method=kind()).method == Recipe(method=kind(k=2)).method == "gralora"
    assert from_json({"name": "gralora", "k": 2}) == from_json({"name": "gralora"}) == "gralora"
    with pytest.raises(ValueError, match=r"not a recipe of this version: method 'gralora' has no \['l'\]"):
        Recipe.from_json({"method": {"name": "gralora", "l": 1}})


# --- Names -------------------------------------------------------------------------------------------------------------------


def test_a_name_stands_for_the_default_options() -> None:
    assert find_method("dora") == find_method(DoRA()) == DoRA()
    assert short_form(DoRA()) == short_form("dora") == to_json("dora") == "dora"


@pytest.mark.parametrize("value", ["DoRA", "", None, 3, ["lora"], DoRA])
def test_an_unknown_name_lists_the_known_ones(value: object) -> None:
    message = f"method={value!r}: must be one of {', '.join(map(repr, METHODS))}, or a Method with options."
    for look_up in (find_method, short_form, from_json):
        with pytest.raises(ValueError, match=re.escape(message)):
            look_up(value)  # type: ignore[arg-type]


def test_a_method_from_elsewhere_keeps_its_object_and_needs_a_name_of_its_own() -> None:
    class Mine(DoRA):
        name = "mine"

    class Other(DoRA):
        pass

    assert short_form(Mine()) == Mine() and to_json(Mine()) == {"name": "mine"}
    with pytest.raises(ValueError, match=r"method=.*Other\(\): 'dora' is the name of DoRA; give it another name"):
        short_form(Other())


CLASS = """
from dataclasses import dataclass
from typing import ClassVar
from coto_lab.adapters.methods.lora import LoRA
from coto_lab.adapters.methods.method import Method

@dataclass(frozen=True)
"""


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            "class A(LoRA):\n    name: ClassVar[str] = 'dora'",
            r"methods\.zzz and .*\.dora both call their method 'dora': rename one",
        ),
        ("class A(LoRA):\n    name: ClassVar[str] = ''", r"zzz\.A has name='': give it a name"),
        ("class A(Method):\n    k: int = 1", "zzz.A has name=None: give it a name"),
        ("class A(Method):\n    name: ClassVar[str] = 'a'", r"A cannot be made without arguments: .*abstract.* every abstract"),
        ("class A(LoRA):\n    k: int\n    name: ClassVar[str] = 'a'", r"A cannot be made without arguments: .*'k'.* a default"),
    ],
)
def test_a_file_that_is_no_method_is_refused(code: str, message: str, new_file: Callable[[str, str], None]) -> None:
    new_file("zzz", CLASS + code)
    with pytest.raises(ValueError, match=message):
        known_methods()


def test_classes_that_are_only_imported_or_private_do_not_count(new_file: Callable[[str, str], None]) -> None:
    new_file("zzz", CLASS + "class _Shared(Method):\n    pass")
    assert list(known_methods()) == METHODS


def test_the_dictionary_is_a_copy() -> None:
    known_methods().clear()
    assert list(known_methods()) == METHODS


def test_the_protocol_is_abstract() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Method()  # type: ignore[abstract]


@pytest.mark.parametrize("value", [{"name": "oft", "block_size": 8}, {"name": "lokr", "decompose_factor": 4}])
def test_numbers_of_numpy_become_numbers_of_python(value: dict[str, object]) -> None:
    """Otherwise a run could be trained, and not be saved."""
    key, number = list(value.items())[1]
    recipe = Recipe(method=known_methods()[str(value["name"])](**{key: np.int64(number)}))
    assert json.loads(json.dumps(recipe.to_json()))["method"] == value


def test_an_unknown_option_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ValueError, match=r"method 'oft' has no \['rank'\]; it has 'block_size'"):
        from_json({"name": "oft", "rank": 3})
