"""Adapters chosen for each input: against NumPy, with prototypes that are far apart, and as merging all."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from datasets import Dataset
from tiny_tasks import CopyTask, bert_task, language_task, lora_adapters
from torch import Tensor

from coto_lab import Adapter, Classification, Evaluator, Variant, load_task, merge
from coto_lab.merging.retrieval import Retriever, choose, score_retrieved
from coto_lab.tasks import Joint, Part, StringTask
from coto_lab.tasks.skills import Skill
from coto_lab.tasks.task import reads_of

PATTERNS = torch.stack([torch.arange(64) // 8 % 2, torch.arange(64) % 2, torch.arange(64) // 2 % 2]).view(3, 1, 8, 8)


def striped(task: Classification, number: int) -> Classification:
    """The tiny task with stripes over each image."""

    def drawn(data: Dataset) -> Dataset:
        images = data[:]["pixel_values"] / 4 + 4 * PATTERNS[number]
        return Dataset.from_dict({"pixel_values": images.numpy(), "labels": data[:]["labels"].numpy()}).with_format("torch")

    return replace(task, name=f"striped {number}", train=drawn(task.train), test=drawn(task.test))


@pytest.fixture(scope="module")
def tasks(tiny_task: Classification) -> list[Classification]:
    return [striped(tiny_task, number) for number in range(3)]


@pytest.fixture(scope="module")
def adapters(tiny_task: Classification) -> list[Adapter]:
    generator = torch.Generator().manual_seed(0)
    first = lora_adapters(tiny_task)[0]
    return [
        replace(first, tensors={name: 0.3 * torch.randn(t.shape, generator=generator) for name, t in first.tensors.items()})
        for _ in range(3)
    ]


@pytest.fixture(scope="module")
def joint(tasks: list[Classification]) -> Joint:
    return Joint([task.every(5) for task in tasks], "all three")


@pytest.fixture(scope="module")
def own(joint: Joint) -> Tensor:
    return torch.cat([torch.full((len(places),), i) for i, places in enumerate(joint.places("test"))])


# Choosing


def test_the_most_similar_tasks_as_numpy_finds_them() -> None:
    similarity = torch.randn(50, 6, generator=torch.Generator().manual_seed(0))
    similarity[:10, 3] = similarity[:10, 1]  # ties go to the earlier task
    expected = np.argsort(-similarity.numpy(), axis=1, kind="stable")
    for k in range(1, 7):
        assert choose(similarity, k).tolist() == expected[:, :k].tolist()


@pytest.mark.parametrize("leave_out", [2, torch.arange(50) % 6, 4])
def test_a_task_that_is_left_out_is_never_chosen(leave_out: int | Tensor) -> None:
    similarity = torch.randn(50, 6, generator=torch.Generator().manual_seed(1))
    left = torch.as_tensor(leave_out).expand(50)[:, None]
    for k in (1, 3, 5):
        found = choose(similarity, k, leave_out)
        assert found.shape == (50, k) and not (found == left).any()
        rest = [[task for task in row if task != out] for row, out in zip(choose(similarity, 6).tolist(), left, strict=True)]
        assert found.tolist() == [row[:k] for row in rest]


def test_prototypes_that_are_far_apart_find_the_right_task(tasks: list[Classification], joint: Joint, own: Tensor) -> None:
    retriever = Retriever(tasks, samples=4)
    similarity = retriever.similarity(joint)
    assert similarity.shape == (27, 3) and (similarity.abs() <= 1.0001).all()
    assert torch.equal(choose(similarity, 1)[:, 0], own)
    assert torch.equal(Retriever(tasks, samples=4).vectors, retriever.vectors)
    assert not torch.equal(Retriever(tasks, samples=4, seed=1).vectors, retriever.vectors)
    torch.testing.assert_close(Retriever(tasks, samples=99).vectors, Retriever(tasks, samples=30, seed=5).vectors)


def test_features_are_the_mean_of_the_last_blocks_states(tasks: list[Classification]) -> None:
    model = tasks[0].load_base().eval()
    images = tasks[0].batch("test", range(45))["pixel_values"]
    with torch.no_grad():
        # The last of transformers' hidden states is what the last block returns, before the final normalisation.
        states = model(pixel_values=images, output_hidden_states=True).hidden_states[-1]
    features = torch.nn.functional.normalize(states.mean(1), dim=1)
    retriever = Retriever(tasks)
    torch.testing.assert_close(retriever.similarity(tasks[0]), features @ retriever.vectors.T)


def test_padding_is_not_read() -> None:
    task = language_task(padded=True)
    retriever, before = Retriever([task], samples=3), torch.get_rng_state()
    expected = retriever.similarity(task)
    columns = task.test.with_format("torch")[:]
    tokens = torch.where(columns["attention_mask"] == 1, columns["input_ids"], 7)  # other tokens in the places of padding
    other = Dataset.from_dict({name: column.numpy() for name, column in (columns | {"input_ids": tokens}).items()})
    shown = replace(task, test=other.with_format("torch"))
    torch.testing.assert_close(retriever.similarity(shown), expected)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_answer_is_not_read() -> None:
    bodies = {"train": ["abcd", "bcde", "xyz12"], "test": ["efgh", "ab12c"]}

    def task(rule) -> StringTask:  # type: ignore[no-untyped-def]
        return StringTask(Skill("one", "!", "", rule, lambda random: "abcd"), **bodies, name="one")

    reverse, first = task(lambda body: body[::-1]), task(lambda body: body[0])
    retriever = Retriever([reverse], samples=3)
    torch.testing.assert_close(retriever.similarity(reverse), retriever.similarity(first))
    reads = reverse.reads(reverse.batch("test", [0, 1]))
    assert reads.sum(1).tolist() == [len("!efgh="), len("!ab12c=")] and reads[:, :6].all()
    for outer in (Part(reverse, 1), Joint([reverse], "joint", {"input_ids": 0, "targets": -100})):
        torch.testing.assert_close(retriever.similarity(outer), retriever.similarity(reverse))
    assert reads_of(Part(CopyTask(), 1)) is None and reads_of(Joint([CopyTask()], "joint")) is None


# Scores


@pytest.mark.parametrize("how", ["fuse", "ensemble"])
def test_all_adapters_for_each_input_are_the_merge_of_all(joint: Joint, adapters: list[Adapter], how: str) -> None:
    choices = torch.stack([torch.randperm(3, generator=torch.Generator().manual_seed(i)) for i in range(27)])
    found = score_retrieved(joint, choices, adapters, how)
    expected = Evaluator(joint)([Variant(merge(adapters, how))])
    torch.testing.assert_close(found.values, expected.values)
    assert found.names == ("",) and found.accuracy.shape == (1,)


@pytest.mark.parametrize("how", ["fuse", "ensemble"])
def test_each_example_is_scored_with_its_own_choice(joint: Joint, adapters: list[Adapter], how: str) -> None:
    choices = torch.tensor([[0, 1], [2, 0], [1, 0], [2, 1]]).repeat(7, 1)[:27]
    found = score_retrieved(joint, choices, adapters, how).values["loss"][0]
    evaluator = Evaluator(joint)
    for example in (0, 1, 2, 3, 13, 26):
        pair = [adapters[i] for i in sorted(choices[example].tolist())]
        expected = evaluator([Variant(merge(pair, how))]).values["loss"][0, example]
        torch.testing.assert_close(found[example], expected, rtol=1e-4, atol=1e-5)


def test_scores_of_training_examples(tasks: list[Classification], adapters: list[Adapter]) -> None:
    choices = torch.arange(30)[:, None] % 3
    found = score_retrieved(tasks[0], choices, adapters, split="train").values["loss"][0]
    expected = Evaluator(tasks[0])([Variant(adapter) for adapter in adapters], split="train").values["loss"]
    torch.testing.assert_close(found, expected.gather(0, choices.T)[0], rtol=1e-4, atol=1e-5)


# Bad input


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"k": 0}, "k=0: must be a whole number, from 1 to 3"),
        ({"k": 4}, "k=4: must be a whole number, from 1 to 3"),
        ({"k": 3, "leave_out": 0}, "k=3: must be a whole number, from 1 to 2"),
        ({"k": 1, "leave_out": 3}, "leave_out=3: give the number of a task, from 0 to 2, or an int64 tensor of 4"),
        ({"k": 1, "leave_out": torch.zeros(3, dtype=torch.long)}, "leave_out=.*: give the number of a task"),
        ({"k": 1, "leave_out": 0.5}, "leave_out=0.5: give the number of a task"),
        ({"k": 1, "similarity": torch.full((4, 3), torch.nan)}, r"similarity must be a tensor \[N, n\] without NaN"),
        ({"k": 1, "similarity": torch.zeros(3)}, r"similarity must be a tensor \[N, n\] without NaN"),
    ],
)
def test_choices_that_cannot_be_made_are_refused(arguments: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        choose(**{"similarity": torch.zeros(4, 3)} | arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("choices", "said"),
    [
        (torch.zeros(26, 1, dtype=torch.long), r"choices must be int64 \[27, k\], .* got torch.int64 \[26, 1\]"),
        (torch.zeros(27, 1), r"choices must be int64 \[27, k\], .* got torch.float32"),
        (torch.full((27, 1), 3), "each example needs different numbers from 0 to 2"),
        (torch.full((27, 1), -1), "each example needs different numbers from 0 to 2"),
        (torch.zeros(27, 2, dtype=torch.long), "each example needs different numbers from 0 to 2"),
        (torch.zeros(27, 0, dtype=torch.long), "each example needs different numbers from 0 to 2"),
    ],
)
def test_choices_that_fit_nothing_are_refused(joint: Joint, adapters: list[Adapter], choices: Tensor, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        score_retrieved(joint, choices, adapters)


def test_adapters_that_fit_nothing_are_refused(joint: Joint, adapters: list[Adapter]) -> None:
    choices = torch.zeros(27, 1, dtype=torch.long)
    with pytest.raises(TypeError, match=r"adapters\[1\] is a int"):
        score_retrieved(joint, choices, [adapters[0], 3])  # type: ignore[list-item]
    with pytest.raises(ValueError, match=r"adapters\[0\] was trained on another base model, 'another'"):
        score_retrieved(joint, choices, [replace(adapters[0], base="another")])


def test_tasks_without_features_are_refused(tasks: list[Classification]) -> None:
    retriever = Retriever(tasks[:1])
    with pytest.raises(ValueError, match=r"task \('copy'\) has another base model"):
        retriever.similarity(CopyTask())
    with pytest.raises(ValueError, match=r"tasks\[1\] \('copy'\) has another base model"):
        Retriever([tasks[0], CopyTask()])
    with pytest.raises(ValueError, match=r"tasks\[0\] \('copy'\) has no classes, .* Give it a method reads\(batch\)"):
        Retriever([CopyTask()])
    with pytest.raises(TypeError, match="tasks is a Classification: give a list of tasks"):
        Retriever(tasks[0])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="samples=0: must be a whole number"):
        Retriever(tasks, samples=0)
    nowhere = replace(tasks[0], target_modules=("classifier",))
    with pytest.raises(ValueError, match="has no blocks with modules"):
        Retriever([nowhere])


def test_what_a_task_says_of_its_input_must_fit() -> None:
    class Odd(Classification):
        def reads(self, batch: dict[str, Tensor]) -> Tensor:
            return torch.ones(len(batch["labels"]), 2, dtype=torch.bool)

    base = bert_task(0.0)
    odd = Odd(**{field.name: getattr(base, field.name) for field in fields(Classification)})
    with pytest.raises(
        ValueError, match=r"says of \[12, 2\] which tokens are the input, and the hidden states are of \[12, 7\]"
    ):
        Retriever([odd])


def test_embedded_tasks_say_what_is_the_input() -> None:
    task = load_task("strings/swap-pairs")
    batch = task.batch("test", range(8))
    shown = task.show("test", range(8))
    assert task.reads(batch).sum(1).tolist() == [len(example.text) for example in shown]
