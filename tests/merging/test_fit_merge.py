"""Coefficients that are learned: cases with a known answer, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import peft
import pytest
import torch
from same import same
from tiny_tasks import CopyTask, gpt2_task, headed_task, lora_adapters
from torch import Tensor, nn

from coto_lab import Adapter, Classification, Run, merge
from coto_lab.adapters.configuration import json_values
from coto_lab.adapters.names import PREFIX
from coto_lab.merging.fit_merge import fit_merge
from coto_lab.merging.zip import Zip
from coto_lab.tasks import Example


class Halves:
    """A linear map of four inputs, of which two are zero: the first two, or the last two; targets are those of an adapter."""

    base, target_modules, classes = "four inputs", ("map",), ()

    def __init__(self, half: int, adapter: Adapter):
        self.name, self._half = f"half {half}", half
        self._update = adapter.update(self.load_base())["map"]

    def load_base(self) -> nn.Module:
        model = nn.Module()
        model.map = nn.Linear(4, 3, bias=False)
        model.forward = lambda x: model.map(x)
        nn.init.zeros_(model.map.weight)
        return model

    def size(self, split: str) -> int:
        return 32

    def batch(self, split: str, indices: Sequence[int] | Tensor) -> dict[str, Tensor]:
        x = torch.randn(32, 4, generator=torch.Generator().manual_seed(self._half))[torch.as_tensor(indices)]
        x[:, 2 - 2 * self._half : 4 - 2 * self._half] = 0
        return {"x": x, "y": x @ self._update.T}

    def predict(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        return model(batch["x"])

    def loss(self, prediction: Tensor, batch: dict[str, Tensor]) -> Tensor:
        return (prediction - batch["y"]).square().mean(-1)

    def measure(self, prediction: Tensor, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        loss = self.loss(prediction, batch)
        return {"loss": loss, "correct": loss < 0.1}

    def show(self, split: str, indices: Sequence[int] | Tensor) -> list[Example]:
        return [Example("") for _ in indices]


def random_lora(seed: int, r: int) -> Adapter:
    generator = torch.Generator().manual_seed(seed)
    config = json_values(peft.LoraConfig(r=r, lora_alpha=2 * r, target_modules=["map"]).to_dict())
    a, b = torch.randn(r, 4, generator=generator), torch.randn(3, r, generator=generator)
    return Adapter(config, {f"{PREFIX}map.lora_A.weight": a, f"{PREFIX}map.lora_B.weight": b}, "four inputs")


@pytest.mark.parametrize("start", [1.0, None])
def test_adapters_on_disjoint_inputs_get_each_its_own_columns(start: float | None) -> None:
    adapters = [random_lora(0, 2), random_lora(1, 3)]
    tasks = [Halves(0, adapters[0]), Halves(1, adapters[1])]
    merged = fit_merge(tasks, adapters, Zip(steps=150, lr=0.05, start=start, penalty=0, batch_size=32), progress=False)
    expected = torch.tensor([[1.0, 1, 0, 0], [0, 0, 1, 1]])
    torch.testing.assert_close(merged.coefficients["map"], expected, rtol=0, atol=0.03)
    base = tasks[0].load_base()
    updates = [adapter.update(base)["map"] for adapter in adapters]
    torch.testing.assert_close(
        merged.adapter.update(base)["map"], sum(expected[:, None] * torch.stack(updates)), atol=0.1, rtol=0
    )
    assert merged.losses.shape == (150,) and merged.distances.shape == (150, 2)
    assert merged.losses[-1] < 1e-3 < merged.losses[0] and merged.start == (0.5 if start is None else 1)
    assert merged.moved == pytest.approx(0.5, abs=0.03)
    assert merged.adapter.base == "four inputs" and merged.adapter.config["r"] == 5


def test_the_penalty_closes_what_is_not_needed() -> None:
    """Two copies of one adapter: their sum is needed on no column twice."""
    adapter = random_lora(0, 2)
    tasks = [Halves(0, adapter), Halves(1, adapter)]
    rule = Zip(steps=40, lr=0.05, start=0.6, batch_size=32)
    overlap = [
        (own := fit_merge(tasks, [adapter, adapter], replace(rule, penalty=penalty), progress=False).coefficients["map"])[0]
        * own[1]
        for penalty in (0, 0.5)
    ]
    assert overlap[1].abs().mean() < overlap[0].abs().mean()


def test_one_adapter_by_itself_is_left_as_it_is(tiny_task: Classification, runs: tuple[Run, Run]) -> None:
    merged = fit_merge([tiny_task], runs[:1], Zip(steps=3, start=1, penalty=0), progress=False)
    assert all(bool((own == 1).all()) for own in merged.coefficients.values())
    assert merged.moved == 0 and not merged.losses.any()
    alone = merge(runs[:1], "ensemble")
    assert all(torch.equal(merged.adapter.tensors[name], tensor) for name, tensor in alone.tensors.items())


@pytest.fixture(scope="module")
def rule() -> Zip:
    return Zip(steps=12, lr=0.05, start=1, batch_size=8)


def test_the_loss_falls_and_the_merged_model_comes_closer(tiny_task: Classification, runs: tuple[Run, Run], rule: Zip) -> None:
    merged = fit_merge([tiny_task, tiny_task], runs, rule, progress=False)
    assert merged.losses[-3:].mean() < 0.8 * merged.losses[0] and merged.moved > 0.05
    torch.testing.assert_close(merged.losses[0], merged.distances[0].sum() + 0.01 * len(merged.coefficients))  # all m are 1
    assert list(merged.coefficients) == list(runs[0].adapter.modules)
    own, start = (a.attach(tiny_task.load_base()) for a in (runs[0].adapter, merge(runs, "cat")))
    batch = tiny_task.batch("train", range(30))
    with torch.no_grad():
        target, sums, now = (tiny_task.predict(m, batch) for m in (own, start, merged.adapter.attach(tiny_task.load_base())))
    assert (now - target).square().mean() < (sums - target).square().mean()


@pytest.mark.parametrize("start", [1.0, None])
def test_distances_are_those_of_the_adapters(start: float | None) -> None:
    """On layers that store their weights transposed, and of adapters of two ranks."""
    torch.manual_seed(0)  # of the base's head, where the tests before have drawn from the global generator
    base = gpt2_task()
    adapters, batch = lora_adapters(base), base.batch("train", range(12))

    def predicted(adapter: Adapter) -> Tensor:
        with torch.no_grad():
            return base.predict(adapter.attach(base.load_base()), batch)

    own = [predicted(adapter) for adapter in adapters]
    labels = [prediction.argmax(-1).tolist() for prediction in own]  # so that each adapter is right on its own task
    trains = [base.train.remove_columns("labels").add_column("labels", right).with_format("torch") for right in labels]
    tasks = [replace(base, train=train) for train in trains]
    rule = Zip(steps=3, lr=0.05, start=start, batch_size=12)  # all examples in each batch
    longer = fit_merge(tasks, adapters, rule, progress=False)
    shorter = fit_merge(tasks, adapters, replace(rule, steps=2), progress=False)
    first = merge(adapters, "cat", [start or 0.5] * 2)
    for step, adapter in ((0, first), (2, shorter.adapter)):
        expected = torch.stack([(predicted(adapter) - target).square().mean() for target in own]).double()
        torch.testing.assert_close(longer.distances[step], expected, rtol=1e-4, atol=1e-7)


def test_it_depends_on_its_seed_alone(tiny_task: Classification, runs: tuple[Run, Run], rule: Zip) -> None:
    short = replace(rule, steps=3)
    before, tensors = torch.get_rng_state(), {k: t.clone() for k, t in runs[0].adapter.tensors.items()}
    first = fit_merge([tiny_task, tiny_task], runs, short, progress=False)
    torch.manual_seed(7)
    again = fit_merge([tiny_task, tiny_task], [run.adapter for run in runs], short, progress=False)
    other = fit_merge([tiny_task, tiny_task], runs, replace(short, seed=1), progress=False)
    torch.set_rng_state(before)
    third = fit_merge([tiny_task, tiny_task], runs, short, progress=False)
    assert torch.equal(torch.get_rng_state(), before)
    assert same(first.adapter, again.adapter) and same(first.adapter, third.adapter)
    assert not same(first.adapter, other.adapter)
    assert all(torch.equal(runs[0].adapter.tensors[name], tensor) for name, tensor in tensors.items())


def test_there_is_a_bar(tiny_task: Classification, runs: tuple[Run, Run], capfd: pytest.CaptureFixture[str]) -> None:
    fit_merge([tiny_task], runs[:1], Zip(steps=2))
    assert "2/2" in capfd.readouterr().err
    fit_merge([tiny_task], runs[:1], Zip(steps=2), progress=False)
    assert capfd.readouterr().err == ""


def test_what_learns_nothing_is_said(tiny_task: Classification, runs: tuple[Run, Run]) -> None:
    with pytest.raises(FloatingPointError, match=r"the loss of step \d is (nan|inf); try a learning rate below lr=1e\+30"):
        fit_merge([tiny_task, tiny_task], runs, Zip(steps=5, lr=1e30), progress=False)


# Bad input


def test_adapters_of_other_tasks_are_refused(tiny_task: Classification, runs: tuple[Run, Run]) -> None:
    other = replace(tiny_task, name="other")
    with pytest.raises(ValueError, match=r"adapters\[1\] was trained on task 'tiny', and tasks\[1\] is 'other'\. Give tasks"):
        fit_merge([tiny_task, other], runs)
    wrong = replace(tiny_task, name="shuffled", train=tiny_task.train.map(lambda row: {"labels": (row["labels"] + 1) % 3}))
    said = r"adapters\[1\] was not trained on task 'shuffled': its loss .* is [\d.]+, and that of the base model is [\d.]+\."
    with pytest.raises(ValueError, match=said):
        fit_merge([tiny_task, wrong], [run.adapter for run in runs])


def test_adapters_that_cannot_be_zipped_are_refused(tiny_task: Classification, runs: tuple[Run, Run]) -> None:
    first, second = (run.adapter for run in runs)
    key = next(name for name in second.tensors if "lora_B" in name)
    nan = replace(second, tensors=second.tensors | {key: torch.full_like(second.tensors[key], torch.nan)})
    nothing = replace(second, tensors={k: torch.zeros_like(t) if "lora_B" in k else t for k, t in second.tensors.items()})
    fewer = replace(second, tensors={k: t for k, t in second.tensors.items() if "layers.0" not in k})
    tasks = [tiny_task, tiny_task]
    for adapter, said in (
        (nan, "adapter 1 holds NaN or infinity"),
        (nothing, "all factors B of adapter 1 are zero"),
        (fewer, "the adapters are of different methods or modules"),
        (replace(second, base="another"), r"adapters\[1\] was trained on another base model, 'another'"),
    ):
        with pytest.raises(ValueError, match=said):
            fit_merge(tasks, [first, adapter])
    with pytest.raises(ValueError, match="Rules on the factors of LoRA take no other adapters"):
        fit_merge(tasks[:1], [replace(first, config=first.config | {"use_dora": True})])


def test_lists_that_do_not_fit_are_refused(tiny_task: Classification, runs: tuple[Run, Run]) -> None:
    with pytest.raises(ValueError, match="there are 1 tasks and 2 adapters: give each adapter's own task"):
        fit_merge([tiny_task], runs)
    with pytest.raises(TypeError, match="tasks is a Classification: give a list of tasks"):
        fit_merge(tiny_task, runs)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="no Task: it lacks"):
        fit_merge([tiny_task, 3], runs)  # type: ignore[list-item]
    with pytest.raises(TypeError, match=r"adapters\[1\] is a int: give a list of runs"):
        fit_merge([tiny_task, tiny_task], [runs[0], 3])  # type: ignore[list-item]
    with pytest.raises(TypeError, match=r"how='zip': give a rule that learns, such as Zip\(steps=200\)"):
        fit_merge([tiny_task], runs[:1], "zip")  # type: ignore[arg-type]


def test_tasks_that_do_not_fit_are_refused(tiny_task: Classification, runs: tuple[Run, Run]) -> None:
    with pytest.raises(ValueError, match=r"tasks\[1\] \('copy'\) has another base model than tasks\[0\] \('tiny'\)"):
        fit_merge([tiny_task, CopyTask()], runs)
    headed = headed_task()
    with pytest.raises(ValueError, match="has new layers or writes its answers"):
        fit_merge([headed], lora_adapters(headed)[:1])
