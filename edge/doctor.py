"""``affectd doctor``: everything that has to be in place, tried out rather than looked up."""

from __future__ import annotations

import asyncio
import errno
import os
import platform
from functools import partial
from importlib import metadata

import numpy as np

from edge import __version__
from edge.audio import SAMPLE_RATE_HZ, Waveform
from edge.bundle import Bundle
from edge.capture import open_source
from edge.capture.address import is_address
from edge.capture.devices import choose_device, list_devices
from edge.capture.open import upstream_of
from edge.capture.wyoming import description
from edge.decoding import open_audio
from edge.diagnosis import Check, Verdict, attempt
from edge.door_checks import check_mqtt, check_web
from edge.errors import AudioDeviceError, ModelError, UsageError
from edge.files import check_writable
from edge.folders import expanded
from edge.journal import check_journal, journal_paths
from edge.people.households import Households
from edge.people.store import SpeakerStore
from edge.settings import (
    CaptureSettings,
    EncoderSettings,
    LoadedSettings,
    Settings,
    SpeakerSettings,
    VadSettings,
)
from edge.vad import detector_name

PACKAGES = ("numpy", "soundfile", "soxr", "webrtcvad-wheels", "earshot", "safetensors", "pydantic", "rich", "typer")
TELEMETRY = "ORT_DISABLE_TELEMETRY"
RUNTIMES = ("onnxruntime", "onnxruntime-gpu")


def diagnose(loaded: LoadedSettings) -> list[Check]:
    """Return every check, in the order in which one would repair things."""
    settings = loaded.settings
    encoder = settings.encoder
    return [
        Check("affectd", Verdict.GOOD, __version__),
        Check("python", Verdict.GOOD, f"{platform.python_version()} on {platform.platform()}"),
        Check("packages", Verdict.GOOD, ", ".join(f"{name} {_version(name)}" for name in PACKAGES)),
        _settings_check(loaded),
        attempt("telemetry", _telemetry),
        attempt("voice activity", lambda: _voice_activity(settings.vad)),
        attempt("onnxruntime", _onnxruntime),
        attempt("bundle", lambda: _bundle(encoder)),
        attempt("provider", lambda: _provider(encoder)),
        attempt("self-test", lambda: _self_test(encoder)),
        attempt("speaker store", lambda: _store(settings.speakers)),
        attempt("people", lambda: _people(settings)),
        attempt("microphones", _microphones, otherwise=Verdict.ABSENT),
        *_sources(settings),
        attempt("outputs", lambda: _outputs(settings)),
        check_web(settings.web),
        check_mqtt(settings.mqtt),
    ]


def self_test_waveform(duration_s: float = 1.5) -> Waveform:
    """Return a voice-like buzz for the self-test, ``float32[samples]`` at 16 kHz, always the same."""
    time_s = np.arange(round(duration_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    buzz = sum(np.sin(2 * np.pi * 140 * harmonic * time_s) / harmonic for harmonic in range(1, 20))
    return (0.1 * buzz * (1 - np.cos(2 * np.pi * 4 * time_s))).astype(np.float32)


def _settings_check(loaded: LoadedSettings) -> Check:
    changed = [f"{key} ({origin})" for key, origin in loaded.origins.items() if origin != "default"]
    return Check("settings", Verdict.GOOD, ", ".join(changed) or "all default")


def _voice_activity(settings: VadSettings) -> str:
    name = detector_name(settings)
    if settings.detector != "auto":
        return f"{name}: wanted by the settings"
    return (
        f"{name}: installed" if name == "earshot" else f"{name}: earshot, which hears more in noise, is not installed"
    )


def _telemetry() -> str:
    """Say that onnxruntime does not report to its vendor: of all that runs here only it would."""
    if os.environ.get(TELEMETRY) != "1":
        raise UsageError(f"{TELEMETRY} was changed after affectd set it to 1: onnxruntime may report to its vendor")
    return f"off: {TELEMETRY}=1 before onnxruntime is loaded; affectd itself has none"


def _onnxruntime() -> str:
    installed = [f"{name} {_version(name)}" for name in RUNTIMES if _version(name) != "missing"]
    if len(installed) > 1:
        raise ModelError(f"{' and '.join(installed)} overwrite each other; uninstall both, then install one")
    import onnxruntime  # noqa: PLC0415  (its absence is a finding)

    providers = ", ".join(onnxruntime.get_available_providers())
    return f"{onnxruntime.__version__} offering {providers}"


def _bundle(settings: EncoderSettings) -> str:
    bundle = Bundle.load(settings.bundle_folder)
    megabytes = sum(record.bytes for record in bundle.manifest.files.values()) / 1e6
    return f"{bundle!r} in {bundle.folder}, {megabytes:.1f} MB, sha256 of {len(bundle.manifest.files)} files verified"


def _provider(settings: EncoderSettings) -> str:
    """Return what will be used and why; TensorRT needs its engines before a run, or the run compiles for minutes."""
    import onnxruntime  # noqa: PLC0415  (its absence is a finding)

    from edge.providers import choose_provider  # noqa: PLC0415
    from edge.tensorrt import Engines  # noqa: PLC0415  (the same)

    bundle = Bundle.load(settings.bundle_folder)
    choice = choose_provider(settings.provider, onnxruntime.get_available_providers(), bundle.encoder_path)
    if choice.provider != "tensorrt":
        return f"{choice.provider}: {choice.why}"
    engines = Engines.of(bundle.encoder_path, settings)
    buckets = bundle.buckets.samples
    missing = engines.missing(buckets)
    if missing:
        raise ModelError(
            f"tensorrt, but {len(missing)} of {len(buckets)} engines are not built: "
            f"{engines.build_command(bundle.folder)}"
        )
    return f"{choice.provider}: {choice.why}; {len(buckets)} engines in {engines.folder}"


def _self_test(settings: EncoderSettings) -> str:
    from edge.recognizer import Recognizer  # noqa: PLC0415  (needs onnxruntime, whose absence is a finding)

    _provider(settings)  # without its engines TensorRT would compile for minutes

    recognizer = Recognizer(Bundle.load(settings.bundle_folder), settings.model_copy(update={"require_provider": True}))
    recognizer.load()
    waveform = self_test_waveform()
    voiceprints = recognizer.bundle.manifest.speaker is not None
    (encoding,) = recognizer.encode([waveform], voiceprints)
    total = float(recognizer.bundle.head.probabilities(encoding.embedding[None]).sum())
    if not abs(total - 1) < 1e-3:
        raise ModelError(f"the probabilities of a test tone sum to {total}")
    spoken = f", {encoding.speaker_ms:.1f} ms more for a voiceprint" if voiceprints else ""
    return (
        f"{len(waveform) / SAMPLE_RATE_HZ:.1f} s took {encoding.encoder_ms:.1f} ms{spoken} on "
        f"{recognizer.encoder.provider}, {settings.threads} thread(s)"
    )


def _store(settings: SpeakerSettings) -> str:
    if not settings.enabled:
        return "off, by the settings"
    with SpeakerStore.open(settings.store_folder, readonly=True) as store:
        if not store.path.exists():
            return f"none yet: {store.path} appears with the first person who is enrolled"
        origin = store.key_origin()
        key = f"the key {origin} opens it" if origin else "it has no key yet, as nothing is in it to encrypt"
        return f"{store.path} is sound and {key}; {len(store.people())} enrolled"


def _people(settings: Settings) -> str:
    """Say who is known to each source, if they differ; raises AffectdError for a name that nobody has."""
    known = Households(Bundle.load(settings.encoder.bundle_folder), settings.speakers)
    households = [known.bound_to(source.speakers) for source in settings.sources] or [known.bound_to(())]
    known.load()
    return "; ".join(dict.fromkeys(map(str, households)))


def _sources(settings: Settings) -> list[Check]:
    """Return a check of each source, by its name where there are several."""
    entries = settings.sources
    if len(entries) < 2:
        return [attempt("source", lambda: _source(entries[0] if entries else settings.capture))]
    return [
        attempt(f"source {entry.name or number}", partial(_source, entry)) for number, entry in enumerate(entries, 1)
    ]


def _source(settings: CaptureSettings) -> str:
    """Say what a source would read; raises AffectdError if it would not open."""
    if settings.source == "mic":
        return f"microphone {choose_device(list_devices(), settings.device).name!r}"
    if settings.source == "-":
        return "standard input"
    if is_address(settings.source):
        return _waiting(settings)
    open_audio(expanded(settings.source)).close()
    return settings.source


def _waiting(settings: CaptureSettings) -> str:
    """Say where a source would wait for somebody who sends; raises AffectdError if it could not."""
    source = open_source(settings)
    blocks = iter(source.blocks())
    try:
        next(blocks)
    except AudioDeviceError as error:
        if not any(reason in str(error) for reason in (os.strerror(errno.EADDRINUSE), "another")):
            raise
        return f"{settings.source}: somebody waits there, as an affectd that runs would{_behind(settings)}"
    source.close()
    for _ in blocks:  # to the end, where the place is free again
        pass
    return f"waits for somebody to send to {settings.source}{_behind(settings)}"


def _behind(settings: CaptureSettings) -> str:
    """Say what makes the words where voice assistants send; raises AffectdError if it does not answer."""
    upstream = upstream_of(settings)
    if not upstream:
        return ""
    asyncio.run(description(upstream))
    return f", before the speech-to-text at {upstream}"


def _outputs(settings: Settings) -> str:
    check_writable(expanded(output.path) for output in settings.outputs if output.path)
    if any(output.type == "journal" for output in settings.outputs):
        check_journal(journal_paths(settings.outputs, settings.speakers.store_folder)[0])
    return ", ".join(f"{output.type} {output.path}".strip() for output in settings.outputs) or "standard output"


def _microphones() -> str:
    devices = list_devices()
    if not devices:
        raise AudioDeviceError("PortAudio works but lists no input device")
    return "; ".join(f"{device.name}{' (default)' if device.is_default else ''}" for device in devices)


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "missing"
