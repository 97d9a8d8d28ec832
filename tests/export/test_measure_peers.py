import numpy as np
import pytest
import torch
from transformers import Data2VecAudioConfig, Data2VecAudioModel
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from edge.audio import SAMPLE_RATE_HZ
from export.measure.peers import (
    EMOTION2VEC,
    SENSE_VOICE,
    SMART_TURN,
    Emotion2vecPeer,
    SanmShape,
    SenseVoicePeer,
    WhisperPeer,
)

SMALL = SanmShape(inputs=12, width=8, heads=2, hidden=16, kernel=3, blocks=2, outputs=5)


def millions(model: torch.nn.Module) -> float:
    return sum(weight.numel() for weight in model.parameters()) / 1e6


def test_the_shapes_have_as_many_parameters_as_was_published() -> None:
    with torch.device("meta"):
        assert millions(SenseVoicePeer(SENSE_VOICE).model) == pytest.approx(234, rel=0.01)
        sizes = [millions(Data2VecAudioModel(config)) for config in EMOTION2VEC.values()]
        tiny = millions(WhisperEncoder(SMART_TURN))
    assert sizes == pytest.approx([90, 300], rel=0.05)
    assert tiny == pytest.approx(8, rel=0.05)


def test_sense_voice_has_a_token_every_60_ms_and_four_before() -> None:
    output = SenseVoicePeer(SMALL)(np.zeros(3 * SAMPLE_RATE_HZ, np.float32))
    assert output.shape == (1, 54, 5)  # type: ignore[attr-defined]
    assert output.is_inference()  # type: ignore[attr-defined]


def test_the_operations_of_sense_voice_are_those_of_its_products() -> None:
    peer = SenseVoicePeer(SMALL)
    frames, width, inputs = 54, 8, 12
    attention = 2 * frames * frames * width + frames * width * width
    rest = frames * 2 * width * 16 + frames * 3 * width
    first, second = (frames * wide * 3 * width for wide in (inputs, width))
    expected = 2 * (2 * (attention + rest) + first + second + frames * width * 5)
    assert peer.flops(np.zeros(3 * SAMPLE_RATE_HZ, np.float32)) == expected


def test_a_small_emotion2vec_hears_the_whole_waveform() -> None:
    config = Data2VecAudioConfig(
        num_hidden_layers=1, hidden_size=32, num_attention_heads=2, intermediate_size=32, conv_dim=(8,) * 7
    )
    peer, waveform = Emotion2vecPeer(config), np.zeros(SAMPLE_RATE_HZ, np.float32)
    assert peer(waveform).last_hidden_state.shape == (1, 49, 32)  # type: ignore[attr-defined]
    assert peer.flops(waveform) > 0


def test_smart_turn_always_hears_8_seconds() -> None:
    peer = WhisperPeer(SMART_TURN)
    output = peer(np.zeros(SAMPLE_RATE_HZ, np.float32))
    assert output.last_hidden_state.shape == (1, 400, 384)  # type: ignore[attr-defined]
