import itertools
import json
import os
import re
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import soundfile

from edge.audio import SAMPLE_RATE_HZ
from edge.bundle import Bundle
from edge.markup import element, text
from edge.profiling.measurements import Profile, read_profile
from edge.profiling.page import page
from edge.profiling.replay import BUILT_IN_S, built_in_signal, recordings
from edge.profiling.tables import facts_table, profile_tables
from edge.profiling.trace import trace_replay, within
from edge.segmenter import Segmenter
from edge.settings import SegmenterSettings, Settings, SpeakerSettings
from edge.timing import STAGES
from helpers.conversation import Conversation
from helpers.household import anna, enrol
from helpers.signals import silence, speech_like

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
EXTERNAL = re.compile(r"""(?:src|href|srcset|action|data)\s*=|https?:|//[a-z]|url\(|@import|<script""", re.IGNORECASE)

Start = Callable[..., "subprocess.Popen[bytes]"]
Call = Callable[..., int]


@dataclass(frozen=True)
class Profiled:
    """What one run of the command left behind."""

    report: Profile
    html: str
    trace: dict[str, Any]


@pytest.fixture(scope="module")
def profiled(tmp_path_factory: pytest.TempPathFactory, conversation: Conversation, bundle_folder: Path) -> Profiled:
    folder = tmp_path_factory.mktemp("profile")
    report, html, trace = [folder / name for name in ("report.json", "report.html", "trace.json")]
    own = {name: value for name, value in os.environ.items() if not name.startswith("AFFECTD_")}
    result = subprocess.run(
        [
            sys.executable,
            "-m",
            "edge",
            "profile",
            conversation.path,
            "--bundle",
            bundle_folder,
            "--rounds",
            "1",
            "--json",
            *("--html", html, "--trace", trace),
        ],
        cwd=ROOT,
        env=own | {"XDG_CONFIG_HOME": str(folder), "XDG_DATA_HOME": str(folder), "COLUMNS": "150"},
        capture_output=True,
        timeout=120,
        check=True,
    )
    assert result.stderr == b""
    report.write_bytes(result.stdout)
    return Profiled(read_profile(report), html.read_text(encoding="utf-8"), json.loads(trace.read_text()))


def test_every_stage_length_and_batch_is_measured(profiled: Profiled, conversation: Conversation) -> None:
    report = profiled.report
    pipeline = {row.stage: row for row in report.of("pipeline") if row.bucket_s is None}
    assert set(pipeline) == {*STAGES, "provisional", "answer", "total"}
    assert {row.n for row in pipeline.values()} == {3}
    direct = {(row.stage, row.bucket_s, row.batch) for row in report.of("direct")}
    lengths = (1.0, 2.0, 4.0)
    assert direct == {
        *(("encoder", length, batch) for length in lengths for batch in (1, 8)),
        *((stage, length, 1) for stage in ("vad", "speaker", "adapt", "head") for length in lengths),
    }
    starts = {row.stage: row.unit for row in report.of("start")}
    assert starts.pop("peak memory", "MB") == "MB", "where there is /proc"
    assert set(starts) == {"cold start", "first inference", "first utterance"}
    assert report.audio == (conversation.path.name,)
    assert (report.model.bundle, report.model.precision) == ("tiny", "fp32")
    assert report.model.provider == "CPUExecutionProvider"


def test_stages_add_up(profiled: Profiled) -> None:
    rows = {row.stage: np.array(row.samples) for row in profiled.report.of("pipeline") if row.bucket_s is None}
    of_answer = sum(rows[stage] for stage in ("queue", "encoder", "speaker", "adapt", "head"))
    assert (rows["provisional"] >= 1e3 * SegmenterSettings().tail_s + of_answer).all()
    assert (rows["total"] >= rows["endpoint"] + rows["capture"]).all()
    assert (rows["total"] > rows["provisional"]).all()
    np.testing.assert_allclose(rows["answer"], rows["total"] - rows["endpoint"] + rows["publish"], atol=0.01)
    np.testing.assert_allclose(rows["endpoint"], 500, atol=31)
    assert all((samples >= 0).all() for samples in rows.values())
    assert (rows["vad"] > 0).all()
    assert (rows["publish"] > 0).all()


def test_the_terminal_gets_tables(profiled: Profiled) -> None:
    tables = [facts_table(profiled.report), *profile_tables(profiled.report, every_length=False)]
    shown = [cell for table in tables for cell in (table.title, *table.heads, *itertools.chain(*table.rows))]
    for words in ("tiny 0", "CPUExecutionProvider, 1 thread(s)", "cold start", "endpoint", "publish", "4 s x 8", "p99"):
        assert any(words in cell for cell in shown)


def test_the_page_is_well_formed_and_needs_nothing_from_anywhere(profiled: Profiled) -> None:
    assert profiled.html.startswith("<!DOCTYPE html>")
    tree = ElementTree.fromstring(profiled.html)
    assert len(tree.findall(".//svg")) == 3
    assert all(svg.findtext("title") for svg in tree.findall(".//svg"))
    assert not EXTERNAL.search(profiled.html)
    cells = {cell.text for cell in tree.findall(".//td")}
    for row in profiled.report.rows:
        assert row.name in cells or row.part == "direct"


def test_a_page_of_strange_names_is_well_formed(profiled: Profiled) -> None:
    strange = profiled.report.model_copy(update={"audio": ("<b>&\"'\0\ud800.wav",), "notes": ("</td>",), "rows": ()})
    ElementTree.fromstring(page(strange, None))
    assert element("p", text("<&>"), class_='"') == '<p class="&quot;">&lt;&amp;&gt;</p>'


def parents_of(trace: dict[str, Any]) -> dict[str, set[str]]:
    """Return the names of the spans that those of each name are directly inside of; fails when two overlap."""
    tracks: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for event in trace["traceEvents"]:
        if event["ph"] == "X":
            tracks[event["tid"]].append(event)
    parents: dict[str, set[str]] = defaultdict(set)
    for events in tracks.values():
        stack: list[dict[str, Any]] = []
        for event in sorted(events, key=lambda event: (event["ts"], -event["dur"])):
            # onnxruntime's clock counts whole microseconds.
            while stack and stack[-1]["ts"] + stack[-1]["dur"] < event["ts"] + 0.5:
                stack.pop()
            ends = event["ts"] + event["dur"]
            assert not stack or ends <= stack[-1]["ts"] + stack[-1]["dur"] + 2, f"{event} leaves {stack[-1]}"
            parents[event["name"]].add(stack[-1]["name"] if stack else "")
            stack.append(event)
    return parents


def test_clocks_apart_by_microseconds_still_nest() -> None:
    runs = [{"name": "embedding", "ts": ts, "dur": 100.0} for ts in (0.0, 1000.0, 2000.0)]
    early, late, right = -7.0, 1010.0, 2001.0
    inner = [{"name": "model_run", "ts": ts, "dur": 95} for ts in (early, late, right)]
    kernels = [{"name": "MatMul_kernel_time", "ts": span["ts"] + 3, "dur": 10} for span in inner]
    loading = {"name": "session_initialization", "ts": -900.0, "dur": 500}
    moved = within(runs, [loading, *kernels, *inner])
    assert [span["ts"] for span in moved] == [-900, 3, 1008, 2004, 0, 1005, 2001]


def test_spans_of_the_trace_nest(profiled: Profiled) -> None:
    parents = parents_of(profiled.trace)
    assert parents["model_run"] == {"embedding"}, "onnxruntime's spans are inside of the pipeline's"
    assert parents["publish utterance"] == {""}
    for stage in {"speech", *STAGES} - {"vad", "speaker"}:
        assert parents[stage] == {"utterance"}
    assert "block" in parents
    assert any(name.endswith("_kernel_time") for name in parents)
    assert [event["name"] for event in profiled.trace["traceEvents"]].count("utterance") == 3


def test_voiceprints_are_traced_as_well(bundle: Bundle, tmp_path: Path) -> None:
    enrol(tmp_path, bundle, "Anna", anna)
    file = tmp_path / "anna.wav"
    soundfile.write(file, np.concatenate([silence(0.3), anna(0.8), silence(0.8)]), SAMPLE_RATE_HZ)
    settings = Settings(speakers=SpeakerSettings(store=str(tmp_path)))
    parents = parents_of(trace_replay(file, bundle, settings))
    assert parents["model_run"] == {"embedding", "voiceprint"}
    assert parents["speaker"] == {"utterance"}


def test_a_running_daemon_is_watched(
    start: Start, conversation: Conversation, bundle_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    daemon = start("run", "--source", conversation.path, "--json", "--bundle", bundle_folder)
    assert b"ready" in daemon.stdout.readline()
    watcher = start("profile", "--attach", daemon.pid, "--json")
    stdout, stderr = watcher.communicate()
    assert (watcher.returncode, stderr) == (0, b"")
    report = Profile.model_validate_json(stdout)
    assert report.mode == "attached"
    assert report.model.bundle == "tiny"
    said = [json.loads(line) for line in daemon.stdout.read().splitlines()]
    latencies_ms = [event["latency_ms"] for event in said if event["type"] == "utterance"]
    rows = {row.stage: row for row in report.of("pipeline") if row.bucket_s is None and row.unit == "ms"}
    for stage in (*STAGES, "total"):
        if stage not in ("vad", "publish"):
            expected = [latency_ms[stage] for latency_ms in latencies_ms][-rows[stage].n :]
            assert rows[stage].samples == pytest.approx(expected, abs=2e-4)
    assert daemon.wait() == 0


def test_watching_may_end_with_control_c_and_may_have_heard_nothing(
    start: Start, bundle_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    quiet = tmp_path / "quiet.wav"
    soundfile.write(quiet, np.concatenate([speech_like(0.6), silence(300)]), SAMPLE_RATE_HZ)
    daemon = start("run", "--source", quiet, "--json", "--bundle", bundle_folder)
    assert b"ready" in daemon.stdout.readline()
    while b'"utterance"' not in daemon.stdout.readline():
        pass
    limited = start("profile", "--attach", "--duration", 0.1)
    stdout, _ = limited.communicate()
    assert limited.returncode == 0
    assert b"no utterance was heard" in stdout
    # Only a terminal is told that it watches now, so the signal follows the connection that the daemon sees.
    unlimited = start("-c", WATCHES_THEN_CONTROL_C, program=())
    stdout, stderr = unlimited.communicate()
    assert (unlimited.returncode, stderr) == (0, b"")
    assert b"no utterance was heard" in stdout
    daemon.send_signal(signal.SIGINT)
    assert daemon.wait() == 0


WATCHES_THEN_CONTROL_C = """
import os, signal, sys, threading
from edge.daemon.client import Client
timings = Client.timings
def interrupted(self, duration_s):
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    return timings(self, duration_s)
Client.timings = interrupted
sys.argv = ["affectd", "profile", "--attach"]
from edge.cli.app import main
main()
"""


def test_the_profilers_own_cost_is_measured_and_compared(
    call: Call, conversation: Conversation, bundle_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("profile", conversation.path, "--overhead", "--bundle", bundle_folder, "--rounds", 1)
    before = tmp_path / "before.json"
    assert call(*arguments, "--json") == 0
    before.write_text(capsys.readouterr().out)
    report = read_profile(before)
    assert {row.stage: row.n for row in report.of("overhead")} == {"off": 12, "on": 12, "tell": 36}
    report = report.model_copy(update={"model": report.model.model_copy(update={"threads": 9})})
    before.write_text(report.to_json())
    assert call(*arguments, "--compare", before, "--html", tmp_path / "page.html") == 0
    stdout, stderr = capsys.readouterr()
    assert "overhead: off" in stdout
    assert "too few" in stdout
    assert stderr == "affectd: compared with another setup: threads: 9 then, 1 now\n"
    assert "Compared with an earlier report" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_mistakes_are_told_in_one_line_before_anything_is_measured(
    call: Call,
    conversation: Conversation,
    bundle_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    old = tmp_path / "old.json"
    old.write_text('{"tool": "affectd profile", "schema_version": 7}')
    broken = tmp_path / "broken.wav"
    broken.write_text("no audio")
    for code, message, arguments in (
        (2, "has schema 7, this version compares 1", ("--compare", old)),
        (2, "cannot read", ("--compare", tmp_path / "gone.json")),
        (2, "is no report of affectd profile --json", (conversation.path, "--compare", conversation.path)),
        (2, "cannot write", ("--trace", tmp_path)),
        (
            2,
            "--json takes no file, it writes to standard output: affectd profile … --json > a.json",
            ("--json", "a.json"),
        ),
        (2, "it exists and is no page of affectd profile", ("--html", conversation.path)),
        (2, "it exists and is no trace of affectd profile", ("--trace", old)),
        (2, "it exists and is no settings file of affectd profile", ("--sweep", "--out", broken)),
        (2, "cannot write", ("--html", tmp_path / "gone" / "page.html")),
        (2, "no such file or folder: gone.wav", ("gone.wav",)),
        (1, "is not audio", (broken,)),
        (2, "--batches 'many' is not numbers", ("--batches", "many")),
        (2, "at least one utterance each", ("--batches", "0")),
        (2, "--duration needs --attach", ("--duration", 1)),
        (2, "--out needs --sweep", ("--out", tmp_path / "best.toml")),
        (2, "--attach and --sweep are measurements of their own", ("--attach", "--sweep")),
        (2, "--trace replays in real time, which --attach does not", ("--attach", "--trace", tmp_path / "trace.json")),
        (2, "--sweep takes no AUDIO", ("--sweep", conversation.path)),
        (2, "--attach takes one process id, not 'talk.wav'", ("--attach", "talk.wav")),
        (2, "several --bundle need --sweep", ("--bundle", bundle_folder, "--bundle", tmp_path)),
        (3, "no bundle folder", ("--bundle", tmp_path / "gone")),
    ):
        bundle = () if "--bundle" in arguments else ("--bundle", bundle_folder)
        assert call("profile", *bundle, *arguments) == code, message
        stdout, stderr = capsys.readouterr()
        assert stdout == ""
        assert stderr.startswith("affectd: ")
        assert stderr.count("\n") == 1
        assert message in stderr
    assert not (tmp_path / "best.toml").exists()


def test_the_built_in_signal_is_heard() -> None:
    settings = Settings()
    segmenter = Segmenter(settings.vad, settings.segmenter)
    segments = [*segmenter.push(built_in_signal()), *segmenter.flush()]
    assert [segment.end_s - segment.start_s for segment in segments] == pytest.approx(BUILT_IN_S, abs=0.1)


def test_recordings_are_those_given_or_the_examples_or_built_in(
    conversation: Conversation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with recordings([conversation.path]) as files:
        assert files == [conversation.path]
    with recordings([]) as files:
        (file,) = files
        assert soundfile.info(file).samplerate == SAMPLE_RATE_HZ
    assert not file.exists()
    example = tmp_path / "examples" / "talk.wav"
    example.parent.mkdir()
    example.write_bytes(conversation.path.read_bytes())
    with recordings([]) as files:
        assert files == [Path("examples/talk.wav")]
