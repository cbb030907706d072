"""Language models of transformers that read: encoders, and encoders with a decoder."""

from __future__ import annotations

import torch
import transformers
from torch import Tensor, nn
from transformers.models.perceiver.modeling_perceiver import PerceiverTextPreprocessor

from architectures.architecture import Architecture, numbered, within
from architectures.decoders import SMALL

TOKENS = torch.arange(3, 15).reshape(2, 6)


def of(kind: str, layers: int, task: str = "SequenceClassification", **settings: object) -> nn.Module:
    """The model of a kind whose configuration has the usual names."""
    config = getattr(transformers, f"{kind}Config")(**SMALL | settings, num_hidden_layers=layers)
    return getattr(transformers, f"{kind}For{task}")(config)


def deberta() -> nn.Module:
    return of(
        "DebertaV2", 2, relative_attention=True, position_buckets=4, pos_att_type=["p2c", "c2p"], conv_kernel_size=3,
        conv_act="gelu",
    )  # fmt: skip


def distilbert() -> nn.Module:
    config = transformers.DistilBertConfig(
        vocab_size=32, max_position_embeddings=32, dim=16, hidden_dim=24, n_layers=2, n_heads=2
    )
    return transformers.DistilBertForSequenceClassification(config)


def funnel() -> nn.Module:
    config = transformers.FunnelConfig(vocab_size=32, block_sizes=[1, 2], d_model=16, n_head=2, d_head=8, d_inner=24)
    return transformers.FunnelForSequenceClassification(config)


def perceiver() -> nn.Module:
    config = transformers.PerceiverConfig(
        num_latents=4, d_latents=16, d_model=16, num_blocks=2, num_self_attends_per_block=3, num_self_attention_heads=2,
        num_cross_attention_heads=2, vocab_size=32, max_position_embeddings=16,
    )  # fmt: skip
    return transformers.PerceiverModel(config, input_preprocessor=PerceiverTextPreprocessor(config))


def t5(encoder: int, decoder: int) -> nn.Module:
    config = transformers.T5Config(
        d_model=16, d_kv=8, d_ff=24, num_layers=encoder, num_decoder_layers=decoder, num_heads=2, vocab_size=32,
        decoder_start_token_id=0, feed_forward_proj="gated-gelu",
    )  # fmt: skip
    return transformers.T5ForConditionalGeneration(config)


def bart() -> nn.Module:
    config = transformers.BartConfig(
        vocab_size=32, d_model=16, encoder_layers=2, decoder_layers=3, encoder_attention_heads=2, decoder_attention_heads=2,
        encoder_ffn_dim=24, decoder_ffn_dim=24, max_position_embeddings=32, pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    return transformers.BartForSequenceClassification(config)


def encode(model: nn.Module) -> Tensor:
    return model.get_encoder()(TOKENS).last_hidden_state


def decode(model: nn.Module) -> Tensor:
    """The encoder's output is given, as where it was computed ahead."""
    return model(encoder_outputs=(torch.ones(2, 6, 16),), decoder_input_ids=TOKENS).logits


ENCODERS = (
    Architecture(
        "BERT",
        lambda: of("Bert", 2),
        "all-linear",
        numbered("bert.encoder.layer", 2),
        outside=("bert.pooler.dense", "classifier"),
    ),
    Architecture(
        "RoBERTa",
        lambda: of("Roberta", 2, "MaskedLM"),
        ("query", "value", "dense"),
        numbered("roberta.encoder.layer", 2),
        outside=("lm_head.dense",),
    ),
    Architecture(
        "DeBERTa-v2",
        deberta,
        r".*(_proj|dense|conv\.conv|rel_embeddings|classifier)",
        numbered("deberta.encoder.layer", 2),
        outside=(*within("deberta.encoder", "rel_embeddings", "conv.conv"), "pooler.dense", "classifier"),
    ),
    Architecture(
        "ModernBERT",
        lambda: of("ModernBert", 3, cls_token_id=1, sep_token_id=2),
        "all-linear",
        numbered("model.layers", 3),
        outside=("head.dense", "classifier"),
    ),
    Architecture(
        "ALBERT",
        lambda: of("Albert", 3, embedding_size=8),
        "all-linear",
        ("albert.encoder.albert_layer_groups.0.albert_layers.0",),
        outside=("albert.encoder.embedding_hidden_mapping_in", "albert.pooler", "classifier"),
    ),
    Architecture(
        "DistilBERT",
        distilbert,
        "all-linear",
        numbered("distilbert.transformer.layer", 2),
        outside=("pre_classifier", "classifier"),
    ),
    Architecture(
        "Funnel",
        funnel,
        "all-linear",
        (*numbered("funnel.encoder.blocks.0", 1), *numbered("funnel.encoder.blocks.1", 2)),
        outside=within("classifier", "linear_hidden", "linear_out"),
    ),
    Architecture(
        "Perceiver",
        perceiver,
        "all-linear",
        numbered("encoder.self_attends", 3),
        # It reads the input once: no member of a list, as the blocks are that are run again and again.
        outside=within(
            "encoder.cross_attention",
            *within("attention", "self.query", "self.key", "self.value", "output.dense"),
            "mlp.dense1",
            "mlp.dense2",
        ),
    ),
    Architecture(
        "T5",
        lambda: t5(2, 3),
        "all-linear",
        (*numbered("encoder.block", 2), *numbered("decoder.block", 3)),
        towers=(2, 3),
        part_batches={"encoder": encode, "decoder": decode},
    ),
    Architecture(
        "T5, 11 and 12 layers",
        lambda: t5(11, 12),
        ("q", "v"),
        (*numbered("encoder.block", 11), *numbered("decoder.block", 12)),
        towers=(11, 12),
    ),
    Architecture(
        "BART",
        bart,
        "all-linear",
        (*numbered("model.encoder.layers", 2), *numbered("model.decoder.layers", 3)),
        outside=within("classification_head", "dense", "out_proj"),
        towers=(2, 3),
    ),
)
