"""From settings to the unit that runs with them, once it is sure that it would."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from onnxruntime import get_available_providers

from edge.bundle import shipped_bundles
from edge.capture import open_sources
from edge.capture.address import is_address, parse_address
from edge.capture.open import upstream_of
from edge.daemon.reload import open_wanted
from edge.daemon.systemd import systemd_version
from edge.daemon.unit import Unit
from edge.doors import Inside, wanted_doors
from edge.errors import UsageError
from edge.model import open_model
from edge.people.store import SpeakerStore
from edge.people.store.vault import CREDENTIAL_NAME, read_key
from edge.providers import choose_provider
from edge.recent import RecentEvents
from edge.settings import LoadedSettings, Settings


def unit_for(loaded: LoadedSettings, file: Path | None, key: Path | None) -> Unit:
    """Return the unit for settings with which ``affectd run`` would start.

    Args:
        loaded: as they are without the environment and the command line, which a service does not have.
        file: that they are from; None is the user's own.
        key: file with the store's key; None is the store's own.

    Raises:
        UsageError, ModelError, StoreError: it would not start, or not as a service.
    """
    variable = next((origin for origin in loaded.origins.values() if origin.startswith("environment ")), "")
    if variable:
        name = variable.partition(" ")[2]
        raise UsageError(f"{name} is set here and would not be in the service: write it into the settings file")
    settings = loaded.settings
    check_for_service(settings)
    model = open_model(settings)
    open_sources(settings)
    open_wanted(settings, model.recognizer.outputs, json=True, inside=Inside({}, RecentEvents()))
    _check_store(settings, key)
    encoder = model.recognizer.bundle.encoder_path
    return Unit(
        command=(*_program(), "run", *(("--config", os.path.abspath(file)) if file else ())),
        systemd=systemd_version(),
        needs_network=needs_network(settings),
        on_gpu=choose_provider(settings.encoder.provider, get_available_providers(), encoder).provider != "cpu",
        key=key and Path(os.path.abspath(key)),
    )


def needs_network(settings: Settings) -> bool:
    """Return whether a source waits at an address of the network, or a door leads there."""
    addresses = [parse_address(entry.source) for entry in settings.entries if is_address(entry.source)]
    return any(address.scheme != "unix" for address in addresses) or bool(wanted_doors(settings))


def check_for_service(settings: Settings) -> None:
    """Refuse what works on a terminal or in a pipe, but not in a service.

    Raises:
        UsageError: standard input as a source, a table as an output, or a path that is relative.
    """
    for source in settings.entries:
        if source.source == "-":
            raise UsageError("a service has no standard input: name another source than -, such as mic or a named pipe")
        path = parse_address(source.source).path if is_address(source.source) else source.source
        if path != "mic":
            _check_absolute("source", path)
        if upstream := upstream_of(source):
            _check_absolute("upstream", upstream.path)
    for output in settings.outputs:
        if output.type == "table":
            raise UsageError("a service has no terminal for a table: let the output be json, in the journal or a file")
        _check_absolute("output", output.path)
    _check_absolute("speakers.store", settings.speakers.store)
    _check_absolute("encoder.engines", settings.encoder.engines)
    _check_absolute("mqtt.ca", settings.mqtt.ca)
    if settings.encoder.bundle not in shipped_bundles():
        _check_absolute("encoder.bundle", settings.encoder.bundle)


def _check_absolute(what: str, path: str) -> None:
    if path and not path.startswith(("/", "~")):
        raise UsageError(f"{what} {path!r} is relative to this folder, and a service runs in another: begin it with /")


def _check_store(settings: Settings, key: Path | None) -> None:
    """Open the store with the key that the service will have; raises StoreError where that is not its key."""
    if key:
        read_key(key)
    with _credentials(key), SpeakerStore.open(settings.speakers.store_folder, readonly=True) as store:
        if store.path.exists():
            store.key_origin()


@contextmanager
def _credentials(key: Path | None) -> Iterator[None]:
    """Have the credentials that the service will have."""
    with tempfile.TemporaryDirectory() as folder:
        if key:
            Path(folder, CREDENTIAL_NAME).symlink_to(key.resolve())
        before = os.environ.get("CREDENTIALS_DIRECTORY", "")
        os.environ["CREDENTIALS_DIRECTORY"] = folder
        try:
            yield
        finally:
            os.environ["CREDENTIALS_DIRECTORY"] = before


def _program() -> tuple[str, ...]:
    """Return what starts this very affectd, from any folder."""
    called = shutil.which(sys.argv[0]) if Path(sys.argv[0]).name == "affectd" else None
    script = os.path.abspath(called or Path(sysconfig.get_path("scripts"), "affectd"))
    return (script,) if os.path.isfile(script) else (sys.executable, "-m", "edge")
