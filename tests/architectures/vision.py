"""Vision models of transformers: plain ones, ones in stages, detection and segmentation."""

from __future__ import annotations

import transformers
from torch import nn

from architectures.architecture import Architecture, numbered, within

PLAIN = {
    "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 16,
    "patch_size": 4, "num_channels": 1,
}  # fmt: skip
WINDOWS = {
    "image_size": 16, "patch_size": 2, "num_channels": 1, "embed_dim": 8, "depths": [1, 2], "num_heads": [2, 2],
    "window_size": 2,
}  # fmt: skip
PYRAMID = {
    "image_size": 32, "num_channels": 1, "num_encoder_blocks": 2, "depths": [1, 2], "hidden_sizes": [8, 16],
    "strides": [4, 2], "num_attention_heads": [1, 2], "mlp_ratios": [1, 1],
}  # fmt: skip


def classifier(kind: str, **settings: object) -> nn.Module:
    config = getattr(transformers, f"{kind}Config")(**settings)
    return getattr(transformers, f"{kind}ForImageClassification")(config)


def staged(prefix: str, inner: str, depths: tuple[int, ...] = (1, 2)) -> tuple[str, ...]:
    """The blocks of stages: ``prefix.0.inner.0``, ``prefix.1.inner.0``, ``prefix.1.inner.1``."""
    return tuple(f"{prefix}.{stage}.{inner}.{i}" for stage, depth in enumerate(depths) for i in range(depth))


def cvt() -> nn.Module:
    return classifier(
        "Cvt", num_channels=1, embed_dim=[4, 8], num_heads=[1, 2], depth=[1, 2], patch_sizes=[3, 3], patch_stride=[2, 2],
        patch_padding=[1, 1], mlp_ratio=[1.0, 1.0], attention_drop_rate=[0.0, 0.0], drop_rate=[0.0, 0.0],
        drop_path_rate=[0.0, 0.0], qkv_bias=[True, True], cls_token=[False, True], qkv_projection_method=["dw_bn", "dw_bn"],
        kernel_qkv=[3, 3], padding_kv=[1, 1], stride_kv=[1, 1], padding_q=[1, 1], stride_q=[1, 1],
    )  # fmt: skip


def levit() -> nn.Module:
    return classifier(
        "Levit", image_size=32, num_channels=1, hidden_sizes=[8, 16, 16], num_attention_heads=[1, 2, 2], depths=[1, 2, 1],
        key_dim=[4, 4, 4],
    )  # fmt: skip


def mobilevit() -> nn.Module:
    return classifier(
        "MobileViT", image_size=32, num_channels=1, hidden_sizes=[8, 12, 16], neck_hidden_sizes=[4, 4, 8, 8, 8, 8, 16],
        num_attention_heads=2,
    )  # fmt: skip


def focalnet() -> nn.Module:
    return classifier(
        "FocalNet", image_size=16, patch_size=2, num_channels=1, embed_dim=8, hidden_sizes=[8, 16], depths=[1, 2],
        focal_levels=[1, 1], focal_windows=[3, 3],
    )  # fmt: skip


def resnet_config(**settings: object) -> transformers.ResNetConfig:
    return transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 2], **settings)


def segformer() -> nn.Module:
    config = transformers.SegformerConfig(**PYRAMID, sr_ratios=[2, 1], patch_sizes=[7, 3], decoder_hidden_size=8)
    return transformers.SegformerForSemanticSegmentation(config)


def sam() -> nn.Module:
    config = transformers.SamConfig(
        vision_config=PLAIN | {"output_channels": 8, "mlp_dim": 24, "window_size": 2, "global_attn_indexes": [1]},
        prompt_encoder_config={"hidden_size": 8, "image_size": 16, "patch_size": 4, "mask_input_channels": 4},
        mask_decoder_config={
            "hidden_size": 8, "mlp_dim": 12, "num_hidden_layers": 2, "num_attention_heads": 2, "iou_head_hidden_dim": 8,
        },
    )  # fmt: skip
    return transformers.SamModel(config)


def detr() -> nn.Module:
    config = transformers.DetrConfig(
        backbone_config=resnet_config(out_features=["stage2"]), d_model=16, encoder_layers=2, decoder_layers=3,
        encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=24, decoder_ffn_dim=24, num_queries=4,
    )  # fmt: skip
    return transformers.DetrForObjectDetection(config)


ATTENTION = within("final_attn_token_to_image", "q_proj", "k_proj", "v_proj", "out_proj")
FEED_FORWARD = ("proj_in", "proj_out", "layers.0")

VISION = (
    Architecture(
        "ViT",
        lambda: classifier("ViT", **PLAIN),
        r".*(_proj|fc\d|projection|classifier)",
        numbered("vit.layers", 3),
        outside=("vit.embeddings.patch_embeddings.projection", "classifier"),
    ),
    Architecture(
        "DINOv2",
        lambda: classifier("Dinov2", **PLAIN | {"mlp_ratio": 2}),
        "all-linear",
        numbered("dinov2.encoder.layer", 3),
        outside=("classifier",),
    ),
    Architecture(
        "Swin",
        lambda: classifier("Swin", **WINDOWS),
        "all-linear",
        staged("swin.encoder.layers", "blocks"),
        outside=("swin.encoder.layers.0.downsample.reduction", "classifier"),
    ),
    Architecture(
        "Swin, two blocks a stage",  # of which the first has no drop path and the second has one
        lambda: classifier("Swin", **WINDOWS | {"depths": [2, 2], "drop_path_rate": 0.1}),
        ["q_proj"],
        staged("swin.encoder.layers", "blocks", (2, 2)),
    ),
    Architecture(
        "Swin v2",
        lambda: classifier("Swinv2", **WINDOWS),
        "all-linear",
        staged("swinv2.encoder.layers", "blocks"),
        outside=("swinv2.encoder.layers.0.downsample.reduction", "classifier"),
    ),
    Architecture(
        "ConvNeXt",
        lambda: classifier("ConvNext", num_channels=1, hidden_sizes=[8, 16], depths=[1, 2], num_stages=2),
        r".*(patch_embeddings|downsampling_layer\.1|pwconv\d|classifier)",
        staged("convnext.encoder.stages", "layers"),
        outside=(
            "convnext.embeddings.patch_embeddings",
            "convnext.encoder.stages.1.downsampling_layer.1",
            "classifier",
        ),
    ),
    Architecture(
        "CvT",
        cvt,
        r".*(embeddings\.projection|attention\.projection_(query|key|value)|dense|classifier)",
        staged("cvt.encoder.stages", "layers"),
        outside=(
            *(f"cvt.encoder.stages.{stage}.embedding.convolution_embeddings.projection" for stage in (0, 1)),
            "classifier",
        ),
    ),
    Architecture(
        "PVT",
        lambda: classifier("Pvt", **PYRAMID, sequence_reduction_ratios=[2, 1], patch_sizes=[4, 2]),
        r".*(projection|query|value|dense\d?|sequence_reduction|classifier)",
        (*numbered("pvt.encoder.block.0", 1), *numbered("pvt.encoder.block.1", 2)),
        outside=(*within("pvt.encoder.patch_embeddings", "0.projection", "1.projection"), "classifier"),
    ),
    Architecture(
        "PVTv2",
        lambda: classifier("PvtV2", **PYRAMID, sr_ratios=[2, 1], patch_sizes=[7, 3]),
        r".*(proj|query|value|dense\d|spatial_reduction|classifier)",
        staged("pvt_v2.encoder.layers", "blocks"),
        outside=(*within("pvt_v2.encoder.layers", "0.patch_embedding.proj", "1.patch_embedding.proj"), "classifier"),
    ),
    # A stage lists the residual parts of its layers one by one, and the attention that makes the next stage smaller.
    Architecture(
        "LeViT",
        levit,
        "all-linear",
        staged("levit.encoder.stages", "layers", (4, 6, 2)),
        outside=("classifier.linear",),
    ),
    # The shapes of the convolutional blocks come from the class, that of the transformers from the configuration.
    Architecture(
        "MobileViT",
        mobilevit,
        r"(?!.*downsampling_layer).*(query|value|dense|(?<!3x3\.)convolution|classifier)",
        (
            "mobilevit.encoder.layer.0.layer.0",
            *numbered("mobilevit.encoder.layer.1.layer", 3),
            *numbered("mobilevit.encoder.layer.2.transformer.layer", 2),
            *numbered("mobilevit.encoder.layer.3.transformer.layer", 4),
            *numbered("mobilevit.encoder.layer.4.transformer.layer", 3),
        ),
        outside=(
            "mobilevit.conv_stem.convolution",
            *(
                f"mobilevit.encoder.layer.{stage}.{part}.convolution"
                for stage in (2, 3, 4)
                for part in ("conv_kxk", "conv_1x1", "conv_projection", "fusion")
            ),
            "mobilevit.conv_1x1_exp.convolution",
            "classifier",
        ),
    ),
    Architecture(
        "FocalNet",
        focalnet,
        r".*(projection|projection_(in|context|out)|fc\d|classifier)",
        staged("focalnet.encoder.stages", "layers"),
        outside=(
            "focalnet.embeddings.patch_embeddings.projection",
            "focalnet.encoder.stages.0.downsample.projection",
            "classifier",
        ),
    ),
    Architecture(
        "ResNet",
        lambda: transformers.ResNetForImageClassification(resnet_config(num_channels=1)),
        r".*(convolution|classifier\.1)",
        staged("resnet.encoder.stages", "layers"),
        outside=("resnet.embedder.embedder.convolution", "classifier.1"),
    ),
    Architecture(
        "SegFormer",
        segformer,
        r".*(proj|fc\d|sequence_reduction\.sequence_reduction|linear_fuse|classifier)",
        staged("segformer.stages", "blocks"),
        outside=(
            *(f"segformer.stages.{stage}.patch_embeddings.proj" for stage in (0, 1)),
            *within("decode_head", "linear_projections.0.proj", "linear_projections.1.proj", "linear_fuse", "classifier"),
        ),
    ),
    # The encoder's output for an image is often computed once and kept.
    Architecture(
        "SAM",
        sam,
        r"vision_encoder.*(qkv|proj|lin\d|projection|conv\d)|mask_decoder.*(_proj|lin\d|proj_(in|out)|(mlps\.\d|head)\.layers\.0)",
        (*numbered("vision_encoder.layers", 3), *numbered("mask_decoder.transformer.layers", 2)),
        outside=(
            *within("vision_encoder", "patch_embed.projection", "neck.conv1", "neck.conv2"),
            *within("mask_decoder.transformer", *ATTENTION),
            *(f"mask_decoder.output_hypernetworks_mlps.{i}.{name}" for i in range(4) for name in FEED_FORWARD),
            *within("mask_decoder.iou_prediction_head", *FEED_FORWARD),
        ),
        towers=(3, 2),
    ),
    Architecture(
        "DETR",
        detr,
        r".*(convolution|input_projection|(q|k|v|o)_proj|fc\d|class_labels_classifier|bbox_predictor\.layers\.\d)",
        (
            *staged("model.backbone.model.encoder.stages", "layers"),
            *numbered("model.encoder.layers", 2),
            *numbered("model.decoder.layers", 3),
        ),
        outside=(
            "model.backbone.model.embedder.embedder.convolution",
            "model.input_projection",
            "class_labels_classifier",
            *numbered("bbox_predictor.layers", 3),
        ),
        towers=(3, 2, 3),
    ),
)
