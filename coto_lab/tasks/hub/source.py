"""Where a task's base model comes from: the hub, or a folder in the hub's format."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from coto_lab.ground.device import default_device
from coto_lab.ground.files import read_json, sha256
from coto_lab.ground.numbers import MAX_SEED, whole_number
from coto_lab.ground.randomness import OwnRandomNumbers
from coto_lab.tasks.hub.errors import reading
from coto_lab.tasks.hub.quantised import QUANTISED, check_quantised, quantisation

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

DTYPES = ("float32", "bfloat16")


@dataclass(frozen=True)
class Source:
    """A model of the hub, or in a folder in the hub's format.

    Making one reads nothing; every method reads what it needs. Only safetensors and JSON files are read, and no code that comes
    with a model is run. What is downloaded stays in the hub's cache, and an interrupted download goes on where it stopped.

    Every method that reads raises what `coto_lab.tasks.hub.errors.reading` lists: ConnectionError without a network,
    PermissionError for a gated model, and ValueError where there is no such model, or it cannot be read.

    Attributes:
        name: a name on the hub, such as ``"bert-base-uncased"``, or a folder.
        revision: a branch, tag or commit of the hub; None takes the newest.
        dtype: of the weights, ``"float32"`` or ``"bfloat16"``.
        quantised: how the frozen weights of linear layers are stored: ``"nf4"`` or ``"int8"`` (bitsandbytes),
            ``"int8-torchao"``, or None for ``dtype``.
        checkpointing: whether training computes activations a second time in the backward pass instead of keeping them
            (gradient checkpointing, the non-reentrant kind).

    Raises:
        TypeError: ``name`` is no string or path; ``revision`` is no string; ``checkpointing`` is neither True nor False.
        ValueError: an empty ``name``, an unknown ``dtype`` or ``quantised``.
    """

    name: str
    revision: str | None = None
    dtype: str = "float32"
    quantised: str | None = None
    checkpointing: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.name, (str, Path)):
            raise TypeError(f"name={self.name!r}: give a name on the hub, such as 'bert-base-uncased', or a folder.")
        object.__setattr__(self, "name", str(self.name))
        if not self.name:
            raise ValueError("name='': give a name on the hub, such as 'bert-base-uncased', or a folder.")
        if self.revision is not None and not isinstance(self.revision, str):
            raise TypeError(f"revision={self.revision!r}: give a branch, a tag or a commit as a string, or None.")
        if not isinstance(self.checkpointing, bool):
            raise TypeError(f"checkpointing={self.checkpointing!r}: give True or False.")
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype={self.dtype!r}: must be one of {', '.join(map(repr, DTYPES))}.")
        if self.quantised is not None and self.quantised not in QUANTISED:
            raise ValueError(f"quantised={self.quantised!r}: must be None or one of {', '.join(map(repr, QUANTISED))}.")

    def config(self, **changes: Any) -> PretrainedConfig:
        """The model's configuration, with ``changes`` in it, such as ``num_labels=3``.

        Raises:
            ValueError: the folder holds an adapter.
        """
        from transformers import AutoConfig

        if (adapter := Path(self.name) / "adapter_config.json").is_file():  # transformers would put it into its base in silence
            base = read_json(adapter).get("base_model_name_or_path")
            raise ValueError(
                f"the folder {self.name!r} holds an adapter, and no base model to train a new one on. Give its base model, "
                f"{base!r}; Adapter.load reads the adapter."
            )
        with reading(self.name, "the model", self.revision):
            return AutoConfig.from_pretrained(self.name, **self._options, **changes)

    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The model's tokenizer. One without a padding token pads with its end-of-sequence token.

        Raises:
            ValueError: it has neither, or the model has no embedding of the padding token.
        """
        from transformers import AutoTokenizer

        with reading(self.name, "the tokenizer of model", self.revision):
            tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(self.name, **self._options)
        if tokenizer.pad_token is None:
            if tokenizer.eos_token is None:
                raise ValueError(
                    f"the tokenizer of model {self.name!r} has no padding token, and no end-of-sequence token that could take "
                    "its place, so texts of different lengths cannot form a batch. Set tokenizer.pad_token to a token of its "
                    "vocabulary, save it with save_pretrained, and give that folder."
                )
            tokenizer.pad_token = tokenizer.eos_token
        size: int | None = getattr(self.config().get_text_config(), "vocab_size", None)
        if size is not None and tokenizer.pad_token_id >= size:
            raise ValueError(
                f"the tokenizer of model {self.name!r} pads with {tokenizer.pad_token!r}, token {tokenizer.pad_token_id}, and "
                f"the model has embeddings of {size} tokens, from 0 on. Set tokenizer.pad_token to one of those, such as its "
                "eos_token, or enlarge the model with resize_token_embeddings; save both with save_pretrained, and give that "
                "folder."
            )
        return tokenizer

    def processor(self) -> Any:
        """The model's image processor: it makes pixel values of images."""
        from transformers import AutoImageProcessor

        self.config()  # it says more about a model that cannot be read
        with reading(self.name, "the image processor of model", self.revision):
            return AutoImageProcessor.from_pretrained(self.name, **self._options)

    def load(
        self, model_class: Any, *, config: PretrainedConfig | None = None, seed: int = 0, whole: Sequence[str] = ()
    ) -> PreTrainedModel:
        """A fresh copy of the model; torch's global random numbers are left untouched.

        Args:
            model_class: transformers' class that loads it, such as ``AutoModelForSequenceClassification``.
            config: the configuration; None takes the model's own.
            seed: decides the weights of ``whole``, where the checkpoint does not have them; they are the same in each call.
            whole: the ends of the names of modules that will be trained whole, such as ``("classifier",)``. The checkpoint
                need not have them, or may have them in another size. They compute in float32 and are not quantised.

        Raises:
            ValueError: the checkpoint lacks weights of other modules, or has some that are not finite; ``seed`` is no whole
                number from 0.
            ImportError: the package for ``quantised`` is absent or too old.
        """
        from transformers.utils import logging

        seed = whole_number("seed", seed, 0, MAX_SEED)
        dtype = getattr(torch, self.dtype)
        options = self._options
        if self.quantised is not None:
            check_quantised(self.quantised)
            options["quantization_config"] = quantisation(self.quantised, dtype, whole)
        config = self.config() if config is None else config
        level = logging.get_verbosity()
        logging.set_verbosity_error()  # what it would report of the weights is checked here
        try:
            with (
                reading(self.name, "the model", self.revision),
                OwnRandomNumbers(seed, default_device()).active(),
            ):
                model, report = model_class.from_pretrained(
                    self.name,
                    config=config,
                    dtype=dtype,
                    use_safetensors=True,
                    ignore_mismatched_sizes=True,
                    output_loading_info=True,
                    **options,
                )
        finally:
            logging.set_verbosity(level)
        present = [end for end in whole if any(name.endswith(end) for name, _ in model.named_modules())]
        self._check_complete([*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])], present)
        self._check_finite(model)
        return self._ready(model, whole)

    def skeleton(
        self, model_class: Any, *, config: PretrainedConfig | None = None, whole: Sequence[str] = ()
    ) -> PreTrainedModel:
        """What `load` returns, on torch's meta device: all shapes and no weights, so that only the configuration is read.

        Nothing is quantised there.
        """
        config = self.config() if config is None else config
        with reading(self.name, "the model", self.revision), torch.device("meta"):
            model = model_class.from_config(config, dtype=getattr(torch, self.dtype), trust_remote_code=False)
        return self._ready(model, whole)

    def _ready(self, model: PreTrainedModel, whole: Sequence[str]) -> PreTrainedModel:
        """The model as it trains: ``whole`` in float32, and checkpointing where it is asked for."""
        for name, module in model.named_modules():
            if whole and name.endswith(tuple(whole)):
                module.float().register_forward_pre_hook(_in_float32)
        if self.checkpointing:
            renamed = getattr(model, "activation_checkpointing_enable", None)  # since transformers 5.23
            (renamed or model.gradient_checkpointing_enable)({"use_reentrant": False})
        return model

    @cached_property
    def identity(self) -> str:
        """What tells this model from others: the name and the commit on the hub, or the SHA-256 of the folder's weights.

        Of several files of weights it is the SHA-256 of their hashes, one after the other in the order of their names.
        """
        folder = Path(self.name)
        if not folder.is_dir():
            from huggingface_hub import hf_hub_download

            with reading(self.name, "the model", self.revision):
                cached = hf_hub_download(self.name, "config.json", revision=self.revision)
            return f"{self.name}@{Path(cached).parent.name}"  # the cache has a folder for each commit
        files = sorted(folder.glob("*.safetensors"))
        if not files:
            with reading(self.name, "the model"):
                raise OSError("there is no safetensors file")
        hashes = [sha256(file) for file in files]
        return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()

    def _check_complete(self, missing: Sequence[str], whole: Sequence[str]) -> None:
        """ValueError unless all weights that the checkpoint lacks are of modules that train whole."""
        modules = sorted({key.rpartition(".")[0] for key in missing})
        if lacking := tuple(name for name in modules if not any(f"{end}." in f"{name}." for end in whole)):
            raise ValueError(
                f"the model {self.name!r} has no fitting weights for {', '.join(lacking[:4])}, which would stay as they are "
                f"drawn at random. Let them train with the adapter, new_layers={(*whole, *lacking)}, or give a complete "
                "checkpoint."
            )

    def _check_finite(self, model: PreTrainedModel) -> None:
        """ValueError unless all weights are finite; what is quantised is left out."""
        plain = ((name, item) for name, item in model.named_parameters() if type(item.data) is Tensor)
        if wrong := next((name for name, item in plain if not item.isfinite().all()), None):
            raise ValueError(
                f"the model {self.name!r} has weights that are not finite, in {wrong}: its training diverged, or its numbers "
                f"do not fit dtype={self.dtype!r}. Give another checkpoint."
            )

    @property
    def _options(self) -> dict[str, Any]:
        return {"revision": self.revision or "main", "trust_remote_code": False}


def _in_float32(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(item.float() if isinstance(item, Tensor) and item.is_floating_point() else item for item in inputs)
