"""Conditions that a device may meet: noise, rooms, telephone lines, a codec, a quiet microphone; the same every time.

A condition changes a whole recording ``float32[samples]`` of 16 kHz and keeps its length, so that what is spoken stays
where it was.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import soundfile
import soxr

from calibrate.training.augment import add_noise, add_room, telephone
from edge.arrays import Doubles
from edge.audio import SAMPLE_RATE_HZ, Waveform

CLEAN = "clean"
SNR_DB = (20, 10, 5)
TILTS = {"white": 0.0, "pink": 0.5}
BABBLE = "babble"
NOISES = (*TILTS, BABBLE)
TALKERS = 6
"""Whose speech is summed to babble."""
SMALL_ROOM_S, LARGE_ROOM_S = 0.3, 0.8
TELEPHONE_HZ = 8_000
GAINS_DB = (-30, -20, -10, 10)
HUM, RUMBLE = "hum 0 dB", "rumble 0 dB"
HUM_HZ, RUMBLE_HZ = 50.0, 60.0
MEANING = (
    "noise is scaled against the power of what is spoken in the clean recording; white; pink (power falls as 1/f); "
    f"babble of {TALKERS} other speakers; rooms are Polack's (exponentially decaying noise behind the direct sound, "
    f"energy 2 to 14 dB below it), {SMALL_ROOM_S} and {LARGE_ROOM_S} s to decay by 60 dB; telephone: 300 to 3,400 Hz, "
    "8 kHz, G.711 µ-law at 64 kbit/s; GSM: 8 kHz, GSM 06.10 at 13 kbit/s; Opus: 16 kHz, the encoder's lowest rate, "
    f"6 kbit/s nominal, variable; hum: of {HUM_HZ:g} Hz, rumble: noise below {RUMBLE_HZ:g} Hz, as loud as what is "
    "spoken; gain: of the whole recording, clipped at full scale"
)

Condition = Callable[[Waveform, float, str], Waveform]
"""Recording, mean power of what is spoken in it, and a key that all its draws depend on."""


@dataclass(frozen=True)
class Babble:
    """Utterances of others, each ``float32[samples]``, and who says them."""

    voices: Sequence[Waveform]
    speakers: Sequence[str]

    def noise(self, samples: int, rng: np.random.Generator) -> Waveform:
        """Return ``float32[samples]``, the sum of utterances of different speakers, repeated, at equal power."""
        names = np.array(self.speakers)
        talkers = rng.permutation(np.unique(names))[:TALKERS]
        voices = [self.voices[rng.choice(np.flatnonzero(names == talker))] for talker in talkers]
        turned = [np.roll(voice, rng.integers(len(voice))) / (np.sqrt(power(voice)) + 1e-9) for voice in voices]
        return np.asarray(np.sum([np.resize(voice, samples) for voice in turned], axis=0), np.float32)


def conditions(babble: Babble, seed: int = 0) -> dict[str, Condition]:
    """Return all conditions by name, the clean one first; noises of one colour differ in level alone."""

    def rng(kind: str, key: str) -> np.random.Generator:
        return np.random.default_rng([seed, zlib.crc32(kind.encode()), zlib.crc32(key.encode())])

    def coloured(colour: str, snr_db: float) -> Condition:
        def apply(waveform: Waveform, spoken_power: float, key: str) -> Waveform:
            louder_db = 10 * np.log10(max(spoken_power, 1e-12) / max(power(waveform), 1e-12))
            return add_noise(waveform, snr_db - louder_db, TILTS[colour], rng(colour, key))

        return apply

    def babbling(snr_db: float) -> Condition:
        def apply(waveform: Waveform, spoken_power: float, key: str) -> Waveform:
            noise = babble.noise(len(waveform), rng(BABBLE, key))
            gain = np.sqrt(spoken_power * 10 ** (-snr_db / 10) / max(power(noise), 1e-12))
            return np.asarray(waveform + noise * np.float32(gain))

        return apply

    def below_voices(name: str, noise_of: Callable[[int, np.random.Generator], Doubles]) -> Condition:
        def apply(waveform: Waveform, spoken_power: float, key: str) -> Waveform:
            noise = noise_of(len(waveform), rng(name, key))
            gain = np.sqrt(spoken_power / max(float(np.mean(np.square(noise))), 1e-12))
            return np.asarray(waveform + gain * noise, np.float32)

        return apply

    def room(decay_s: float) -> Condition:
        return lambda waveform, _, key: add_room(waveform, decay_s, rng("room", key))

    def gain(gain_db: float) -> Condition:
        return lambda waveform, _, __: waveform * np.float32(10 ** (gain_db / 20))

    made: dict[str, Condition] = {CLEAN: lambda waveform, _, __: waveform}
    made |= {noise_name(colour, snr_db): coloured(colour, snr_db) for colour in TILTS for snr_db in SNR_DB}
    made |= {noise_name(BABBLE, snr_db): babbling(snr_db) for snr_db in SNR_DB}
    made |= {"small room": room(SMALL_ROOM_S), "large room": room(LARGE_ROOM_S)}
    made["telephone"] = lambda waveform, _, __: on_the_phone(telephone(waveform), "ULAW")
    made["GSM"] = lambda waveform, _, __: on_the_phone(waveform, "GSM610")
    made["Opus 6 kbit/s"] = lambda waveform, _, __: through_codec(
        waveform, SAMPLE_RATE_HZ, format="OGG", subtype="OPUS", compression_level=1.0
    )
    made |= {HUM: below_voices(HUM, hum), RUMBLE: below_voices(RUMBLE, rumble)}
    made |= {gain_name(gain_db): gain(gain_db) for gain_db in GAINS_DB}
    return made


def noise_name(colour: str, snr_db: float) -> str:
    """Return what a noise is called in tables."""
    return f"{colour} {snr_db} dB"


def gain_name(gain_db: float) -> str:
    """Return what a gain is called in tables."""
    return f"gain {gain_db:+} dB"


def hum(samples: int, rng: np.random.Generator) -> Doubles:
    """Return ``float64[samples]`` of mains hum without harmonics, at any phase."""
    cycles = HUM_HZ * np.arange(samples) / SAMPLE_RATE_HZ
    return np.sin(2 * np.pi * (cycles + rng.random()))


def rumble(samples: int, rng: np.random.Generator) -> Doubles:
    """Return ``float64[samples]`` of brown noise below ``RUMBLE_HZ``, as of lifts, wind and lorries."""
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    frequency_hz = np.fft.rfftfreq(samples, 1 / SAMPLE_RATE_HZ)
    spectrum[frequency_hz > RUMBLE_HZ] = 0
    spectrum[1:] /= frequency_hz[1:]
    spectrum[0] = 0
    return np.fft.irfft(spectrum, samples)


def on_the_phone(waveform: Waveform, subtype: str) -> Waveform:
    """Send ``float32[samples]`` through a telephone codec at 8 kHz; ``ULAW`` or ``GSM610``."""
    narrow = soxr.resample(waveform, SAMPLE_RATE_HZ, TELEPHONE_HZ)
    decoded = through_codec(narrow, TELEPHONE_HZ, format="WAV", subtype=subtype)
    return _as_long_as(waveform, soxr.resample(decoded, TELEPHONE_HZ, SAMPLE_RATE_HZ))


def through_codec(waveform: Waveform, rate_hz: int, **options: Any) -> Waveform:
    """Encode and decode ``float32[samples]`` with libsndfile; ``options`` are those of ``soundfile.write``."""
    coded = io.BytesIO()
    soundfile.write(coded, np.clip(waveform, -1, 1), rate_hz, **options)
    coded.seek(0)
    return _as_long_as(waveform, soundfile.read(coded, dtype="float32")[0])


def power(waveform: Waveform) -> float:
    """Return the mean square."""
    return float(np.mean(np.square(waveform, dtype=np.float64)))


def _as_long_as(waveform: Waveform, changed: Waveform) -> Waveform:
    """Cut or pad what a codec, which works in blocks, has made of a waveform."""
    cut = changed[: len(waveform)]
    return np.pad(cut, (0, len(waveform) - len(cut)))
