"""Models of transformers with several towers, and models of sound."""

from __future__ import annotations

import torch
import transformers
from torch import Tensor, nn

from architectures.architecture import Architecture, numbered, within
from architectures.decoders import SMALL
from architectures.encoders import TOKENS

TEXT = SMALL | {"num_hidden_layers": 2}
VISION = {
    "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 16,
    "patch_size": 8,
}  # fmt: skip
IMAGES = torch.linspace(-1, 1, 2 * 3 * 16 * 16).reshape(2, 3, 16, 16)
PROJECTIONS = ("visual_projection", "text_projection")


def clip() -> nn.Module:
    return transformers.CLIPModel(transformers.CLIPConfig(text_config=TEXT, vision_config=VISION, projection_dim=8))


def siglip() -> nn.Module:
    return transformers.SiglipModel(transformers.SiglipConfig(text_config=TEXT, vision_config=VISION))


def groupvit() -> nn.Module:
    vision = VISION | {
        "depths": [1, 2, 1], "num_hidden_layers": 4, "num_group_tokens": [4, 2, 0], "num_output_groups": [4, 2, 0],
        "patch_size": 4,
    }  # fmt: skip
    config = transformers.GroupViTConfig(
        text_config=TEXT, vision_config=vision, projection_dim=8, projection_intermediate_dim=12
    )
    return transformers.GroupViTModel(config)


def llava() -> nn.Module:
    config = transformers.LlavaConfig(
        vision_config=transformers.CLIPVisionConfig(**VISION),
        text_config=transformers.LlamaConfig(**TEXT),
        image_token_index=31,
    )
    return transformers.LlavaForConditionalGeneration(config)


def blip2() -> nn.Module:
    config = transformers.Blip2Config(
        vision_config=VISION,
        qformer_config=TEXT | {"encoder_hidden_size": 16},
        text_config=TEXT | {"model_type": "opt", "ffn_dim": 24, "word_embed_proj_dim": 16},
        num_query_tokens=3,
        image_token_index=31,
    )
    return transformers.Blip2ForConditionalGeneration(config)


def qwen2_vl() -> nn.Module:
    rope = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0}
    config = transformers.Qwen2VLConfig(
        text_config=TEXT | {"num_key_value_heads": 2, "rope_parameters": rope},
        vision_config={"depth": 3, "embed_dim": 16, "hidden_size": 16, "num_heads": 2, "patch_size": 4, "mlp_ratio": 2},
    )
    return transformers.Qwen2VLForConditionalGeneration(config)


def whisper() -> nn.Module:
    config = transformers.WhisperConfig(
        vocab_size=32, num_mel_bins=8, d_model=16, encoder_layers=2, decoder_layers=3, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=24, decoder_ffn_dim=24, max_source_positions=8, max_target_positions=8,
        pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
    )  # fmt: skip
    return transformers.WhisperForConditionalGeneration(config)


def wav2vec2() -> nn.Module:
    config = transformers.Wav2Vec2Config(
        **TEXT, conv_dim=[8, 8], conv_stride=[2, 2], conv_kernel=[3, 3], num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2, classifier_proj_size=8, layerdrop=0.0,
    )  # fmt: skip
    return transformers.Wav2Vec2ForSequenceClassification(config)


def clip_text(model: nn.Module) -> Tensor:
    return model.get_text_features(TOKENS).pooler_output


def clip_vision(model: nn.Module) -> Tensor:
    return model.get_image_features(IMAGES).pooler_output


def logits_of_text(model: nn.Module) -> Tensor:
    return model(input_ids=TOKENS).logits


TEXT_AND_VISION = (*numbered("text_model.encoder.layers", 2), *numbered("vision_model.encoder.layers", 3))
FEED_FORWARD = ("fc1", "fc2")
HEAD = within("vision_model.head", "attention.out_proj", "mlp.fc1", "mlp.fc2")


def token_assignment(stage: int) -> tuple[str, ...]:
    """The layers between two stages of GroupViT: they turn many tokens into few groups."""
    return within(
        f"vision_model.encoder.stages.{stage}.downsample",
        *within("mlp_inter", *FEED_FORWARD),
        *within("pre_assign_attn.attn", "k_proj", "v_proj", "q_proj", "out_proj"),
        *within("pre_assign_attn.mlp", *FEED_FORWARD),
        *within("assign", "q_proj", "k_proj", "v_proj", "proj"),
        *within("mlp_channels", *FEED_FORWARD),
    )


MULTIMODAL = (
    Architecture(
        "CLIP",
        clip,
        "all-linear",
        TEXT_AND_VISION,
        outside=PROJECTIONS,
        towers=(2, 3),
        part_batches={"text": clip_text, "vision": clip_vision},
    ),
    Architecture("SigLIP", siglip, "all-linear", TEXT_AND_VISION, outside=("text_model.head", *HEAD), towers=(2, 3)),
    Architecture(
        "GroupViT",
        groupvit,
        "all-linear",
        (
            *numbered("text_model.encoder.layers", 2),
            *within("vision_model.encoder.stages", "0.layers.0", "1.layers.0", "1.layers.1", "2.layers.0"),
        ),
        outside=(
            *token_assignment(0),
            *token_assignment(1),
            *within("vision_model.encoder.stages.1.group_projector.1", *FEED_FORWARD),
            *(f"{projection}.{i}" for projection in PROJECTIONS for i in (0, 3)),
        ),
        towers=(2, 4),
    ),
    Architecture(
        "LLaVA",
        llava,
        "all-linear",
        (*numbered("model.vision_tower.encoder.layers", 3), *numbered("model.language_model.layers", 2)),
        outside=within("model.multi_modal_projector", "linear_1", "linear_2"),
        towers=(3, 2),
        part_batches={"language": logits_of_text},
    ),
    Architecture(
        "BLIP-2",
        blip2,
        "all-linear",
        (
            *numbered("vision_model.encoder.layers", 3),
            *numbered("qformer.encoder.layer", 2),
            *numbered("language_model.model.decoder.layers", 2),
        ),
        outside=("language_projection",),
        towers=(3, 2, 2),
    ),
    Architecture(
        "Qwen2-VL",
        qwen2_vl,
        "all-linear",
        (*numbered("model.visual.blocks", 3), *numbered("model.language_model.layers", 2)),
        outside=within("model.visual.merger.mlp", "0", "2"),
        towers=(3, 2),
        part_batches={"language": logits_of_text},
    ),
    Architecture(
        "Whisper",
        whisper,
        r".*(conv\d|_proj|fc\d)",
        (*numbered("model.encoder.layers", 2), *numbered("model.decoder.layers", 3)),
        outside=within("model.encoder", "conv1", "conv2"),
        towers=(2, 3),
    ),
    Architecture(
        "Wav2Vec2",
        wav2vec2,
        "all-linear",
        numbered("wav2vec2.encoder.layers", 2),
        outside=("wav2vec2.feature_projection.projection", "projector", "classifier"),
    ),
)
