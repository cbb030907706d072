from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from coto_lab import Evaluator, Linear, Recipe, Variant, fit, load_task
from coto_lab.ground.files import data_path
from coto_lab.tasks import StringTask
from coto_lab.tasks.characters import CHARACTERS, character_tokenizer
from coto_lab.tasks.check import check_task, try_task
from coto_lab.tasks.skills import BODY_LENGTHS, SKILLS, Skill
from coto_lab.tasks.string_task import load_tokenizer
from coto_lab.training.run import Run

BACK = Skill("back", "!", "the last character moves to the front", lambda body: body[-1] + body[:-1], lambda random: "abc")


@pytest.fixture(scope="module")
def copying() -> StringTask:
    """A skill that the base knows, so that its answers are mostly right without an adapter."""
    return StringTask(SKILLS["reverse"], ["abcd", "x1y2z"], ["a1b", "zz9ab", "0123456", "qwerty"])


@pytest.fixture(scope="module")
def task() -> StringTask:
    return load_task("strings/rotate-back")


@pytest.fixture(scope="module")
def run(task: StringTask) -> Run:
    """After so few steps, some answers are right and some are wrong."""
    return fit(task, Recipe(schedule=Linear(), steps=60), progress=False)


def test_a_batch_has_whole_examples_and_targets_in_the_answers_alone(copying: StringTask) -> None:
    batch = copying.batch("train", [1, 0])
    text = ["".join(CHARACTERS[i] for i in row) for row in batch["input_ids"].tolist()]
    assert text == ["Rx1y2z=z2y1x;____", "Rabcd=dcba;______"]  # to the longest example of both splits
    answers = ["".join(CHARACTERS[i] if i >= 0 else "." for i in row) for row in batch["targets"].tolist()]
    assert answers == [".......z2y1x;....", "......dcba;......"]


def test_it_is_a_task(copying: StringTask) -> None:
    check_task(copying)
    model = copying.load_base()
    for split in ("train", "test"):
        try_task(copying, model, split)
    assert (copying.size("train"), copying.size("test"), copying.every(3).size("test")) == (2, 4, 2)
    assert copying.classes == () and copying.name == "strings/reverse"


def test_loss_and_match_are_those_of_the_answers_characters(copying: StringTask) -> None:
    model = copying.load_base().eval()
    batch = copying.batch("test", range(4))
    with torch.no_grad():
        prediction = copying.predict(model, batch)
    measured = copying.measure(prediction, batch)
    for row, body in enumerate(copying.test):
        prompt, answer = copying.skill.prompt(body), copying.skill.answer(body)
        tokens = torch.tensor([CHARACTERS.index(c) for c in prompt + answer])
        with torch.no_grad():
            logits = model(input_ids=tokens[None]).logits[0, len(prompt) - 1 : -1].double()  # of this example alone
        right = logits.argmax(-1) == tokens[len(prompt) :]
        loss = -logits.log_softmax(-1).gather(1, tokens[len(prompt) :, None]).mean()
        torch.testing.assert_close(measured["loss"][row], loss, rtol=1e-4, atol=1e-6)
        assert measured["correct"][row] == right.all() and measured["characters"][row] == right.double().mean()
        assert copying.say(prediction, batch)[row] == "".join(CHARACTERS[i] for i in logits.argmax(-1).tolist())
    torch.testing.assert_close(copying.loss(prediction, batch).double(), measured["loss"], rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_exact_match_is_what_generate_writes(task: StringTask, run: Run) -> None:
    model = run.adapter.attach(task.load_base()).eval()
    tokenizer = AutoTokenizer.from_pretrained(data_path("letter-llama"))
    correct = Evaluator(task)([Variant(run.adapter)]).values["correct"][0, :200].bool().tolist()
    assert 10 < sum(correct) < 190  # so that both cases are tried
    for right, example in zip(correct, task.show("test", range(200)), strict=True):
        prompt = tokenizer(example.text, return_tensors="pt", add_special_tokens=False)
        written = model.generate(**prompt, do_sample=False, max_new_tokens=len(example.answer))[
            0, prompt["input_ids"].shape[1] :
        ]
        assert (tokenizer.decode(written) == example.answer) == right


def test_the_tokenizer_that_ships_is_the_one_that_is_written(tmp_path: Path) -> None:
    character_tokenizer().save_pretrained(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / name).read_text() == data_path("letter-llama", name).read_text()
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.encode(CHARACTERS) == list(range(len(CHARACTERS)))
    assert tokenizer.decode(list(range(len(CHARACTERS)))) == CHARACTERS


def test_the_base_loads_without_the_lab() -> None:
    folder = data_path("letter-llama")
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    written = model.generate(**tokenizer("Rab12=", return_tensors="pt"), do_sample=False)
    assert tokenizer.decode(written[0]) == "Rab12=21ba;"
    assert tokenizer.decode(written[0], skip_special_tokens=True) == "Rab12=21ba"


def test_the_base_takes_less_than_8_mb() -> None:
    assert sum(path.stat().st_size for path in data_path("letter-llama").iterdir()) < 8e6


# --- What is refused -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", ["abÄd", "ABCD", "a=bc", "ab;c", "ab_c", "a b c", "ab\ncd"])
def test_unknown_characters(body: str) -> None:
    with pytest.raises(ValueError, match=r"test\[1\]=.*which the base model does not know in this place. It knows "):
        StringTask(BACK, ["abcd"], ["abce", body])


def test_an_unknown_sign_or_answer() -> None:
    with pytest.raises(ValueError, match="has the character '€'"):
        StringTask(replace(BACK, sign="€"), ["abcd"], ["abce"])
    with pytest.raises(ValueError, match="has the character 'A'"):
        StringTask(replace(BACK, rule=str.upper), ["abcd"], ["abce"])


@pytest.mark.parametrize("body", ["", "ab", "a" * (BODY_LENGTHS[-1] + 1), "a" * 40])
def test_lengths_that_the_base_has_not_seen(body: str) -> None:
    with pytest.raises(ValueError, match=r"train\[0\]=.*the base model was trained on bodies of 3 to 9\."):
        StringTask(BACK, [body], ["abcd"])


def test_an_example_that_is_longer_than_any_that_the_base_has_seen() -> None:
    with pytest.raises(ValueError, match=r"'!abcdefgh=habcdefg;' has 19 characters, .* at most 17"):
        StringTask(BACK, ["abcd"], ["abcdefgh"])


@pytest.mark.parametrize(("train", "test"), [(["abcd", "abce"], ["abcd"]), (["abcd", "abcd"], ["abce"])])
def test_a_body_that_is_there_twice(train: list[str], test: list[str]) -> None:
    with pytest.raises(ValueError, match="'abcd' is in train and test 2 times"):
        StringTask(BACK, train, test)


def test_a_rule_that_fails_or_answers_with_no_string_or_nothing() -> None:
    with pytest.raises(ValueError, match=r"train\[0\]='abcd': the rule of skill 'back' fails, IndexError: string index"):
        StringTask(replace(BACK, rule=lambda body: body[9]), ["abcd"], ["abce"])
    with pytest.raises(TypeError, match=r"train\[0\]='abcd': the rule of skill 'back' returned 4; it must return"):
        StringTask(replace(BACK, rule=len), ["abcd"], ["abce"])
    with pytest.raises(ValueError, match=r"train\[0\]='abcd': .* returned an empty answer"):
        StringTask(replace(BACK, rule=lambda body: ""), ["abcd"], ["abce"])


def test_the_rule_is_asked_once_so_that_what_is_shown_is_what_is_scored() -> None:
    answers = iter("123456789")
    task = StringTask(replace(BACK, rule=lambda body: next(answers)), ["abcd"], ["abce", "abcf"])
    assert [example.answer for example in task.show("test", [0, 1])] == ["2;", "3;"]
    targets = task.batch("test", [0, 1])["targets"]
    assert [CHARACTERS[row[row >= 0][0]] for row in targets] == ["2", "3"]


def test_a_split_that_there_is_not() -> None:
    task = StringTask(BACK, ["abcd"], ["abce"])
    for call in (lambda: task.size("validation"), lambda: task.batch("Test", [0]), lambda: task.show("valid", [0])):
        with pytest.raises(ValueError, match="must be 'test' or 'train'"):
            call()


@pytest.mark.parametrize("bodies", ["abcd", {"abcd": 1}, {"abcd", "abce"}, [1], 7])
def test_bodies_that_are_no_list_of_strings(bodies: object) -> None:
    with pytest.raises(TypeError, match="test"):
        StringTask(BACK, ["abcd"], bodies)


def test_no_bodies_and_no_skill() -> None:
    with pytest.raises(ValueError, match="test is empty"):
        StringTask(BACK, ["abcd"], [])
    with pytest.raises(TypeError, match="skill='reverse'"):
        StringTask("reverse", ["abcd"], ["abce"])


@pytest.mark.parametrize("content", [None, "", "{", "{}", '{"model": 3}'])
def test_a_damaged_tokenizer(tmp_path: Path, content: str | None) -> None:
    folder = shutil.copytree(data_path("letter-llama"), tmp_path / "damaged")
    if content is None:
        (folder / "tokenizer.json").unlink()
    else:
        (folder / "tokenizer.json").write_text(content)
    with pytest.raises(ValueError, match=r"the tokenizer in '.*damaged' cannot be read"):
        load_tokenizer(folder)


def swapped(text: str) -> str:
    content = json.loads(text)
    vocabulary = content["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    return json.dumps(content)


@pytest.mark.parametrize(
    ("file", "change"),
    [("tokenizer.json", swapped), ("tokenizer_config.json", lambda text: text.replace('"_"', '";"'))],
    ids=["two characters swapped", "another padding"],
)
def test_another_tokenizer_than_the_base_was_trained_with(tmp_path: Path, file: str, change: Callable[[str], str]) -> None:
    folder = shutil.copytree(data_path("letter-llama"), tmp_path / "other")
    (folder / file).write_text(change((folder / file).read_text()))
    with pytest.raises(ValueError, match="another one than the base model was trained with"):
        load_tokenizer(folder)


def test_code_in_the_folder_is_not_run(tmp_path: Path) -> None:
    folder = shutil.copytree(data_path("letter-llama"), tmp_path / "code")
    config = json.loads((folder / "tokenizer_config.json").read_text()) | {"auto_map": {"AutoTokenizer": ["x.Y", None]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(config | {"tokenizer_class": "Y"}))
    (folder / "x.py").write_text("raise SystemExit('it ran')")
    with suppress(ValueError):
        load_tokenizer(folder)
