"""How cost grows with the length of an utterance."""

from __future__ import annotations

from functools import partial

from edge.audio import SAMPLE_RATE_HZ
from export.bundle.check import opened
from export.measure.plan import Plan, conversation, label
from export.measure.report import Section, Table
from export.rounds import Task, alternate, digits, limited

LENGTHS_S = tuple(range(1, 13))
NOTES = """\
One utterance, a batch of one, one thread, from samples to probabilities. The bundle's longest bucket is {longest:g}
s. The voiceprint is what recognising people adds."""


def measure(plan: Plan) -> Section:
    """Time the first bundle at every length."""
    bundle = plan.bundles[0]
    recognizer = opened(bundle, 1)
    speaker = recognizer.speaker_encoder
    lengths_s = LENGTHS_S[:2] if plan.quick else LENGTHS_S
    tasks: dict[str, Task] = {}
    for length_s in lengths_s:
        waveform = conversation(length_s)
        tasks[f"emotion {length_s}"] = partial(recognizer.probabilities, [waveform])
        if speaker:
            tasks[f"voiceprint {length_s}"] = partial(speaker.voiceprint, waveform)
    with limited(1):
        times = alternate(tasks, plan.rounds)
    rows = []
    for length_s in lengths_s:
        emotion, voiceprint = times[f"emotion {length_s}"], times.get(f"voiceprint {length_s}")
        per_second = digits(emotion.median_ms / length_s)
        rows.append((str(length_s), str(emotion), per_second, str(voiceprint or ""), str(plan.rounds)))
    header = ("seconds", "emotion, ms", "ms per second of audio", "voiceprint, ms", "n")
    return Section(
        "Cost against length",
        NOTES.format(longest=recognizer.buckets.longest / SAMPLE_RATE_HZ),
        [Table(f"{label(bundle)}, 1 thread", header, rows)],
        {name: timing.as_json() for name, timing in times.items()},
    )
