"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import settings

from edge.bundle import Bundle
from helpers.tiny import tiny_bundle

SHARED = Path(__file__).resolve().parents[2] / "shared"

# A job in the background ignores Ctrl-C, and so would every command that the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Beside each other, tests have one core each: torch's threads would wait for one another.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"

# No test depends on how fast the machine is.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

pytest_plugins = ["helpers.virtual_microphone"]


@pytest.fixture(autouse=True)
def nothing_of_the_developers_own(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No store, and no running ``affectd run``: neither the developer's nor that of a test beside this one."""
    for folder in ("XDG_DATA_HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.setenv(folder, str(tmp_path_factory.mktemp("home")))


@pytest.fixture(scope="session")
def bundle_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A verified bundle that hears loudness: quiet neutral, medium happy, loud angry."""
    return tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture(scope="session")
def bundle(bundle_folder: Path) -> Bundle:
    """The same, loaded."""
    return Bundle.load(bundle_folder)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real corpora and weights beside a developer's checkout; a user has none."""
    if not SHARED.is_dir():
        pytest.skip("no ../shared folder with corpora and weights beside this checkout")
    return SHARED


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that no process is left alone with it at the end.

    Slow are the files that say so, and of those the ones that have few tests; of the others, those that have many.
    """
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    count = Counter(item.path for item in items)
    items.sort(key=lambda item: (item.path not in slow, count[item.path] * (1 if item.path in slow else -1)))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """``field_case`` is each script of the shared folder that tries a situation which users ran into."""
    if "field_case" in metafunc.fixturenames:
        skip = pytest.mark.skip(reason="no ../shared folder with cases beside this checkout")
        scripts = sorted(SHARED.glob("cases/*/case.sh")) or [pytest.param(None, marks=skip)]
        metafunc.parametrize("field_case", scripts, ids=lambda script: script.parent.name if script else "none")
