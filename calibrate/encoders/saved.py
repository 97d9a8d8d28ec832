"""Encoders that went on learning, as folders that load like any pretrained encoder."""

from __future__ import annotations

from pathlib import Path

from transformers import HubertConfig, HubertModel

from calibrate.encoders.base import SpeechEncoder
from calibrate.encoders.pretrained import LABEL_KEY, ConvolutionalEncoder
from calibrate.encoders.shapes import WhisperStudentShape
from calibrate.encoders.students import CompactEncoder, save_student
from calibrate.encoders.whisper import WhisperEncoder
from calibrate.recipe import HubertShape


def save_encoder(encoder: SpeechEncoder, folder: Path, label: str) -> None:
    """Write an encoder with the layers it has; the label is what model cards call it."""
    if isinstance(encoder, ConvolutionalEncoder):
        setattr(encoder.pretrained.config, LABEL_KEY, label)
        encoder.pretrained.config.num_hidden_layers = encoder.layers
        encoder.pretrained.save_pretrained(folder)
    elif isinstance(encoder, CompactEncoder):
        save_student(encoder, encoder.shape, folder, label)
    else:
        assert isinstance(encoder, WhisperEncoder)
        save_student(encoder, _shape_of(encoder), folder, label)


def new_hubert(shape: HubertShape) -> SpeechEncoder:
    """Return a HuBERT that has learned nothing; torch's seed says which.

    Without dropout: so small a model, on so few epochs, learns too little rather than by heart.
    """
    config = HubertConfig(
        hidden_size=shape.width, num_hidden_layers=shape.layers, num_attention_heads=shape.heads,
        intermediate_size=shape.hidden, conv_dim=(shape.channels,) * 7, feat_extract_norm="layer",
        num_conv_pos_embedding_groups=16, hidden_dropout=0.0, attention_dropout=0.0, activation_dropout=0.0,
        feat_proj_dropout=0.0,
    )  # fmt: skip
    return ConvolutionalEncoder(HubertModel(config))


def _shape_of(encoder: WhisperEncoder) -> WhisperStudentShape:
    return WhisperStudentShape(
        layers=encoder.layers,
        width=encoder.width,
        heads=encoder.heads,
        hidden=encoder.blocks[0].fc1.out_features,
        mels=encoder.front.filters.shape[1],
        hop=encoder.front.hop,
        stride=encoder.conv2.stride[0],
        positions=len(encoder.positions),
    )
