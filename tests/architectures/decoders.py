"""Language models of transformers that generate: attention, mixtures of experts, state spaces and recurrence."""

from __future__ import annotations

import transformers
from torch import nn

from architectures.architecture import Architecture, numbered, within

SMALL = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_attention_heads": 2,
    "vocab_size": 32,
    "max_position_embeddings": 32,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def of(kind: str, layers: int, **settings: object) -> nn.Module:
    """The causal language model of a kind whose configuration has the usual names."""
    config = getattr(transformers, f"{kind}Config")(**SMALL | settings, num_hidden_layers=layers)
    return getattr(transformers, f"{kind}ForCausalLM")(config)


def deepseek_v3() -> nn.Module:
    """The first layer is dense; the others hold experts."""
    return of(
        "DeepseekV3", 3, num_key_value_heads=2, moe_intermediate_size=8, n_routed_experts=4, n_group=2, topk_group=1,
        num_experts_per_tok=2, kv_lora_rank=4, q_lora_rank=4, qk_rope_head_dim=4, qk_nope_head_dim=4, v_head_dim=8,
        first_k_dense_replace=1,
    )  # fmt: skip


def jamba() -> nn.Module:
    """Every second layer has attention and experts, the others a state space and an MLP."""
    return of(
        "Jamba", 4, num_key_value_heads=2, num_experts=2, attn_layer_period=2, attn_layer_offset=1, expert_layer_period=2,
        expert_layer_offset=1, mamba_d_state=4, mamba_dt_rank=4,
    )  # fmt: skip


def zamba2() -> nn.Module:
    """Every second layer has attention beside its state space; the attentions of layers 1 and 5 have the same weights."""
    return of(
        "Zamba2", 6, num_key_value_heads=2, mamba_d_state=4, mamba_expand=2, n_mamba_heads=2, mamba_headdim=16,
        mamba_ngroups=1, chunk_size=4, num_mem_blocks=2, hybrid_layer_ids=[1, 3, 5], adapter_rank=2,
        layers_block_type=["mamba", "hybrid"] * 3,
    )  # fmt: skip


def gpt2() -> nn.Module:
    config = transformers.GPT2Config(
        n_embd=16, n_layer=3, n_head=2, n_positions=16, vocab_size=32, bos_token_id=1, eos_token_id=2
    )
    return transformers.GPT2LMHeadModel(config)


def rwkv() -> nn.Module:
    config = transformers.RwkvConfig(
        vocab_size=32, hidden_size=16, num_hidden_layers=2, context_length=32, bos_token_id=1, eos_token_id=2
    )
    return transformers.RwkvForCausalLM(config)


def xlnet() -> nn.Module:
    config = transformers.XLNetConfig(
        vocab_size=32, d_model=16, n_layer=2, n_head=2, d_inner=24, pad_token_id=0, bos_token_id=1, eos_token_id=2
    )
    return transformers.XLNetForSequenceClassification(config)


DECODERS = (
    Architecture("Llama", lambda: of("Llama", 3, num_key_value_heads=2), "all-linear", numbered("model.layers", 3)),
    Architecture("Llama, one layer", lambda: of("Llama", 1, num_key_value_heads=2), "all-linear", ("model.layers.0",)),
    Architecture(
        "Mistral, 12 layers",
        lambda: of("Mistral", 12, num_key_value_heads=2),
        ("q_proj", "v_proj"),
        numbered("model.layers", 12),
    ),
    Architecture(
        "Qwen3",
        lambda: of("Qwen3", 2, num_key_value_heads=2, head_dim=8),
        ("q_proj", "o_proj", "down_proj", "lm_head"),
        numbered("model.layers", 2),
        outside=("lm_head",),
    ),
    Architecture(
        "Gemma 2",
        lambda: of("Gemma2", 2, num_key_value_heads=2, head_dim=8),
        "all-linear",
        numbered("model.layers", 2),
    ),
    Architecture(
        "Mixtral",
        lambda: of("Mixtral", 2, num_key_value_heads=2, num_local_experts=4),
        "all-linear",
        numbered("model.layers", 2),
    ),
    Architecture(
        "Qwen2-MoE",
        lambda: of(
            "Qwen2Moe", 2, num_key_value_heads=2, num_experts=4, moe_intermediate_size=8, shared_expert_intermediate_size=8
        ),
        "all-linear",
        numbered("model.layers", 2),
    ),
    Architecture("DeepSeek-V3", deepseek_v3, "all-linear", numbered("model.layers", 3)),
    Architecture(
        "GPT-2",
        gpt2,
        ("wte", "c_attn", "c_proj", "c_fc"),
        numbered("transformer.h", 3),
        outside=("transformer.wte",),
    ),
    Architecture(
        "GPT-NeoX",
        lambda: of("GPTNeoX", 2),
        "all-linear",
        numbered("gpt_neox.layers", 2),
    ),
    Architecture(
        "OPT",
        lambda: of("OPT", 2, ffn_dim=24, word_embed_proj_dim=8),
        "all-linear",
        numbered("model.decoder.layers", 2),
        outside=within("model.decoder", "project_out", "project_in"),
    ),
    Architecture("BLOOM", lambda: of("Bloom", 2, n_head=2), "all-linear", numbered("transformer.h", 2)),
    Architecture("Falcon", lambda: of("Falcon", 2), "all-linear", numbered("transformer.h", 2)),
    Architecture(
        "XLNet",
        xlnet,
        "all-linear",
        numbered("transformer.layer", 2),
        outside=("sequence_summary.summary", "logits_proj"),
    ),
    Architecture(
        "Mamba", lambda: of("Mamba", 3, state_size=4), ("in_proj", "x_proj", "dt_proj"), numbered("backbone.layers", 3)
    ),
    Architecture("Jamba", jamba, "all-linear", numbered("model.layers", 4)),
    Architecture("Zamba2", zamba2, "all-linear", numbered("model.layers", 6)),
    Architecture("RWKV", rwkv, ("key", "value", "receptance", "head"), numbered("rwkv.blocks", 2), outside=("head",)),
    Architecture(
        "RecurrentGemma",
        lambda: of("RecurrentGemma", 3, lru_width=16),
        "all-linear",
        numbered("model.layers", 3),
    ),
)
