"""What a user may give by mistake is refused by name, before anything is scored."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import peft
import pytest
import torch
from safetensors.torch import save_file
from tiny_tasks import CopyTask, lora_adapters
from torch import Tensor

from coto_lab import Adapter, Classification, Evaluator, Run, Task, Variant, interpolate, prune, shapley, stability
from coto_lab.ground.files import read_json
from coto_lab.scoring.sites import find_sites, module_mask
from coto_lab.scoring.sources import adapter_of, check_base, open_source

GIVE = r"give a list of Variants, such as \[Variant\(run\.adapter\)\]"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda run: [run], rf"variants\[0\] is a Run: {GIVE}"),
        (lambda run: [Variant(run.adapter), run.adapter], rf"variants\[1\] is a Adapter: {GIVE}"),
        (lambda run: Variant(run.adapter), f"variants is a Variant: {GIVE}"),
        (lambda run: run, f"variants is a Run: {GIVE}"),
        (lambda run: {"a": Variant(run.adapter)}, f"variants is a dict: {GIVE}"),
        (lambda run: None, f"variants is a NoneType: {GIVE}"),
        (lambda run: [Variant(run)], r"adapter is a Run: give an Adapter, such as run\.adapter"),
        (lambda run: [Variant("folder")], r"adapter is a str: .*Adapter\.load\(folder\)"),
    ],
)
def test_only_a_list_of_variants_is_scored(
    evaluator: Evaluator, runs: tuple[Run, Run], make: Callable[[Run], object], said: str
) -> None:
    with pytest.raises(TypeError, match=said):
        evaluator(make(runs[0]))  # type: ignore[arg-type]


def test_variants_may_come_one_by_one(evaluator: Evaluator, runs: tuple[Run, Run]) -> None:
    scores = evaluator(Variant(run.adapter, name=str(i)) for i, run in enumerate(runs))  # type: ignore[arg-type]
    assert scores.names == ("0", "1")


@pytest.mark.parametrize("ask", [Evaluator.sites, Evaluator.gates])
def test_sites_and_gates_are_those_of_an_adapter(evaluator: Evaluator, runs: tuple[Run, Run], ask: Callable) -> None:
    with pytest.raises(TypeError, match=r"adapter is a Run: give an Adapter, such as run\.adapter"):
        ask(evaluator, runs[0])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"batch_size": "4"}, "batch_size='4': must be a whole number, at least 1"),
        ({"batch_size": None}, "batch_size=None: must be a whole number"),
        ({"batch_size": 2.5}, r"batch_size=2\.5: must be a whole number"),
        ({"memory": "1 GB"}, "memory='1 GB': must be a whole number, at least 0"),
        ({"memory": -1}, "memory=-1: must be a whole number, at least 0"),
    ],
)
def test_settings_of_an_evaluator_are_numbers(tiny_task: Classification, settings: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Evaluator(tiny_task, **settings)


def test_a_wrong_mask_is_found_before_others_are_scored(
    tiny_task: Classification, runs: tuple[Run, Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluator = Evaluator(tiny_task, together=False)
    evaluator([Variant(runs[0].adapter)])
    asked: list[object] = []
    original = Classification.predict
    monkeypatch.setattr(Classification, "predict", lambda *given: asked.append(0) or original(*given))
    with pytest.raises(ValueError, match=r"mask must be a BoolTensor \[4\]"):
        evaluator([Variant(runs[0].adapter), Variant(runs[0].adapter, torch.ones(3, dtype=torch.bool))])
    assert asked == []


def test_a_mask_is_called_what_its_owner_calls_it(evaluator: Evaluator, runs: tuple[Run, Run]) -> None:
    with pytest.raises(ValueError, match=r"patterns\['mine'\] must be a BoolTensor \[4\] .*, got list"):
        module_mask(evaluator.sites(runs[0].adapter), [True], "patterns['mine']")  # type: ignore[arg-type]


# --- Adapters and their folders ----------------------------------------------------------------------------------------------


def test_the_folder_of_a_run_without_its_history_is_that_of_an_adapter(
    tiny_task: Classification, runs: tuple[Run, Run], evaluator: Evaluator, tmp_path: Path
) -> None:
    folder = runs[0].save(tmp_path / "run")
    os.remove(folder / "history.safetensors")
    found = open_source(folder, "run")
    assert isinstance(found, Adapter) and found.base == "tiny base"  # run.json still says so: there is no warning
    assert prune(tiny_task, folder, evaluator=evaluator).accuracy.equal(prune(tiny_task, runs[0], evaluator=evaluator).accuracy)
    with pytest.raises(ValueError, match="another base model, 'tiny base', than task 'tiny' has, 'other'"):
        prune(replace(tiny_task, base="other"), folder)
    with pytest.raises(ValueError, match=r"history\.safetensors' cannot be read"):
        Run.load(folder)


def test_the_folder_of_a_run_whose_history_is_damaged_is_refused(
    tiny_task: Classification, runs: tuple[Run, Run], tmp_path: Path
) -> None:
    folder = runs[0].save(tmp_path / "run")
    (folder / "history.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match=r"history\.safetensors' cannot be read"):
        prune(tiny_task, folder)


def test_without_weights_there_is_no_adapter(tiny_task: Classification, runs: tuple[Run, Run], tmp_path: Path) -> None:
    folder = runs[0].save(tmp_path / "run")
    os.remove(folder / "adapter_model.safetensors")
    for history in (True, False):
        if not history:
            os.remove(folder / "history.safetensors")
        with pytest.raises(ValueError, match=r"adapter_model\.safetensors' cannot be read"):
            prune(tiny_task, folder)


@pytest.mark.parametrize("kind", [None, 3, "NOPE"])
def test_a_configuration_of_no_known_method_is_refused(
    tiny_task: Classification, runs: tuple[Run, Run], tmp_path: Path, kind: object
) -> None:
    folder = tmp_path / "adapter"
    replace(runs[0].adapter, config=runs[0].adapter.config | {"peft_type": kind}, base="tiny base").save(folder)
    assert read_json(folder / "adapter_config.json")["peft_type"] == kind
    said = r"config\['peft_type'\]='NOPE': the installed PEFT .* knows .*LORA" if kind == "NOPE" else f"peft_type is {kind}"
    with pytest.raises(ValueError, match=said):
        prune(tiny_task, replace(Adapter.load(folder), base="tiny base"))


def test_an_adapter_without_tensors_is_refused(tiny_task: Classification, runs: tuple[Run, Run], tmp_path: Path) -> None:
    folder = runs[0].save(tmp_path / "run")
    save_file({}, folder / "adapter_model.safetensors")
    with pytest.raises(ValueError, match=r"adapter_model\.safetensors' holds no tensors"):
        prune(tiny_task, folder)


@pytest.mark.filterwarnings("ignore:.*does not say by a hash.*:UserWarning")
@pytest.mark.parametrize("probe", [prune, shapley, stability])
def test_an_adapter_without_layers_has_nothing_to_leave_out(probe: Callable, tmp_path: Path) -> None:
    config = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)
    peft.get_peft_model(CopyTask().load_base(), config).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="the adapter, PROMPT_TUNING, has no tensors of its own for any layer of the model"):
        probe(CopyTask(), tmp_path)
    with pytest.raises(ValueError, match="the adapter, PROMPT_TUNING"):
        find_sites(CopyTask().load_base(), Adapter.load(tmp_path))


@pytest.mark.parametrize("task", ["digits", None, Classification])
def test_probes_take_a_task(task: object, runs: tuple[Run, Run]) -> None:
    for use in (lambda: prune(task, runs[0]), lambda: interpolate(task, *runs), lambda: adapter_of(task, runs[0], "run")):
        with pytest.raises(TypeError, match=r"task (\((str|NoneType)\) is no Task|is the class Classification itself)"):
            use()


def test_another_base_is_told_in_the_same_words_everywhere(tiny_task: Classification, runs: tuple[Run, Run]) -> None:
    stranger = replace(runs[0].adapter, base="another base of a long name")
    words = (
        " was trained on another base model, 'another base of a long name', than task 'tiny' has, 'tiny base': an adapter means"
    )
    for name, use in {
        r"variants\[0\]": lambda: Evaluator(tiny_task)([Variant(stranger)]),
        "run": lambda: prune(tiny_task, stranger),
        "it": lambda: check_base(tiny_task, stranger.base, "it"),
    }.items():
        with pytest.raises(ValueError, match=name + words):
            use()
    with pytest.raises(
        ValueError, match=r"run was trained on another base model \(task 'tiny'\), 'another base of a long name', than"
    ):
        prune(tiny_task, replace(runs[0], base="another base of a long name"))
    check_base(tiny_task, None, "an adapter that does not know its base")


class Holes(CopyTask):
    """Its measure cannot be computed from the fifth test example on."""

    def measure(self, prediction: Tensor, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        found = super().measure(prediction, batch)
        if len(prediction) > 4:
            found["loss"][4:] = torch.nan
        return found


def test_scores_that_are_not_numbers_are_told() -> None:
    task = Holes()
    with pytest.warns(
        UserWarning, match=r"'loss' is nan for variants\[0\] on test example 4 of task 'copy', and 35 times more"
    ):
        Evaluator(task, together=False)([Variant(lora_adapters(task)[0])])


def test_a_measure_with_other_names_for_some_examples_is_refused() -> None:
    class Moody(CopyTask):
        def measure(self, prediction: Tensor, batch: dict[str, Tensor]) -> dict[str, Tensor]:
            found = super().measure(prediction, batch)
            return found if len(prediction) != 8 else {**found, "bleu": found["loss"]}

    task = Moody()
    with pytest.raises(ValueError, match=r"measure of task 'copy' returned .*'bleu'.* for the examples from 32 on"):
        Evaluator(task, together=False, batch_size=32)([Variant(lora_adapters(task)[0])])


def test_an_evaluator_of_another_task_is_refused() -> None:
    task = CopyTask()
    adapter = replace(lora_adapters(task)[0], base=task.base)
    with pytest.raises(ValueError, match="evaluator scores on task 'copy' with 8 test examples, and task is 'copy' with 40"):
        prune(task, adapter, evaluator=Evaluator(CopyTask(test=8)))
    with pytest.raises(TypeError, match="evaluator=3: give an Evaluator"):
        prune(task, adapter, evaluator=3)
    assert prune(task, adapter, evaluator=Evaluator(CopyTask())).patterns[0] == "all"


def test_an_adapter_saved_over_that_of_a_run_is_read_as_an_adapter(
    tiny_task: Task, runs: tuple[Run, Run], tmp_path: Path
) -> None:
    first, second = runs
    first.save(tmp_path / "run")
    assert Run.load(tmp_path / "run").adapter.base == first.base
    second.adapter.save(tmp_path / "run")
    with pytest.raises(ValueError, match="holds another adapter than the run there: one was saved over it since"):
        Run.load(tmp_path / "run")
    assert Adapter.load(tmp_path / "run").base is None
    with pytest.warns(UserWarning, match="run does not say by a hash which base model"):
        found = adapter_of(tiny_task, tmp_path / "run", "run")
    assert all(torch.equal(found.tensors[name], tensor) for name, tensor in second.adapter.tensors.items())


def test_names_of_bases_that_begin_alike_are_told_in_full(tiny_task: Task) -> None:
    task = replace(tiny_task, base="my own model, revision 1")
    with pytest.raises(ValueError, match=r"'my own model, revision 2', than task 'tiny' has, 'my own model, revision 1'"):
        check_base(task, "my own model, revision 2", "run")
