"""The UNet of the first Stable Diffusion (CompVis, latent-diffusion): lists of Sequentials that hold one block or several."""

from __future__ import annotations

from torch import nn

from architectures.architecture import Architecture, within
from architectures.skeleton import Attention, D, FeedForward, Model, Whole, conv, linear


class TimestepEmbedSequential(nn.Sequential): ...


class ResBlock(Whole): ...


class GEGLU(Whole): ...


class BasicTransformerBlock(Whole): ...


class SpatialTransformer(Whole): ...


class Downsample(Whole): ...


class Upsample(Whole): ...


def res_block() -> nn.Module:
    return ResBlock(
        in_layers=nn.Sequential(nn.GroupNorm(2, D), nn.SiLU(), conv()),
        emb_layers=nn.Sequential(nn.SiLU(), linear()),
        out_layers=nn.Sequential(nn.GroupNorm(2, D), nn.SiLU(), nn.Dropout(0.0), conv()),
    )


def spatial_transformer() -> nn.Module:
    def attention() -> nn.Module:
        return Attention(to_q=linear(), to_k=linear(), to_v=linear(), to_out=nn.Sequential(linear(), nn.Dropout(0.0)))

    feed_forward = FeedForward(net=nn.Sequential(GEGLU(proj=linear()), nn.Dropout(0.0), linear()))
    block = BasicTransformerBlock(attn1=attention(), ff=feed_forward, attn2=attention(), norm1=nn.LayerNorm(D))
    return SpatialTransformer(
        norm=nn.GroupNorm(2, D), proj_in=conv(), transformer_blocks=nn.ModuleList([block]), proj_out=conv()
    )


def unet() -> nn.Module:
    step = TimestepEmbedSequential
    return Model(
        time_embed=nn.Sequential(linear(), nn.SiLU(), linear()),
        input_blocks=nn.ModuleList(
            [step(conv()), step(res_block(), spatial_transformer()), step(Downsample(op=conv())), step(res_block())]
        ),
        middle_block=step(res_block(), spatial_transformer(), res_block()),
        output_blocks=nn.ModuleList(
            [
                step(res_block()),
                step(res_block(), Upsample(conv=conv())),
                *(step(res_block(), spatial_transformer()) for _ in "ab"),
            ]
        ),
        out=nn.Sequential(nn.GroupNorm(2, D), nn.SiLU(), conv()),
    )


def around(attention: str) -> tuple[str, ...]:
    """A spatial transformer's projections before and after its blocks."""
    return within(attention, "proj_in", "proj_out")


COMPVIS = Architecture(
    "UNet (CompVis)",
    unet,
    r".*(to_[qkv]|to_out\.0|net\.0\.proj|net\.2|proj_(in|out)|in_layers\.2|emb_layers\.1|out_layers\.3)"
    r"|time_embed\.[02]|input_blocks\.0\.0|.*\.(op|conv)|out\.2",
    (
        *within("input_blocks", "1.0", "1.1.transformer_blocks.0", "3.0"),
        *within("middle_block", "0", "1.transformer_blocks.0", "2"),
        *within("output_blocks", "0.0", "1.0", "2.0", "2.1.transformer_blocks.0", "3.0", "3.1.transformer_blocks.0"),
    ),
    towers=(3, 3, 6),
    outside=(
        *within("time_embed", "0", "2"),
        "input_blocks.0.0",
        *around("input_blocks.1.1"),
        "input_blocks.2.0.op",
        *around("middle_block.1"),
        "output_blocks.1.1.conv",
        *around("output_blocks.2.1"),
        *around("output_blocks.3.1"),
        "out.2",
    ),
)
