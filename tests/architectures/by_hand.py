"""The ways in which models written by hand name and nest their blocks.

They are skeletons: names, nesting and classes are those of the originals, and none has a ``forward``.
"""

from __future__ import annotations

from collections import OrderedDict

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
    chained,
    conv,
    linear,
    listed,
    plain_block,
)

# nanoGPT and its like


def nano_gpt(layers: int) -> nn.Module:
    def block() -> nn.Module:
        return Block(
            ln_1=nn.LayerNorm(D), attn=Attention(c_attn=linear(), c_proj=linear()), mlp=MLP(c_fc=linear(), c_proj=linear())
        )

    parts = {"wte": nn.Embedding(32, D), "wpe": nn.Embedding(32, D), "h": listed(block, layers), "ln_f": nn.LayerNorm(D)}
    return Model(transformer=nn.ModuleDict(parts), lm_head=linear())


class Head(Whole): ...


class MultiHeadAttention(Whole): ...


def lecture_gpt() -> nn.Module:
    def block() -> nn.Module:
        heads = listed(lambda: Head(key=linear(), query=linear(), value=linear()), 4)
        net = nn.Sequential(linear(), nn.ReLU(), linear(), nn.Dropout(0.1))
        return Block(sa=MultiHeadAttention(heads=heads, proj=linear()), ffwd=FeedForward(net=net), ln1=nn.LayerNorm(D))

    return Model(token_embedding_table=nn.Embedding(32, D), blocks=chained(block, 3), lm_head=linear())


class Expert(Whole): ...


def mixture() -> nn.Module:
    def block() -> nn.Module:
        experts = listed(lambda: Expert(w1=linear(), w2=linear()), 4)
        return Block(attn=Attention(qkv=linear()), moe=MLP(gate=linear(), experts=experts))

    return Model(embed=nn.Embedding(32, D), blocks=listed(block, 2), head=linear())


# Several towers, and none


class ResidualAttentionBlock(Whole): ...


class Transformer(Whole): ...


def open_clip() -> nn.Module:
    def block() -> nn.Module:
        mlp = nn.Sequential(OrderedDict(c_fc=linear(), gelu=nn.GELU(), c_proj=linear()))
        return ResidualAttentionBlock(ln_1=nn.LayerNorm(D), attn=nn.MultiheadAttention(D, 2), mlp=mlp)

    visual = Model(conv1=conv(), transformer=Transformer(resblocks=listed(block, 3)))
    return Model(visual=visual, transformer=Transformer(resblocks=listed(block, 2)), token_embedding=nn.Embedding(32, D))


def two_towers() -> nn.Module:
    return nn.ModuleList(Encoder(layers=listed(plain_block, n)) for n in (2, 3))


def projector() -> nn.Module:
    decoder = Model(layers=listed(plain_block, 2), mm_projector=nn.Sequential(linear(), nn.GELU(), linear()))
    return Model(model=decoder, lm_head=linear())


def numbered_attributes() -> nn.Module:
    return Model(embed=linear(), block1=plain_block(), block2=plain_block(), block3=plain_block(), fc=linear())


def bare_stages() -> nn.Module:
    def stage(depth: int) -> nn.Module:
        return chained(lambda: Block(attn=linear(), mlp=nn.Sequential(linear(), nn.GELU(), linear())), depth)

    return nn.Sequential(nn.Identity(), stage(2), nn.Identity(), stage(3))


def plain_mlp() -> nn.Module:
    return nn.Sequential(linear(), nn.ReLU(), linear(), nn.ReLU(), linear())


BY_HAND = (
    Architecture(
        "nanoGPT",
        lambda: nano_gpt(3),
        ("c_attn", "c_fc", "c_proj", "lm_head"),
        numbered("transformer.h", 3),
        outside=("lm_head",),
    ),
    Architecture("nanoGPT, one layer", lambda: nano_gpt(1), ("c_attn", "c_fc", "c_proj"), ("transformer.h.0",)),
    Architecture(
        "GPT (a lecture of Karpathy)",
        lecture_gpt,
        r".*(key|query|value|proj|net\.[02]|lm_head)",
        numbered("blocks", 3),
        outside=("lm_head",),
    ),
    Architecture("mixture of experts", mixture, ("qkv", "gate", "w1", "w2", "head"), numbered("blocks", 2), outside=("head",)),
    Architecture(
        "CLIP (open_clip)",
        open_clip,
        ("attn", "c_fc", "c_proj", "conv1"),
        (*numbered("visual.transformer.resblocks", 3), *numbered("transformer.resblocks", 2)),
        outside=("visual.conv1",),
        towers=(3, 2),
    ),
    Architecture(
        "two towers in a list",
        two_towers,
        ("qkv", "proj", "fc1", "fc2"),
        (*numbered("0.layers", 2), *numbered("1.layers", 3)),
        towers=(2, 3),
    ),
    Architecture(
        "a projector in a Sequential",
        projector,
        r".*(qkv|proj|fc\d|mm_projector\.[02]|lm_head)",
        numbered("model.layers", 2),
        outside=(*within("model.mm_projector", "0", "2"), "lm_head"),
    ),
    Architecture("blocks in a Sequential", lambda: chained(plain_block, 3), ("qkv", "proj", "fc1", "fc2"), ("0", "1", "2")),
    Architecture(
        "blocks as attributes",
        numbered_attributes,
        ("embed", "qkv", "proj", "fc1", "fc2", "fc"),
        ("block1", "block2", "block3"),
        outside=("embed", "fc"),
    ),
    Architecture("bare blocks in stages", bare_stages, r".*(attn|mlp\.[02])", (*numbered("1", 2), *numbered("3", 3))),
    Architecture("MLP", plain_mlp, ("0", "2", "4"), ("0", "2", "4")),
    Architecture(
        "Transformer (torch)",
        lambda: nn.Transformer(D, 2, 2, 3, D),
        ("self_attn", "multihead_attn", "linear1", "linear2"),
        (*numbered("encoder.layers", 2), *numbered("decoder.layers", 3)),
        towers=(2, 3),
    ),
)
