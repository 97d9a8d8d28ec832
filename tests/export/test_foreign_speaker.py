"""Published speaker encoders through the adapter; the one here has their shape and metadata, and random weights."""

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import torchaudio
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from calibrate.speakers.verifier import SpeakerModel
from edge.buckets import Buckets
from edge.encoder import SpeakerEncoder
from edge.errors import ModelError
from edge.settings import EncoderSettings
from edge.speaker import VoiceCalibration
from export.cli.app import main
from export.graph.parity import padding_error
from export.speaker.filterbank import Window
from export.speaker.foreign import adapt_speaker_encoder
from helpers.signals import silence, speech_like

DIM = 12
CHANNELS = 8
WESPEAKER = {"framework": "wespeaker", "sample_rate": "16000", "output_dim": str(DIM), "normalize_samples": "0"}
CAMPLUS = WESPEAKER | {
    "framework": "3d-speaker",
    "normalize_samples": "1",
    "feature_normalize_type": "global-mean",
    "language": "Chinese",
}


def published(metadata: dict[str, str], mels: int = 80, opset: int = 13) -> onnx.ModelProto:
    """``x float32[N, T, 80]`` to ``embedding float32[N, 12]``: a convolution over time, mean and deviation, a layer."""
    rng = np.random.default_rng(0)
    weights = {
        "kernel": rng.normal(0, 0.1, (CHANNELS, mels, 5)),
        "layer": rng.normal(0, 1, (2 * CHANNELS, DIM)),
        "tiny": np.array(1e-7),
    }
    nodes = [
        helper.make_node("Transpose", ["x"], ["channels_first"], perm=[0, 2, 1]),
        helper.make_node("Conv", ["channels_first", "kernel"], ["time"], strides=[2]),
        helper.make_node("ReduceMean", ["time"], ["mean_time"], axes=[2], keepdims=1),
        helper.make_node("Sub", ["time", "mean_time"], ["print"]),  # also the name of a value of the adapter
        helper.make_node("Mul", ["print", "print"], ["squares"]),
        helper.make_node("ReduceMean", ["squares"], ["variance"], axes=[2], keepdims=1),
        helper.make_node("Add", ["variance", "tiny"], ["positive"]),
        helper.make_node("Sqrt", ["positive"], ["deviation"]),
        helper.make_node("Concat", ["mean_time", "deviation"], ["pooled"], axis=1),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "layer"], ["embedding"]),
    ]
    graph = helper.make_graph(
        nodes,
        "published",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", "T", mels])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["N", DIM])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=7)
    helper.set_model_props(model, metadata)
    return model


def reference(model: onnx.ModelProto, waveform: np.ndarray, window: Window, scale: float) -> np.ndarray:
    """What the model says of torchaudio's filterbanks, without the mean over time, as its own framework runs it."""
    features = torchaudio.compliance.kaldi.fbank(
        torch.from_numpy(scale * waveform)[None], num_mel_bins=80, dither=0, window_type=window
    ).numpy()
    features -= features.mean(axis=0)
    (embedding,) = onnx.reference.ReferenceEvaluator(model).run(None, {"x": features[None]})
    voiceprint: np.ndarray = embedding[0] / np.linalg.norm(embedding[0])
    return voiceprint


def opened(path: Path) -> SpeakerEncoder:
    encoder = SpeakerEncoder(path, DIM, Buckets((1, 2, 4)), EncoderSettings(provider="cpu"))
    encoder.load()
    return encoder


@pytest.fixture(scope="module")
def camplus(tmp_path_factory: pytest.TempPathFactory) -> SpeakerEncoder:
    folder = tmp_path_factory.mktemp("foreign")
    onnx.save(published(CAMPLUS), folder / "campplus.onnx")
    adapt_speaker_encoder(folder / "campplus.onnx", folder / "speaker.onnx", licence="Apache-2.0")
    return opened(folder / "speaker.onnx")


@pytest.mark.parametrize("metadata", [CAMPLUS, WESPEAKER], ids=["3d-speaker", "wespeaker"])
@pytest.mark.parametrize("duration_s", [0.6, 2.31, 4.0])
def test_the_voiceprint_is_the_models_own(metadata: dict[str, str], duration_s: float, tmp_path: Path) -> None:
    onnx.save(published(metadata), tmp_path / "model.onnx")
    adapt_speaker_encoder(tmp_path / "model.onnx", tmp_path / "speaker.onnx")
    waveform = speech_like(duration_s) + np.float32(0.01)  # with a constant offset, which Kaldi removes
    window: Window = "povey" if metadata is CAMPLUS else "hamming"
    expected = reference(published(metadata), waveform, window, 1.0 if metadata is CAMPLUS else 32_768.0)
    np.testing.assert_allclose(opened(tmp_path / "speaker.onnx").voiceprint(waveform), expected, atol=1e-4)


@pytest.mark.parametrize("duration_s", [0.2, 0.7, 1.0, 1.99])
def test_padding_does_not_matter(camplus: SpeakerEncoder, duration_s: float) -> None:
    assert max(padding_error(camplus, speech_like(duration_s)).values()) < 1e-5


@settings(max_examples=20, deadline=None)
@given(lengths=st.lists(st.integers(0, 16_000), min_size=1, max_size=4))
def test_each_of_a_batch_is_heard_by_itself(camplus: SpeakerEncoder, lengths: list[int]) -> None:
    waveforms = [speech_like(1.0, seed)[:length] for seed, length in enumerate(lengths)]
    together = camplus.embed(waveforms, 16_000)
    alone = np.concatenate([camplus.embed([waveform], 32_000) for waveform in waveforms])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert np.isfinite(together).all()
    assert together.shape == (len(lengths), DIM)


def test_what_is_too_short_to_pool_is_repeated(camplus: SpeakerEncoder) -> None:
    short = speech_like(0.3)
    np.testing.assert_allclose(camplus.voiceprint(short), camplus.voiceprint(np.resize(short, 8_000)), atol=1e-5)
    for waveform in (silence(0.02), np.zeros(16_000, np.float32)):
        assert np.isfinite(camplus.voiceprint(waveform)).all()


def test_the_metadata_stays_and_names_the_licence(camplus: SpeakerEncoder) -> None:
    metadata = {entry.key: entry.value for entry in onnx.load(camplus.path).metadata_props}
    assert metadata == CAMPLUS | {"architecture": "campplus (3d-speaker)", "licence": "Apache-2.0"}


@pytest.mark.parametrize(
    ("metadata", "options", "reason"),
    [
        ({}, {}, r"framework \(none\); 3d-speaker and wespeaker are supported"),
        (CAMPLUS | {"framework": "nemo"}, {}, "framework nemo"),
        (CAMPLUS | {"sample_rate": "8000"}, {}, "sample_rate 8000; it must be 16000"),
        (CAMPLUS | {"feature_normalize_type": "per_feature"}, {}, "per_feature; it must be .none. or global-mean"),
        (CAMPLUS | {"normalize_samples": "yes"}, {}, "normalize_samples yes; it must be 0 or 1"),
        (CAMPLUS | {"output_dim": "512"}, {}, r"embedding float\[\?, 12\], but its metadata says output_dim 512"),
        (CAMPLUS, {"mels": 40}, r"has inputs x float\[\?, \?, 40\].*one input float\[batch, frames, 80\]"),
        (CAMPLUS, {"opset": 11}, "opset 11; it must be 12 or newer"),
    ],
)
def test_what_does_not_fit_is_named(
    metadata: dict[str, str], options: dict[str, int], reason: str, tmp_path: Path
) -> None:
    onnx.save(published(metadata, **options), tmp_path / "model.onnx")
    with pytest.raises(ModelError, match=reason):
        adapt_speaker_encoder(tmp_path / "model.onnx", tmp_path / "speaker.onnx")
    assert not (tmp_path / "speaker.onnx").exists()


def test_a_time_axis_of_fixed_size_is_refused(tmp_path: Path) -> None:
    model = published(CAMPLUS)
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 200
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(ModelError, match=r"x float\[\?, 200, 80\]"):
        adapt_speaker_encoder(tmp_path / "model.onnx", tmp_path / "speaker.onnx")


def test_the_command_writes_what_the_device_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def call(*arguments: object) -> int:
        monkeypatch.setattr(sys, "argv", ["affectd-export", "speaker", *map(str, arguments)])
        try:
            main()
        except SystemExit as end:
            return int(end.code or 0)
        return 0

    onnx.save(published(WESPEAKER), tmp_path / "ecapa.onnx")
    target = tmp_path / "new" / "speaker.onnx"
    assert call(tmp_path / "ecapa.onnx", "--out", target, "--licence", "CC BY 4.0") == 0
    printed = capsys.readouterr().out
    assert f"{DIM} values" in printed
    assert "padding error" in printed
    assert "speaker encoder written to" in printed
    assert opened(target).voiceprint(speech_like(1.5)).shape == (DIM,)
    model = SpeakerModel.of_onnx(VoiceCalibration(np.zeros(6)), target)
    assert (model.architecture, model.licence, model.dim) == ("ecapa (wespeaker)", "CC BY 4.0", DIM)

    assert call(target, "--out", tmp_path / "twice.onnx") == 3
    error = capsys.readouterr().err
    assert "has inputs waveform float[?, ?], lengths int64[?]" in error
    assert error.count("\n") == 1


def test_a_model_that_does_not_run_leaves_the_old_file(tmp_path: Path) -> None:
    model = published(CAMPLUS)
    kernel = next(tensor for tensor in model.graph.initializer if tensor.name == "layer")
    kernel.CopyFrom(numpy_helper.from_array(np.full((2 * CHANNELS, DIM), np.nan, np.float32), "layer"))
    onnx.save(model, tmp_path / "model.onnx")
    (tmp_path / "speaker.onnx").write_text("old")
    with pytest.raises(ModelError, match="not finite"):
        adapt_speaker_encoder(tmp_path / "model.onnx", tmp_path / "speaker.onnx")
    assert (tmp_path / "speaker.onnx").read_text() == "old"


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"\x00not a model")
    for path in (tmp_path / "model.onnx", tmp_path / "gone.onnx"):
        with pytest.raises(ModelError, match="is no ONNX model"):
            adapt_speaker_encoder(path, tmp_path / "speaker.onnx")
