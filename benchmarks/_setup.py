"""What the benchmarks run on: a scale, the tasks of that scale, and adapters with random weights (speed does not see them)."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import torch
from datasets import Dataset
from peft import get_peft_model
from transformers import AutoConfig, AutoModelForImageClassification, PreTrainedModel

from coto_lab import Adapter, Classification, Recipe, Task, load_task
from coto_lab.ground.files import data_path

# transformers renames it in v6; peft 0.21 asks for it with every model that it wraps.
warnings.filterwarnings("ignore", message=r"`\w*gradient_checkpointing\w*`", category=FutureWarning)


@dataclass(frozen=True)
class Scale:
    """How much is run. `FULL` gives the figures; `QUICK`, on a smaller model, only shows that everything runs.

    Attributes:
        width: of the vision transformers; 64 is that of the digits task, and takes its base model.
        ramp_steps: length of the CoTo ramps that take turns with LoRA.
        cost_steps: steps with designed masks, which the prediction is fitted to.
        rows: runs that share a base.
        turns: of the contenders in the comparison with ``fit_many``.
        images: test images of the interpolation, of the 8-block game, and of the 12-block game.
        examples: of the training data, and of the test images where nothing else is said, at most; None takes all.
        blocks: of the two games; of all else, as of the first.
        sample: coalitions that the naive loop is timed on; scaled up to all.
        repeats: turns of the scoring contenders.
        draws: of gates.
        imports: fresh processes that import the package.
        live_steps: length of the training that is watched.
        updates: redraws of the live view, for memory.
        clicks: on the other views, and events on the page.
        sizes: through which each growth law goes.
        growth: steps and turns of each size.
        graph_steps: first steps of a compiled model, after which every graph was needed once.
        sweep_steps: of each run of the sweep on a cluster.
        tiny: whether language models are of the smallest shape, and compiled without a compiler.
    """

    width: int = 64
    ramp_steps: int = 400
    cost_steps: int = 330
    rows: int = 10
    turns: int = 40
    images: tuple[int, int, int] = (512, 256, 64)
    examples: int | None = None
    blocks: tuple[int, int] = (8, 12)
    sample: int = 32
    repeats: int = 3
    draws: int = 2000
    imports: int = 7
    live_steps: int = 400
    updates: int = 2000
    clicks: int = 24
    sizes: int = 6
    growth: tuple[int, int] = (8, 2)  # a whole ramp of CoTo, so that its mean is that of its steps
    graph_steps: int = 12
    sweep_steps: int = 100
    tiny: bool = False

    def task(self, *, blocks: int | None = None, images: int | None = None, attention: str = "eager") -> Task:
        """The digits task, with its own base where the shape is its own, else with a random one of the same kind."""
        digits = _digits()
        n_blocks = blocks or self.blocks[0]
        own = (self.width, n_blocks) == (64, 8)
        load: Callable[[], PreTrainedModel] = digits.load_base if own else lambda: random_vit(self.width, n_blocks)

        def load_base() -> PreTrainedModel:
            model = load()
            model.set_attn_implementation(attention)
            return model

        train, test = _first(digits.train, self.examples), _first(digits.test, images or self.examples)
        return replace(digits, load_base=load_base, train=train, test=test)


def _first(split: Dataset, size: int | None) -> Dataset:
    return split if size is None else split.select(range(size))


@cache
def _digits() -> Classification:
    """Made once: all sections ask for it, many times."""
    return load_task("digits")


FULL = Scale()
QUICK = Scale(
    width=16, ramp_steps=8, cost_steps=10, rows=2, turns=2, images=(20, 20, 10), examples=40, blocks=(3, 4), sample=4,
    repeats=1, draws=20, imports=1, live_steps=4, updates=20, clicks=3, sizes=2, growth=(2, 1), graph_steps=2, sweep_steps=2,
    tiny=True,
)  # fmt: skip


def random_vit(width: int, n_blocks: int) -> PreTrainedModel:
    """A vision transformer like the base of the digits task, of another size and with random weights, always the same."""
    config = AutoConfig.from_pretrained(data_path("glyph-vit"))
    config.hidden_size, config.intermediate_size, config.num_hidden_layers = width, 4 * width, n_blocks
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return AutoModelForImageClassification.from_config(config)


def random_adapter(task: Task, seed: int, rank: int = 4) -> Adapter:
    """A LoRA adapter as training leaves it, as far as speed goes: no factor is zero."""
    model = get_peft_model(task.load_base(), Recipe(r=rank).peft_config(task.target_modules))
    adapter = Adapter.from_model(model)
    generator = torch.Generator().manual_seed(seed)
    return replace(
        adapter, tensors={name: torch.randn(t.shape, generator=generator) / 20 for name, t in adapter.tensors.items()}
    )
