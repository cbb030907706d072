from __future__ import annotations

from dataclasses import replace

import peft
import pytest
import torch
from sklearn.metrics import accuracy_score, log_loss
from tiny_tasks import CopyTask, SpeakingTask, lora_adapters
from torch import Tensor

from coto_lab import Adapter, Classification, Evaluator, Linear, Recipe, Run, Scores, Task, Variant, fit, merge
from coto_lab.ground.device import default_device
from coto_lab.scoring.sites import module_mask


@pytest.fixture(scope="module")
def adapters(tiny_task: Task) -> dict[str, Adapter]:
    """Adapters of several configurations, two of them (a, b) of the same."""
    recipe = Recipe(r=2, steps=8, lr=0.05, batch_size=10)
    recipes = {
        "a": recipe,
        "b": replace(recipe, seed=1),
        "rank 3": replace(recipe, r=3, schedule=Linear()),
        "dora": replace(recipe, method="dora"),
        "hira": replace(recipe, method="hira"),
    }
    return {name: fit(tiny_task, recipe, progress=False).adapter for name, recipe in recipes.items()}


def peft_logits(task: Task, adapter: Adapter | None, split: str = "test") -> Tensor:
    model = task.load_base().eval() if adapter is None else adapter.attach(task.load_base())
    data = task.test_batch if split == "test" else task.train_batch
    with torch.no_grad():
        return model(pixel_values=data["pixel_values"]).logits[:, : len(task.classes)]


@pytest.mark.parametrize("seed", [0, 1])
def test_accuracy_and_loss_are_those_of_sklearn(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(3, 40, 5, generator=generator) * 3
    labels = torch.randint(5, (40,), generator=generator)
    task = Classification("x", "", None, None, None, tuple("abcde"), ())
    measures = [task.measure(own, {"labels": labels}) for own in logits]
    scores = Scores(("x", "y", "z"), {name: torch.stack([m[name] for m in measures]).double() for name in measures[0]})
    for i in range(3):
        assert scores.accuracy[i].item() == pytest.approx(accuracy_score(labels, logits[i].argmax(1)))
        probabilities = logits[i].double().softmax(1)
        assert scores.loss[i].item() == pytest.approx(log_loss(labels, probabilities, labels=range(5)))
    frame = scores.frame()
    assert frame["name"].tolist() == ["x", "y", "z"]
    assert frame["accuracy"].tolist() == scores.accuracy.tolist() and frame["loss"].tolist() == scores.loss.tolist()


@pytest.mark.parametrize("split", ["test", "train"])
def test_variants_of_different_configurations_score_what_peft_computes(
    tiny_task: Task, evaluator: Evaluator, adapters: dict[str, Adapter], split: str
) -> None:
    names = ["a", "dora", "b", "rank 3", "a", "hira"]  # back and forth
    scores = evaluator([Variant(adapters[name], name=name) for name in names], split=split, outputs=True)
    assert scores.names == tuple(names)
    assert torch.equal(scores.labels, (tiny_task.test_batch if split == "test" else tiny_task.train_batch)["labels"])
    for name, logits in zip(names, scores.logits, strict=True):
        torch.testing.assert_close(logits, peft_logits(tiny_task, adapters[name], split), rtol=0, atol=1e-5)
    assert len({tuple(logits.flatten().tolist()) for logits in scores.logits}) == len(adapters)


@pytest.mark.parametrize("name", ["a", "rank 3", "dora", "hira"])
def test_nothing_open_is_bitwise_the_base(
    tiny_task: Task, evaluator: Evaluator, adapters: dict[str, Adapter], name: str
) -> None:
    base = peft_logits(tiny_task, None)
    for n in (4, 8):
        scores = evaluator([Variant(adapters[name], torch.zeros(n, dtype=torch.bool))], outputs=True)
        assert torch.equal(scores.logits[0], base)
    assert not torch.equal(peft_logits(tiny_task, adapters[name]), base)


@pytest.mark.parametrize("name", ["a", "dora", "hira"])
def test_a_mask_over_blocks_is_the_mask_over_their_modules(
    evaluator: Evaluator, adapters: dict[str, Adapter], name: str
) -> None:
    blocks = torch.tensor([True, False, False, True])
    scores = evaluator([Variant(adapters[name], blocks), Variant(adapters[name], blocks.repeat_interleave(2))], outputs=True)
    assert torch.equal(*scores.logits)
    assert not torch.equal(scores.logits[0], evaluator([Variant(adapters[name])], outputs=True).logits[0])


def test_a_shut_module_is_one_whose_update_is_0(tiny_task: Task, evaluator: Evaluator, adapters: dict[str, Adapter]) -> None:
    adapter, gates = adapters["a"], evaluator.gates(adapters["a"])
    for i in (1, 6):
        mask = torch.arange(8) != i
        zeroed = {key: tensor * (f"{gates.names[i]}.lora_B" not in key) for key, tensor in adapter.tensors.items()}
        expected = peft_logits(tiny_task, replace(adapter, tensors=zeroed))
        torch.testing.assert_close(evaluator([Variant(adapter, mask)], outputs=True).logits[0], expected)


def test_batches_do_not_matter(tiny_task: Task, evaluator: Evaluator, adapters: dict[str, Adapter]) -> None:
    variants = [Variant(adapters["a"])]
    small = Evaluator(tiny_task, batch_size=7)(variants, outputs=True)
    torch.testing.assert_close(small.logits, evaluator(variants, outputs=True).logits)
    assert small.logits.shape == (1, 45, 3)


def test_gates_are_open_again_after_a_call(evaluator: Evaluator, adapters: dict[str, Adapter]) -> None:
    evaluator([Variant(adapters["a"], torch.zeros(4, dtype=torch.bool))], outputs=True)
    assert evaluator.gates(adapters["a"]).mask.all()


@pytest.mark.parametrize(
    "mask", [torch.ones(3, dtype=torch.bool), torch.ones(4), torch.ones(2, 4, dtype=torch.bool), [True] * 4]
)
def test_a_mask_that_does_not_fit_is_refused(evaluator: Evaluator, adapters: dict[str, Adapter], mask: Tensor) -> None:
    with pytest.raises(ValueError, match=r"mask must be a BoolTensor \[4\] \(blocks\) or \[8\] \(modules\), got (torch|list)"):
        evaluator([Variant(adapters["a"], mask)], outputs=True)


def test_other_bad_input_is_refused(evaluator: Evaluator, adapters: dict[str, Adapter], tiny_task: Task) -> None:
    with pytest.raises(ValueError, match="variants is empty"):
        evaluator([], outputs=True)
    with pytest.raises(ValueError, match="split='validation': must be 'test' or 'train'"):
        evaluator([Variant(adapters["a"])], split="validation", outputs=True)
    with pytest.raises(ValueError, match="batch_size=0"):
        Evaluator(tiny_task, batch_size=0)
    misfit = Adapter(adapters["a"].config, adapters["rank 3"].tensors)
    with pytest.raises(ValueError, match="does not fit the model"):
        evaluator([Variant(misfit)], outputs=True)
    assert torch.equal(evaluator([Variant(adapters["a"])], outputs=True).logits[0], peft_logits(tiny_task, adapters["a"]))


def test_none_opens_everything(evaluator: Evaluator, adapters: dict[str, Adapter], runs: tuple[Run, Run]) -> None:
    assert module_mask(evaluator.gates(adapters["a"]), None).tolist() == [True] * 8
    whole, merged, everything = evaluator(
        [
            Variant(runs[0].adapter),
            Variant(merge([run.adapter for run in runs])),
            Variant(runs[0].adapter, torch.ones(4, dtype=torch.bool)),
        ],
        outputs=True,
    ).logits
    assert torch.equal(whole, everything) and not torch.equal(whole, merged)


def test_torch_built_for_an_accelerator_that_is_not_there_runs_on_the_cpu(
    tiny_task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("cuda"))
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    assert default_device() == Evaluator(tiny_task).device == torch.device("cpu")
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    assert default_device() == Evaluator(tiny_task).device == torch.device("cuda")


def test_a_model_that_cannot_be_built_leaves_the_earlier_one(tiny_task: Task, adapters: dict[str, Adapter]) -> None:
    evaluator = Evaluator(tiny_task)
    before = evaluator([Variant(adapters["a"])], outputs=True).logits
    gates = evaluator.gates(adapters["a"])
    misfit = Adapter(adapters["rank 3"].config, adapters["a"].tensors)
    with pytest.raises(ValueError, match="does not fit the model"):
        evaluator([Variant(misfit)], outputs=True)
    assert evaluator.gates(adapters["a"]) is gates
    assert torch.equal(evaluator([Variant(adapters["a"])], outputs=True).logits, before)
    with pytest.raises(ValueError, match="does not fit the model"):
        evaluator([Variant(misfit)], outputs=True)  # and is not taken for built the second time


@pytest.mark.filterwarnings("ignore:adapter 'default' was initialised with:UserWarning")
@pytest.mark.parametrize("settings", [{"init_lora_weights": "olora"}, {"init_lora_weights": "pissa"}, {"bias": "all"}], ids=str)
def test_an_adapter_that_writes_into_the_base_does_not_change_the_scores_of_others(
    tiny_task: Task, adapters: dict[str, Adapter], settings: dict[str, str]
) -> None:
    model = peft.get_peft_model(tiny_task.load_base(), peft.LoraConfig(r=2, target_modules=["q_proj"], **settings))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1)
    rewriting = Adapter.from_model(model)
    alone = {name: Evaluator(tiny_task)([Variant(adapter)]) for name, adapter in (("x", rewriting), *adapters.items())}
    for order in (["x", "a", "dora", "x", "hira"], ["hira", "dora", "a", "x"]):
        evaluator = Evaluator(tiny_task)
        for name in order:  # built one after the other, and all at once
            found = evaluator([Variant(rewriting if name == "x" else adapters[name])])
            assert torch.equal(found.values["loss"], alone[name].values["loss"]), (order, name)
        together = Evaluator(tiny_task)([Variant(rewriting if name == "x" else adapters[name]) for name in order])
        for i, name in enumerate(order):
            torch.testing.assert_close(together.values["loss"][i], alone[name].values["loss"][0], rtol=0, atol=1e-6)


def test_an_adapter_of_another_base_is_refused(evaluator: Evaluator, adapters: dict[str, Adapter]) -> None:
    with pytest.raises(ValueError, match=r"variants\[1\] was trained on another base model, 'other base', than task 'tiny'"):
        evaluator([Variant(adapters["a"]), Variant(replace(adapters["a"], base="other base"))])


def test_answers_as_text_are_those_of_each_adapter_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    task = SpeakingTask()
    adapters = lora_adapters(task)
    masks = [None, torch.arange(8) < 3]
    variants = [Variant(adapter, mask) for mask in masks for adapter in adapters]
    together, alone = (Evaluator(task, batch_size=7, together=way)(variants, outputs=True) for way in (True, False))
    assert together.said == alone.said and len(set(together.said)) == 4
    batch = task.batch("test", range(40))
    with torch.no_grad():
        for i, adapter in enumerate(adapters):
            model = adapter.attach(task.load_base()).eval()
            assert list(together.said[i]) == task.say(task.predict(model, batch), batch)
    shown = task.show("test", range(40))
    right = [[own == example.answer for own, example in zip(said, shown, strict=True)] for said in together.said]
    assert together.values["correct"].bool().tolist() == right
    assert Evaluator(task)(variants[:1]).said is None
    with pytest.raises(ValueError, match=r"outputs=True: task 'copy' has no classes, .* and it has no method 'say'"):
        Evaluator(CopyTask())(variants, outputs=True)


def test_some_examples_score_as_among_all_in_the_order_asked(
    evaluator: Evaluator, adapters: dict[str, Adapter], runs: tuple[Run, Run]
) -> None:
    variants = [Variant(adapters["a"]), Variant(adapters["dora"]), Variant(runs[0].adapter)]  # together, and one by one
    places = [44, 3, 3, 20]
    some, every = evaluator(variants, examples=places, outputs=True), evaluator(variants, outputs=True)
    assert some.names == every.names and torch.equal(some.labels, every.labels[places])
    torch.testing.assert_close(some.outputs, every.outputs[:, places])
    assert torch.equal(some.values["correct"], every.values["correct"][:, places])


@pytest.mark.parametrize(
    ("examples", "error", "message"),
    [
        ([], ValueError, "examples"),
        ([45], ValueError, r"examples has 45: give places from 0 to 44\."),
        ([-1], ValueError, r"examples has -1"),
        (3, TypeError, "give a list of whole numbers"),
        ([0.5], TypeError, "give a list of whole numbers"),
    ],
)
def test_examples_that_are_not_there_are_refused(
    evaluator: Evaluator, adapters: dict[str, Adapter], examples: object, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        evaluator([Variant(adapters["a"])], examples=examples)
