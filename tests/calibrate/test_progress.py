"""On a terminal something says what goes on; in a pipe nothing does."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from calibrate.cli.commands import app as calibrate_app
from calibrate.progress import Display, progress_bar, stage, watched
from export.cli.commands import app as export_app

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import json, logging, time
from calibrate.progress import progress_bar, stage, watched
logging.basicConfig(format="warned: %(message)s")
def work():
    time.sleep(.5)
    with progress_bar() as progress:
        for each in progress.track(range(3), description="counting"):
            with stage("looking closely"):
                time.sleep(.3)
    logging.getLogger("calibrate").warning("of something")
    time.sleep(.3)
    print(json.dumps({"answer": 42}))
watched(work)()
"""


def on_terminal(program: str, *, is_piped: bool) -> tuple[str, str]:
    """Return what a program shows on a terminal, and what its standard output came to where that is a pipe."""
    ours, theirs = pty.openpty()
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "100"}
    process = subprocess.Popen(
        [sys.executable, "-c", program], env=environment, stdin=subprocess.DEVNULL, stderr=theirs,
        stdout=subprocess.PIPE if is_piped else theirs,
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    while True:
        try:
            shown += os.read(ours, 4096)
        except OSError:
            break
    os.close(ours)
    piped = process.communicate()[0] or b""
    assert process.returncode == 0, shown
    return shown.decode(), piped.decode()


def test_a_terminal_shows_what_goes_on_and_a_pipe_gets_the_answer_alone() -> None:
    shown, piped = on_terminal(PROGRAM, is_piped=True)
    for what in ("work: working", "counting", "looking closely", "warned: of something"):
        assert what in shown
    assert json.loads(piped) == {"answer": 42}
    assert "42" not in shown


def test_what_is_printed_to_the_same_terminal_stands_on_lines_of_its_own() -> None:
    shown, _ = on_terminal(PROGRAM, is_piped=False)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown).replace("\r", "\n")
    assert '{"answer": 42}' in plain.splitlines()
    assert "warned: of something" in [line.strip() for line in plain.splitlines()]


def test_nobody_watching_there_is_silence() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert json.loads(done.stdout) == {"answer": 42}
    assert done.stderr == "warned: of something\n"


def test_the_innermost_display_is_the_one_that_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr("rich.console.Console.is_terminal", property(lambda self: True))
    with stage("outer"):
        (outer,) = Display.shown
        assert outer.live.is_started
        with progress_bar() as inner:
            assert Display.shown == [outer, inner]
            assert (outer.live.is_started, inner.live.is_started) == (False, True)
        assert Display.shown == [outer]
        assert outer.live.is_started
    assert Display.shown == []


def test_a_failure_leaves_nothing_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rich.console.Console.is_terminal", property(lambda self: True))

    @watched
    def fail() -> None:
        with stage("inner"):
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert Display.shown == []


def test_only_the_first_of_many_processes_shows_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rich.console.Console.is_terminal", property(lambda self: True))
    monkeypatch.setenv("LOCAL_RANK", "1")
    with stage("second process"):
        assert Display.shown == []


@pytest.mark.parametrize("app", [calibrate_app, export_app], ids=["calibrate", "export"])
def test_every_command_is_watched(app: typer.Typer) -> None:
    commands = [each.callback for each in app.registered_commands]
    commands += [each.callback for group in app.registered_groups for each in group.typer_instance.registered_commands]
    unwatched = [each.__name__ for each in commands if not hasattr(each, "__wrapped__")]
    assert unwatched == (["init"] if app is calibrate_app else []), "it asks questions, and shows what it measures"


@pytest.mark.parametrize("package", ["torch", "sklearn"])
def test_a_missing_package_says_what_to_install(package: str, tmp_path: Path) -> None:
    program = f"""
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {package!r}:
            raise ModuleNotFoundError("missing", name=name)
sys.meta_path.insert(0, Missing())
sys.argv[1:] = ["evaluate", "gone", "--data", "."]
from calibrate.cli.app import main
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, text=True,
        capture_output=True, check=False,
    )  # fmt: skip
    message = f"affectd-calibrate: {package} is not installed: pip install 'affectd[train,cpu]'\n"
    assert (done.returncode, done.stderr) == (3, message)
