"""The ways in which torchvision, timm and vit-pytorch (lucidrains) name and nest the blocks of vision models, as skeletons."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from architectures.architecture import Architecture, numbered
from architectures.skeleton import Attention, D, Encoder, FeedForward, Model, Whole, chained, conv, linear, listed, plain_block


class PreNorm(Whole): ...


def lucidrains_vit() -> nn.Module:
    def layer() -> nn.Module:
        attention = Attention(to_qkv=linear(), to_out=nn.Sequential(linear(), nn.Dropout(0.1)))
        feed_forward = FeedForward(net=nn.Sequential(linear(), nn.GELU(), nn.Dropout(0.1), linear()))
        return nn.ModuleList([PreNorm(norm=nn.LayerNorm(D), fn=attention), PreNorm(norm=nn.LayerNorm(D), fn=feed_forward)])

    return Model(
        to_patch_embedding=nn.Sequential(nn.Identity(), linear()),
        transformer=Model(layers=listed(layer, 3)),
        mlp_head=nn.Sequential(nn.LayerNorm(D), linear()),
    )


class EncoderBlock(Whole): ...


def torchvision_vit() -> nn.Module:
    def block() -> nn.Module:
        mlp = nn.Sequential(linear(), nn.GELU(), nn.Dropout(0.0), linear(), nn.Dropout(0.0))
        return EncoderBlock(ln_1=nn.LayerNorm(D), self_attention=nn.MultiheadAttention(D, 2), ln_2=nn.LayerNorm(D), mlp=mlp)

    layers = nn.Sequential(OrderedDict((f"encoder_layer_{i}", block()) for i in range(11)))
    heads = nn.Sequential(OrderedDict(head=linear()))
    return Model(conv_proj=conv(), encoder=Encoder(dropout=nn.Dropout(0.0), layers=layers, ln=nn.LayerNorm(D)), heads=heads)


class CNBlock(Whole): ...


def torchvision_convnext() -> nn.Module:
    def block() -> nn.Module:
        depthwise = nn.Conv2d(D, D, 7, groups=D)  # LoRA asks for a rank that its groups divide
        to_last, to_first = nn.Identity(), nn.Identity()  # Permute
        return CNBlock(block=nn.Sequential(depthwise, to_last, nn.LayerNorm(D), linear(), nn.GELU(), linear(), to_first))

    def downsampling() -> nn.Module:
        return nn.Sequential(nn.LayerNorm(D), conv())

    stem = nn.Sequential(conv(), nn.LayerNorm(D))
    features = nn.Sequential(stem, chained(block, 1), downsampling(), chained(block, 2), downsampling(), chained(block, 1))
    return Model(features=features, classifier=nn.Sequential(nn.LayerNorm(D), nn.Flatten(1), linear()))


class SwinTransformerBlock(Whole): ...


class PatchMerging(Whole): ...


def torchvision_swin() -> nn.Module:
    def block() -> nn.Module:
        mlp = nn.Sequential(linear(), nn.GELU(), nn.Dropout(0.0), linear(), nn.Dropout(0.0))
        return SwinTransformerBlock(norm1=nn.LayerNorm(D), attn=Attention(qkv=linear(), proj=linear()), mlp=mlp)

    stem = nn.Sequential(conv(), nn.Identity(), nn.LayerNorm(D))
    features = nn.Sequential(stem, chained(block, 2), PatchMerging(reduction=linear()), chained(block, 2))
    return Model(features=features, norm=nn.LayerNorm(D), head=linear())


class Bottleneck(Whole): ...


def torchvision_resnet() -> nn.Module:
    def block(**more: nn.Module) -> nn.Module:
        pairs = {f"{kind}{i}": make() for i in (1, 2, 3) for kind, make in (("conv", conv), ("bn", lambda: nn.BatchNorm2d(D)))}
        return Bottleneck(**pairs, relu=nn.ReLU(), **more)

    def stage(depth: int) -> nn.Module:
        first = block(downsample=nn.Sequential(conv(), nn.BatchNorm2d(D)))
        return nn.Sequential(first, *(block() for _ in range(depth - 1)))

    stages = {f"layer{i + 1}": stage(depth) for i, depth in enumerate((2, 2, 1, 2))}
    return Model(conv1=conv(), bn1=nn.BatchNorm2d(D), **stages, fc=linear())


class Stage(Whole): ...


def timm_stages() -> nn.Module:
    def stage(i: int, depth: int) -> nn.Module:
        downsample = nn.Sequential(nn.LayerNorm(D), conv()) if i else nn.Identity()
        return Stage(downsample=downsample, blocks=chained(plain_block, depth))

    stages = nn.Sequential(*(stage(i, depth) for i, depth in enumerate((1, 3, 1))))
    return Model(stem=nn.Sequential(conv(), nn.LayerNorm(D)), stages=stages, head=Model(fc=linear()))


def timm_vit() -> nn.Module:
    return Model(patch_embed=Model(proj=conv()), blocks=chained(plain_block, 3), norm=nn.LayerNorm(D), head=linear())


BY_HAND_VISION = (
    Architecture(
        "ViT (lucidrains)",
        lucidrains_vit,
        r".*(to_qkv|to_out\.0|net\.[03]|to_patch_embedding\.1|mlp_head\.1)",
        numbered("transformer.layers", 3),
        outside=("to_patch_embedding.1", "mlp_head.1"),
    ),
    Architecture(
        "ViT (torchvision)",
        torchvision_vit,
        r".*(self_attention|mlp\.[03]|conv_proj|head)",
        tuple(f"encoder.layers.encoder_layer_{i}" for i in range(11)),
        outside=("conv_proj", "heads.head"),
    ),
    Architecture(
        "ConvNeXt (torchvision)",
        torchvision_convnext,
        r".*(block\.[35]|features\.0\.0|features\.[24]\.1|classifier\.2)",
        ("features.1.0", "features.3.0", "features.3.1", "features.5.0"),
        outside=("features.0.0", "features.2.1", "features.4.1", "classifier.2"),
    ),
    Architecture(
        "Swin (torchvision)",
        torchvision_swin,
        r".*(qkv|proj|mlp\.[03]|features\.0\.0|reduction|head)",
        (*numbered("features.1", 2), *numbered("features.3", 2)),
        outside=("features.0.0", "features.2.reduction", "head"),
    ),
    Architecture(
        "ResNet (torchvision)",
        torchvision_resnet,
        r".*(conv\d|downsample\.0|fc)",
        (*numbered("layer1", 2), *numbered("layer2", 2), *numbered("layer3", 1), *numbered("layer4", 2)),
        outside=("conv1", "fc"),
    ),
    Architecture(
        "ConvNeXt (timm)",
        timm_stages,
        r".*(qkv|proj|fc\d?|stem\.0|downsample\.1)",
        (*numbered("stages.0.blocks", 1), *numbered("stages.1.blocks", 3), *numbered("stages.2.blocks", 1)),
        outside=("stem.0", "stages.1.downsample.1", "stages.2.downsample.1", "head.fc"),
    ),
    Architecture(
        "ViT (timm)",
        timm_vit,
        ("qkv", "proj", "fc1", "fc2", "head"),
        numbered("blocks", 3),
        outside=("patch_embed.proj", "head"),
    ),
)
