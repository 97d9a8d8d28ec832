"""The quality of enrolment clips: measures of each, and doubts about an enrolment as a whole.

Every text names what was measured and the remedy. Nothing here stops an enrolment; only clips that would teach
something false are left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edge.arrays import Doubles, Matrix
from edge.segment import Segment
from edge.speaker import SHORTEST_S, VoiceCalibration
from edge.vad import FRAME_SAMPLES

CLIPPED_AUDIBLY, CLIPPED_BADLY = 0.001, 0.02
"""Share of clipped samples that is worth a warning, and that makes a clip useless."""
QUIET_DBFS = -50.0
"""Voices below it drown in the noise of most microphones."""
NOISY_DB = 10.0
"""Voice over background; the emotion encoder was trained on clean recordings."""
LEAST_S, LEAST_CLIPS = 10.0, 4
"""Speech below which a profile hardly differs from the population, and voices are mixed up."""
OTHER_VOICE, SAME_VOICE = -2.5, 2.0
"""Log likelihood ratios: odds of 12 to 1 against being of the same person, of 7 to 1 for it. With eight clips of one
RAVDESS, BanglaSER or nEMO speaker, 3 of 57 are doubted wrongly; of one clip or half of them swapped for another
speaker's, about half are found."""
LEAST_OTHERS = 3
"""Clips to compare one with, so that another mood is not taken for another voice."""
ONE_SIDED = 0.9
"""Share of clips that sound of one emotion from which on an enrolment is one-sided."""

_BACKGROUND, _VOICE = 10, 80
"""Percentiles of the frames' power: segments hold up to half a second of room, and pauses."""


@dataclass(frozen=True)
class Sound:
    """How one clip was recorded."""

    speech_s: float
    """From the first to the last voiced frame."""
    level_dbfs: float
    """Of the voice."""
    noise_db: float
    """How far the voice stands above the background."""
    clipped: float
    """Share of the samples at or beyond full scale, 0 to 1."""

    @property
    def fault(self) -> str | None:
        """Why the clip is of no use; None when it is."""
        if self.speech_s < SHORTEST_S:
            return f"only {self.speech_s:.1f} s of speech, at least {SHORTEST_S} s are needed"
        if self.clipped > CLIPPED_BADLY:
            return f"badly clipped ({self.clipped:.0%} of it): turn the microphone down"
        return None


def measure(segment: Segment) -> Sound:
    """Measure a segment; its pre-roll and pauses are the background."""
    frames = segment.samples[: len(segment.samples) // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)
    power = frames.var(axis=1, dtype=np.float64) if len(frames) else np.array([segment.samples.var(dtype=np.float64)])
    background, voice = 10 * np.log10(np.percentile(power, (_BACKGROUND, _VOICE)) + 1e-12)
    return Sound(
        speech_s=segment.end_s - segment.start_s,
        level_dbfs=float(voice),
        noise_db=float(voice - background),
        clipped=segment.clipped,
    )


def recording_doubts(sounds: Sequence[Sound]) -> list[str]:
    """Return a line for each way in which some of the clips were badly recorded."""
    clipped = [sound for sound in sounds if sound.clipped > CLIPPED_AUDIBLY]
    quiet = [sound.level_dbfs for sound in sounds if sound.level_dbfs < QUIET_DBFS]
    noisy = [sound.noise_db for sound in sounds if sound.noise_db < NOISY_DB]
    doubts = []
    if clipped:
        doubts.append(f"{_of(clipped, sounds)} clipped: turn the microphone down, or step back")
    if quiet:
        doubts.append(f"{_of(quiet, sounds)} quiet (down to {min(quiet):.0f} dBFS): come closer, or turn it up")
    if noisy:
        doubts.append(f"{_of(noisy, sounds)} noisy (voice {min(noisy):.0f} dB above the room): find a quieter place")
    return doubts


def amount_doubts(clips: int, speech_s: float) -> list[str]:
    """Return a line when there is too little speech in all."""
    if clips >= LEAST_CLIPS and speech_s >= LEAST_S:
        return []
    enough = f"{LEAST_CLIPS} clips and {LEAST_S:.0f} s"
    return [f"only {clips} clips, {speech_s:.0f} s of speech: at least {enough} would teach more"]


def strange_clips(calibration: VoiceCalibration, prints: Matrix, durations_s: Doubles) -> list[int]:
    """Return the positions of clips that sound like another voice: single ones, or else the smaller of two groups.

    Args:
        calibration: of the bundle.
        prints: ``float32[clips, dim]`` of one person, of unit length.
        durations_s: their speech, ``float64[clips]``.
    """
    clips = np.arange(len(prints))
    if len(clips) <= LEAST_OTHERS:
        return []
    alone = [
        int(index)
        for index in clips
        if calibration.log_ratios(prints[clips != index], prints[[index]], durations_s[[index]])[0] < OTHER_VOICE
    ]
    if alone:
        return alone
    # The two groups lie on either side of the mean, along the direction in which the prints vary most.
    deviations = prints - prints.mean(axis=0)
    side = deviations @ np.linalg.svd(deviations, full_matrices=False)[2][0] > 0
    smaller = side if side.sum() <= (~side).sum() else ~side
    if smaller.sum() < 2:
        return []
    ratios = [
        float(np.median(calibration.log_ratios(prints[~group], prints[group], durations_s[group])))
        for group in (smaller, ~smaller)
    ]
    return [int(index) for index in clips[smaller]] if np.mean(ratios) < OTHER_VOICE else []


def similar_people(
    calibration: VoiceCalibration, prints: Matrix, durations_s: Doubles, people: Mapping[str, Matrix]
) -> list[str]:
    """Return the names of people whose voice most of these clips could be, the likeliest first.

    Args:
        calibration: of the bundle.
        prints: ``float32[clips, dim]`` of one person, of unit length.
        durations_s: their speech, ``float64[clips]``.
        people: other people's names and voiceprints ``float32[n, dim]``.
    """
    if not len(prints):
        return []
    ratios = {
        name: float(np.median(calibration.log_ratios(others, prints, durations_s)))
        for name, others in people.items()
        if len(others)
    }
    return sorted((name for name, ratio in ratios.items() if ratio > SAME_VOICE), key=lambda name: -ratios[name])


def one_sided(emotions: Sequence[str]) -> str | None:
    """Return the emotion of nearly all clips, as it sounds to someone who does not know the voice; None if mixed."""
    if len(emotions) < LEAST_CLIPS:
        return None
    ((emotion, count),) = Counter(emotions).most_common(1)
    return emotion if count >= ONE_SIDED * len(emotions) else None


def _of(some: Sequence[object], sounds: Sequence[Sound]) -> str:
    if len(sounds) == 1:
        return "the clip is"
    return f"{len(some)} of {len(sounds)} clips {'is' if len(some) == 1 else 'are'}"
