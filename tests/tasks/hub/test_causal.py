"""Supervised fine-tuning of small language models: losses against a plain loop, exact match against generation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import datasets
import pytest
import torch
from tiny_hub_models import CHAT, byte_tokenizer, save, save_causal
from tiny_models import bert, t5
from torch.nn import functional as F

from coto_lab import Evaluator, Linear, Recipe, Variant, fit, fit_many, prune
from coto_lab.tasks.check import check_task, try_task
from coto_lab.tasks.hub.causal import SupervisedFineTuning
from coto_lab.tasks.hub.source import Source

RECIPE = Recipe(r=4, steps=24, batch_size=8, lr=0.01)


def additions(start: int, end: int) -> datasets.Dataset:
    """Prompts and answers of different lengths."""
    numbers = range(start, end)
    return datasets.Dataset.from_dict(
        {"prompt": [f"{i}+{i % 3}=" for i in numbers], "answer": [str(i + i % 3) for i in numbers]}
    )


@pytest.fixture(scope="module")
def data() -> datasets.DatasetDict:
    return datasets.DatasetDict({"train": additions(0, 40), "test": additions(94, 104)})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_causal(tmp_path_factory.mktemp("llama"))


def small(kind: str, folder: Path, data: datasets.DatasetDict) -> SupervisedFineTuning:
    targets = ("query_key_value", "dense_h_to_4h") if kind == "gpt_neox" else ("q_proj", "v_proj", "up_proj")
    return SupervisedFineTuning(save_causal(folder, kind, layers=3), data, target_modules=targets)


def test_a_batch_has_whole_examples_and_targets_in_the_answers_alone(folder: str, data: datasets.DatasetDict) -> None:
    chat, plain = (SupervisedFineTuning(folder, data, chat=chat) for chat in (True, False))
    texts = {}
    for task in (chat, plain):
        batch = task.batch("train", [11, 2])
        masked = [row[mask.bool()] for row, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True)]
        answers = [row[row >= 0] for row in batch["targets"]]
        texts[task] = [task.tokenizer.decode(ids) for ids in (*masked, *answers)]
        assert batch["attention_mask"].sum(-1).tolist() == [len(ids) for ids in masked]
        assert batch["targets"].shape == (2, batch["input_ids"].shape[1] - len(masked[1]) + len(answers[1]))
    assert texts[chat] == [
        "<|im_start|>user\n11+2=<|im_end|>\n<|im_start|>assistant\n13<|im_end|>",
        "<|im_start|>user\n2+2=<|im_end|>\n<|im_start|>assistant\n4<|im_end|>",
        "13<|im_end|>",
        "4<|im_end|>",
    ]
    assert texts[plain] == ["11+2=13<|im_end|>", "2+2=4<|im_end|>", "13<|im_end|>", "4<|im_end|>"]


def test_special_tokens_that_a_tokenizer_puts_around_texts(tmp_path: Path, data: datasets.DatasetDict) -> None:
    """What begins a text stands before the prompt; what ends one does not stand before the answer."""
    from tokenizers import processors

    tokenizer = byte_tokenizer(bos_token="<|endoftext|>")
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<|endoftext|> $A <|im_end|>", special_tokens=[("<|endoftext|>", 0), ("<|im_end|>", 2)]
    )
    task = SupervisedFineTuning(save_causal(tmp_path, tokenizer=tokenizer), data, chat=False)
    assert task.tokenizer.decode(task.batch("train", [11])["input_ids"][0]) == "<|endoftext|>11+2=13<|im_end|>"


def test_thinking_is_left_out_and_what_follows_the_end_of_an_answer_too(tmp_path: Path, data: datasets.DatasetDict) -> None:
    """Nor does the prompt depend on the day."""
    thinks = "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}"
    template = (
        "{{ date_string if date_string is defined else strftime_now('%d %b %Y') }}\n{% for m in messages %}"
        "<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}" + thinks + "{% endif %}"
        "{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n" + thinks + "{% endif %}"
    )
    task = SupervisedFineTuning(save_causal(tmp_path, tokenizer=byte_tokenizer(template)), data)
    batch = task.batch("train", [11])
    assert task.tokenizer.decode(batch["targets"][0]) == "13<|im_end|>"
    text = task.tokenizer.decode(batch["input_ids"][0])
    assert text.startswith("26 Jul 2024\n") and text.endswith("assistant\n<think>\n\n</think>\n\n13<|im_end|>")


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3", "gpt_neox"])
def test_losses_and_matches_are_those_of_each_example_alone(kind: str, tmp_path: Path, data: datasets.DatasetDict) -> None:
    task = small(kind, tmp_path, data)
    check_task(task)
    model = task.load_base().eval()
    try_task(task, model, "test")
    batch = task.batch("test", range(10))
    with torch.no_grad():
        prediction = task.predict(model, batch)
    found, said = task.measure(prediction, batch), task.say(prediction, batch)
    tokenizer, losses = task.tokenizer, []
    for row, example in enumerate(task.show("test", range(10))):
        ask = [{"role": "user", "content": example.text}]
        prompt = tokenizer.apply_chat_template(ask, add_generation_prompt=True)["input_ids"]
        answer = torch.tensor([*tokenizer.encode(example.answer), tokenizer.eos_token_id])
        with torch.no_grad():
            logits = model(torch.tensor([[*prompt, *answer]])).logits[0, len(prompt) - 1 : -1]
        losses.append(F.cross_entropy(logits, answer))
        assert found["correct"][row] == torch.equal(logits.argmax(-1), answer)
        assert found["tokens"][row] == (logits.argmax(-1) == answer).float().mean()
        assert said[row] == tokenizer.decode(logits.argmax(-1), skip_special_tokens=True)
    torch.testing.assert_close(found["loss"], torch.stack(losses), rtol=1e-4, atol=1e-5)


def test_correct_is_what_generate_writes(folder: str, data: datasets.DatasetDict) -> None:
    """After a training on ten examples, so that some answers are right and some are wrong."""
    few = datasets.DatasetDict({"train": data["train"].select(range(8)), "test": data["train"].select(range(16))})
    task = SupervisedFineTuning(folder, few, chat=False)
    run = fit(task, Recipe(r=8, steps=50, batch_size=10, lr=0.04), progress=False)
    correct = Evaluator(task)([Variant(run.adapter)]).values["correct"][0].bool().tolist()
    assert 3 < sum(correct) < 14
    model = run.adapter.attach(task.load_base())
    for right, example in zip(correct, task.show("test", range(16)), strict=True):
        prompt = task.tokenizer(example.text, return_tensors="pt")
        written = model.generate(**prompt, do_sample=False, max_new_tokens=6)[0, prompt["input_ids"].shape[1] :]
        assert (task.tokenizer.decode(written) == f"{example.answer}<|im_end|>") == right


def test_training_scoring_and_pruning(tmp_path: Path, data: datasets.DatasetDict) -> None:
    task = small("qwen2", tmp_path, data)
    lora, coto = fit(task, RECIPE, progress=False), fit(task, replace(RECIPE, schedule=Linear()), progress=False)
    assert lora.history.loss[-4:].mean() < 0.9 * lora.history.loss[:4].mean()
    assert len(coto.history.gates) == 3
    variants = [Variant(lora.adapter), Variant(coto.adapter)]
    together, alone = Evaluator(task), Evaluator(task, batch_size=1, together=False)
    scores, expected = together(variants, outputs=True), alone(variants, outputs=True)
    torch.testing.assert_close(scores.values["loss"], expected.values["loss"], rtol=1e-4, atol=1e-5)
    assert scores.said == expected.said and scores.outputs is None
    assert all(tree is not None for tree in together._trees.values()), "their lower blocks are shared"
    assert prune(task, coto, evaluator=together).loss[0] == pytest.approx(scores.loss[1].item(), abs=1e-6)
    many = fit_many(task, [RECIPE, replace(RECIPE, seed=1)], progress=False)
    torch.testing.assert_close(many[0].history.loss, lora.history.loss, rtol=1e-3, atol=1e-3)


def test_only_the_places_of_answers_go_through_the_head(folder: str, data: datasets.DatasetDict) -> None:
    task, shapes = SupervisedFineTuning(folder, data), []
    model = task.load_base()
    model.lm_head.register_forward_hook(lambda module, inputs, output: shapes.append(tuple(output.shape)))
    prediction = task.predict(model, task.batch("train", [0, 1, 11]))
    assert shapes == [(3, 5, len(task.tokenizer))] and prediction.shape == (3, 4, len(task.tokenizer))


def test_a_base_in_half_precision_with_checkpointing(folder: str, data: datasets.DatasetDict) -> None:
    """The same up to the rounding of bfloat16; checkpointing alone changes nothing."""
    sources = [
        Source(folder),
        Source(folder, checkpointing=True),
        Source(folder, dtype="bfloat16", checkpointing=True),
    ]
    tasks = [SupervisedFineTuning(source, data) for source in sources]
    recipe = replace(RECIPE, steps=4, schedule=Linear())
    whole, computed_again, half = (fit(task, recipe, progress=False) for task in tasks)
    torch.testing.assert_close(whole.history.loss, computed_again.history.loss, rtol=1e-6, atol=0)
    torch.testing.assert_close(whole.history.loss, half.history.loss, rtol=0.03, atol=0)
    scores = Evaluator(tasks[2], batch_size=3)([Variant(half.adapter), Variant(whole.adapter)])
    assert scores.loss.isfinite().all()


def test_a_folder_of_json_lines(folder: str, data: datasets.DatasetDict, tmp_path: Path) -> None:
    for split, rows in data.items():
        rows.rename_column("prompt", "question").to_json(tmp_path / f"{split}.jsonl")
    task = SupervisedFineTuning(Path(folder), tmp_path, prompt="question")
    assert (task.size("train"), task.size("test"), task.name) == (40, 10, tmp_path.name)
    assert task.show("test", [0])[0].text == "94+1=" and task.every(3).size("test") == 4


def test_nothing_is_read_before_it_is_needed() -> None:
    task = SupervisedFineTuning("no model", "no data")
    assert task.name == "no data" and task.classes == () and task.target_modules[0] == "q_proj"


# --- Long examples ---------------------------------------------------------------------------------------------------------


def test_a_long_prompt_loses_its_beginning_where_that_is_allowed(folder: str) -> None:
    rows = datasets.Dataset.from_dict({"prompt": ["abcdefgh=", "ij="], "answer": ["xy", "z"]})
    data = datasets.DatasetDict({"train": rows, "test": rows})
    task = SupervisedFineTuning(folder, data, chat=False, max_length=8, cut=True)
    texts = [task.tokenizer.decode(ids) for ids in task.batch("train", [0, 1])["input_ids"]]
    assert texts == ["efgh=xy<|im_end|>", "ij=z<|im_end|>" + "<|im_end|>" * 3]
    refused = SupervisedFineTuning(folder, data, chat=False, max_length=8)
    with pytest.raises(ValueError, match=r"train\[0\]: it has 12 tokens, and at most 8 are allowed\. .* or give cut=True"):
        refused.batch("train", [1])
    answer = SupervisedFineTuning(folder, data, chat=False, max_length=3, cut=True)
    with pytest.raises(ValueError, match=r"train\[0\]: its answer has 3 tokens, so at most 3 leave no room for a prompt\."):
        answer.batch("train", [1])


def test_the_model_itself_sets_a_limit(folder: str) -> None:
    rows = datasets.Dataset.from_dict({"prompt": ["a" * 300], "answer": ["x"]})
    task = SupervisedFineTuning(folder, datasets.DatasetDict({"train": rows, "test": rows}), chat=False)
    with pytest.raises(ValueError, match=r"train\[0\]: it has 302 tokens, and at most 256 are allowed"):
        task.batch("train", [0])


# --- What is refused -------------------------------------------------------------------------------------------------------


def test_a_tokenizer_without_a_chat_template(tmp_path: Path, data: datasets.DatasetDict) -> None:
    model = save_causal(tmp_path, tokenizer=byte_tokenizer(chat=None))
    with pytest.raises(ValueError, match=r"chat=True, and the tokenizer of .* has no chat template.*Give chat=False\."):
        fit(SupervisedFineTuning(model, data), RECIPE, progress=False)
    assert SupervisedFineTuning(model, data, chat=False).batch("train", [0])


def test_a_chat_template_that_rewrites_what_was_asked(tmp_path: Path, data: datasets.DatasetDict) -> None:
    template = CHAT.replace("{{ message.content }}", "{{ message.content }} of {{ messages | length }}")
    task = SupervisedFineTuning(save_causal(tmp_path, tokenizer=byte_tokenizer(template)), data)
    with pytest.raises(ValueError, match=r"the chat template of .* writes .* before an answer, and .* begins otherwise\. Give"):
        task.batch("train", [0])


def test_a_tokenizer_whose_texts_have_no_end(tmp_path: Path, data: datasets.DatasetDict) -> None:
    tokenizer = byte_tokenizer(eos_token=None, pad_token="<|endoftext|>")
    task = SupervisedFineTuning(save_causal(tmp_path, tokenizer=tokenizer), data, chat=False)
    with pytest.raises(ValueError, match=r"has no end-of-sequence token, so an answer would have no end\. Set its eos_token"):
        task.batch("train", [0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompt": "question"}, r"the split 'train' has no column 'question'; it has 'prompt', 'answer'\."),
        ({"splits": ("train", "validation")}, r"the data set has no split 'validation'; it has 'train', 'test'\. Name two"),
        ({"splits": "train"}, r"splits='train': give two names"),
        ({"max_length": 257}, r"max_length=257: model .* reads at most 256 tokens\."),
        ({"max_length": 1}, r"max_length=1: must be a whole number, at least 2\."),
        ({"target_modules": "q_proj"}, r"target_modules='q_proj': give a tuple of names"),
    ],
)
def test_settings_that_do_not_fit(change: dict[str, object], message: str, folder: str, data: datasets.DatasetDict) -> None:
    with pytest.raises(ValueError, match=message):
        SupervisedFineTuning(folder, data, **change).batch("train", [0])


@pytest.mark.parametrize("odd", ["", "  ", None])
def test_an_example_without_an_answer(odd: str | None, folder: str) -> None:
    rows = datasets.Dataset.from_dict({"prompt": ["a=", "b="], "answer": ["x", odd]})
    task = SupervisedFineTuning(folder, datasets.DatasetDict({"train": rows.select([0]), "test": rows}))
    with pytest.raises(ValueError, match=r"test\[1\]: its column 'answer' holds .*, and no text\. Leave such examples out"):
        task.batch("train", [0])


def test_models_that_do_not_write_from_left_to_right(tmp_path: Path, data: datasets.DatasetDict) -> None:
    """BERT would see the answer that it is to write."""
    for kind, model in (("bert", bert()), ("t5", t5())):
        folder = save(tmp_path / kind, model, byte_tokenizer())
        with pytest.raises(ValueError, match=rf"is a '{kind}' model, which does not write a text from left to right\. Choose"):
            SupervisedFineTuning(folder, data).load_base()


def test_a_model_and_a_split_of_another_kind(folder: str, data: datasets.DatasetDict) -> None:
    with pytest.raises(TypeError, match=r"model=7: give the name of a model, or a Source\("):
        SupervisedFineTuning(7, data)
    with pytest.raises(ValueError, match=r"split='dev': must be 'test' or 'train'\."):
        SupervisedFineTuning(folder, data).size("dev")
    with pytest.raises(TypeError, match=r"data is a Dataset: give a name, a folder, or a DatasetDict with the splits"):
        SupervisedFineTuning(folder, data["train"]).size("train")
