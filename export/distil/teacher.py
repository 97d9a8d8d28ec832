"""The answers of a teacher to utterances, kept on disk, so that a student can learn from each many times.

A view is one pass over the utterances, clean or augmented. Its folder holds the audio after augmentation (``int16``),
the teacher's hidden states at the student's frame rate (``float16``), its embeddings and where each utterance begins;
it is moved into place when it is whole, so a killed run loses at most the view in hand.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soxr
import torch
from torch import Tensor

from calibrate.cache import content_of, key_of, weights_sha256
from calibrate.encoders.batches import central_part, plan_batches
from calibrate.encoders.logmel import nearest_frames
from calibrate.progress import progress_bar
from calibrate.recipe import AugmentationRecipe
from calibrate.run import Run
from calibrate.training.augment import augment
from edge.audio import SAMPLE_RATE_HZ, Waveform, read_audio
from edge.buckets import pad
from edge.high_pass import high_passed
from edge.settings import VadSettings

BATCH_S = 64.0
ARRAYS = ("audio", "audio_at", "states", "states_at", "embeddings")


@dataclass(frozen=True)
class View:
    """One pass over the utterances with the teacher's answers."""

    audio: npt.NDArray[np.int16]
    audio_at: npt.NDArray[np.int64]
    """Where each utterance begins in ``audio``, and the end of the last."""
    states: npt.NDArray[np.float16]
    """``float16[tokens, layers, width]``, those of all utterances one after the other."""
    states_at: npt.NDArray[np.int64]
    embeddings: npt.NDArray[np.float32]
    """``float32[utterances, dim]``."""

    def waveform(self, row: int) -> Waveform:
        """Return the audio of an utterance as ``float32[samples]``."""
        samples = self.audio[self.audio_at[row] : self.audio_at[row + 1]]
        return np.divide(samples, 32768, dtype=np.float32)

    def target(self, row: int) -> npt.NDArray[np.float32]:
        """Return the hidden states ``float32[tokens, layers, width]``."""
        return self.states[self.states_at[row] : self.states_at[row + 1]].astype(np.float32)

    @property
    def samples(self) -> npt.NDArray[np.int64]:
        """Length of each utterance."""
        return np.diff(self.audio_at)


@dataclass(frozen=True)
class Example:
    """One utterance of a view with the answers of the teacher."""

    waveform: Waveform
    states: npt.NDArray[np.float32]
    """``float32[tokens, layers, width]``."""
    embedding: npt.NDArray[np.float32]

    @classmethod
    def of(cls, view: View, row: int) -> Example:
        """Read a row of a view."""
        return cls(view.waveform(row), view.target(row), view.embeddings[row])


@dataclass(frozen=True)
class Rendering:
    """How the audio of a view is made from files."""

    augmentation: AugmentationRecipe
    speed: float
    """Playback is up to this share faster or slower, which changes pitch and formants as another speaker would."""
    mixed: float
    """Share of the utterances that another one is laid over."""
    max_s: float

    def __call__(self, paths: Sequence[Path], view: int, row: int) -> npt.NDArray[np.int16]:
        """Return ``int16[samples]`` of a file; view 0 is clean, the others depend on view and row alone."""
        waveform = read_audio(paths[row])
        if view:
            rng = np.random.default_rng([view, row])
            if rng.random() < self.mixed:
                waveform = overlaid(waveform, read_audio(paths[int(rng.integers(len(paths)))]), rng.uniform(0, 10))
            factor = rng.uniform(1 - self.speed, 1 + self.speed)
            waveform = soxr.resample(waveform, SAMPLE_RATE_HZ * factor, SAMPLE_RATE_HZ).astype(np.float32)
            waveform = augment(waveform, self.augmentation, rng)
        waveform = central_part(high_passed(waveform), round(self.max_s * SAMPLE_RATE_HZ))
        return np.clip(np.round(waveform * 32768), -32768, 32767).astype(np.int16)


def overlaid(waveform: Waveform, other: Waveform, below_db: float) -> Waveform:
    """Return ``float32[samples]``: a waveform with another over it, repeated or cut to its length, so much quieter."""
    loudness, others = (float(np.sqrt(np.mean(np.square(each)))) for each in (waveform, other))
    gain = loudness / max(others, 1e-6) * 10 ** (-below_db / 20)
    return (waveform + gain * np.resize(other, len(waveform))).astype(np.float32)


def chatter(view: View, voices: int, samples: int, rng: np.random.Generator) -> Waveform:
    """Return ``float32[samples]`` of utterances drawn from a view, equally loud, from anywhere in each, repeated."""
    voices_together = np.zeros(samples, np.float32)
    for row in rng.integers(len(view.audio_at) - 1, size=voices):
        voice = view.waveform(row)
        loudness = float(np.sqrt(np.mean(np.square(voice))))
        voices_together += np.resize(np.roll(voice, rng.integers(len(voice))), samples) / max(loudness, 1e-6)
    return voices_together


def view_of(teacher: Run, paths: Sequence[Path], rendering: Rendering, view: int, apart: float, cache: Path) -> View:
    """Return a view, made if the cache has none.

    Args:
        teacher: its pooled layers are the hidden states kept.
        paths: readable files, a row each.
        rendering: how the audio is made from them.
        view: number of the view, 0 is clean.
        apart: frames of the teacher from one of the student's tokens to the next; only those nearest are kept.
        cache: folder under which the views lie.
    """
    folder = cache / _key(teacher, paths, rendering, apart) / f"view-{view}"
    if not folder.is_dir():
        partial = folder.with_name(f"{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        _make(teacher, [rendering(paths, view, row) for row in range(len(paths))], apart, partial, f"view {view}")
        partial.rename(folder)
    return View(**{name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in ARRAYS})


def _make(teacher: Run, audio: list[npt.NDArray[np.int16]], apart: float, folder: Path, title: str) -> None:
    """Write a view: rows are encoded in batches of like length and land at their own place."""
    lengths = np.array([len(row) for row in audio])
    np.save(folder / "audio.npy", np.concatenate(audio))
    np.save(folder / "audio_at.npy", np.concatenate([[0], np.cumsum(lengths)]))
    order = np.argsort(lengths, kind="stable")
    found: list[tuple[Tensor, Tensor]] = [(torch.empty(0), torch.empty(0))] * len(audio)
    with progress_bar() as progress, torch.inference_mode():
        task = progress.add_task(f"teacher, {title}", total=len(audio))
        for batch in batches_of(lengths, order, BATCH_S):
            waveforms = [audio[row].astype(np.float32) / 32768 for row in batch]
            states, counts, embeddings = answers(teacher, waveforms, apart)
            for place, row in enumerate(batch):
                found[row] = states[place, : counts[place]].half(), embeddings[place]
            progress.advance(task, len(batch))
    tokens = [len(states) for states, _ in found]
    kept = np.lib.format.open_memmap(
        folder / "states.npy", "w+", np.dtype(np.float16), (sum(tokens), *found[0][0].shape[1:])
    )
    starts = np.concatenate([[0], np.cumsum(tokens)])
    for row, (states, _) in enumerate(found):
        kept[starts[row] : starts[row + 1]] = states.numpy()
    kept.flush()
    np.save(folder / "states_at.npy", starts)
    np.save(folder / "embeddings.npy", torch.stack([embedding for _, embedding in found]).numpy())


def answers(teacher: Run, waveforms: Sequence[Waveform], apart: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return states ``float32[batch, tokens, layers, width]``, tokens ``int64[batch]``, ``z`` of ``dim``."""
    lengths = torch.tensor([len(waveform) for waveform in waveforms])
    padded = torch.from_numpy(pad(waveforms, int(lengths.max())))
    states, frames, pooled = teacher.encoder.states(padded, lengths)
    z = teacher.classifier.embed(pooled.reshape(len(pooled), len(teacher.encoder.pooled), -1))
    nearest = nearest_frames(states[0].shape[1], apart)
    tokens = (nearest < frames[:, None]).sum(1)
    return torch.stack([state[:, nearest] for state in states], dim=2), tokens, z


def batches_of(
    lengths: npt.NDArray[np.int64], order: npt.NDArray[np.int64], batch_s: float
) -> list[npt.NDArray[np.int64]]:
    """Cut an order of rows into batches whose padded length stays within ``batch_s`` seconds."""
    lengths_s = (lengths[order] / SAMPLE_RATE_HZ).tolist()
    return [order[batch] for batch in plan_batches(lengths_s, batch_s, by_length=False)]


def _key(teacher: Run, paths: Sequence[Path], rendering: Rendering, apart: float) -> str:
    weights = [weights_sha256(module) for module in (teacher.encoder, teacher.classifier)]
    high_pass_hz = VadSettings().high_pass_hz
    rendered = (rendering.augmentation.key, rendering.speed, rendering.mixed, rendering.max_s, high_pass_hz)
    files = [content_of(path) for path in paths]
    return f"teacher-{key_of(weights, files, rendered, apart, teacher.encoder.pooled)}"
