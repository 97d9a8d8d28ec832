import numpy as np
import onnxruntime
import pytest
import torch
import torchaudio
from onnx import TensorProto, helper, numpy_helper

from export.speaker.filterbank import MELS, Window, filterbank
from helpers.signals import silence, speech_like

WINDOWS: tuple[Window, ...] = ("povey", "hamming")


def run(row: np.ndarray, length: int, window: Window, scale: float = 1.0, centred: bool = False) -> np.ndarray:
    nodes, constants = filterbank("features", window, scale, centred)
    graph = helper.make_graph(
        nodes,
        "front end",
        [
            helper.make_tensor_value_info("row", TensorProto.FLOAT, ["samples"]),
            helper.make_tensor_value_info("length", TensorProto.INT64, []),
        ],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [1, "frames", MELS])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    features: np.ndarray = session.run(None, {"row": row, "length": np.array(length, np.int64)})[0]
    return features[0]


def kaldi(waveform: np.ndarray, window: Window, scale: float = 1.0) -> np.ndarray:
    features: np.ndarray = torchaudio.compliance.kaldi.fbank(
        torch.from_numpy(scale * waveform)[None], num_mel_bins=MELS, dither=0.0, window_type=window
    ).numpy()
    return features


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("scale", [1.0, 32_768.0])
def test_it_is_kaldis(window: Window, scale: float) -> None:
    voice = speech_like(1.234)
    for waveform in (voice, 0.001 * voice, voice + np.float32(0.05), silence(0.7, -60), voice[:8_000]):
        found, expected = run(waveform, len(waveform), window, scale), kaldi(waveform, window, scale)
        assert found.shape == expected.shape == (1 + (len(waveform) - 400) // 160, MELS)
        assert np.abs(found - expected).max() < 0.02  # nepers, in bands far below the loudest
        assert np.abs(found - expected).mean() < 1e-3


def test_only_valid_samples_count() -> None:
    voice, rest = speech_like(0.8), silence(0.5, -10)
    found = run(np.concatenate([voice, rest]), len(voice), "povey", centred=True)
    expected = kaldi(voice, "povey")
    np.testing.assert_allclose(found, expected - expected.mean(axis=0), atol=0.02)


def test_what_is_short_is_repeated_to_half_a_second() -> None:
    short = speech_like(0.21)
    np.testing.assert_allclose(run(short, len(short), "povey"), kaldi(np.resize(short, 8_000), "povey"), atol=0.02)
    assert run(short, 0, "povey").shape == (48, MELS)
