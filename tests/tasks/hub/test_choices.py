"""Multiple choice by log-likelihood, against a plain loop over the choices."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import datasets
import pytest
import torch
from tiny_hub_models import save_causal

from coto_lab import Evaluator, Linear, Recipe, Variant, fit, fit_many, prune
from coto_lab.tasks.check import check_task, try_task
from coto_lab.tasks.hub.choice_sets import CHOICE_SETS, ChoiceSet, Question
from coto_lab.tasks.hub.choices import MultipleChoice
from coto_lab.tasks.hub.source import Source

RECIPE = Recipe(r=4, steps=16, batch_size=6, lr=0.02)


def read(row: dict[str, Any]) -> Question:
    return Question.asked(row["question"], row["options"], row["right"])


OWN = ChoiceSet("no data", read, ("question", "options", "right"))


def rows(n: int) -> datasets.Dataset:
    """Two to four choices, of different lengths, one of them with letters of two bytes."""
    options = ["yes", "not at all", "perhaps", "ça dépend"]
    return datasets.Dataset.from_dict(
        {
            "question": ["why" + "y" * (i % 3) + "?" for i in range(n)],
            "options": [options[: 2 + i % 3] for i in range(n)],
            "right": [i % 2 for i in range(n)],
        }
    )


@pytest.fixture(scope="module")
def data() -> datasets.DatasetDict:
    return datasets.DatasetDict({"train": rows(12), "test": rows(9)})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_causal(tmp_path_factory.mktemp("llama"), layers=3)


@pytest.fixture(scope="module")
def task(folder: str, data: datasets.DatasetDict) -> MultipleChoice:
    return MultipleChoice(folder, OWN, data=data, target_modules=("q_proj", "v_proj", "up_proj"))


def test_likelihoods_are_those_of_each_choice_alone(task: MultipleChoice, data: datasets.DatasetDict) -> None:
    check_task(task)
    model = task.load_base().eval()
    try_task(task, model, "train")
    batch = task.batch("test", range(9))
    with torch.no_grad():
        prediction = task.predict(model, batch)
    found = task.measure(prediction, batch)
    assert prediction.shape == (9, 4)
    for i, row in enumerate(data["test"]):
        sums, means, losses = [], [], []
        for option in row["options"]:
            prompt = task.tokenizer.encode(row["question"])
            whole = torch.tensor(task.tokenizer.encode(f"{row['question']} {option}"))
            with torch.no_grad():
                said = model(whole[None]).logits[0].log_softmax(-1)
            likelihoods = [said[place - 1, whole[place]].item() for place in range(len(prompt), len(whole))]
            sums.append(sum(likelihoods))
            means.append(sum(likelihoods) / len(option.encode()))
            losses.append(-sum(likelihoods) / len(likelihoods))
        assert prediction[i].tolist() == pytest.approx(sums + [0] * (4 - len(sums)), rel=1e-4)
        assert found["correct"][i] == (sums.index(max(sums)) == row["right"])
        assert found["correct_normalised"][i] == (means.index(max(means)) == row["right"])
        assert found["loss"][i].item() == pytest.approx(losses[row["right"]], rel=1e-4)
        assert batch["bytes"][i, : len(sums)].tolist() == [len(option.encode()) for option in row["options"]]


def test_in_training_only_the_right_choice_goes_through_the_model(task: MultipleChoice) -> None:
    model, batch, seen = task.load_base(), task.batch("train", [0, 1, 2]), []
    model.lm_head.register_forward_hook(lambda module, inputs, output: seen.append(len(output)))
    with torch.no_grad():
        trained, scored = task.predict(model.train(), batch), task.predict(model.eval(), batch)
    assert seen == [3, 12]
    torch.testing.assert_close(task.loss(trained, batch), task.loss(scored, batch))
    assert (trained != 0).sum(-1).tolist() == [1, 1, 1]


def test_two_choices_that_are_as_likely_by_the_byte_differ_by_the_sum() -> None:
    """A long choice loses by the sum of its tokens and may win by their mean."""
    task = MultipleChoice("no model", OWN)
    batch = {"bytes": torch.tensor([[2, 10, 0]]), "labels": torch.tensor([1]), "targets": torch.tensor([[[5], [5], [-100]]])}
    found = task.measure(torch.tensor([[-4.0, -10.0, 0.0]]), batch)
    assert (found["correct"].item(), found["correct_normalised"].item(), found["loss"].item()) == (False, True, 10)


def test_training_scoring_and_pruning(task: MultipleChoice) -> None:
    lora, coto = fit(task, RECIPE, progress=False), fit(task, replace(RECIPE, schedule=Linear()), progress=False)
    assert lora.history.loss[-3:].mean() < 0.9 * lora.history.loss[:3].mean()
    variants = [Variant(lora.adapter), Variant(coto.adapter)]
    together, alone = Evaluator(task), Evaluator(task, batch_size=1, together=False)
    scores, expected = together(variants), alone(variants)
    torch.testing.assert_close(scores.values["loss"], expected.values["loss"], rtol=1e-4, atol=1e-5)
    assert torch.equal(scores.values["correct_normalised"], expected.values["correct_normalised"])
    assert all(tree is not None for tree in together._trees.values()), "their lower blocks are shared"
    assert prune(task, coto, evaluator=together).loss[0] == pytest.approx(scores.loss[1].item(), abs=1e-6)
    many = fit_many(task, [RECIPE, replace(RECIPE, seed=1)], progress=False)
    torch.testing.assert_close(many[0].history.loss, lora.history.loss, rtol=1e-3, atol=1e-3)


def test_a_base_in_half_precision_with_checkpointing(folder: str, data: datasets.DatasetDict) -> None:
    tasks = [
        MultipleChoice(Source(folder, dtype=d, checkpointing=d != "float32"), OWN, data=data) for d in ("float32", "bfloat16")
    ]
    whole, half = (fit(task, replace(RECIPE, steps=3), progress=False) for task in tasks)
    torch.testing.assert_close(whole.history.loss, half.history.loss, rtol=0.03, atol=0)


def test_a_long_context_loses_its_beginning_where_that_is_allowed(folder: str) -> None:
    long = datasets.Dataset.from_dict({"question": ["x" * 300 + "?"], "options": [["a", "bc"]], "right": [0]})
    both = datasets.DatasetDict({"train": long, "test": long})
    with pytest.raises(ValueError, match=r"train\[0\]: it has 303 tokens, and at most 256 are allowed\."):
        MultipleChoice(folder, OWN, data=both).batch("train", [0])
    batch = MultipleChoice(folder, OWN, data=both, cut=True, max_length=6).batch("train", [0])
    assert batch["attention_mask"].sum(-1).tolist() == [[6, 6]]


# --- The sets that are known by name ---------------------------------------------------------------------------------------

LABELLED = {"text": ["sun", "moon", "sea"], "label": ["A", "B", "C"]}
# A row of each set with its own columns; what stands before the right choice; the choices; the right one.
KNOWN: dict[str, tuple[dict[str, Any], str, list[str], int]] = {
    "arc-easy": (
        {"question": "What shines?", "choices": LABELLED, "answerKey": "A"}, "Question: What shines?\nAnswer:",
        ["sun", "moon", "sea"], 0,
    ),
    "arc-challenge": (
        {"question": "Why?", "choices": LABELLED | {"label": ["1", "2", "3"]}, "answerKey": "3"}, "Question: Why?\nAnswer:",
        ["sun", "moon", "sea"], 2,
    ),
    "boolq": (
        {"passage": "Cats sleep.", "question": "do cats sleep", "answer": True},
        "Cats sleep.\nQuestion: do cats sleep?\nAnswer:", ["no", "yes"], 1,
    ),
    "hellaswag": (
        {
            "activity_label": "Cooking", "ctx_a": "A man [step] stirs.", "ctx_b": "he", "label": "1",
            "endings": ["runs  away. [title] Done", "eats it. ", "a", "b"],
        },
        "Cooking: A man stirs. He", ["runs away.. Done", "eats it.", "a", "b"], 1,
    ),
    "openbookqa": (
        {"question_stem": "The sun is", "choices": LABELLED, "answerKey": "C"}, "The sun is", ["sun", "moon", "sea"], 2,
    ),
    "piqa": ({"goal": "cut it", "sol1": "saw", "sol2": "sing", "label": 0}, "Question: cut it\nAnswer:", ["saw", "sing"], 0),
    "social-iqa": (
        {"context": "Bo ran.", "question": "Why?", "answerA": "a", "answerB": "b", "answerC": "c", "label": "3"},
        "Q: Bo ran. Why?\nA:", ["a", "b", "c"], 2,
    ),
    "winogrande": (
        {"sentence": "The cup broke as the _ fell.", "option1": "cup", "option2": "hat", "answer": "2"},
        "The cup broke as the hat", ["fell.", "fell."], 1,
    ),
}  # fmt: skip


def test_every_known_set_is_tried() -> None:
    assert KNOWN.keys() == CHOICE_SETS.keys()


@pytest.mark.parametrize("name", CHOICE_SETS)
def test_rows_of_the_known_sets(name: str, folder: str) -> None:
    row, context, choices, right = KNOWN[name]
    known = CHOICE_SETS[name]
    assert set(known.columns) == row.keys()
    question = known.read(row)
    assert question.contexts[right] == context
    assert list(question.choices) == [f" {choice}" for choice in choices] and question.right == right
    split = datasets.Dataset.from_list([row])
    task = MultipleChoice(folder, name, data=datasets.DatasetDict(dict.fromkeys(known.splits, split)))
    try_task(task, task.load_base(), "test")
    assert task.name == name and task.show("test", [0])[0].answer == choices[right]


# --- What is refused -------------------------------------------------------------------------------------------------------


def test_a_set_that_does_not_exist() -> None:
    with pytest.raises(ValueError, match=r"questions='arc': must be one of 'arc-easy', .* or a ChoiceSet of your own\."):
        MultipleChoice("no model", "arc")
    with pytest.raises(TypeError, match=r"questions=3: give a name such as 'arc-easy', or a ChoiceSet\."):
        MultipleChoice("no model", 3)
    with pytest.raises(ValueError, match=r"splits=\('train',\): give two names"):
        replace(OWN, splits=("train",))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"right": 4},
            r"train\[0\]: Question\(.*\) is no question with at least two choices, a context for each, and the place",
        ),
        ({"right": -1}, r"is no question with at least two choices"),
        ({"options": ["yes"]}, r"is no question with at least two choices"),
        ({"options": ["yes", " "]}, r"train\[0\]: the choice '  ' of Question\(.*\) is no text\."),
        ({"question": ""}, r"train\[0\]: its prompt has no tokens, so there is nothing to begin with\."),
    ],
)
def test_rows_that_are_no_questions(change: dict[str, object], message: str, folder: str) -> None:
    row = {"question": "why?", "options": ["yes", "no"], "right": 0} | change
    split = datasets.Dataset.from_list([row])
    with pytest.raises(ValueError, match=message):
        MultipleChoice(folder, OWN, data=datasets.DatasetDict({"train": split, "test": split})).batch("train", [0])


def test_a_row_without_an_answer_and_data_without_a_column(folder: str, data: datasets.DatasetDict) -> None:
    row = KNOWN["hellaswag"][0] | {"label": ""}
    split = datasets.Dataset.from_list([row])
    task = MultipleChoice(folder, "hellaswag", data=datasets.DatasetDict({"train": split, "validation": split}))
    with pytest.raises(ValueError, match=r"train\[0\]: the question cannot be read \(ValueError: invalid literal for int"):
        task.batch("train", [0])
    with pytest.raises(
        ValueError, match=r"the split 'train' has no column 'sentence'; it has 'question', 'options', 'right'\."
    ):
        MultipleChoice(folder, replace(CHOICE_SETS["winogrande"], splits=("train", "test")), data=data).size("test")
