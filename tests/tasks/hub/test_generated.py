"""Answers that small language models write, checked by rules."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import datasets
import pytest
import torch
import transformers
from tiny_hub_models import save_causal

from coto_lab import Evaluator, Linear, Recipe, Variant, fit, fit_many, prune
from coto_lab.tasks.check import check_task, try_task
from coto_lab.tasks.hub.causal import SupervisedFineTuning
from coto_lab.tasks.hub.generated import GeneratedAnswers, gsm8k_task, same_last_number, same_text
from coto_lab.tasks.hub.source import Source
from coto_lab.tasks.task import generates

RECIPE = Recipe(r=8, steps=30, batch_size=8, lr=0.04)


def rows(n: int, longest: int = 4) -> datasets.Dataset:
    """Prompts of different lengths, answers with a few words, and the number in them."""
    return datasets.Dataset.from_dict(
        {
            "question": ["a" * (i % longest + 1) + "?" for i in range(n)],
            "answer": [f"it is #### {i % longest + 1}" for i in range(n)],
            "number": [f"#### {i % longest + 1}" for i in range(n)],
        }
    )


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> GeneratedAnswers:
    data = datasets.DatasetDict({"train": rows(8), "test": rows(6, longest=6)})
    return GeneratedAnswers(
        save_causal(tmp_path_factory.mktemp("qwen2"), "qwen2", layers=3), data, prompt="question", reference="number",
        rule=same_last_number, max_new_tokens=16, target_modules=("q_proj", "v_proj", "up_proj"),
    )  # fmt: skip


def replace_rule(task: GeneratedAnswers, rule: object, model: Source | None = None) -> GeneratedAnswers:
    return GeneratedAnswers(model or task.model, task.data, prompt="question", reference="number", rule=rule, max_new_tokens=4)


def test_it_is_a_task_that_says_that_it_generates(task: GeneratedAnswers) -> None:
    check_task(task)
    try_task(task, task.load_base(), "train")
    assert generates(task) and generates(task.every(2)) and task.every(2).size("test") == 3
    supervised = SupervisedFineTuning(task.model, task.data, prompt="question")
    assert not generates(supervised)
    batch, same = task.batch("test", [2, 0]), supervised.batch("test", [2, 0])
    assert all(torch.equal(batch[name], column) for name, column in same.items())
    prompts = [
        task.tokenizer.decode(row[mask.bool()]) for row, mask in zip(batch["prompt_ids"], batch["prompt_mask"], strict=True)
    ]
    assert prompts == [f"<|im_start|>user\n{text}?<|im_end|>\n<|im_start|>assistant\n" for text in ("aaa", "a")]
    assert batch["prompt_mask"][1].tolist() == [0, 0] + [1] * (batch["prompt_mask"].shape[1] - 2), "padded on the left"


def test_a_model_in_training_is_that_of_supervised_fine_tuning(task: GeneratedAnswers) -> None:
    supervised = SupervisedFineTuning(task.model, task.data, prompt="question", target_modules=task.target_modules)
    recipe = replace(RECIPE, steps=3, schedule=Linear())
    runs = [fit(kind, recipe, progress=False) for kind in (task, supervised)]
    assert torch.equal(runs[0].history.loss, runs[1].history.loss)
    many = fit_many(task, [recipe, replace(recipe, seed=1)], progress=False)
    torch.testing.assert_close(many[0].history.loss, runs[0].history.loss, rtol=1e-3, atol=1e-3)


def test_what_is_scored_is_what_each_prompt_alone_makes_the_model_write(task: GeneratedAnswers) -> None:
    run = fit(task, RECIPE, progress=False)
    together, alone = Evaluator(task), Evaluator(task, batch_size=1)
    scores, expected = together([Variant(run.adapter)], outputs=True), alone([Variant(run.adapter)], outputs=True)
    assert scores.said == expected.said and not together._trees
    torch.testing.assert_close(scores.values["loss"], expected.values["loss"], rtol=1e-4, atol=1e-5)
    model, tokenizer = run.adapter.attach(task.load_base()), task.tokenizer
    supervised = SupervisedFineTuning(task.model, task.data, prompt="question")
    assert scores.said is not None
    for i, example in enumerate(task.show("test", range(6))):
        ask = [{"role": "user", "content": example.text}]
        prompt = tokenizer.apply_chat_template(ask, add_generation_prompt=True, return_tensors="pt")
        written = model.generate(**prompt, do_sample=False, max_new_tokens=16)[0, prompt["input_ids"].shape[1] :]
        text = tokenizer.decode(written, skip_special_tokens=True)
        assert scores.said[0][i] == text
        right = f"#### {i + 1}" in text
        assert scores.values["correct"][0, i] == right
    assert 0 < scores.accuracy.item() < 1, "prompts that it has seen in training, and others"
    plain = Evaluator(supervised)([Variant(run.adapter)])
    torch.testing.assert_close(plain.values["loss"], scores.values["loss"], rtol=1e-4, atol=1e-5)
    assert prune(task, run, evaluator=together).loss[0] == pytest.approx(scores.loss[0].item(), abs=1e-6)


def test_what_is_written_is_the_most_likely_token_whatever_is_saved_with_the_model(
    task: GeneratedAnswers, tmp_path: Path
) -> None:
    folder = save_causal(tmp_path, "qwen2", layers=3)
    transformers.GenerationConfig(
        repetition_penalty=3.0, no_repeat_ngram_size=2, num_beams=3, do_sample=True, temperature=2.0, eos_token_id=2
    ).save_pretrained(folder)
    own = GeneratedAnswers(folder, task.data, prompt="question", max_new_tokens=12)
    model, batch = own.load_base().eval(), own.batch("test", [0, 1])
    with torch.no_grad():
        written = own.predict(model, batch)[:, 1:].long()
        for row, ids, mask in zip(written, batch["prompt_ids"], batch["prompt_mask"], strict=True):
            text = ids[mask.bool()]
            for token in row:
                assert model(text[None]).logits[0, -1].argmax() == token
                text = torch.cat([text, token[None]])
                if token == own.tokenizer.eos_token_id:
                    break


@pytest.mark.parametrize(
    ("answer", "reference", "score"),
    [
        ("I think #### 1,234 apples", "so 2 + 2\n#### 1234", 1),
        ("#### 5 no, #### -7.50", "#### -7.5", 1),
        ("#### $12", "#### 12", 1),
        ("#### **.5**", "#### 0.50", 1),
        ("#### -$5.", "#### $-5", 1),
        ("#### \u22125", "#### -5", 1),
        ("#### 1 000", "#### 1,000", 1),
        ("#### 1\u202f234\u202f567 m", "#### 1234567", 1),
        ("#### 5\n2 more", "#### 5", 1),
        ("#### " + "9" * 400, "#### " + "9" * 400, 1),
        ("#### " + "9" * 400, "#### " + "8" * 400, 0),
        ("#### .5", "#### 5", 0),
        ("#### -$5", "#### 5", 0),
        ("#### \u22125", "#### 5", 0),
        ("#### 1/2", "#### 1", 0),
        ("#### 1 / 2", "#### 1", 0),
        ("#### 1/2", "#### 2", 0),
        ("#### 1 1/2", "#### 1", 0),
        ("#### 1/2", "#### 1/2", 0),
        ("#### 1,2", "#### 12", 0),
        ("#### 1,2", "#### 1", 0),
        ("#### 1,0000", "#### 10000", 0),
        ("#### 1.2.3", "#### 1.2", 0),
        ("#### 10:30", "#### 10", 0),
        ("#### 5-7", "#### 5", 0),
        ("#### 2e3", "#### 2", 0),
        ("#### x5", "#### 5", 0),
        ("12", "#### 12", 0),
        ("#### twelve", "#### 12", 0),
        ("", "#### 12", 0),
        ("#### 13", "#### 12", 0),
    ],
)
def test_the_rule_of_gsm8k(answer: str, reference: str, score: float) -> None:
    assert same_last_number(answer, reference) == score


def test_the_rule_of_equal_texts() -> None:
    assert same_text(" yes\n", "yes") == 1 and same_text("yes.", "yes") == 0


def test_gsm8k(task: GeneratedAnswers) -> None:
    problems = gsm8k_task(task.model, data=task.data, max_new_tokens=8)
    assert problems.name == "gsm8k" and problems.show("test", [0])[0].answer == "it is #### 1"
    assert (gsm8k_task("no model").data, gsm8k_task("no model").subset) == ("openai/gsm8k", "main")


def test_a_base_in_half_precision_with_checkpointing(task: GeneratedAnswers) -> None:
    half = replace_rule(task, same_last_number, Source(task.source.name, dtype="bfloat16", checkpointing=True))
    run = fit(half, replace(RECIPE, steps=2), progress=False)
    assert Evaluator(half)([Variant(run.adapter)], outputs=True).loss.isfinite().all()


# --- What is refused -------------------------------------------------------------------------------------------------------


def test_a_rule_that_fails_or_returns_no_share(task: GeneratedAnswers) -> None:
    batch = task.batch("test", [0])
    prediction = torch.zeros(1, 4)
    for rule, message in (
        (lambda answer, reference: 1 / 0, r"the rule of task 'answers' fails on the answer .* ZeroDivisionError: division"),
        (lambda answer, reference: 3, r"the rule of task 'answers' returned 3 for the answer .* return a number from 0"),
        (lambda answer, reference: None, r"returned None for the answer"),
        (lambda answer, reference: float("nan"), r"returned nan for the answer"),
    ):
        with pytest.raises(ValueError, match=message):
            replace_rule(task, rule).measure(prediction, batch)


def test_settings_that_do_not_fit(task: GeneratedAnswers) -> None:
    with pytest.raises(TypeError, match=r"rule='exact': give a function of the answer and the reference, both texts\."):
        replace_rule(task, "exact")
    with pytest.raises(ValueError, match=r"max_new_tokens=0: must be a whole number, at least 1\."):
        GeneratedAnswers(task.model, task.data, prompt="question", max_new_tokens=0)
    fits, long = (GeneratedAnswers(task.model, task.data, prompt="question", max_new_tokens=n) for n in (230, 231))
    assert fits.batch("test", [5])["prompt_ids"].shape[1] == 256 - 230
    for _ in range(2):
        with pytest.raises(
            ValueError,
            match=r"test\[5\]: with max_new_tokens=231, prompt and answer can have 257 tokens, and model .* at most 256\.",
        ):
            long.batch("train", [0])
    missing = GeneratedAnswers(task.model, task.data, prompt="question", reference="solution")
    with pytest.raises(
        ValueError, match=r"the split 'train' has no column 'solution'; it has 'question', 'answer', 'number'\."
    ):
        missing.size("train")
    gaps = task.data["test"].map(lambda row, i: {"number": None if i == 2 else row["number"]}, with_indices=True)
    unknown = GeneratedAnswers(
        task.model, datasets.DatasetDict({"train": task.data["train"], "test": gaps}), prompt="question", reference="number"
    )
    for _ in range(2):
        with pytest.raises(
            ValueError, match=r"test\[2\]: its column 'number' holds None, and no text\. Leave such examples out"
        ):
            unknown.size("train")
