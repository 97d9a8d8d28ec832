"""Reading voices for verification: clips through voice activity detection to one table of voiceprints, kept on disk."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from calibrate.cache import cached_arrays, content_of
from calibrate.corpora import Utterance
from calibrate.progress import progress_bar
from calibrate.speakers.trials import DURATIONS_S, Rows, Voices
from calibrate.speakers.verifier import read_contract
from edge.analyze import whole_file_waveform
from edge.arrays import Matrix
from edge.audio import SAMPLE_RATE_HZ, Waveform
from edge.buckets import Buckets
from edge.bundle import sha256_of
from edge.encoder import SpeakerEncoder
from edge.errors import AudioFileError, UsageError
from edge.settings import EncoderSettings, SegmenterSettings, VadSettings

logger = logging.getLogger(__name__)

TIMED_CLIPS = 24
"""Clips of each speaker that are cut or prolonged to each of ``DURATIONS_S``."""
COHORT_VOICES, COHORT_LEAST = 128, 20
"""People of a cohort, at most and at least."""
COHORT_S = 6.0
"""Speech of each."""
BUCKETS_S = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 12.0)
"""Input lengths of an ONNX encoder, those of a bundle."""
VERSION = 2
"""Rises whenever this file makes another table."""

Advance = Callable[[int], object]


class VoiceSource:
    """Makes voiceprints as the device does, by any ONNX file that keeps the contract."""

    def __init__(self, path: Path, threads: int = 1) -> None:
        dim, _ = read_contract(path)
        settings = EncoderSettings(provider="cpu", threads=threads)
        self.encoder = SpeakerEncoder(path, dim, Buckets(BUCKETS_S), settings)

    @property
    def key(self) -> str:
        """What changes when the voiceprints do."""
        return sha256_of(self.encoder.path)

    def embed(self, waveforms: Sequence[Waveform], advance: Advance) -> Matrix:
        """Return the prints ``float32[n, dim]`` of speech, reporting to ``advance`` how many are done."""
        self.encoder.load()
        prints = np.empty((len(waveforms), self.encoder.dim), np.float32)
        for row, waveform in enumerate(waveforms):
            prints[row] = self.encoder.voiceprint(waveform)
            advance(1)
        return prints


def cached_voices(source: VoiceSource, utterances: Sequence[Utterance], cache: Path, seed: int = 0) -> Voices:
    """Return the table from the cache folder, or read it and keep it there; a damaged file is made anew."""
    settings = (VadSettings().model_dump(), SegmenterSettings().model_dump(), DURATIONS_S, TIMED_CLIPS, BUCKETS_S)
    clips = [(content_of(one.path), one.corpus, one.speaker, one.gender, one.emotion) for one in utterances]
    described = (VERSION, source.key, settings, seed, clips)
    return Voices(**cached_arrays(cache, "voices", described, lambda: vars(read_voices(source, utterances, seed))))


def read_voices(source: VoiceSource, utterances: Sequence[Utterance], seed: int = 0) -> Voices:
    """Read, segment and embed utterances; files that cannot be read are logged and left out.

    Raises:
        UsageError: none of the files can be read.
    """
    rng = np.random.default_rng(seed)
    with progress_bar() as progress:
        reading = progress.add_task("reading speech", total=len(utterances))
        utterances, speech = _read(utterances, lambda count: progress.advance(reading, count))
        speakers = np.array([utterance.speaker for utterance in utterances])
        enrols = np.zeros(len(speech), np.bool_)
        for speaker in np.unique(speakers):
            clips = rng.permutation(np.flatnonzero(speakers == speaker))
            enrols[clips[: len(clips) // 2]] = True
        pieces = [(clip, 0, waveform) for clip, waveform in enumerate(speech)]
        emotions = [utterance.emotion for utterance in utterances]
        for speaker in np.unique(speakers):
            pieces += _timed(rng.permutation(np.flatnonzero((speakers == speaker) & ~enrols)), speech, emotions)
        embedding = progress.add_task("voiceprints", total=len(pieces))
        waveforms = [waveform for *_, waveform in pieces]
        prints = source.embed(waveforms, lambda count: progress.advance(embedding, count))
    origins = np.array([clip for clip, *_ in pieces])
    corpus, gender, emotion = np.array([(one.corpus, one.gender or "", one.emotion) for one in utterances]).T
    return Voices(
        prints=prints,
        duration_s=np.array([len(waveform) / SAMPLE_RATE_HZ for waveform in waveforms]),
        target_s=np.array([target_s for _, target_s, _ in pieces]),
        enrols=enrols[origins],
        speaker=speakers[origins],
        corpus=corpus[origins],
        gender=gender[origins],
        emotion=emotion[origins],
    )


def read_cohort(source: VoiceSource, folder: Path, seed: int = 0) -> Matrix:
    """Return ``float32[voices, dim]``: a print each of people drawn from a folder of recordings.

    A file's name up to the first hyphen is its speaker, as in LibriSpeech; without one, every file is of someone else.

    Raises:
        UsageError: the folder holds too few people.
    """
    by_speaker = {path.stem.partition("-")[0]: path for path in sorted(folder.iterdir()) if path.is_file()}
    rng = np.random.default_rng(seed)
    drawn = rng.permutation(sorted(by_speaker))[:COHORT_VOICES].tolist()
    if len(drawn) < COHORT_LEAST:
        raise UsageError(f"{folder}: has recordings of {len(drawn)} people; a cohort needs {COHORT_LEAST}")
    longest = round(COHORT_S * SAMPLE_RATE_HZ)
    return source.embed([whole_file_waveform(by_speaker[name])[:longest] for name in drawn], lambda count: None)


def _read(utterances: Sequence[Utterance], advance: Advance) -> tuple[list[Utterance], list[Waveform]]:
    read, speech = [], []
    for utterance in utterances:
        try:
            speech.append(whole_file_waveform(utterance.path))
            read.append(utterance)
        except AudioFileError as error:
            logger.warning("left out: %s", error)
        advance(1)
    if not read:
        raise UsageError(f"none of {len(utterances)} files can be read, the first of them {utterances[0].path}")
    return read, speech


def _timed(tests: Rows, speech: list[Waveform], emotions: list[str]) -> Iterator[tuple[int, int, Waveform]]:
    longest = DURATIONS_S[-1] * SAMPLE_RATE_HZ
    for clip in tests[:TIMED_CLIPS].tolist():
        mates = [mate for mate in tests.tolist() if emotions[mate] == emotions[clip] and mate != clip]
        waveform = np.concatenate([speech[mate] for mate in (clip, *mates[:6])])[:longest].copy()
        for target_s in DURATIONS_S:
            if len(waveform) >= target_s * SAMPLE_RATE_HZ:
                yield clip, target_s, waveform[: target_s * SAMPLE_RATE_HZ]
