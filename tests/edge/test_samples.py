from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from edge.audio import SAMPLE_RATE_HZ
from edge.errors import UsageError
from edge.samples import SHORTEST_S, checked_batch, checked_waveform

SECOND = np.sin(np.linspace(0, 2_000, SAMPLE_RATE_HZ)).astype(np.float32) / 2


class Tensor:
    """As one of torch that has gradients, or is on a GPU."""

    def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
        raise RuntimeError("has gradients")


def with_value(value: float, index: int = 7) -> np.ndarray:
    samples = SECOND.copy()
    samples[index] = value
    return samples


@pytest.mark.parametrize(
    ("audio", "message"),
    [
        (with_value(np.nan), r"sample 7 is nan; repair it first, as with numpy\.nan_to_num"),
        (with_value(np.inf, 15_999), r"sample 15999 is inf"),
        (np.zeros(0, np.float32), r"samples: holds no samples"),
        (np.stack([SECOND, SECOND], axis=1), r"shape \[16000, 2\] has 2 dimensions.*mean\(axis=1\).*as a list"),
        (np.float32(0.5), r"shape \[\] has 0 dimensions"),
        ((SECOND * 32_767).astype(np.int16), r"int16 is not scaled to ±1.*astype\('float32'\) / 32768"),
        ((SECOND * 2**31).astype(np.int32), r"int32 is not scaled.* / 2147483648"),
        (SECOND * 20_000, r"samples up to 10000; scale them to ±1"),
        (SECOND > 0, r"bool is no audio"),
        (SECOND[: round(SHORTEST_S * SAMPLE_RATE_HZ) - 1], r"ms are too short"),
        ((SECOND[:3_000], 48_000), r"62 ms are too short to mean anything; at least 100 ms"),
        ((SECOND, 44.1), r"rate 44\.1 is not a whole number of Hz from 8000 to 192000"),
        ((SECOND, 16), r"rate 16 is not a whole number"),
        ((SECOND, "16000"), r"rate '16000' is not a whole number"),
        ((SECOND, True), r"rate True is not a whole number"),
        ((16_000, SECOND), r"\(rate, samples\) is the wrong way round"),
        ((SECOND, 16_000, 1), r"a tuple of 3 is not the pair"),
        ("talk.wav", r"str is no array of samples"),
        (b"\0\0", r"bytes is no array"),
        (None, r"NoneType is no array"),
        (3.5, r"float is no array"),
        (Tensor(), r"samples: numpy cannot read them: has gradients"),
        ([[0.0], [0.0, 0.1]], r"samples: numpy cannot read them: setting an array element"),
    ],
)
def test_what_is_no_audio_is_named_with_its_remedy(audio: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        checked_waveform(audio)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_any_floating_point_is_taken(dtype: str) -> None:
    waveform = checked_waveform(SECOND.astype(dtype))
    assert waveform.dtype == np.float32
    np.testing.assert_allclose(waveform, SECOND, atol=1e-3)


@pytest.mark.parametrize("rate_hz", [8_000, 44_100, np.int64(48_000)])
def test_another_rate_is_resampled(rate_hz: int) -> None:
    samples = np.sin(2 * np.pi * 440 * np.arange(int(rate_hz)) / rate_hz)
    waveform = checked_waveform((samples, rate_hz))
    assert len(waveform) == pytest.approx(SAMPLE_RATE_HZ, abs=2)
    assert np.abs(np.fft.rfft(waveform)).argmax() == 440


def test_one_is_told_from_a_batch_of_one() -> None:
    assert checked_batch(SECOND)[1] is True
    waveforms, single = checked_batch([SECOND, (SECOND, 8_000)])
    assert single is False
    assert [len(waveform) for waveform in waveforms] == [16_000, 32_000]


@pytest.mark.parametrize(
    ("audio", "message"),
    [
        ([], "the list is empty"),
        (SECOND[:4_000].tolist(), "a list is a batch of arrays, not samples"),
        ([SECOND, with_value(np.nan)], "samples of item 1: sample 7 is nan"),
        ([SECOND, "b.wav"], "samples of item 1: str is no array"),
    ],
)
def test_the_item_of_a_batch_is_named(audio: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        checked_batch(audio)


@given(
    npst.arrays(
        st.sampled_from([np.float32, np.float64, np.int16, np.uint8, np.complex64]),
        npst.array_shapes(min_dims=0, max_dims=2, max_side=2_000),
    )
)
def test_any_array_is_audio_or_an_error_of_one_line(array: np.ndarray) -> None:
    assert outcome(array) in {"audio", "one line"}


def outcome(array: np.ndarray) -> str:
    try:
        waveform = checked_waveform(array)
    except UsageError as error:
        return "many lines" if "\n" in str(error) else "one line"
    sound = waveform.dtype == np.float32 and waveform.ndim == 1 and bool(np.isfinite(waveform).all())
    return "audio" if sound else "no audio"
