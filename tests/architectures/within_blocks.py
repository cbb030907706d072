"""Models whose blocks hold lists of their own, stages whose blocks differ a little, and towers that are no attributes."""

from __future__ import annotations

import transformers
from torch import nn

from architectures.architecture import Architecture, numbered, within
from architectures.skeleton import (
    MLP,
    Attention,
    Block,
    D,
    Encoder,
    FeedForward,
    Model,
    Whole,
    conv,
    linear,
    listed,
    plain_block,
)


class NormedExpert(Whole): ...


class NormedHead(Whole): ...


class PatchMerger(Whole): ...


class Residual(Whole): ...


def normed_experts() -> nn.Module:
    def block() -> nn.Module:
        experts = listed(lambda: NormedExpert(norm=nn.LayerNorm(D), w1=linear(), w2=linear()), 4)
        return Block(norm1=nn.LayerNorm(D), attn=Attention(qkv=linear(), proj=linear()), experts=experts)

    return Model(blocks=listed(block, 2), head=linear())


def normed_heads() -> nn.Module:
    def block() -> nn.Module:
        heads = listed(lambda: NormedHead(q=linear(), k=linear(), q_norm=nn.LayerNorm(D)), 2)
        return Block(ln=nn.LayerNorm(D), attn=Attention(heads=heads, proj=linear()), mlp=MLP(fc1=linear(), fc2=linear()))

    return Model(blocks=listed(block, 3))


def macaron() -> nn.Module:
    def block() -> nn.Module:
        halves = listed(lambda: FeedForward(norm=nn.LayerNorm(D), fc1=linear(), fc2=linear()), 2)
        return Block(ffs=halves, norm=nn.LayerNorm(D), attn=Attention(qkv=linear(), proj=linear()))

    return Model(layers=listed(block, 3))


def mergers() -> nn.Module:
    merger = lambda: PatchMerger(norm=nn.LayerNorm(D), fc1=linear(), fc2=linear())  # noqa: E731
    return Model(visual=Model(blocks=listed(plain_block, 3), deepstack_merger_list=listed(merger, 2), merger=merger()))


def residual_stages() -> nn.Module:
    def block(**more: nn.Module) -> nn.Module:
        return Residual(c1=conv(), n1=nn.BatchNorm2d(D), c2=conv(), n2=nn.BatchNorm2d(D), **more)

    stages = [nn.Sequential(block(short=nn.Sequential(conv(), nn.BatchNorm2d(D))), block()) for _ in range(3)]
    return Model(stem=conv(), stages=nn.ModuleList(stages), fc=linear())


def encoders() -> nn.Module:
    towers = {name: Encoder(layers=listed(plain_block, 2)) for name in ("audio", "text")}
    return Model(encoders=nn.ModuleDict(towers | {"video": nn.Sequential(plain_block(), plain_block())}), head=linear())


def two_lists() -> nn.Module:
    return Model(text_layers=listed(plain_block, 2), image_layers=listed(plain_block, 3))


def nested_towers() -> nn.Module:
    clip = Model(text=Encoder(layers=listed(plain_block, 2)), vision=Encoder(layers=listed(plain_block, 3)))
    return Model(clip=clip, captioner=Encoder(layers=listed(plain_block, 2)))


def mobilebert() -> nn.Module:
    config = transformers.MobileBertConfig(
        hidden_size=16, embedding_size=16, intra_bottleneck_size=8, intermediate_size=16, num_hidden_layers=2,
        num_attention_heads=2, num_feedforward_networks=2, vocab_size=32, max_position_embeddings=16,
    )  # fmt: skip
    return transformers.MobileBertForSequenceClassification(config)


def mllama_text() -> nn.Module:
    config = transformers.MllamaConfig().text_config.__class__(
        hidden_size=16, intermediate_size=32, num_hidden_layers=5, num_attention_heads=2, num_key_value_heads=2, vocab_size=64,
        cross_attention_layers=[1, 3], pad_token_id=0, bos_token_id=1, eos_token_id=2,
        rope_parameters={"rope_type": "default", "rope_theta": 1e4},
    )  # fmt: skip
    return transformers.MllamaForCausalLM(config)


QKV = ("qkv", "proj", "fc1", "fc2")

WITHIN_BLOCKS = (
    Architecture("MobileBERT", mobilebert, "all-linear", numbered("mobilebert.encoder.layer", 2), outside=(
        "mobilebert.embeddings.embedding_transformation", "mobilebert.pooler.dense", "classifier",
    )),
    Architecture(
        "Llama 3.2 Vision, text", mllama_text, ("q_proj", "v_proj"), numbered("model.layers", 5), tower_of=(0, 1, 0, 1, 0)
    ),
    Architecture(
        "experts with a norm of their own", normed_experts, (*QKV, "w1", "w2", "head"), numbered("blocks", 2), outside=("head",)
    ),
    Architecture("heads with a norm of their own", normed_heads, ("q", "k", "proj", "fc1", "fc2"), numbered("blocks", 3)),
    Architecture("feed-forward layers on both sides", macaron, QKV, numbered("layers", 3)),
    Architecture("mergers in a list", mergers, QKV, numbered("visual.blocks", 3), outside=(
        *within("visual.deepstack_merger_list", "0.fc1", "0.fc2", "1.fc1", "1.fc2"), *within("visual.merger", "fc1", "fc2"),
    )),
    Architecture(
        "ResNet, two blocks a stage", residual_stages, r".*(c1|c2|short\.0|stem|fc)",
        tuple(f"stages.{i}.{j}" for i in range(3) for j in range(2)), outside=("stem", "fc"),
    ),
    Architecture(
        "encoders in a dictionary", encoders, (*QKV, "head"),
        (*numbered("encoders.audio.layers", 2), *numbered("encoders.text.layers", 2), *numbered("encoders.video", 2)),
        outside=("head",), towers=(2, 2, 2),
    ),
    Architecture(
        "two lists of blocks", two_lists, QKV, (*numbered("text_layers", 2), *numbered("image_layers", 3)), towers=(2, 3)
    ),
    Architecture(
        "towers in a tower", nested_towers, QKV,
        (*numbered("clip.text.layers", 2), *numbered("clip.vision.layers", 3), *numbered("captioner.layers", 2)),
        towers=(2, 3, 2),
    ),
)  # fmt: skip
