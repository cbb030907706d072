"""Small configs of every method of PEFT, on its own and with its notable variants, and of those that gates refuse."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import peft
import tiny_models as tiny
import torch
from peft.tuners.lora.config import BdLoraConfig, CordaConfig, KasaConfig, LoraGAConfig, MontecloraConfig, VeloraConfig
from peft.tuners.lora.corda import preprocess_corda
from peft.tuners.lora.loraga import preprocess_loraga
from torch import nn

QV = tiny.TARGETS


def _config(cls: type, **settings: object) -> Callable[[], peft.PeftConfig]:
    return lambda: cls(**{"target_modules": QV, **settings})


def _cpt() -> peft.PeftConfig:
    return peft.CPTConfig(task_type="CAUSAL_LM", cpt_token_ids=[1, 2], cpt_mask=[1, 1], cpt_tokens_type_mask=[1, 2])


def _lora(**settings: object) -> Callable[[], peft.PeftConfig]:
    return _config(peft.LoraConfig, **{"r": 2, "lora_alpha": 4, **settings})


METHODS: dict[str, Callable[[], peft.PeftConfig]] = {
    # LoRA, its initialisations and its variants.
    "LoRA": _lora(),
    "rsLoRA": _lora(use_rslora=True),
    "LoRA, ranks by layer": _lora(rank_pattern={"q_proj": 3}, alpha_pattern={"q_proj": 5}),
    "LoRA, Gaussian": _lora(init_lora_weights="gaussian"),
    "LoRA, orthogonal": _lora(init_lora_weights="orthogonal"),
    "LoRA, lora_bias": _lora(lora_bias=True),
    "LoRA, bias=lora_only": _lora(bias="lora_only"),
    "LoRA, bias=all": _lora(bias="all"),
    "LoRA, target_parameters": _lora(target_modules=[], target_parameters=["q_proj.weight", "v_proj.weight"]),
    "LoRA, layer_replication": _lora(layer_replication=[(0, 2), (1, 3)]),
    "PiSSA": _lora(init_lora_weights="pissa"),
    "PiSSA, fast": _lora(init_lora_weights="pissa_niter_2"),
    "OLoRA": _lora(init_lora_weights="olora"),
    "MiCA": _lora(init_lora_weights="mica"),
    "EVA": _lora(init_lora_weights="eva", eva_config=peft.EvaConfig()),
    "CorDA": _lora(init_lora_weights="corda", corda_config=CordaConfig()),
    "LoRA-GA": _lora(init_lora_weights="lora_ga", lora_ga_config=LoraGAConfig()),
    "DoRA": _lora(use_dora=True),
    "aLoRA": _lora(alora_invocation_tokens=[2, 3], task_type="CAUSAL_LM"),
    "KaSA": _lora(kasa_config=KasaConfig()),
    "VeLoRA": _lora(velora_config=VeloraConfig(num_groups=4)),
    "MonteCLoRA": _lora(monteclora_config=MontecloraConfig()),
    "BD-LoRA": _lora(use_bdlora=BdLoraConfig(target_modules_bd_b=QV, nblocks=2)),
    # The other methods.
    "AdaMSS": _config(peft.AdamssConfig, r=4, num_subspaces=2),
    "BEFT": _config(peft.BeftConfig),
    "BOFT": _config(peft.BOFTConfig, boft_block_size=4),
    "C3A": _config(peft.C3AConfig, block_size=4),
    "DEFT": _config(peft.DeftConfig, r=2),
    "DEFT, QR": _config(peft.DeftConfig, r=2, decomposition_method="qr"),
    "DEFT, PaRa": _config(peft.DeftConfig, r=2, para=True),
    "DeLoRA": _config(peft.DeloraConfig, r=2),
    "FourierFT": _config(peft.FourierFTConfig, n_frequency=8),
    "FRoD": _config(peft.FrodConfig, progressbar=False),
    "GLoRA": _config(peft.GloraConfig, r=2),
    "GLoRA, vectors": _config(peft.GloraConfig, r=2, config_A_B="vector", config_C="vector", config_D_E="vector"),
    "GraLoRA": _config(peft.GraloraConfig, r=4),
    "GraLoRA, hybrid": _config(peft.GraloraConfig, r=4, hybrid_r=2),
    "HiRA": _config(peft.HiraConfig, r=2),
    "HRA": _config(peft.HRAConfig, r=2),
    "HRA, Gram-Schmidt": _config(peft.HRAConfig, r=2, apply_GS=True),
    "IA3": _config(peft.IA3Config, feedforward_modules=[]),
    "IA3, feed-forward": _config(peft.IA3Config, target_modules=["v_proj", "down_proj"], feedforward_modules=["down_proj"]),
    "Lily": _config(peft.LilyConfig, r=2),
    "LN tuning": _config(peft.LNTuningConfig, target_modules=["input_layernorm", "post_attention_layernorm"]),
    "LoHa": _config(peft.LoHaConfig, r=2),
    "LoKr": _config(peft.LoKrConfig, r=2),
    "LoKr, both decomposed": _config(peft.LoKrConfig, r=2, decompose_both=True, decompose_factor=4),
    "MiSS": _config(peft.MissConfig, r=2),
    "MiSS, Bat": _config(peft.MissConfig, r=2, init_weights="bat"),
    "MiSS, mini": _config(peft.MissConfig, r=4, mini_r=2, init_weights="mini"),
    "OFT": _config(peft.OFTConfig, r=4, oft_block_size=0),
    "OFT, constrained": _config(peft.OFTConfig, r=4, oft_block_size=0, coft=True, block_share=True),
    "OSF": _config(peft.OSFConfig, effective_rank=4),
    "PEANuT": _config(peft.PeanutConfig, r=4, depth=2),
    "Poly": _config(peft.PolyConfig, r=2, n_skills=2, task_type="CAUSAL_LM"),
    "PSOFT": _config(peft.PsoftConfig, r=4),
    "PVeRA": _config(peft.PveraConfig, r=2),
    "RandLoRA": _config(peft.RandLoraConfig, r=2),
    "RoAd": _config(peft.RoadConfig, group_size=4),
    "RoAd 2": _config(peft.RoadConfig, variant="road_2", group_size=4),
    "RoAd 4": _config(peft.RoadConfig, variant="road_4", group_size=4),
    "SHiRA": _config(peft.ShiraConfig, r=2),
    "Super-Tuning": _config(peft.SupertuningConfig, sparsity=0.9),
    "Super-Tuning, Supra": _config(peft.SupertuningConfig, sparsity=0.9, r=2, lora_alpha=4),
    "TinyLoRA": _config(peft.TinyLoraConfig),
    "TinyLoRA, tied": _config(peft.TinyLoraConfig, weight_tying=1.0),
    "UniLoRA": _config(peft.UniLoraConfig, r=2),
    "VBLoRA": _config(peft.VBLoRAConfig, r=2, num_vectors=8, vector_length=4),
    "VeRA": _config(peft.VeraConfig, r=2),
    "WaveFT": _config(peft.WaveFTConfig, n_frequency=8),
}

# With the adapter left out, these compute another function than the model they were put on.
NEW_BASE = {
    "PiSSA": "part of the base weight moved into the adapter",
    "PiSSA, fast": "as PiSSA",
    "OLoRA": "as PiSSA",
    "CorDA": "as PiSSA",
    "LoRA-GA": "as PiSSA",
    "KaSA": "the smallest singular values of the base weight are cut off",
    "LoRA, bias=lora_only": "the base layer's own bias trains",
    "LoRA, bias=all": "the base layer's own bias trains",
    "LoRA, layer_replication": "the model has another number of layers",
}

# `attach_gates` warns, with these words.
WARNED = {
    **dict.fromkeys(("PiSSA", "PiSSA, fast", "OLoRA", "CorDA", "LoRA-GA"), "rewrites the base weights"),
    **dict.fromkeys(("Lily", "TinyLoRA", "TinyLoRA, tied", "UniLoRA", "VBLoRA"), "share the trainable parameter"),
    **dict.fromkeys(("LoRA, bias=lora_only", "LoRA, bias=all"), "bias"),
    "MonteCLoRA": "is MonteCLoRA, whose own loss",
    "KaSA": "rewrites the base weights|is KaSA, whose own loss",
}

# All that trains is shared by all blocks, so that dropping one stops no parameter.
ALL_SHARED = {"TinyLoRA, tied", "UniLoRA"}

# PEFT runs these with one active adapter only.
ONE_ADAPTER = {
    "LoRA, bias=lora_only": "PEFT refuses a second adapter beside trained biases",
    "LoRA, bias=all": "as above",
    "LN tuning": "PEFT refuses two active adapters",
    "CorDA": "PEFT's preparation serves one adapter",
    "OSF": "PEFT uses the first active adapter and ignores the rest",
}

# Methods without adapter layers that a gate could shut, each with the words of the refusal.
_PROMPT = {"num_virtual_tokens": 3, "task_type": "CAUSAL_LM"}
REFUSED: dict[str, tuple[Callable[[], peft.PeftConfig], str]] = {
    "prompt tuning": (lambda: peft.PromptTuningConfig(**_PROMPT), "PROMPT_TUNING"),
    "multitask prompt tuning": (lambda: peft.MultitaskPromptTuningConfig(**_PROMPT), "MULTITASK_PROMPT_TUNING"),
    "P-tuning": (lambda: peft.PromptEncoderConfig(**_PROMPT), "P_TUNING"),
    "prefix tuning": (lambda: peft.PrefixTuningConfig(**_PROMPT), "PREFIX_TUNING"),
    "Cartridge": (lambda: peft.CartridgeConfig(**_PROMPT), "CARTRIDGE"),
    "CPT": (_cpt, "CPT"),
    "adaption prompt": (
        lambda: peft.AdaptionPromptConfig(adapter_len=2, adapter_layers=2, task_type="CAUSAL_LM"),
        "ADAPTION_PROMPT",
    ),
    "trainable tokens": (lambda: peft.TrainableTokensConfig(token_indices=[1, 2]), "TRAINABLE_TOKENS"),
    "AdaLoRA": (_config(peft.AdaLoraConfig, init_r=3, target_r=2, total_step=10), "AdaLoRA"),
    "Shadow": (lambda: peft.ShadowConfig(r=2, shadow_num_hidden_layers=1, task_type="CAUSAL_LM"), "Shadow"),
}

# What LoRA can be asked for, but not here. bitsandbytes: LoftQ quantises with it. GPTQ: `use_qalora` is ignored on any
# other layer. Arrow and X-LoRA load trained adapters from a folder: tests/gating/test_every_method.py tries them apart.
NOT_ON_THIS_LLAMA = {"loftq": "bitsandbytes", "use_qalora": "GPTQ", "arrow_config": "apart", "XLORA": "apart"}


def base() -> nn.Module:
    """The tiny Llama that the adapters are put on: its attention has biases, none of them zero."""
    return tiny.randomise(tiny.llama(attention_bias=True)).eval()


def model_of(method: str, adapter_name: str = "default") -> peft.PeftModel:
    """That Llama with an adapter of ``method`` (a key of `METHODS`), randomised; the same one at each call."""
    model, config = base(), METHODS[method]()
    with warnings.catch_warnings():  # what PEFT says of a config is no matter of gates
        warnings.simplefilter("ignore")
        if method == "CorDA":  # it starts from what the layers' inputs are ...
            preprocess_corda(model, config, run_model=lambda: model(tiny.TOKENS[:1]))
        if method == "LoRA-GA":  # ... and this one from the base weights' gradients
            preprocess_loraga(model, config, train_step=lambda: _forward(method, model).loss.backward())
        return tiny.randomise(peft.get_peft_model(model, config, adapter_name)).eval()


def two_adapters(method: str) -> peft.PeftModel:
    """The same with two active adapters on every layer, both randomised: "frozen", and "task", which trains."""
    model = model_of(method, "frozen")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.add_adapter("task", METHODS[method]())
    model.set_adapter("task")
    tiny.randomise(model, seed=1)
    model.base_model.set_adapter(["frozen", "task"])
    model.set_requires_grad("frozen", False)
    return model.eval()


def logits(method: str, model: nn.Module) -> torch.Tensor:
    """The output with gradients enabled, in whatever mode the model is, with the same random draws at each call."""
    return _forward(method, model).logits.detach()


def gradients(method: str, model: nn.Module) -> dict[str, torch.Tensor | None]:
    """The gradient of every trainable parameter after one backward pass in training mode."""
    model.train()
    model.zero_grad()
    _forward(method, model).loss.backward()
    return {name: parameter.grad for name, parameter in model.named_parameters() if parameter.requires_grad}


def _forward(method: str, model: nn.Module):
    inputs = {"task_ids": torch.tensor([0, 0])} if method == "Poly" else {}
    with torch.random.fork_rng(devices=[]):  # Poly, PVeRA and MonteCLoRA draw in training
        torch.manual_seed(0)
        return model(input_ids=tiny.TOKENS, labels=tiny.TOKENS, **inputs)
