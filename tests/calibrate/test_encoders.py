import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import AutoModel, WhisperFeatureExtractor, WhisperModel

from calibrate.encoders.logmel import LogMel
from calibrate.encoders.pooling import QUIETEST_DBFS, audible_gain, statistics_pool, token_energy, voiced_tokens
from calibrate.encoders.pretrained import PooledEncoder, load_encoder
from edge.errors import ModelError

CONVOLUTIONAL = ("hubert", "wav2vec2", "wavlm")
LAYER_NORM = ("whisper", *CONVOLUTIONAL)

few = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def speech(samples: int, seed: int = 0) -> Tensor:
    """A tone that swells out of silence and back, in a little noise."""
    random = torch.Generator().manual_seed(seed)
    time = torch.arange(samples) / max(1, samples - 1)
    tone = torch.sin(time * samples / 16_000 * 2 * torch.pi * 440)
    return torch.sin(torch.pi * time) ** 2 * (0.3 * tone + 0.05 * torch.randn(samples, generator=random))


def batch_of(rows: Sequence[Tensor], junk: float = 0.0) -> tuple[Tensor, Tensor]:
    """Stack rows, with junk of that level behind each."""
    lengths = torch.tensor([len(row) for row in rows])
    padded = junk * torch.randn(len(rows), int(lengths.max()), generator=torch.Generator().manual_seed(1))
    for index, row in enumerate(rows):
        padded[index, : len(row)] = row
    return padded, lengths


@torch.inference_mode()
def valid_states(encoder: Any, rows: Sequence[Tensor], junk: float = 0.0, extra: int = 0) -> list[list[Tensor]]:
    """Return, row by row, the valid frames of every layer, after padding the batch by ``extra`` more samples."""
    padded, lengths = batch_of([*rows, torch.zeros(int(max(map(len, rows))) + extra)] if extra else rows, junk)
    states, frames = encoder(padded, lengths)
    return [[state[row, : frames[row]] for state in states] for row in range(len(rows))]


@pytest.mark.parametrize("samples", [16_000, 24_123, 480_000])
def test_log_mel_is_that_of_whisper_away_from_the_edges(samples: int) -> None:
    waveform = speech(samples)
    extractor = WhisperFeatureExtractor()
    theirs = extractor(waveform.numpy(), sampling_rate=16_000, return_tensors="pt").input_features[0]
    ours, frames = LogMel(80)(waveform[None], torch.tensor([samples]))
    assert frames.tolist() == [-(-samples // 160)] == [ours.shape[1]]
    inner = slice(2, int(frames) - 2)
    torch.testing.assert_close(ours[0, inner].T, theirs[:, inner], atol=2e-3, rtol=0)


def test_whisper_is_that_of_transformers_on_its_30_seconds(encoders: dict[str, Path]) -> None:
    waveform = torch.zeros(480_000)
    waveform[8_000:40_000] = speech(32_000)  # silence at both edges, where the two pad differently
    mel = WhisperFeatureExtractor()(waveform.numpy(), sampling_rate=16_000, return_tensors="pt").input_features
    ours = load_encoder(str(encoders["whisper"]), 3)
    theirs = WhisperModel.from_pretrained(encoders["whisper"]).get_encoder().eval()
    with torch.inference_mode():
        expected = theirs(mel, output_hidden_states=True)
        states, frames = ours(waveform[None], torch.tensor([480_000]))
        torch.testing.assert_close(theirs.layer_norm(states[-1]), expected.last_hidden_state, atol=5e-3, rtol=0)
    assert frames.tolist() == [1_500]
    assert len(states) == 4
    for ours_, theirs_ in zip(states[:-1], expected.hidden_states[:-1], strict=True):
        torch.testing.assert_close(ours_, theirs_, atol=5e-3, rtol=0)


def test_whisper_layers_are_those_of_transformers_at_the_real_length(encoders: dict[str, Path]) -> None:
    waveform = speech(20_001)
    ours = load_encoder(str(encoders["whisper"]), 3)
    theirs = WhisperModel.from_pretrained(encoders["whisper"]).get_encoder().eval()
    with torch.inference_mode():
        (states,) = valid_states(ours, [waveform])
        log_mel, _ = LogMel(80)(waveform[None], torch.tensor([20_001]))
        mel = log_mel.transpose(1, 2)
        hidden = torch.nn.functional.gelu(theirs.conv2(torch.nn.functional.gelu(theirs.conv1(mel)))).transpose(1, 2)
        hidden = hidden + theirs.embed_positions.weight[: hidden.shape[1]]
        torch.testing.assert_close(states[0], hidden[0], atol=1e-4, rtol=1e-4)
        for layer, state in zip(theirs.layers, states[1:], strict=True):
            output = layer(hidden, None)
            hidden = output[0] if isinstance(output, tuple) else output
            torch.testing.assert_close(state, hidden[0], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("family", [*CONVOLUTIONAL, "hubert-group"])
def test_convolutional_families_are_those_of_transformers(encoders: dict[str, Path], family: str) -> None:
    waveform = 0.1 + speech(9_000)
    normed = waveform
    if family != "hubert-group":
        normed = (waveform - waveform.mean()) / (waveform.var(correction=0) + 1e-7).sqrt()
    theirs = AutoModel.from_pretrained(encoders[family]).eval()
    with torch.inference_mode():
        expected = theirs(normed[None], output_hidden_states=True)
        (states,) = valid_states(load_encoder(str(encoders[family]), 3), [waveform])
        final = theirs.encoder.layer_norm(states[-1]) if family != "hubert-group" else states[-1]
    assert len(states) == 4
    for ours_, theirs_ in zip(states[:-1], expected.hidden_states[:-1], strict=True):
        torch.testing.assert_close(ours_, theirs_[0], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(final, expected.last_hidden_state[0], atol=1e-4, rtol=1e-4)


@pytest.fixture(scope="module")
def loaded(encoders: dict[str, Path]) -> dict[str, Any]:
    return {family: load_encoder(str(encoders[family]), 3) for family in (*LAYER_NORM, "hubert-group")}


@few
@given(
    family=st.sampled_from(LAYER_NORM),
    lengths=st.lists(st.integers(1, 12_000), min_size=1, max_size=3),
    junk=st.sampled_from([0.01, 1.0, 100.0]),
    extra=st.integers(1, 5_000),
)
def test_padding_and_batch_mates_change_nothing(
    loaded: dict[str, Any], family: str, lengths: list[int], junk: float, extra: int
) -> None:
    rows = [speech(length, seed) for seed, length in enumerate(lengths)]
    together = valid_states(loaded[family], rows, junk, extra)
    for row, states in zip(rows, together, strict=True):
        (alone,) = valid_states(loaded[family], [row])
        for state, expected in zip(states, alone, strict=True):
            assert len(state) >= 1
            torch.testing.assert_close(state, expected, atol=5e-4, rtol=1e-3)


def test_the_pooled_embedding_ignores_padding_too(loaded: dict[str, Any]) -> None:
    for family in LAYER_NORM:
        pooled = PooledEncoder(loaded[family], (0, 2, 3))
        rows = [speech(12_000), speech(5_000, seed=1)]
        with torch.inference_mode():
            together = pooled(*batch_of(rows, junk=1.0))
            alone = torch.cat([pooled(*batch_of([row])) for row in rows])
        assert together.shape == (2, pooled.dim) == (2, 3 * 2 * 16)
        torch.testing.assert_close(together, alone, atol=1e-3, rtol=1e-3)


def test_group_norm_feels_padding_as_documented_but_not_its_content(loaded: dict[str, Any]) -> None:
    row, longer = speech(6_000), speech(9_000, seed=1)
    (alone,) = valid_states(loaded["hubert-group"], [row])
    padded, _ = valid_states(loaded["hubert-group"], [row, longer])
    assert [len(state) for state in padded] == [len(state) for state in alone]
    assert (padded[-1] - alone[-1]).abs().max() > 0.01
    junk, _ = valid_states(loaded["hubert-group"], [row, longer], junk=1.0)
    torch.testing.assert_close(junk[-1], padded[-1])


@pytest.mark.parametrize("family", ["whisper", *CONVOLUTIONAL, "hubert-group"])
def test_a_cut_encoder_has_the_first_states_of_the_whole_one(
    encoders: dict[str, Path], loaded: dict[str, Any], family: str
) -> None:
    cut = load_encoder(str(encoders[family]), 2, max_s=0.5)
    assert (cut.layers, loaded[family].layers, len(cut.transformer_layers())) == (2, 3, 2)
    assert sum(weight.numel() for weight in cut.parameters()) < sum(w.numel() for w in loaded[family].parameters())
    waveform = speech(8_000)
    (states,), (whole,) = valid_states(cut, [waveform]), valid_states(loaded[family], [waveform])
    assert len(states) == 3
    for state, expected in zip(states, whole, strict=False):
        torch.testing.assert_close(state, expected)


def test_the_position_table_ends_with_the_longest_input(encoders: dict[str, Path]) -> None:
    encoder = load_encoder(str(encoders["whisper"]), 1, max_s=0.25)
    assert encoder.positions.shape == (13, 16)
    (states,) = valid_states(encoder, [speech(4_000)])
    assert len(states[0]) == 13
    with pytest.raises(RuntimeError):
        valid_states(encoder, [speech(4_321)])


@pytest.mark.parametrize("family", CONVOLUTIONAL)
def test_every_layer_answers_while_training(encoders: dict[str, Path], family: str) -> None:
    encoder = load_encoder(str(encoders[family]), 3).train()
    rows = [speech(3_000), speech(500, seed=1)]
    assert {len(encoder(*batch_of(rows))[0]) for _ in range(20)} == {4}


def test_a_whole_checkpoint_loads_as_an_encoder_alone_does(encoders: dict[str, Path]) -> None:
    waveform = speech(5_000)
    expected = valid_states(load_encoder(str(encoders["whisper-encoder"]), 3), [waveform])[0]
    config = json.loads((encoders["whisper-encoder"] / "config.json").read_text())
    assert config["architectures"] == ["WhisperEncoder"]
    for folder in ("whisper", "whisper-speech-to-text"):
        encoder = load_encoder(str(encoders[folder]), 3)
        assert not [name for name, _ in encoder.named_parameters() if "decoder" in name]
        for state, wanted in zip(valid_states(encoder, [waveform])[0], expected, strict=True):
            torch.testing.assert_close(state, wanted)


def test_encoders_that_cannot_be(encoders: dict[str, Path], tmp_path: Path) -> None:
    damaged, bare, foreign = tmp_path / "damaged", tmp_path / "bare", tmp_path / "foreign"
    for folder in (damaged, bare, foreign):
        shutil.copytree(encoders["whisper-encoder"], folder)
    weights = damaged / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:2_000])
    (bare / "model.safetensors").unlink()
    shutil.copy(encoders["hubert"] / "model.safetensors", foreign)
    (tmp_path / "garbage").mkdir()
    (tmp_path / "garbage" / "config.json").write_text("{")
    for name, layers, message in (
        (str(tmp_path / "gone"), 1, "gone' (no such folder)"),
        ("nobody/nothing", 1, "'nobody/nothing' (no such folder)"),
        (str(encoders["bert"]), 1, "'bert' is not one of whisper, hubert, wav2vec2, wavlm"),
        (str(encoders["whisper"]), 4, "has 3 layers, so 4 cannot be kept"),
        (str(encoders["wavlm"]), 0, "has 3 layers, so 0 cannot be kept"),
        (str(damaged), 1, "damaged'"),
        (str(bare), 1, "bare'"),
        (str(foreign), 1, "weights of a WhisperEncoder"),
        (str(tmp_path / "garbage"), 1, "garbage'"),
    ):
        with pytest.raises(ModelError) as error:
            load_encoder(name, layers)
        assert message in str(error.value)
        assert "\n" not in str(error.value)


@given(silence=st.integers(0, 9_000), level=st.sampled_from([0.0, 1e-5]), mates=st.integers(0, 2))
@settings(max_examples=20, deadline=None)
def test_silence_behind_the_voice_changes_nothing(
    loaded: dict[str, Any], silence: int, level: float, mates: int
) -> None:
    pooled = PooledEncoder(loaded["whisper"], (0, 2, 3), voiced_db=30.0)
    voice = speech(9_000)
    behind = level * torch.randn(silence, generator=torch.Generator().manual_seed(2))
    others = [speech(12_000, seed) for seed in range(1, mates + 1)]
    with torch.inference_mode():
        expected = pooled(*batch_of([voice]))
        found = pooled(*batch_of([torch.cat([voice, behind]), *others], junk=1.0))[:1]
    assert (found - expected).norm() < 1e-3 * expected.norm()


def test_only_tokens_near_the_loudest_are_voiced() -> None:
    waveform = torch.zeros(2, 3_200)
    waveform[0, 640:1_280], waveform[0, 1_280:1_920], waveform[1, 2_900:] = 1.0, 0.1, 1.0
    lengths = torch.tensor([3_200, 2_000])
    voiced, ends = voiced_tokens(token_energy(waveform, lengths, 320), lengths, 320, within_db=19.0)
    assert voiced[0].tolist() == [False, True, True, True, True, *[False] * 5]
    assert voiced[1].tolist() == [True] * 7 + [False] * 3, "silence throughout is all alike"
    assert ends.tolist() == [5 * 320 + 160, 2_000]


@given(down_db=st.floats(0, 48), further_db=st.floats(0, 9))
@settings(max_examples=20, deadline=None)
def test_a_voice_too_quiet_for_the_encoder_is_amplified(
    loaded: dict[str, Any], down_db: float, further_db: float
) -> None:
    pooled = PooledEncoder(loaded["whisper"], (0, 2, 3), voiced_db=30.0)
    voice = speech(9_000)
    voice = voice * 10 ** ((QUIETEST_DBFS - 2) / 20) / voice.square().mean().sqrt()
    with torch.inference_mode():
        quiet, quieter = (
            pooled(*batch_of([voice * 10 ** (-lower_db / 20), speech(12_000)]))[0]
            for lower_db in (down_db, down_db + further_db)
        )
    assert (quiet - quieter).norm() < 1e-3 * quiet.norm()


@pytest.mark.parametrize(("power", "gain"), [(0.0, 1e3), (1e-12, 1e3), (1e-5, 1.259), (1e-4, 1.0), (1.0, 1.0)])
def test_no_other_voice_is_and_silence_stays_silence(power: float, gain: float) -> None:
    energy, voiced = torch.tensor([[640 * power, 0.0]]), torch.tensor([[True, False]])
    assert audible_gain(energy, voiced, 320).item() == pytest.approx(gain, rel=1e-3)


@pytest.mark.parametrize("pooled", [(), (4,), (-1, 2)])
def test_layers_that_cannot_be_pooled(loaded: dict[str, Any], pooled: tuple[int, ...]) -> None:
    with pytest.raises(ModelError, match="must be within 0 to 3"):
        PooledEncoder(loaded["whisper"], pooled)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=4), st.integers(0, 2**32))
def test_pooling_is_the_mean_and_deviation_of_valid_frames(frames: list[int], seed: int) -> None:
    states = np.random.default_rng(seed).standard_normal((len(frames), max(frames) + 2, 5)).astype(np.float32)
    inside = torch.arange(states.shape[1])[None] < torch.tensor(frames)[:, None]
    pooled = statistics_pool(torch.from_numpy(states), inside).numpy()
    for row, count in enumerate(frames):
        valid = states[row, :count]
        np.testing.assert_allclose(pooled[row], [*valid.mean(0), *valid.std(0)], atol=2e-4)


def test_only_whispers_tokens_merge(encoders: dict[str, Path]) -> None:
    whisper, other = (load_encoder(str(encoders[family]), 2) for family in ("whisper", "wav2vec2"))
    assert whisper.samples_a_token == 320
    whisper.merge_pairs()
    assert whisper.samples_a_token == 640
    with pytest.raises(ModelError, match=r"encoder\.merge: only"):
        other.merge_pairs()
