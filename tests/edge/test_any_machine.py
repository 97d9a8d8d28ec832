"""The command as a process: streams that are closed, full or speak another alphabet, and Ctrl-C at any moment."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edge.errors import ExitCode
from helpers.conversation import Conversation

ROOT = Path(__file__).resolve().parents[2]
FULL = Path("/dev/full")
INTERRUPTING = """
import os, signal, sys
def interrupt(event, arguments):
    if event == "{event}" and str(arguments[0]).endswith("{name}"):
        os.kill(os.getpid(), signal.SIGINT)
sys.addaudithook(interrupt)
from edge.cli.app import main
main()
"""


def affectd(*arguments: object, program: str = "", redirect: str = "", **environment: str) -> tuple[int, str, str]:
    """Run a command, with redirections of a shell, and return its exit code, standard output and standard error."""
    command = [sys.executable, *(["-c", program] if program else ["-m", "edge"]), *map(str, arguments)]
    shell = ["sh", "-c", f'exec "$@" {redirect}', "sh", *command]
    done = subprocess.run(
        shell, cwd=ROOT, input=b"", capture_output=True, env={**os.environ, **environment}, check=False, timeout=60
    )
    return done.returncode, done.stdout.decode("latin-1"), done.stderr.decode("latin-1")


def is_one_line(text: str) -> bool:
    return text.startswith("affectd: ") and text.count("\n") == 1


@pytest.fixture
def analyze(clean_environment: None, conversation: Conversation, bundle_folder: Path) -> tuple[object, ...]:
    """A command that loads everything and prints events."""
    return ("analyze", conversation.path, "--bundle", bundle_folder)


@pytest.mark.skipif(sys.platform == "darwin", reason="every name of a file is UTF-8")
def test_a_name_that_is_no_utf8_is_read_by_any_program(
    analyze: tuple[object, ...], conversation: Conversation, tmp_path: Path
) -> None:
    folder = os.fsencode(tmp_path / "recordings")
    os.mkdir(folder)
    Path(os.fsdecode(folder + b"/caf\xe9.wav")).write_bytes(conversation.path.read_bytes())
    Path(os.fsdecode(folder + b"/\xff\xfe.wav")).write_bytes(b"RIFF")
    command = ("analyze", tmp_path / "recordings", *analyze[2:], "--csv", tmp_path / "out.csv", "--json")
    code, stdout, stderr = affectd(*command)
    assert code == ExitCode.FAILED
    assert stderr.startswith("affectd: 3 utterances in 2 files, 1 could not be read")
    events = list(map(json.loads, stdout.encode("latin-1").decode("utf-8").splitlines()))
    good, bad = (str(tmp_path / "recordings" / name) for name in (r"caf\udce9.wav", r"\udcff\udcfe.wav"))
    assert {(event["type"], event["path"]) for event in events} == {("utterance", good), ("error", bad)}
    assert {event["source"] for event in events} == {r"caf\udce9.wav", r"\udcff\udcfe.wav"}
    rows = list(csv.DictReader((tmp_path / "out.csv").read_text(encoding="utf-8").splitlines()))
    assert {row["path"] for row in rows} == {good, bad}
    if jq := shutil.which("jq"):
        read = subprocess.run([jq, "-r", ".path"], input=stdout.encode("latin-1"), capture_output=True, check=True)
        assert set(read.stdout.decode().splitlines()) == {good, bad}


@pytest.mark.parametrize(
    "arguments", [("config", "show"), ("--help",), ("speakers", "list", "--json"), ("rooms", "--help")]
)
def test_output_that_cannot_be_written_is_said_in_a_line(clean_environment: None, arguments: tuple[str, ...]) -> None:
    for redirect in [">&-", *([">/dev/full"] if FULL.exists() else [])]:
        code, _, stderr = affectd(*arguments, redirect=redirect)
        assert code == ExitCode.FAILED
        assert is_one_line(stderr)


def test_events_that_cannot_be_written_are_said_in_a_line(analyze: tuple[object, ...], tmp_path: Path) -> None:
    for redirect in [">&-", *([">/dev/full"] if FULL.exists() else [])]:
        code, _, stderr = affectd(*analyze, "--json", redirect=redirect)
        assert code == ExitCode.FAILED
        assert is_one_line(stderr)
    if FULL.exists():
        assert affectd(*analyze, redirect="2>/dev/full >/dev/full")[0] == ExitCode.FAILED


def test_a_closed_standard_input_is_no_audio_and_no_other_file(clean_environment: None, bundle_folder: Path) -> None:
    code, _, stderr = affectd("run", "--source", "-", "--fast", "--bundle", bundle_folder, redirect="<&-")
    assert code == ExitCode.FAILED
    assert is_one_line(stderr)
    assert "cannot be read" in stderr
    assert affectd("enroll", "Ann", "--bundle", bundle_folder, redirect="<&-")[0] == ExitCode.USAGE


def test_a_closed_standard_error_changes_nothing(analyze: tuple[object, ...]) -> None:
    code, stdout, _ = affectd(*analyze, redirect="2>&-")
    assert (code, stdout.count('"utterance"')) == (0, 3)


C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.parametrize(
    ("environment", "arguments"),
    [
        ({"PYTHONIOENCODING": "latin-1"}, ("doctor", "--source", "-")),
        (C_LOCALE, ("doctor", "--source", "-")),
        ({"PYTHONIOENCODING": "ascii:strict"}, ("config", "show")),
        ({"PYTHONIOENCODING": "cp437"}, ("profile", "--help")),
        (C_LOCALE, ("run", "--source", "\u2713\u65e5.wav")),
        ({"PYTHONIOENCODING": "latin-1"}, ("run", "--source", "\u2713\u65e5.wav")),
    ],
)
def test_no_terminal_is_too_poor(
    clean_environment: None, bundle_folder: Path, environment: dict[str, str], arguments: tuple[str, ...]
) -> None:
    code, stdout, stderr = affectd(*arguments, AFFECTD_ENCODER_BUNDLE=str(bundle_folder), **environment)
    if arguments[0] == "run":
        assert code == ExitCode.FAILED
        assert is_one_line(stderr)
    else:
        assert (stdout != "", stderr) == (True, "")


@pytest.mark.parametrize(
    ("event", "name"),
    [
        ("import", "typer"),
        ("import", "edge.errors"),
        ("import", "numpy"),
        ("import", "onnxruntime_pybind11_state"),
        ("import", "soundfile"),
        ("open", "bundle.json"),
        ("open", "encoder.onnx"),
    ],
)
def test_ctrl_c_is_quiet_at_any_moment(analyze: tuple[object, ...], event: str, name: str) -> None:
    code, stdout, stderr = affectd(*analyze, program=INTERRUPTING.format(event=event, name=name))
    assert (code, stdout, stderr) == (ExitCode.INTERRUPTED, "", "")


def test_a_job_in_the_background_ignores_ctrl_c(analyze: tuple[object, ...]) -> None:
    program = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    code, stdout, _ = affectd(*analyze, program=program + INTERRUPTING.format(event="import", name="numpy"))
    assert (code, stdout.count('"utterance"')) == (0, 3)


def test_a_typing_error_is_one_line(clean_environment: None) -> None:
    for arguments in (
        ("run", "--sorce", "x"),
        ("anlyze",),
        ("analyze",),
        ("run", "--rate", "abc"),
        ("profile", "--rounds", "0"),
    ):
        code, stdout, stderr = affectd(*arguments)
        assert (code, stdout) == (ExitCode.USAGE, "")
        assert is_one_line(stderr)
        assert stderr.endswith("--help)\n")
