from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from calibrate.encoders.base import SpeechEncoder
from calibrate.encoders.pretrained import load_encoder
from calibrate.encoders.shapes import CompactShape, WhisperStudentShape
from calibrate.encoders.students import build_student
from calibrate.pretraining.frames import LayerFeatures, MfccFeatures, frames_of_rows, mfcc_frames
from edge.audio import Waveform
from edge.errors import ModelError
from helpers.signals import tone_at

FAMILIES = ("whisper", "hubert", "hubert-group", "wav2vec2", "wavlm", "compact", "slow whisper")


@pytest.fixture(scope="module")
def loaded(encoders: dict[str, Path]) -> dict[str, SpeechEncoder]:
    torch.manual_seed(0)
    small: dict[str, Any] = {"layers": 2, "width": 16, "heads": 2, "hidden": 16}
    students = {
        "compact": build_student(CompactShape(**small)).eval(),
        "slow whisper": build_student(WhisperStudentShape(**small, stride=4)).eval(),
    }
    return {family: load_encoder(str(encoders[family]), 2) for family in FAMILIES if family in encoders} | students


def noise(samples: int, seed: int = 0) -> Waveform:
    return (0.1 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


@settings(max_examples=30)
@given(family=st.sampled_from(FAMILIES), lengths=st.lists(st.integers(1, 9_000), min_size=1, max_size=3))
def test_there_are_as_many_frames_as_the_encoder_has(
    loaded: dict[str, SpeechEncoder], family: str, lengths: list[int]
) -> None:
    encoder = loaded[family]
    waveforms = [noise(length) for length in lengths]
    states = LayerFeatures(encoder, 1).of(waveforms)
    expected = [encoder.frames_in(length) for length in lengths]
    assert [state.shape for state in states] == [(frames, encoder.width) for frames in expected]
    mfcc = MfccFeatures(encoder).of(waveforms)
    assert [each.shape for each in mfcc] == [(frames, 39) for frames in expected]
    assert all(each.dtype == np.float32 and np.isfinite(each).all() for each in (*states, *mfcc))


@pytest.mark.parametrize("family", FAMILIES)
def test_states_are_those_of_the_layer_and_the_encoder_stays_whole(
    loaded: dict[str, SpeechEncoder], family: str
) -> None:
    encoder, waveform = loaded[family], noise(8_000)
    with torch.inference_mode():
        states, _ = encoder(torch.from_numpy(waveform)[None], torch.tensor([8_000]))
    for layer in range(3):
        (found,) = LayerFeatures(encoder, layer).of([waveform])
        raw = states[layer][0].numpy()
        np.testing.assert_allclose(found, (raw - raw.mean(axis=0)) / raw.std(axis=0), atol=1e-3)
    assert encoder.layers == 2


def test_a_layer_that_is_not_there(loaded: dict[str, SpeechEncoder]) -> None:
    for layer in (-1, 3):
        with pytest.raises(ModelError, match=f"^there is no layer {layer} to cluster: the encoder has 0 to 2$"):
            LayerFeatures(loaded["whisper"], layer)


def test_what_lies_above_the_layer_does_not_matter(loaded: dict[str, SpeechEncoder], encoders: dict[str, Path]) -> None:
    whole = load_encoder(str(encoders["whisper"]), 3)
    assert LayerFeatures(whole, 1).described == LayerFeatures(loaded["whisper"], 1).described
    assert LayerFeatures(whole, 2).described != LayerFeatures(whole, 1).described
    assert MfccFeatures(whole).described == MfccFeatures(loaded["whisper"]).described
    assert MfccFeatures(whole).described != MfccFeatures(loaded["hubert"]).described


@settings(max_examples=15)
@given(before=st.integers(0, 40), after=st.integers(5, 40))
def test_a_frame_is_where_its_sound_is(before: int, after: int) -> None:
    """The frame that changes most is the one at which noise begins to follow a tone."""
    sound = np.concatenate([tone_at(200, before * 0.02 + 0.2), noise(320 * after)])
    frames = mfcc_frames(sound, len(sound) // 320, 320)[:, 1:13]
    changes = np.linalg.norm(np.diff(frames, axis=0), axis=1)[2:-2]  # the first and last windows reach over the edges
    assert abs(int(changes.argmax()) + 3 - (before + 10)) <= 1


def test_rows_come_in_their_order_whatever_their_length_and_unreadable_ones_are_empty(
    loaded: dict[str, SpeechEncoder],
) -> None:
    waveforms: list[Waveform | None] = [noise(500 + 37 * (row * 61 % 100), row) for row in range(150)]
    waveforms[3] = waveforms[149] = None
    order = np.random.default_rng(0).permutation(150).tolist()
    features = MfccFeatures(loaded["whisper"])
    groups = list(frames_of_rows(features, waveforms.__getitem__, order, 0.5))
    assert [row for rows, _ in groups for row in rows] == order
    for row, frames in ((row, frames) for rows, found in groups for row, frames in zip(rows, found, strict=True)):
        waveform = waveforms[row]
        if waveform is None:
            assert frames.shape == (0, 39)
        else:
            np.testing.assert_array_equal(frames, features.of([waveform])[0])
