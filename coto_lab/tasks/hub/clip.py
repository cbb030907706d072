"""Few-shot image classification with CLIP or SigLIP: the names of the classes, put into a prompt, are the classifier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from coto_lab.ground.numbers import MAX_SEED, whole_number
from coto_lab.tasks.check import SPLITS
from coto_lab.tasks.hub.images import ImageClassification
from coto_lab.tasks.hub.labels import check_names, class_names, targets_of
from coto_lab.tasks.hub.on_model import OnModel
from coto_lab.tasks.hub.splits import check_splits, name_of, read_splits
from coto_lab.tasks.task import Batch, Example, to_device

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict
    from transformers import PretrainedConfig


@dataclass(frozen=True, eq=False)
class FewShotCLIP(OnModel):
    """A model with an image tower and a text tower learns classes from a few images of each.

    The logit of a class is the cosine of the image's features and those of the class's prompt, times the model's own scale (100
    in OpenAI's models; SigLIP adds a bias). Adapters are on the attention of both towers, so the features of the prompts change
    in training, and every forward pass computes them again. The model's own processor makes pixel values of the images;
    training changes nothing about them (no crops, no mirroring).

    Making a task reads nothing; the data set, the prompts and the weights are read when they are first needed.

    Attributes:
        model: as in `OnModel`, such as ``"openai/clip-vit-base-patch16"``.
        data: a data set of the hub, a folder of parquet, csv or json files, or a ``DatasetDict``.
        subset: which configuration of a data set of the hub.
        splits: what the data set calls the splits to draw the shots from and to score on.
        image, label: the columns with the images and the classes.
        labels: names of the classes, in the order of their numbers; None reads them from the data.
        shots: how many images of each class to train on.
        seed: decides which.
        prompt: a text in which the name of a class replaces ``{}``; its underscores become spaces.
        target_modules: as in `Task`; queries, keys and values of all blocks of both towers.
        name: as in `Task`; by default the name of the data set.

    Raises:
        TypeError: ``model`` is neither a string nor a `Source`.
        ValueError: ``shots`` below 1; a prompt without a place for the name; names of classes or layers that are one string; a
            name of a class given twice; ``splits`` that are not two names. Later: a model without two towers, a prompt that is
            too long for it, a class with fewer images than shots, classes in another order than the data set has them.

    Source: Zanella and Ben Ayed 2024, CLIP-LoRA (arXiv:2405.18541); `coto_lab.training.clip_lora` is its recipe.
    """

    data: str | Path | DatasetDict
    subset: str | None = field(default=None, kw_only=True)
    splits: tuple[str, str] = field(default=SPLITS, kw_only=True)
    image: str = field(default="image", kw_only=True)
    label: str = field(default="label", kw_only=True)
    labels: tuple[str, ...] | None = field(default=None, kw_only=True)
    shots: int = field(default=16, kw_only=True)
    seed: int = field(default=0, kw_only=True)
    prompt: str = field(default="a photo of a {}.", kw_only=True)
    target_modules: tuple[str, ...] = field(default=("q_proj", "k_proj", "v_proj"), kw_only=True)
    name: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_splits(self.splits)
        if self.labels is not None:
            check_names(self.labels)
        if isinstance(self.target_modules, str):
            raise ValueError(f"target_modules={self.target_modules!r}: give a tuple of names.")
        object.__setattr__(self, "shots", whole_number("shots", self.shots, 1))
        object.__setattr__(self, "seed", whole_number("seed", self.seed, 0, MAX_SEED))
        if self.prompt.count("{}") != 1:
            raise ValueError(f"prompt={self.prompt!r}: give a text with one {{}}, where the name of the class is to stand.")
        object.__setattr__(self, "name", self.name or name_of(self.data, "images"))

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """As in `Task`."""
        return class_names(self._rows["train"], self.label) if self.labels is None else tuple(self.labels)

    @cached_property
    def prompts(self) -> Batch:
        """The prompt of each class as tokens: ``[classes, length]``.

        Raises:
            ValueError: a prompt is longer than the model reads.
        """
        config = self.config
        longest: int = config.text_config.max_position_embeddings
        texts = [self.prompt.replace("{}", name.replace("_", " ")) for name in self.classes]
        # SigLIP was trained without an attention mask, on texts that were all padded to the same length.
        whole = config.model_type.startswith("siglip")
        tokens = self.source.tokenizer()(
            texts,
            padding="max_length" if whole else "longest",
            max_length=longest,
            return_attention_mask=not whole,
            return_tensors="pt",
        )
        if tokens["input_ids"].shape[1] > longest:
            text = max(texts, key=len)
            raise ValueError(
                f"the prompt {text!r} has more tokens than the {longest} that model {self.source.name!r} reads. Give shorter "
                "labels, or a shorter prompt."
            )
        return dict(tokens)

    def size(self, split: str) -> int:
        """How many examples a split has: of ``"train"``, the shots of all classes."""
        return self._images.size(split)

    def batch(self, split: str, indices: Sequence[int] | Tensor) -> Batch:
        """The examples at these places: ``pixel_values`` ``[n, channels, height, width]`` and ``labels`` ``[n]``."""
        return self._images.batch(split, indices)

    def predict(self, model: nn.Module, batch: Batch) -> Float[Tensor, "n classes"]:
        """Logits of the classes, ``[n, classes]``, by one forward pass over the images and all prompts.

        They are float32 also of a model in half precision, which would round the cosine times 100 to steps of 0.1 and more.
        """
        prompts = to_device(self.prompts, batch["pixel_values"].device)
        found = model(pixel_values=batch["pixel_values"], **prompts)
        scale, bias = (getattr(model, name, None) for name in ("logit_scale", "logit_bias"))
        if scale is None:  # ALIGN divides by a temperature, and has its own way
            return cast("Tensor", found.logits_per_image.float())
        images, texts = (F.normalize(features.float(), dim=-1) for features in (found.image_embeds, found.text_embeds))
        logits: Tensor = images @ texts.T * scale.float().exp()
        return logits if bias is None else logits + bias.float()

    def loss(self, prediction: Float[Tensor, "n classes"], batch: Batch) -> Float[Tensor, " n"]:
        """Cross-entropy over all classes, in nats: ``[n]``."""
        return self._images.loss(prediction, batch)

    def measure(self, prediction: Float[Tensor, "n classes"], batch: Batch) -> dict[str, Tensor]:
        """As `Classifier` measures classes: each ``[n]``."""
        return self._images.measure(prediction, batch)

    def show(self, split: str, indices: Sequence[int] | Tensor) -> list[Example]:
        """The right answers, and the images in grey."""
        return self._images.show(split, indices)

    def _model_class(self) -> Any:
        from transformers import AutoModelForZeroShotImageClassification

        return AutoModelForZeroShotImageClassification

    def _check_kind(self, config: PretrainedConfig) -> None:
        from transformers import MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION_MAPPING

        if type(config) not in MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION_MAPPING:
            raise ValueError(
                f"model {self.source.name!r} is a {config.model_type!r} model, which does not compare images with texts. "
                "Choose one that does, such as 'openai/clip-vit-base-patch16' or 'google/siglip-base-patch16-224'."
            )

    @cached_property
    def _rows(self) -> dict[str, Dataset]:
        """The whole splits."""
        return read_splits(self.data, self.subset, self.splits, (self.image, self.label))

    @cached_property
    def _images(self) -> ImageClassification:
        """The shots and the test images as a task of their own, which knows how to read and to measure them."""
        from datasets import DatasetDict

        targets = targets_of(self._rows["train"], self.label, self.classes, "train")
        shots = self._rows["train"].select(draw_shots(targets, self.classes, self.shots, self.seed).tolist())
        data = DatasetDict({"train": shots, "test": self._rows["test"]})
        return ImageClassification(
            self.source, data, splits=SPLITS, image=self.image, label=self.label, labels=self.classes, name=self.name
        )


def draw_shots(targets: Int64[Tensor, " N"], classes: Sequence[str], shots: int, seed: int) -> Int64[Tensor, " places"]:
    """The places of ``shots`` examples of each class, class by class.

    Raises:
        ValueError: a class has fewer.
    """
    generator = torch.Generator().manual_seed(seed)
    chosen = []
    for number, name in enumerate(classes):
        places = (targets == number).nonzero()[:, 0]
        if len(places) < shots:
            raise ValueError(
                f"class {name!r} has {len(places)} images to train on, and shots={shots}. Lower shots, or leave the class out."
            )
        chosen.append(places[torch.randperm(len(places), generator=generator)[:shots]])
    return torch.cat(chosen)
