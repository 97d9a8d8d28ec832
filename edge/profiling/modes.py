"""The ways to profile: a replay of recordings, a running ``affectd run``, a sweep of settings, the profiler itself."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from edge.bundle import Bundle
from edge.daemon.client import Client, attach
from edge.errors import UsageError, encodable
from edge.event import wall_clock
from edge.files import write_file
from edge.folders import expanded
from edge.model_facts import ModelFacts, model_facts
from edge.people.conversation import Conversation
from edge.people.household import Household
from edge.profiling.candidates import as_settings, sweep
from edge.profiling.direct import direct_rows
from edge.profiling.facts import peak_mb, this_machine
from edge.profiling.measurements import Profile, Progress, Row
from edge.profiling.overhead import measure_overhead
from edge.profiling.replay import recordings, replay
from edge.profiling.request import ProfileRequest
from edge.profiling.sensors import Sensors
from edge.profiling.stages import pipeline_rows
from edge.profiling.startup import start_rows
from edge.profiling.streams import measure_streams
from edge.profiling.trace import trace_replay
from edge.providers import PROVIDERS
from edge.recognizer import Recognizer
from edge.settings import Settings
from edge.timing import Timing

STREAMS_S = 20.0
"""Of each number of sources, unless a duration is given."""


def measure(request: ProfileRequest, settings: Settings, progress: Progress) -> Profile:
    """Measure what is asked for, while the machine's sensors are watched.

    Raises:
        UsageError: no such ``affectd run`` to attach to, or a file that cannot be written.
        AffectdError: what the pipeline itself raises, see ``edge.engine``.
    """
    modes = (
        (request.attach, _attached),
        (request.sweep, _swept),
        (request.overhead, _overhead),
        (bool(request.streams), _many),
    )
    mode = next((mode for wanted, mode in modes if wanted), _replayed)
    with Sensors() as sensors:
        found = mode(request, settings, progress)
    return found.model_copy(update={"sensors": sensors.sensors(), "notes": (*found.notes, sensors.note)})


def _replayed(request: ProfileRequest, settings: Settings, progress: Progress) -> Profile:
    bundle = Bundle.load(settings.encoder.bundle_folder)
    household = Household(bundle, settings.speakers)
    household.load()
    batching = settings.encoder.model_copy(update={"max_batch": max(*request.batches, settings.encoder.max_batch)})
    recognizer = Recognizer(bundle, batching)
    recognizer.load(bundle.manifest.speaker is not None)
    with recordings([Path(argument) for argument in request.arguments]) as files:
        rows = start_rows(settings, request.rounds, progress)
        rounds, notes = replay(files, bundle, settings, request.plays, progress)
        rows += pipeline_rows(rounds)
        rows += direct_rows(recognizer, Conversation(household), settings, request.batches, request.rounds, progress)
        if request.trace:
            progress(f"playing {files[0].name} once more, for the trace")
            write_file(request.trace, json.dumps(trace_replay(files[0], bundle, settings)))
    return Profile(
        time=wall_clock(),
        mode="replay",
        machine=this_machine(),
        model=model_facts(bundle, settings.encoder, recognizer.encoder.provider),
        audio=tuple(encodable(file.name) for file in files),
        audio_s=sum(timing.audio_s for timings in rounds for timing in timings),
        rows=tuple(rows),
        notes=(*map(encodable, notes), str(household)),
    )


def _attached(request: ProfileRequest, _settings: Settings, progress: Progress) -> Profile:
    client = attach(_pid(request.arguments))
    timings: list[Timing] = []
    try:
        model = ModelFacts.model_validate(client.ask("timing"))
        _collect(client, request.duration_s, timings, progress)
    except ValidationError:
        raise UsageError(f"process {client.pid} is an affectd run of another version") from None
    finally:
        memory_mb = peak_mb(client.pid)
        client.close()
    rows = pipeline_rows([timings])
    if memory_mb is not None:
        rows.append(Row(part="pipeline", stage="peak memory", unit="MB", rounds=((memory_mb,),)))
    return Profile(
        time=wall_clock(),
        mode="attached",
        machine=this_machine(),
        model=model,
        audio_s=sum(timing.audio_s for timing in timings),
        rows=tuple(rows),
        notes=(f"attached to process {client.pid}", *_losses(timings)),
    )


def _losses(timings: Sequence[Timing]) -> list[str]:
    """Return what the figures cannot show, since it was never measured."""
    if not timings:
        return ["no utterance was heard"]
    skipped, lost_s = timings[-1].skipped - timings[0].skipped, timings[-1].lost_s - timings[0].lost_s
    return [f"{skipped} utterances skipped, {lost_s:.1f} s lost"] if skipped or lost_s else []


def _collect(client: Client, duration_s: float | None, timings: list[Timing], progress: Progress) -> None:
    """Add timings until the duration is over, the other process ends, or Ctrl-C."""
    limit = "Ctrl-C ends it" if duration_s is None else f"for {duration_s:g} s"
    progress(f"attached to process {client.pid}, {limit}")
    try:
        for timing in client.timings(duration_s):
            timings.append(timing)
            progress(f"attached to process {client.pid}, {limit}: {len(timings)} utterances")
    except KeyboardInterrupt:
        pass


def _swept(request: ProfileRequest, settings: Settings, progress: Progress) -> Profile:
    folders: list[Path | None] = [expanded(bundle) for bundle in request.bundles]
    folders = folders or [settings.encoder.bundle_folder]
    bundles = [Bundle.load(folder) for folder in folders]
    found = sweep(bundles, settings.encoder, request.batches, request.rounds, progress)
    machine, time, best = this_machine(), wall_clock(), found.best
    chosen = {bundle.encoder_hash: folder for bundle, folder in zip(bundles, folders, strict=True) if folder}
    if request.out:
        write_file(request.out, as_settings(found, machine, time, chosen))
    failures = [
        f"{candidate.name} cannot run: {candidate.failure}" for candidate in found.candidates if candidate.failure
    ]
    model = model_facts(best.bundle, best.settings, PROVIDERS[best.settings.provider])
    return Profile(
        time=time,
        mode="sweep",
        machine=machine,
        model=model.model_copy(update={"max_batch": found.max_batch}),
        rows=tuple(row for candidate in found.candidates for row in candidate.rows()),
        notes=(f"best: {best.name}, batches of up to {found.max_batch}", *failures),
    )


def _overhead(request: ProfileRequest, settings: Settings, progress: Progress) -> Profile:
    bundle = Bundle.load(settings.encoder.bundle_folder)
    with recordings([Path(argument) for argument in request.arguments]) as files:
        rows, note, provider = measure_overhead(files, bundle, settings, request.rounds, progress)
    return Profile(
        time=wall_clock(),
        mode="overhead",
        machine=this_machine(),
        model=model_facts(bundle, settings.encoder, provider),
        audio=tuple(encodable(file.name) for file in files),
        rows=tuple(rows),
        notes=(note,),
    )


def _many(request: ProfileRequest, settings: Settings, progress: Progress) -> Profile:
    bundle = Bundle.load(settings.encoder.bundle_folder)
    duration_s = STREAMS_S if request.duration_s is None else request.duration_s
    with recordings([Path(argument) for argument in request.arguments]) as files:
        rows, notes, provider = measure_streams(request.streams, duration_s, files, bundle, settings, progress)
        names = tuple(encodable(file.name) for file in files)
    return Profile(
        time=wall_clock(),
        mode="streams",
        machine=this_machine(),
        model=model_facts(bundle, settings.encoder, provider),
        audio=names,
        rows=tuple(rows),
        notes=tuple(notes),
    )


def _pid(arguments: Sequence[str]) -> int | None:
    """Return the process id among the arguments, if there is one."""
    if not arguments:
        return None
    if len(arguments) > 1 or not arguments[0].isdecimal():
        raise UsageError(f"--attach takes one process id, not {' '.join(arguments)!r}")
    return int(arguments[0])
