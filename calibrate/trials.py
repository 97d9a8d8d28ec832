"""Voices for verification: one table of voiceprints, from which enrolments, tests and conversations are drawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from calibrate.corpora import Utterance
from calibrate.voices import SpectrumProjection, VoiceEncoder
from edge.audio import SAMPLE_RATE_HZ, Waveform, read_audio
from edge.buckets import pad
from edge.head import Matrix
from edge.segmenter import Segmenter
from edge.settings import SegmenterSettings, VadSettings
from edge.speaker import unit

Rows = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Words = npt.NDArray[np.str_]

DURATIONS_S = (1, 2, 3, 5)
TIMED_CLIPS = 24
"""Clips of each speaker that are cut, or prolonged by others of the same emotion, to each of ``DURATIONS_S``."""
BATCH = 32


@dataclass(frozen=True)
class Voices:
    """Utterances of known speakers as voice activity detection delivers them; half of the clips only for enrolment."""

    voice: Matrix
    """``float32[n, 256]`` of GE2E."""
    spectrum: Matrix
    """``float32[n, 160]``, long-term."""
    duration_s: npt.NDArray[np.float64]
    target_s: Rows
    """The duration it was cut to, 0 for a whole clip."""
    enrols: Mask
    """For enrolment; the others are for tests, and never share a clip with these."""
    speaker: Words
    corpus: Words
    gender: Words
    emotion: Words

    @property
    def neutral(self) -> Mask:
        """Spoken without emotion; RAVDESS calls most of it calm."""
        return np.isin(self.emotion, ("neutral", "calm"))

    def select(self, rows: Mask) -> Voices:
        """Return the rows where ``rows`` is true."""
        return Voices(*(getattr(self, field.name)[rows] for field in fields(self)))

    def save(self, path: Path) -> None:
        """Write an ``npz`` file."""
        np.savez(path, **{field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def load(cls, path: Path) -> Voices:
        """Read the ``npz`` file that ``save`` wrote."""
        with np.load(path, allow_pickle=False) as arrays:
            return cls(**arrays)

    def prints(self, projection: SpectrumProjection | None) -> Matrix:
        """Return the voiceprints that ``VoiceEncoder`` would give with this projection."""
        if projection is None:
            return self.voice
        spectrum = unit(((self.spectrum - projection.mean) @ projection.matrix).astype(np.float32))
        weighted = (projection.weight**0.5 * spectrum).astype(np.float32)
        return unit(np.concatenate([self.voice, weighted], axis=1))


def read_voices(encoder: VoiceEncoder, utterances: Sequence[Utterance], seed: int = 0) -> Voices:
    """Read, segment and embed utterances; takes about 60 ms an utterance on one core."""
    rng = np.random.default_rng(seed)
    speech = [spoken(read_audio(utterance.path)) for utterance in utterances]
    speakers = np.array([utterance.speaker for utterance in utterances])
    enrols = np.zeros(len(speech), np.bool_)
    for speaker in np.unique(speakers):
        clips = rng.permutation(np.flatnonzero(speakers == speaker))
        enrols[clips[: len(clips) // 2]] = True
    pieces = [(clip, 0, waveform) for clip, waveform in enumerate(speech)]
    for speaker in np.unique(speakers):
        tests = np.flatnonzero((speakers == speaker) & ~enrols)
        pieces += _timed(rng.permutation(tests), speech, [utterance.emotion for utterance in utterances])
    voice, spectrum = _embed(encoder, [waveform for *_, waveform in pieces])
    clips = np.array([clip for clip, *_ in pieces])
    described = [(one.corpus, one.gender or "", one.emotion) for one in utterances]
    corpus, gender, emotion = np.array(described).T
    return Voices(
        voice=voice,
        spectrum=spectrum,
        duration_s=np.array([len(waveform) / SAMPLE_RATE_HZ for *_, waveform in pieces]),
        target_s=np.array([target_s for _, target_s, _ in pieces]),
        enrols=enrols[clips],
        speaker=speakers[clips],
        corpus=corpus[clips],
        gender=gender[clips],
        emotion=emotion[clips],
    )


def spoken(waveform: Waveform) -> Waveform:
    """Return what the device's segmenter keeps of a clip, or all of it where it hears no voice."""
    segmenter = Segmenter(VadSettings(), SegmenterSettings())
    segments = segmenter.push(waveform) + segmenter.flush()
    return np.concatenate([segment.samples for segment in segments]) if segments else waveform


def draw_enrolment(voices: Voices, speaker: str, count: int, rng: np.random.Generator, neutral: bool = False) -> Rows:
    """Draw enrolment clips of a speaker: of as many emotions as possible, or all neutral."""
    wanted = voices.enrols & (voices.target_s == 0) & (voices.speaker == speaker)
    if neutral:
        wanted &= voices.neutral
    clips = rng.permutation(np.flatnonzero(wanted))
    drawn: Counter[str] = Counter()
    rounds = []
    for emotion in voices.emotion[clips].tolist():
        rounds.append(drawn[emotion])
        drawn[emotion] += 1
    return clips[np.argsort(rounds, kind="stable")][:count]


def hold_out(voices: Voices, shares: float, rng: np.random.Generator) -> tuple[Voices, Voices]:
    """Draw a share of each corpus's speakers, at least five, and return the voices of the others and theirs."""
    held: list[str] = []
    for corpus in np.unique(voices.corpus):
        speakers = np.unique(voices.speaker[voices.corpus == corpus])
        held += rng.permutation(speakers)[: max(5, round(shares * len(speakers)))].tolist()
    out = np.isin(voices.speaker, held)
    return voices.select(~out), voices.select(out)


def by_corpus(voices: Voices) -> Iterator[tuple[str, Voices]]:
    """Yield each corpus and its voices."""
    for corpus in np.unique(voices.corpus).tolist():
        yield corpus, voices.select(voices.corpus == corpus)


def _timed(tests: Rows, speech: list[Waveform], emotions: list[str]) -> Iterator[tuple[int, int, Waveform]]:
    for clip in tests[:TIMED_CLIPS].tolist():
        mates = [mate for mate in tests.tolist() if emotions[mate] == emotions[clip] and mate != clip]
        waveform = np.concatenate([speech[mate] for mate in (clip, *mates[:6])])
        for target_s in DURATIONS_S:
            if len(waveform) >= target_s * SAMPLE_RATE_HZ:
                yield clip, target_s, waveform[: target_s * SAMPLE_RATE_HZ]


def _embed(encoder: VoiceEncoder, waveforms: list[Waveform]) -> tuple[Matrix, Matrix]:
    """Return ``VoiceEncoder.parts`` of all, in batches of similar length."""
    order = np.argsort([len(waveform) for waveform in waveforms], kind="stable")
    parts = []
    with torch.inference_mode():
        for start in range(0, len(order), BATCH):
            batch = [waveforms[row] for row in order[start : start + BATCH]]
            lengths = torch.tensor([len(waveform) for waveform in batch])
            parts.append(encoder.parts(torch.from_numpy(pad(batch, int(lengths.max()))), lengths))
    back = np.argsort(order)
    voice, spectrum = (np.concatenate([part.numpy() for part in column])[back] for column in zip(*parts, strict=True))
    return voice, spectrum
