"""Denoisers of diffusers: a UNet and transformers."""

from __future__ import annotations

import diffusers
from torch import nn

from architectures.architecture import Architecture, numbered, within

HEADS = {"num_attention_heads": 2, "attention_head_dim": 8, "in_channels": 4, "num_layers": 2, "patch_size": 2}
EVERY_LINEAR = (
    r"(.*\.)?(to_[qkv]|to_out\.0|to_add_out|add_[qkv]_proj|net\.2|proj|proj_(out|mlp)|proj_out_\d|linear|linear_\d"
    r"|context_embedder|x_embedder)"
)
TIME_AND_TEXT = within(
    "time_text_embed",
    "timestep_embedder.linear_1", "timestep_embedder.linear_2", "text_embedder.linear_1", "text_embedder.linear_2",
)  # fmt: skip


def unet() -> nn.Module:
    return diffusers.UNet2DConditionModel(
        sample_size=8, block_out_channels=(8, 16), layers_per_block=1, transformer_layers_per_block=2, cross_attention_dim=8,
        attention_head_dim=4, norm_num_groups=4, down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    )  # fmt: skip


def dit() -> nn.Module:
    return diffusers.DiTTransformer2DModel(**HEADS, sample_size=8, num_embeds_ada_norm=4)


def pixart() -> nn.Module:
    return diffusers.PixArtTransformer2DModel(
        **HEADS, out_channels=8, sample_size=8, cross_attention_dim=16, caption_channels=8
    )


def sd3() -> nn.Module:
    return diffusers.SD3Transformer2DModel(
        **HEADS, sample_size=8, joint_attention_dim=16, caption_projection_dim=16, pooled_projection_dim=8, out_channels=4,
        pos_embed_max_size=8,
    )  # fmt: skip


def flux() -> nn.Module:
    return diffusers.FluxTransformer2DModel(
        **HEADS | {"patch_size": 1}, num_single_layers=3, joint_attention_dim=16, pooled_projection_dim=8,
        axes_dims_rope=(2, 2, 4),
    )  # fmt: skip


def with_attention(part: str, attentions: int, resnets: int) -> tuple[str, ...]:
    """The blocks of a part of the UNet: two in every attention, and the ResNet blocks."""
    attention = (name for i in range(attentions) for name in numbered(f"{part}.attentions.{i}.transformer_blocks", 2))
    return (*attention, *numbered(f"{part}.resnets", resnets))


def around(attention: str) -> tuple[str, ...]:
    """A spatial transformer's projections before and after its blocks."""
    return within(attention, "proj_in", "proj_out")


DIFFUSION = (
    Architecture(
        "UNet (Stable Diffusion)",
        unet,
        r".*(to_(q|k|v|out\.0)|ff\.net\.(0\.proj|2)|proj_in|proj_out|conv\d?|conv_(in|out|shortcut)|time_emb_proj|linear_\d)",
        # The model registers its middle last.
        (
            *with_attention("down_blocks.0", attentions=1, resnets=1),
            *numbered("down_blocks.1.resnets", 1),
            *numbered("up_blocks.0.resnets", 2),
            *with_attention("up_blocks.1", attentions=2, resnets=2),
            *with_attention("mid_block", attentions=1, resnets=2),
        ),
        towers=(4, 8, 2, 2),
        outside=(
            *("conv_in", "time_embedding.linear_1", "time_embedding.linear_2"),
            *around("down_blocks.0.attentions.0"),
            "down_blocks.0.downsamplers.0.conv",
            "up_blocks.0.upsamplers.0.conv",
            *around("up_blocks.1.attentions.0"),
            *around("up_blocks.1.attentions.1"),
            *around("mid_block.attentions.0"),
            "conv_out",
        ),
    ),
    Architecture(
        "DiT",
        dit,
        EVERY_LINEAR,
        numbered("transformer_blocks", 2),
        outside=("pos_embed.proj", "proj_out_1", "proj_out_2"),
    ),
    Architecture(
        "PixArt",
        pixart,
        EVERY_LINEAR,
        numbered("transformer_blocks", 2),
        outside=(
            *("pos_embed.proj", "proj_out"),
            *within("adaln_single", "emb.timestep_embedder.linear_1", "emb.timestep_embedder.linear_2", "linear"),
            *within("caption_projection", "linear_1", "linear_2"),
        ),
    ),
    Architecture(
        "Stable Diffusion 3",
        sd3,
        EVERY_LINEAR,
        numbered("transformer_blocks", 2),
        outside=("pos_embed.proj", *TIME_AND_TEXT, "context_embedder", "norm_out.linear", "proj_out"),
    ),
    Architecture(
        "Flux",
        flux,
        EVERY_LINEAR,
        (*numbered("transformer_blocks", 2), *numbered("single_transformer_blocks", 3)),
        towers=(2, 3),
        outside=(*TIME_AND_TEXT, "context_embedder", "x_embedder", "norm_out.linear", "proj_out"),
    ),
)
