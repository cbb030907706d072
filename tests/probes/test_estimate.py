"""What is counted is exact against PEFT, what is measured agrees with a real step; no test asks how fast anything is."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from datasets import Dataset, DatasetDict
from pytest import MonkeyPatch
from tiny_classifiers import colour_data
from tiny_hub_models import save_clip
from tiny_tasks import CopyTask, seeded
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from coto_lab import Classification, Constant, Linear, Recipe, Task, Training
from coto_lab.gating.coto import training_masks
from coto_lab.ground.files import data_path
from coto_lab.probes.cost import Cost
from coto_lab.probes.estimate import Estimate, estimate
from coto_lab.probes.live_memory import peak_bytes
from coto_lab.probes.memory import GIB, Memory
from coto_lab.tasks.hub.clip import FewShotCLIP
from coto_lab.tasks.hub.sequence import SequenceClassification
from coto_lab.tasks.hub.source import Source

RECIPE = Recipe(r=2, steps=20, batch_size=4, schedule=Linear())
BLOCKS = 7


def config() -> LlamaConfig:
    return LlamaConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=BLOCKS, num_attention_heads=2, num_key_value_heads=2,
        vocab_size=64, max_position_embeddings=16, pad_token_id=8, use_cache=False,
    )  # fmt: skip


class Hub(CopyTask):
    """The copying task on a base that can be had without its weights, as those of the hub."""

    loaded = 0

    def __init__(self, checkpointing: bool = False):
        super().__init__()
        self.checkpointing = checkpointing

    def load_base(self) -> nn.Module:
        self.loaded += 1
        return self._ready(seeded(lambda: LlamaForCausalLM(config()))())

    def skeleton(self) -> nn.Module:
        with torch.device("meta"):
            return self._ready(LlamaForCausalLM(config()))

    def _ready(self, model: nn.Module) -> nn.Module:
        if self.checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        return model


@pytest.fixture(scope="module")
def hub() -> Hub:
    return Hub()


@pytest.fixture(scope="module")
def found(hub: Hub) -> Estimate:
    state = torch.get_rng_state()
    found = estimate(hub, RECIPE, seconds=0.1)
    assert torch.equal(state, torch.get_rng_state()) and hub.loaded == 0, "nothing is loaded, nothing random is drawn"
    return found


def real_step(task: Task, recipe: Recipe) -> tuple[Training, int]:
    """A training whose second step was taken, and the bytes at the peak of that step."""
    training = Training(task, replace(recipe, schedule=Constant()))
    training.step()
    return training, peak_bytes(training.step)


def test_parameters_are_those_of_peft(hub: Hub, found: Estimate) -> None:
    training, _ = real_step(hub, RECIPE)
    assert (found.trainable, found.parameters) == training.model.get_nb_trainable_parameters()


def test_weights_gradients_and_optimiser_are_those_of_a_training(hub: Hub, found: Estimate) -> None:
    training, _ = real_step(hub, RECIPE)
    trained = [p for p in training.model.parameters() if p.requires_grad]
    held = [*training.model.parameters(), *training.model.buffers()]
    kept = [value for state in training.optimizer.state.values() for value in state.values() if torch.is_tensor(value)]
    assert found.memory.weights == sum(tensor.nbytes for tensor in held)
    assert found.memory.gradients == sum(p.nbytes for p in trained)
    assert found.memory.optimiser == pytest.approx(sum(tensor.nbytes for tensor in kept), rel=1e-6)


@pytest.mark.parametrize("checkpointing", [False, True], ids=["kept", "checkpointed"])
def test_activations_of_the_whole_are_foretold_from_two_and_four_blocks(found: Estimate, checkpointing: bool) -> None:
    _, peak = real_step(Hub(checkpointing), RECIPE)
    memory = found.memory
    foretold = memory.checkpointed if checkpointing else memory.activations
    assert foretold == pytest.approx(peak, rel=0.2)
    assert memory.checkpointed < memory.activations


def test_a_task_that_checkpoints_is_counted_so() -> None:
    found = estimate(Hub(checkpointing=True), RECIPE, seconds=0.1)
    memory = found.memory
    assert memory.checkpoints
    assert memory.total == memory.weights + memory.gradients + memory.optimiser + memory.checkpointed


def test_a_task_without_a_skeleton_is_measured_as_a_whole(tiny_task: Classification) -> None:
    recipe = replace(RECIPE, method="dora", batch_size=8)
    found = estimate(tiny_task, recipe, seconds=0.1)
    training, peak = real_step(tiny_task, recipe)
    assert (found.trainable, found.parameters) == training.model.get_nb_trainable_parameters()
    assert found.memory.activations == pytest.approx(peak, rel=0.01)
    assert found.cost.n_blocks == 4 and min(found.cost.fixed, found.cost.backward, found.cost.adapter) >= 0


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_task_of_the_hub_is_estimated_without_its_weights(dtype: str, monkeypatch: MonkeyPatch) -> None:
    """With a new head, which trains whole, in float32."""
    rows = {"text": ["abc=", "de1=", "f=", "ghij="], "label": [0, 1, 0, 1]}
    data = DatasetDict({split: Dataset.from_dict(rows) for split in ("train", "validation")})
    source = Source(str(data_path("letter-llama")), dtype=dtype, checkpointing=True)
    task, recipe = SequenceClassification(source, data, labels=("a", "b")), replace(RECIPE, batch_size=2)
    with monkeypatch.context() as patch:
        patch.setattr(Source, "load", None)
        found = estimate(task, recipe, seconds=0.01)
    training, peak = real_step(task, recipe)
    assert (found.trainable, found.parameters) == training.model.get_nb_trainable_parameters()
    held = [*training.model.parameters(), *training.model.buffers()]
    assert found.memory.weights == sum(tensor.nbytes for tensor in held)
    assert found.memory.checkpoints and found.memory.checkpointed == pytest.approx(peak, rel=0.2)
    quantised = estimate(replace(task, model=replace(source, quantised="nf4")), recipe, seconds=0.01)
    assert quantised.memory.stored == "nf4" and quantised.memory.weights < found.memory.weights


def test_masks_are_those_that_the_training_draws(hub: Hub, found: Estimate) -> None:
    training = Training(hub, RECIPE)
    assert torch.equal(found.masks, training.coto.masks())
    assert torch.equal(found.masks, training_masks(BLOCKS, Linear(), total_steps=20, seed=0))


def test_a_recipe_that_keeps_every_adapter_on_is_compared_with_the_papers_schedule(tiny_task: Classification) -> None:
    found = estimate(tiny_task, replace(RECIPE, schedule=Constant()), seconds=0.1)
    assert found.recipe.schedule == Linear() and not found.masks.all()


def test_time_of_the_whole_is_extrapolated_by_the_line_through_two_sizes(hub: Hub, monkeypatch: MonkeyPatch) -> None:
    def lasts(training: Training) -> float:
        """What a machine would take on which every block costs 20 ms forward, 10 ms backward and 5 ms for its adapter."""
        mask = training.coto.mask(len(training.records)).tolist()
        training.step()
        return 0.1 + 0.02 * len(mask) + 0.01 * (len(mask) - mask.index(True)) + 0.005 * sum(mask)

    monkeypatch.setattr("coto_lab.probes._measured_steps.timed_step", lasts)
    found = estimate(hub, RECIPE, seconds=0.1)
    constants = (found.cost.fixed, found.cost.backward, found.cost.adapter)
    assert constants == pytest.approx((0.1 + BLOCKS * 0.02, 0.01, 0.005))
    assert found.seconds["LoRA"] == pytest.approx(20 * (0.1 + BLOCKS * 0.035))
    assert found.seconds["CoTo"] == pytest.approx(Cost(*constants, found.masks[:0], torch.zeros(0)).step(found.masks).sum())


def known(**changes: object) -> Estimate:
    """Numbers that are easy to read."""
    memory = Memory(
        weights=8 * GIB, gradients=GIB // 4, optimiser=GIB // 2, activations=16 * GIB, checkpointed=4 * GIB, checkpoints=False,
        stored="float32", other_weights={"bfloat16": 4 * GIB, "nf4": 2 * GIB},
    )  # fmt: skip
    none = torch.zeros(0, 2, dtype=torch.bool), torch.zeros(0).double()
    masks = torch.tensor([[True, True], [False, True]])
    recipe = Recipe(steps=2, batch_size=16, schedule=Linear())
    values = {"memory": memory, "cost": Cost(60.0, 15.0, 30.0, *none), "masks": masks, "recipe": recipe} | changes
    return Estimate(task="t", device="CPU", parameters=2_000_000, trainable=4_000, **values)


def test_the_table_has_units_and_a_row_for_each_method() -> None:
    table = known().table()
    assert list(table.index) == ["LoRA", "CoTo"]
    assert table.loc["LoRA"].to_dict() == {
        "parameters": 2_000_000,
        "trainable": 4_000,
        "weights, GiB": 8.0,
        "gradients, GiB": 0.25,
        "optimiser, GiB": 0.5,
        "activations, GiB": 16.0,
        "activations with checkpointing, GiB": 4.0,
        "memory, GiB": 24.75,
        "step, ms": 150_000.0,
        "training, min": 5.0,
    }
    assert table.loc["CoTo", "training, min"] == pytest.approx((150 + 105) / 60)
    small = Memory(2**20, 0, 0, 2**21, None, False, "float32", {})
    row = known(memory=small).table().loc["LoRA"]
    assert (row["weights, MiB"], row["memory, MiB"]) == (1, 3) and row.isna()["activations with checkpointing, MiB"]


def test_words_and_page() -> None:
    found = known()
    assert str(found) == repr(found)
    assert repr(found) == (
        "t: 4,000 of 2,000,000 parameters train. 2 steps with batches of 16 take about 5.0 minutes with LoRA and 4.2 minutes "
        "with CoTo on this CPU, and 24.8 GiB of memory."
    )
    page = known(memory=replace(found.memory, weights=10**6 * GIB))._repr_html_()
    assert "<table" in page and "4,000 of 2,000,000" in page and "does not fit" in page
    assert "does not fit" not in known(memory=replace(found.memory, weights=0, activations=0))._repr_html_()


def test_what_fits_and_what_would() -> None:
    found = known()
    assert found.fits("H100") and found.fits(28.0) and not found.fits(27.0) and not found.fits("T4")
    assert found.advice("H100") == "This training needs 24.8 GiB; the H100 (80 GiB) has room for 72.0 GiB: it fits."
    advice = found.advice("T4")
    assert advice.startswith(
        "This training needs 24.8 GiB; the T4 (15 GiB) has room for 13.5 GiB: it does not fit. What would: "
    )
    ways = set(advice.split("What would: ")[1].rstrip(".").split("; "))
    assert ways == {
        "batch_size=4 (12.8 GiB)",
        "gradient checkpointing (12.8 GiB)",
    }, "weights in bfloat16 would need 20.8 GiB: what half precision saves of the activations is not promised"


def test_several_changes_where_no_single_one_is_enough() -> None:
    ways = known().advice(8.0).split("What would: ")[1].rstrip(".").split("; ")
    assert ways == [
        "weights in bfloat16 with batch_size=2 (6.8 GiB)",
        "weights in nf4 with batch_size=4 (6.8 GiB)",
        "weights in nf4 with gradient checkpointing (6.8 GiB)",
    ]
    assert "even with all that saves memory" in known().advice(1.0)


def test_no_room_for_a_step_is_said_in_words(hub: Hub, monkeypatch: MonkeyPatch) -> None:
    def full(self: Training) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Training, "step", full)
    with pytest.raises(MemoryError, match=r"CPU has no room for one step of task 'copy' with batch_size=4, even with 4 of its"):
        estimate(hub, RECIPE, seconds=0.1)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"task": 3}, TypeError, "is no Task"),
        ({"recipe": "lora"}, TypeError, "recipe='lora': give a Recipe"),
        ({"seconds": 0}, ValueError, "seconds=0.0: must be above 0"),
        ({"seconds": "long"}, ValueError, "seconds='long': must be a number"),
    ],
)
def test_bad_input(hub: Hub, arguments: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        estimate(**{"task": hub, "recipe": RECIPE} | arguments)


@pytest.mark.parametrize(
    ("memory", "message"),
    [
        ("B200", "memory='B200': must be one of 'T4', 'L4', 'A100', 'H100', or a number of GiB"),
        (0, "memory=0: must be above 0"),
        (True, "memory=True: must be a number"),
    ],
)
def test_unknown_memory(memory: object, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        known().fits(memory)


def test_the_towers_of_clip_are_counted_apart(tmp_path: Path) -> None:
    task = FewShotCLIP(save_clip(tmp_path), colour_data(), prompt="a {}", shots=2, splits=("train", "validation"))
    found = estimate(task, Recipe(schedule=Linear(), steps=20, batch_size=4), seconds=0.1)
    assert found.cost.towers.tolist() == [0, 0, 1, 1, 1]
    masks = torch.tensor([[False, True, False, False, True], [True] * 5])
    lone, every = found.cost.parts(masks)[:, 1].tolist()
    assert lone == pytest.approx(2 / 5 * every)
