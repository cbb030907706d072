"""CoTo inside PEFT, as a patch would hold it: equal to our gates, and to plain LoRA where nothing is dropped."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import tiny_models as tiny
import torch
import transformers
from coto_in_peft import CotoBlocks, CotoCallback, CotoConfig, CotoLinearVariant
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from trained_weights import same

from coto_lab import CoTo, CoToCallback, Linear, attach_gates

STEPS = 8
CONFIG = CotoConfig(total_steps=STEPS, seed=5)
MODELS: dict[str, Callable[[], nn.Module]] = {"vit": lambda: tiny.vit(layers=4), "llama": lambda: tiny.llama(layers=4)}
both_models = pytest.mark.parametrize("kind", MODELS)


def adapted(kind: str = "llama", dropout: float = 0.3, **settings: Any) -> peft.PeftModel:
    """A tiny model with plain LoRA that is not at its start; the same one at each call."""
    config = tiny.lora(tiny.TARGETS, lora_dropout=dropout, **settings)
    return tiny.randomise(peft.get_peft_model(MODELS[kind](), config))


def batch(kind: str, step: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(step)
    if kind == "llama":
        tokens = torch.randint(32, (2, 6), generator=generator)
        return {"input_ids": tokens, "labels": tokens}
    return {"pixel_values": torch.randn(3, 1, 8, 8, generator=generator), "labels": torch.arange(3)}


def train(kind: str, model: nn.Module, before_step: Callable[[int], object] = lambda step: None) -> torch.optim.Optimizer:
    torch.manual_seed(1)  # LoRA's own dropout
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=0.01, weight_decay=0.1)
    for step in range(STEPS):
        before_step(step)
        model.train()(**batch(kind, step)).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return optimizer


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters() if ".lora_" in name}


def with_other(model: peft.PeftModel) -> peft.PeftModel:
    """The model with a second adapter, which is active and plain LoRA; the same one at each call."""
    torch.manual_seed(2)
    model.add_adapter("other", tiny.lora(tiny.TARGETS))
    model.set_adapter("other")
    return tiny.randomise(model, seed=1)


def lora_layers(model: nn.Module) -> list[LoraLayer]:
    return [layer for layer in model.modules() if isinstance(layer, LoraLayer)]


def dropping(model: nn.Module, opened: tuple[bool, ...] = (True, False, True, False)) -> CotoBlocks:
    """The blocks of a model in the middle of a step that leaves some of them out."""
    blocks = CotoBlocks(model, CONFIG)
    blocks.open(opened)
    return blocks


class TestCotoTraining:
    @both_models
    def test_equals_our_gates(self, kind: str) -> None:
        model, ours = adapted(kind), adapted(kind)
        train(kind, model, CotoBlocks(model, CONFIG).set_step)
        train(kind, ours, CoTo(attach_gates(ours), Linear(), total_steps=STEPS, seed=CONFIG.seed).go_to)
        assert same(weights(model), weights(ours))

    @both_models
    def test_at_p_one_equals_plain_lora_and_else_not(self, kind: str) -> None:
        model, dropped, plain = adapted(kind), adapted(kind), adapted(kind)
        train(kind, model, CotoBlocks(model, CotoConfig(total_steps=STEPS, initial_p=1.0)).set_step)
        train(kind, dropped, CotoBlocks(dropped, CONFIG).set_step)
        train(kind, plain)
        assert same(weights(model), weights(plain))
        assert not same(weights(dropped), weights(plain))

    def test_a_dropped_adapter_has_no_gradient_and_no_optimizer_state(self) -> None:
        model = adapted()
        start, blocks = weights(model), dropping(model)
        optimizer = train("llama", model)
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                is_dropped = ".layers.1." in name or ".layers.3." in name
                assert (parameter in optimizer.state) != is_dropped
                assert torch.equal(parameter, start[name]) == is_dropped
        assert list(blocks.layers) == [f"base_model.model.model.layers.{i}" for i in range(4)]

    def test_what_a_dropped_adapter_still_held_as_gradient_is_removed(self) -> None:
        model = adapted("vit", lora_bias=True)
        model.train()(**batch("vit", 0)).loss.backward()
        blocks = dropping(model)
        for block, expected in zip(blocks.layers, (True, False, True, False), strict=True):
            held = [p.grad is not None for p in model.get_submodule(block).parameters() if p.requires_grad]
            assert set(held) == {expected}

    def test_evaluation_uses_every_adapter_and_drawing_leaves_the_global_generator(self) -> None:
        model, plain = adapted(), adapted()
        state = torch.get_rng_state()
        CotoBlocks(model, CONFIG).set_step(0)
        assert torch.equal(torch.get_rng_state(), state)
        assert not torch.equal(tiny.training_logits(model), tiny.training_logits(plain))
        assert torch.equal(tiny.logits(model.eval()), tiny.logits(plain.eval()))

    def test_every_block_dropped_is_the_base_model(self) -> None:
        model = adapted()
        dropping(model, (False,) * 4)
        assert torch.equal(tiny.training_logits(model), tiny.logits(MODELS["llama"]()))

    @pytest.mark.parametrize("use_reentrant", [False, True])
    def test_gradient_checkpointing(self, use_reentrant: bool) -> None:
        model, plain = adapted(), adapted()
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": use_reentrant})
        model.enable_input_require_grads()
        for one in (model, plain):
            train("llama", one, CotoBlocks(one, CONFIG).set_step)
        assert same(weights(model), weights(plain))

    @pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")  # dynamo looks at it
    def test_compiled_blocks_need_few_graphs(self) -> None:
        torch._dynamo.reset()
        graphs = []

        def counting_eager(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Any]:
            graphs.append(graph)
            return graph.forward

        model, plain = adapted(dropout=0.0), adapted(dropout=0.0)
        for block in model.get_base_model().model.layers:
            block.compile(backend=counting_eager)
        for pattern in range(1, 16):
            opened = tuple(bool(pattern >> i & 1) for i in range(4))
            dropping(model, opened)
            dropping(plain, opened)
            ours, theirs = tiny.gradients(model), tiny.gradients(plain)
            assert [grad is None for grad in ours.values()] == [grad is None for grad in theirs.values()]
        assert 2 <= len(graphs) <= 4


class TestCotoPeftModel:
    """PEFT's public calls in the middle of a step that drops blocks 1 and 3."""

    def test_disable_adapter(self) -> None:
        model = adapted(dropout=0.0)
        dropping(model)
        before = tiny.training_logits(model)
        with model.disable_adapter():
            assert torch.equal(tiny.training_logits(model), tiny.logits(MODELS["llama"]()))
        assert torch.equal(tiny.training_logits(model), before)
        assert any(gradient is None for gradient in tiny.gradients(model).values())

    def test_set_adapter(self) -> None:
        model, plain = with_other(adapted(dropout=0.0)), with_other(adapted(dropout=0.0))
        dropping(model)
        assert torch.equal(tiny.training_logits(model), tiny.training_logits(plain))  # "other" does not drop
        model.set_adapter("default")
        assert any(gradient is None for gradient in tiny.gradients(model).values())

    def test_only_the_own_adapter_of_several_active_ones_is_dropped(self) -> None:
        model, other = with_other(adapted(dropout=0.0)), with_other(adapted(dropout=0.0))
        model.base_model.set_adapter(["default", "other"])
        dropping(model, (False,) * 4)
        assert torch.equal(tiny.training_logits(model), tiny.training_logits(other))

    def test_mixed_batch(self) -> None:
        model, plain = adapted().eval(), adapted().eval()
        dropping(model)
        names = {"adapter_names": ["default", "__base__"]}
        assert torch.equal(model(tiny.TOKENS, **names).logits, plain(tiny.TOKENS, **names).logits)

    @pytest.mark.parametrize("safe_merge", [False, True])
    def test_merging_takes_the_whole_adapter(self, safe_merge: bool) -> None:
        model, plain = adapted(), adapted()
        dropping(model)
        for one in (model, plain):
            one.merge_adapter(safe_merge=safe_merge)
        assert torch.equal(tiny.logits(model), tiny.logits(plain))
        for one in (model, plain):
            one.unmerge_adapter()
        assert torch.equal(tiny.logits(model.eval()), tiny.logits(plain.eval()))
        assert same(
            model.merge_and_unload(safe_merge=safe_merge).state_dict(),
            plain.merge_and_unload(safe_merge=safe_merge).state_dict(),
        )

    @pytest.mark.parametrize("combination", ["linear", "cat", "svd", "ties"])
    def test_add_weighted_adapter(self, combination: str) -> None:
        found = []
        for coto in (True, False):
            model = with_other(adapted())
            if coto:
                dropping(model)
            model.add_weighted_adapter(["default", "other"], [0.5, 0.5], "both", combination_type=combination, density=0.5)
            model.set_adapter("both")
            found.append(weights(model))
            assert all("both" not in layer.lora_variant for layer in lora_layers(model))
        assert same(*found)

    def test_delete_adapter(self) -> None:
        model = with_other(adapted())
        dropping(model)
        model.delete_adapter("default")
        assert all(layer.coto_dropped == {} and layer.lora_variant == {} for layer in lora_layers(model))

    @pytest.mark.parametrize(
        "copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))], ids=["deepcopy", "pickle"]
    )
    def test_copies_have_switches_of_their_own(self, copied: Callable[[nn.Module], nn.Module]) -> None:
        model = adapted(dropout=0.0)
        blocks = dropping(model)
        twin, before = copied(model), tiny.training_logits(model)
        assert torch.equal(tiny.training_logits(twin), before)
        blocks.open([True] * 4)
        assert torch.equal(tiny.training_logits(twin), before)
        assert not torch.equal(tiny.training_logits(model), before)

    def test_saved_as_plain_lora(self, tmp_path: Path) -> None:
        model, plain = adapted(), adapted()
        dropping(model)
        model.save_pretrained(tmp_path / "coto")
        plain.save_pretrained(tmp_path / "plain")
        for name in ("adapter_model.safetensors", "adapter_config.json"):
            assert (tmp_path / "coto" / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()
        loaded = peft.PeftModel.from_pretrained(MODELS["llama"](), tmp_path / "coto")
        assert torch.equal(tiny.logits(loaded), tiny.logits(plain.eval()))

    def test_a_config_with_the_new_field_loads_in_todays_peft(self, tmp_path: Path) -> None:
        plain = adapted().eval()
        plain.save_pretrained(tmp_path)
        file = tmp_path / "adapter_config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), "coto_config": vars(CONFIG)}))
        with pytest.warns(UserWarning, match="Unexpected keyword arguments.*coto_config"):
            loaded = peft.PeftModel.from_pretrained(MODELS["llama"](), tmp_path)
        assert torch.equal(tiny.logits(loaded), tiny.logits(plain))

    @pytest.mark.parametrize(
        ("base", "config", "message"),
        [
            (tiny.llama(), tiny.lora(tiny.TARGETS, use_dora=True), "plain LoRA on linear layers only; .*q_proj"),
            (tiny.t5(), tiny.lora(["q", "relative_attention_bias"]), "on linear layers only; .*relative_attention_bias"),
            (tiny.llama(layers=1), tiny.lora(tiny.TARGETS), "at least 2 blocks, found .*layers.0"),
        ],
        ids=["DoRA", "embedding", "one block"],
    )
    def test_refusals(self, base: nn.Module, config: peft.LoraConfig, message: str) -> None:
        model = peft.get_peft_model(base, config)
        with pytest.raises(ValueError, match=message):
            CotoBlocks(model, CONFIG)
        assert not any(
            isinstance(variant, CotoLinearVariant) for layer in lora_layers(model) for variant in layer.lora_variant.values()
        )

    def test_a_layer_outside_of_blocks_stays_plain(self) -> None:
        model = peft.get_peft_model(MODELS["llama"](), tiny.lora([*tiny.TARGETS, "embed_tokens"]))
        blocks = CotoBlocks(model, CONFIG)
        plain = [layer for layer in lora_layers(model) if not layer.lora_variant]
        assert len(blocks.layers) == 4 and plain == [model.get_base_model().model.embed_tokens]

    def test_unknown_adapter(self) -> None:
        with pytest.raises(ValueError, match=r"adapter 'another' on at least 2 blocks, found \[\]"):
            CotoBlocks(adapted(), CONFIG, "another")


class OpenBetweenSteps(CotoCallback):
    def on_evaluate(self, args: Any, state: Any, control: Any, model: nn.Module, **kwargs: Any) -> None:
        assert not any(layer.coto_dropped["default"] for layer in lora_layers(model))


class TestCotoCallback:
    @staticmethod
    def train(folder: Path, callback: transformers.TrainerCallback, resume: str | None = None, **settings: Any) -> nn.Module:
        model = adapted()
        args = transformers.TrainingArguments(
            folder, max_steps=STEPS, per_device_train_batch_size=2, gradient_accumulation_steps=2, learning_rate=0.01,
            weight_decay=0.1, eval_strategy="steps", eval_steps=3, logging_strategy="no", report_to=[], disable_tqdm=True,
            use_cpu=True, save_strategy="steps", save_steps=3, seed=5, **settings,
        )  # fmt: skip
        rows = [{key: value[0] for key, value in batch("llama", i).items()} for i in range(14)]
        trainer = transformers.Trainer(model, args, train_dataset=rows, eval_dataset=rows[:4], callbacks=[callback])
        trainer.train(resume_from_checkpoint=resume)
        return model

    def test_equals_our_callback_and_resumes(self, tmp_path: Path) -> None:
        model = self.train(tmp_path / "peft", OpenBetweenSteps(CotoConfig(seed=5)))
        assert same(weights(model), weights(self.train(tmp_path / "lab", CoToCallback(seed=5))))
        resumed = self.train(tmp_path / "new", CotoCallback(CotoConfig(seed=5)), str(tmp_path / "peft/checkpoint-3"))
        assert same(weights(resumed), weights(model))
