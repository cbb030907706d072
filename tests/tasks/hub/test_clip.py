"""Few-shot CLIP and SigLIP, and the arithmetic of CLIP-LoRA against one that is written out here without coto_lab."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import datasets
import pytest
import torch
import transformers
from tiny_classifiers import COLOURS, colour_data, save_image_model
from tiny_hub_models import save_clip
from torch import Tensor, nn
from torch.nn import functional as F

from coto_lab import Evaluator, Linear, Recipe, Training, Variant, fit, fit_many, prune
from coto_lab.ground.randomness import batch_indices
from coto_lab.tasks.check import check_task, try_task
from coto_lab.tasks.hub.clip import FewShotCLIP, draw_shots
from coto_lab.tasks.hub.source import Source
from coto_lab.training.clip_lora import clip_lora

SPLITS = ("train", "validation")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {kind: save_clip(tmp_path_factory.mktemp(kind), kind) for kind in ("clip", "siglip")}


@pytest.fixture(scope="module")
def data() -> datasets.DatasetDict:
    return colour_data(60)


@pytest.fixture(params=["clip", "siglip"])
def task(request: pytest.FixtureRequest, folders: dict[str, str], data: datasets.DatasetDict) -> FewShotCLIP:
    return FewShotCLIP(folders[request.param], data, splits=SPLITS, shots=4)


def test_it_is_a_task_of_as_many_images_of_each_class_as_there_are_shots(task: FewShotCLIP, data: datasets.DatasetDict) -> None:
    check_task(task)
    assert (task.size("train"), task.size("test"), task.every(2).size("test")) == (12, 18, 9)
    assert task.classes == COLOURS and Counter(task.batch("train", range(12))["labels"].tolist()) == {0: 4, 1: 4, 2: 4}
    try_task(task, task.load_base(), "train")
    (shown,) = task.show("test", [3])
    assert shown.answer == COLOURS[data["validation"]["label"][3]] and shown.image is not None
    assert task.skeleton().device.type == "meta"


def test_shots_are_decided_by_the_seed() -> None:
    targets = torch.arange(30) % 3
    first, again, other = (draw_shots(targets, COLOURS, 4, seed) for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert targets[first].tolist() == [0] * 4 + [1] * 4 + [2] * 4 and len(set(first.tolist())) == 12


def test_prompts_are_those_of_the_classes(folders: dict[str, str], data: datasets.DatasetDict) -> None:
    names = ("dark_red", "green", "a very light blue")
    clip, siglip = (
        FewShotCLIP(folders[kind], data, splits=SPLITS, labels=names, prompt="a {} one") for kind in ("clip", "siglip")
    )
    tokenizer = clip.source.tokenizer()
    texts = tokenizer.batch_decode(clip.prompts["input_ids"], skip_special_tokens=True)
    assert texts == ["a dark red one", "a green one", "a a very light blue one"]
    assert clip.prompts["attention_mask"].sum(-1).tolist() == [len(text) + 1 for text in texts], "each with its end"
    assert siglip.prompts.keys() == {"input_ids"} and siglip.prompts["input_ids"].shape == (3, 40), "all as long as it reads"


def test_logits_are_scaled_cosines(task: FewShotCLIP) -> None:
    model, batch = task.load_base().eval(), task.batch("test", range(5))
    with torch.no_grad():
        found = task.predict(model, batch)
        images = F.normalize(model.get_image_features(pixel_values=batch["pixel_values"]).pooler_output, dim=-1)
        texts = F.normalize(model.get_text_features(**task.prompts).pooler_output, dim=-1)
        expected = images @ texts.T * model.logit_scale.exp()
        if hasattr(model, "logit_bias"):
            expected = expected + model.logit_bias
    torch.testing.assert_close(found, expected)
    assert torch.equal(task.measure(found, batch)["correct"], expected.argmax(-1) == batch["labels"])


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_logits_in_half_precision_are_not_rounded_after_they_are_scaled(
    kind: str, folders: dict[str, str], data: datasets.DatasetDict
) -> None:
    """bfloat16 has 8 bits, so numbers from 64 to 128 would be half a unit apart."""
    task = FewShotCLIP(Source(folders[kind], dtype="bfloat16"), data, splits=SPLITS, shots=2)
    model, batch = task.load_base().eval(), task.batch("test", range(5))
    with torch.no_grad():
        found = task.predict(model, batch)
        images = model.get_image_features(pixel_values=batch["pixel_values"].bfloat16()).pooler_output
        texts = model.get_text_features(**task.prompts).pooler_output
    cosines = F.cosine_similarity(images.float()[:, None], texts.float()[None], dim=-1)
    expected = cosines * model.logit_scale.float().exp() + (model.logit_bias.float() if kind == "siglip" else 0)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-3 * model.logit_scale.float().exp().item())


# --- CLIP-LoRA, written out ------------------------------------------------------------------------------------------------


class WrittenOut(nn.Module):
    """W x + B A x / √r, the scale of rank-stabilised LoRA with alpha = 1."""

    def __init__(self, linear: nn.Linear, a: Tensor):
        super().__init__()
        self.linear, self.a, self.b = linear, nn.Parameter(a.clone()), nn.Parameter(torch.zeros(linear.out_features, len(a)))

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) + (x @ self.a.T @ self.b.T) / math.sqrt(len(self.a))


def test_two_steps_are_those_of_a_clip_lora_written_out(folders: dict[str, str], data: datasets.DatasetDict) -> None:
    """The first step moves only B, since B = 0 stops the gradient of A; the second shows the scale."""
    task = FewShotCLIP(folders["clip"], data, splits=SPLITS, shots=2)
    training = Training(task, clip_lora(2, dropout=0.0, steps=4, batch_size=6))
    start = {name: p.detach().clone() for name, p in training.model.named_parameters() if p.requires_grad}
    records = [training.step() for _ in range(2)]

    model = transformers.CLIPModel.from_pretrained(folders["clip"]).requires_grad_(False)
    layers: dict[str, WrittenOut] = {}
    for tower, blocks in (("text_model", 2), ("vision_model", 3)):
        for block in range(blocks):
            for kind in ("q_proj", "k_proj", "v_proj"):
                name = f"{tower}.encoder.layers.{block}.self_attn.{kind}"
                attention = model.get_submodule(name.rpartition(".")[0])
                layers[name] = WrittenOut(getattr(attention, kind), start[f"base_model.model.{name}.lora_A.default.weight"])
                setattr(attention, kind, layers[name])
    assert len(start) == 2 * len(layers), "on no other layer"

    processor = transformers.CLIPImageProcessorPil.from_pretrained(folders["clip"])
    tokenizer = transformers.AutoTokenizer.from_pretrained(folders["clip"])
    prompts = tokenizer([f"a photo of a {name}." for name in COLOURS], padding=True, return_tensors="pt")
    targets = torch.tensor(data["train"]["label"])
    shots = draw_shots(targets, COLOURS, 2, seed=0)
    beginnings = {id(p): p.detach().clone() for p in model.parameters() if p.requires_grad}
    moments = {key: (torch.zeros_like(p), torch.zeros_like(p)) for key, p in beginnings.items()}
    for step, record in enumerate(records):
        places = shots[batch_indices(6, 6, 0, step)].tolist()
        pixels = processor(images=[data["train"][place]["image"] for place in places], return_tensors="pt")["pixel_values"]
        texts = model.text_projection(model.text_model(**prompts).pooler_output)
        images = model.visual_projection(model.vision_model(pixel_values=pixels).pooler_output)
        logits = 100 * (images / images.norm(dim=-1, keepdim=True)) @ (texts / texts.norm(dim=-1, keepdim=True)).T
        loss = -logits.log_softmax(-1)[torch.arange(6), targets[places]].mean()
        assert record.loss == pytest.approx(loss.item(), rel=1e-4)
        model.zero_grad()
        loss.backward()
        rate = 2e-4 * (1 + math.cos(math.pi * step / 4)) / 2
        assert record.lr == pytest.approx(rate)
        with torch.no_grad():
            for p in model.parameters():
                if p.requires_grad:  # AdamW with betas 0.9 and 0.999
                    m, v = moments[id(p)]
                    m.mul_(0.9).add_(0.1 * p.grad)
                    v.mul_(0.999).add_(0.001 * p.grad**2)
                    p.mul_(1 - rate * 1e-2)
                    p.sub_(rate * (m / (1 - 0.9 ** (step + 1))) / ((v / (1 - 0.999 ** (step + 1))).sqrt() + 1e-8))
    after = dict(training.model.named_parameters())
    for name, layer in layers.items():
        for factor, expected in (("lora_A", layer.a), ("lora_B", layer.b)):
            found = after[f"base_model.model.{name}.{factor}.default.weight"]
            assert (expected - found).norm() <= 2e-3 * (expected - beginnings[id(expected)]).norm(), (name, factor)


# --- Through all that trains and scores ------------------------------------------------------------------------------------


def test_training_scoring_and_pruning(task: FewShotCLIP) -> None:
    recipe = clip_lora(4, steps=12, lr=1e-2, dropout=0.0, batch_size=12)
    lora, coto = fit(task, recipe, progress=False), fit(task, replace(recipe, schedule=Linear()), progress=False)
    assert lora.history.loss[-4:].mean() < lora.history.loss[:4].mean()
    assert [name.split(".")[0] for name in coto.history.gates] == ["text_model"] * 2 + ["vision_model"] * 3
    towers = coto.history.mask[:, :2].any(1), coto.history.mask[:, 2:].any(1)
    assert all(tower.all() for tower in towers), "one block of each tower stays at every step"
    variants = [Variant(lora.adapter), Variant(coto.adapter)]
    scores, alone = Evaluator(task)(variants, outputs=True), Evaluator(task, batch_size=1)(variants)
    torch.testing.assert_close(scores.values["loss"], alone.values["loss"], rtol=1e-4, atol=1e-4)
    assert scores.outputs is not None and scores.outputs.shape == (2, 18, 3)
    table = prune(task, coto)
    assert table.loss[0] == pytest.approx(scores.loss[1].item(), abs=1e-6)


def test_the_towers_do_not_train_in_rows(task: FewShotCLIP) -> None:
    """All images share the prompts, so each adapter is trained by itself."""
    recipe = clip_lora(4, steps=3, lr=1e-2, dropout=0.0, batch_size=6)
    many = fit_many(task, [recipe, replace(recipe, seed=1)], n_jobs=1, progress=False)
    assert torch.equal(many[0].history.loss, fit(task, recipe, progress=False).history.loss)


def test_a_base_in_half_precision_with_checkpointing(folders: dict[str, str], data: datasets.DatasetDict) -> None:
    """The same up to the rounding of bfloat16."""
    whole, half = (
        FewShotCLIP(Source(folders["siglip"], dtype=dtype, checkpointing=dtype == "bfloat16"), data, splits=SPLITS, shots=2)
        for dtype in ("float32", "bfloat16")
    )
    runs = [fit(task, Recipe(steps=3, batch_size=6), progress=False) for task in (whole, half)]
    torch.testing.assert_close(runs[0].history.loss, runs[1].history.loss, rtol=0.05, atol=0.05)
    assert half.load_base().dtype == torch.bfloat16


# --- What is refused -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shots": 0}, r"shots=0: must be a whole number, at least 1\."),
        ({"prompt": "a photo"}, r"prompt='a photo': give a text with one \{\}, where the name of the class is to stand\."),
        ({"labels": "red"}, r"labels='red': give a tuple of names\."),
        ({"labels": ("red", "blue", "red")}, r"labels=.*: 'red' is there 2 times\. Name each class once\."),
        ({"splits": "train"}, r"splits='train': give two names, that of the split to train on and that to score on\."),
        ({"splits": ("train",)}, r"splits=\('train',\): give two names"),
        ({"target_modules": "q_proj"}, r"target_modules='q_proj': give a tuple of names\."),
        ({"seed": -1}, r"seed=-1: must be a whole number"),
    ],
)
def test_a_task_that_cannot_be(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FewShotCLIP("a model", "data that are not read", **change)


def test_a_model_of_another_class() -> None:
    with pytest.raises(TypeError, match=r"model=3: give the name of a model, or a Source\("):
        FewShotCLIP(3, "data")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shots": 40}, r"class '\w+' has \d+ images to train on, and shots=40\. Lower shots, or leave the class out\."),
        ({"image": "picture"}, r"the split 'train' has no column 'picture'; it has 'image', 'label'\."),
        (
            {"splits": ("train", "test")},
            r"the data set has no split 'test'; it has 'train', 'validation'\. Name two in splits=",
        ),
        ({"prompt": "x" * 50 + "{}"}, r"the prompt 'x+green' has more tokens than the 40 that model .* reads\."),
        (
            {"labels": COLOURS[::-1]},
            r"the column 'label' of the data for train has the classes \('red', .*, and the task has \('blue', 'green'",
        ),
        ({"labels": ("red", "green")}, r"train\[\d+\] has label=2, and the head has 2 classes"),
    ],
)
def test_data_that_do_not_fit(
    change: dict[str, object], message: str, folders: dict[str, str], data: datasets.DatasetDict
) -> None:
    task = FewShotCLIP(folders["clip"], data, **{"splits": SPLITS, "shots": 2} | change)
    with pytest.raises(ValueError, match=message):
        try_task(task, task.load_base(), "train")


def test_a_model_without_a_text_tower(tmp_path: Path, data: datasets.DatasetDict) -> None:
    task = FewShotCLIP(save_image_model(tmp_path, "vit"), data, splits=SPLITS, shots=2)
    with pytest.raises(ValueError, match=r"model .* is a 'vit' model, which does not compare images with texts\. Choose one"):
        _ = task.prompts
