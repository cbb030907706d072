"""Tiny real models with random weights, and real PEFT adapters on them, randomised so that open differs from closed."""

from __future__ import annotations

from collections.abc import Callable

import peft
import torch
import transformers
from torch import Tensor, nn

from coto_lab import attach_gates

METHODS = ("LoRA", "DoRA", "HiRA", "LoHa", "LoKr", "OFT", "VeRA", "IA3")
TARGETS = ["q_proj", "v_proj"]
TOKENS = torch.arange(12).reshape(2, 6)


def llama(layers: int = 3, **settings: object) -> nn.Module:
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=2,
        vocab_size=32,
        max_position_embeddings=32,
        use_cache=False,  # a cache knows its layers by number: torch.compile would make a graph for each
        **settings,
    )
    return transformers.LlamaForCausalLM(config)


def vit(layers: int = 3) -> nn.Module:
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=layers,
        num_attention_heads=2,
        image_size=8,
        patch_size=4,
        num_channels=1,
        num_labels=3,
    )
    return transformers.ViTForImageClassification(config)


def t5(encoder: int = 2, decoder: int = 3) -> nn.Module:
    torch.manual_seed(0)
    config = transformers.T5Config(
        d_model=16,
        d_kv=8,
        d_ff=24,
        num_layers=encoder,
        num_decoder_layers=decoder,
        num_heads=2,
        vocab_size=32,
        decoder_start_token_id=0,
    )
    return transformers.T5ForConditionalGeneration(config)


def bert(layers: int = 3) -> nn.Module:
    torch.manual_seed(0)
    config = transformers.BertConfig(
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=layers,
        num_attention_heads=2,
        vocab_size=32,
        max_position_embeddings=16,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        num_labels=3,
    )
    return transformers.BertForSequenceClassification(config)


def gpt2(layers: int = 2) -> nn.Module:
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        n_embd=16, n_layer=layers, n_head=2, n_positions=16, vocab_size=32, bos_token_id=0, eos_token_id=0
    )
    return transformers.GPT2LMHeadModel(config)


def swin(depths: tuple[int, ...] = (1, 2)) -> nn.Module:
    torch.manual_seed(0)
    config = transformers.SwinConfig(
        image_size=16,
        patch_size=2,
        num_channels=1,
        embed_dim=8,
        depths=list(depths),
        num_heads=[2] * len(depths),
        window_size=2,
    )
    return transformers.SwinModel(config)


def config_of(method: str, targets: object = None, **settings: object) -> peft.PeftConfig:
    """A small config of a PEFT method (a key of `METHODS`)."""
    make: dict[str, Callable[..., peft.PeftConfig]] = {
        "LoRA": lambda **k: peft.LoraConfig(r=2, lora_alpha=4, **k),
        "DoRA": lambda **k: peft.LoraConfig(r=2, lora_alpha=4, use_dora=True, **k),
        "HiRA": lambda **k: peft.HiraConfig(r=2, **k),
        "LoHa": lambda **k: peft.LoHaConfig(r=2, alpha=4, **k),
        "LoKr": lambda **k: peft.LoKrConfig(r=2, alpha=4, **k),
        "OFT": lambda **k: peft.OFTConfig(r=4, oft_block_size=0, **k),
        "VeRA": lambda **k: peft.VeraConfig(r=2, save_projection=True, **k),
        "IA3": lambda **k: peft.IA3Config(feedforward_modules=[], **k),
    }
    return make[method](target_modules=TARGETS if targets is None else targets, **settings)


def lora(targets: object, **settings: object) -> peft.LoraConfig:
    """A LoRA of rank 2."""
    return peft.LoraConfig(r=2, target_modules=targets, **settings)


def grouped(model: nn.Module, by: object = "block") -> dict[str, list[str]]:
    """Gate name -> its modules, without the gate's prefix."""
    gates = attach_gates(model, by=by)
    pairs = zip(gates.modules, gates.gate_of_module.tolist(), strict=True)
    groups: dict[str, list[str]] = {name: [] for name in gates.names}
    for module, index in pairs:
        groups[gates.names[index]].append(module.removeprefix(f"{gates.names[index]}."))
    return groups


def randomise(model: nn.Module, seed: int = 0) -> nn.Module:
    """Move every trainable parameter off its start, where most adapters compute nothing."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator) / 4)
    return model


def wrap(model: nn.Module, config: peft.PeftConfig) -> peft.PeftModel:
    """``get_peft_model`` in evaluation mode, randomised."""
    return randomise(peft.get_peft_model(model, config)).eval()


def adapted(method: str = "LoRA", model: nn.Module | None = None, **settings: object) -> peft.PeftModel:
    """A tiny model (Llama unless told) with a randomised adapter of ``method``, in evaluation mode."""
    return wrap(llama() if model is None else model, config_of(method, **settings))


def logits(model: nn.Module, tokens: Tensor = TOKENS) -> Tensor:
    """The model's output, in whatever mode it is, without gradients."""
    with torch.no_grad():
        return model(tokens).logits


def training_logits(model: nn.Module, tokens: Tensor = TOKENS) -> Tensor:
    """The model's output in a forward pass as a training makes it: in training mode and with gradients."""
    return model.train()(tokens).logits.detach()


def gradients(model: nn.Module, tokens: Tensor = TOKENS) -> dict[str, Tensor | None]:
    """The gradient of every trainable parameter after one backward pass in training mode."""
    model.train()
    model.zero_grad()
    model(input_ids=tokens, labels=tokens).loss.backward()
    return {name: parameter.grad for name, parameter in model.named_parameters() if parameter.requires_grad}
