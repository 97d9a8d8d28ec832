import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from calibrate.speakers.verifier import SpeakerModel, read_contract
from calibrate.speakers.voices import (
    INSTALL,
    SpectrumProjection,
    VoiceEncoder,
    fit_nuisance,
    fit_projection,
    load_voice_encoder,
)
from edge.buckets import Buckets
from edge.encoder import SpeakerEncoder
from edge.errors import ModelError
from edge.settings import EncoderSettings
from edge.speaker import FEATURES, VoiceCalibration
from export.graph.parity import padding_error
from export.speaker.ge2e import write_speaker, write_speaker_encoder
from helpers.signals import silence, speech_like

pytestmark = pytest.mark.slow

BUCKETS = Buckets((1, 2, 4))

needs_weights = pytest.mark.skipif(
    importlib.util.find_spec("resemblyzer") is None, reason=f"the speaker encoder's weights are absent: {INSTALL}"
)


def with_pause() -> np.ndarray:
    return np.concatenate([speech_like(0.9, seed=3), silence(0.4), speech_like(0.6, seed=3)])


def fitted() -> SpectrumProjection:
    rng, speakers = np.random.default_rng(0), ["anna", "ben"] * 200
    spectra, voices = (rng.normal(0, 1, (400, dim)).astype(np.float32) for dim in (160, 256))
    return replace(fit_projection(spectra, speakers), nuisance=fit_nuisance(voices, speakers))


@pytest.fixture(scope="module")
def reference() -> VoiceEncoder:
    return load_voice_encoder(fitted())


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> SpeakerEncoder:
    path = tmp_path_factory.mktemp("export") / "speaker.onnx"
    write_speaker(path, SpeakerModel.of_projection(VoiceCalibration(np.zeros(FEATURES)), fitted()))
    encoder = SpeakerEncoder(path, 416, BUCKETS, EncoderSettings(provider="cpu"))
    encoder.load()
    return encoder


@needs_weights
def test_the_graph_is_the_model(exported: SpeakerEncoder, reference: VoiceEncoder) -> None:
    for waveform in (speech_like(0.5), speech_like(1.9, seed=1), with_pause(), 0.01 * speech_like(3.5, seed=2)):
        with torch.inference_mode():
            expected = reference(torch.from_numpy(waveform)[None].float(), torch.tensor([len(waveform)])).numpy()[0]
        found = exported.voiceprint(waveform)
        assert np.linalg.norm(expected) == pytest.approx(1, abs=1e-5)
        assert found @ expected > 0.99


@needs_weights
@pytest.mark.parametrize("duration_s", [0.4, 1.0, 1.9])
def test_padding_does_not_matter(exported: SpeakerEncoder, duration_s: float) -> None:
    assert max(padding_error(exported, speech_like(duration_s)).values()) < 1e-3


@needs_weights
def test_silence_and_clicks_give_a_voiceprint(exported: SpeakerEncoder) -> None:
    click = np.zeros(8_000, np.float32)
    click[4_000] = 1
    for waveform in (np.zeros(16_000, np.float32), click, silence(0.1)):
        assert np.linalg.norm(exported.voiceprint(waveform)) == pytest.approx(1, abs=1e-4)


@needs_weights
def test_the_graph_is_small(exported: SpeakerEncoder) -> None:
    assert exported.path.stat().st_size < 3_000_000
    assert read_contract(exported.path)[0] == 416
    stored = [numpy_helper.to_array(tensor).dtype for tensor in onnx.load(exported.path).graph.initializer]
    assert stored.count(np.dtype(np.int8)) == 5


def test_a_speaker_model_with_a_file_brings_it(speaker_model: SpeakerModel, tmp_path: Path) -> None:
    write_speaker(tmp_path / "own.onnx", speaker_model)
    assert speaker_model.onnx is not None
    assert (tmp_path / "own.onnx").read_bytes() == speaker_model.onnx.read_bytes()


def test_a_missing_resemblyzer_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("calibrate.speakers.voices.importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelError, match="pip install --no-deps resemblyzer"):
        write_speaker_encoder(tmp_path / "speaker.onnx")
    assert not list(tmp_path.iterdir())
