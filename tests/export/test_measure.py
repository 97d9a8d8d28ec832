import json
import os
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import HubertConfig

from edge.bundle import Bundle
from edge.profiling.facts import usable_cores as cores
from export import rounds as rounds_module
from export.measure import __main__ as command
from export.measure import encoders, opensmile
from export.measure.machine import Machine
from export.measure.plan import Plan
from export.measure.report import Report, Section, Table, Target
from export.rounds import RoundTimes, alternate, alternate_settled, digits
from helpers.measuring import process_of

pytestmark = pytest.mark.slow

SMALL = HubertConfig(
    hidden_size=16,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=16,
    conv_dim=(8,) * 7,
    num_conv_pos_embeddings=16,
    num_conv_pos_embedding_groups=2,
)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small shapes instead of large ones, no older bundles, and no openSMILE."""
    monkeypatch.setattr(encoders, "SHAPES", {"small shape": SMALL})
    monkeypatch.setattr(encoders, "FORMER", ())
    monkeypatch.setattr(opensmile, "installed", lambda: False)


MACHINE = Machine("a CPU", 4, ("avx2",), 8.0, "Linux", {"numpy": "2.0"})


def report(**sections: Section) -> Report:
    return Report(MACHINE, {"tiny, fp32": "0123456789abcdef"}, "make bench", sections, ["accuracy, without corpora"])


@given(st.integers(1, 5), st.integers(1, 6), st.integers(0, 2))
def test_every_task_runs_once_a_round_and_none_always_follows_the_same(tasks: int, rounds: int, warm: int) -> None:
    calls: list[int] = []
    times = alternate({str(task): lambda task=task: calls.append(task) for task in range(tasks)}, rounds, warm)
    turns = [calls[start : start + tasks] for start in range(0, len(calls), tasks)]
    assert len(turns) == rounds + warm
    assert all(sorted(turn) == list(range(tasks)) for turn in turns)
    assert all(one[0] != next_[0] for one, next_ in pairwise(turns) if tasks > 1)
    assert {len(timing.values_ms) for timing in times.values()} == {rounds}


@pytest.mark.parametrize(("takes_ms", "runs"), [(20.0, 4), (70.0, 2)])
def test_a_task_is_timed_when_it_comes_and_once_it_has_settled(
    monkeypatch: pytest.MonkeyPatch, takes_ms: float, runs: int
) -> None:
    """By a clock that only tasks move: the first run of each turn takes 7 ms more."""
    now_s, calls = [0.0], list[str]()

    def task(name: str) -> None:
        now_s[0] += (takes_ms + 7 * (not calls or calls[-1] != name)) / 1e3
        calls.append(name)

    monkeypatch.setattr(rounds_module, "time", SimpleNamespace(perf_counter=lambda: now_s[0]))
    first, settled = alternate_settled({name: partial(task, name) for name in "abc"}, 3)
    for name in "abc":
        assert first[name].values_ms == pytest.approx([takes_ms + 7] * 3)
        assert settled[name].values_ms == pytest.approx([takes_ms] * 3)
    assert calls[: 2 * runs] == ["c"] * runs + ["a"] * runs


def test_a_timing_is_a_median_with_quartiles() -> None:
    timing = RoundTimes((5.0, 1.0, 3.0, 2.0, 4.0))
    assert (timing.median_ms, timing.quartiles_ms) == (3.0, (2.0, 4.0))
    assert str(timing) == "3 (2 to 4)"
    assert timing.as_json()["n"] == 5


@pytest.mark.parametrize(("value", "text"), [(0.01234, "0.0123"), (12.345, "12.3"), (99.96, "100"), (1234.5, "1,234")])
def test_numbers_have_three_digits_that_count(value: float, text: str) -> None:
    assert digits(value) == text


def test_the_page_shows_targets_tables_and_how_to_repeat_them() -> None:
    table = Table("3 s", ("model", "ms"), [("ours", "1"), ("theirs", "2")])
    targets = [Target("fast", "1 ms", True), Target("small", "9 MB", False)]
    page = report(encoders=Section("Latency", "How.", [table], {"ms": [1, 2]}, targets, 0.5)).markdown("b.json")
    assert "| fast | 1 ms | yes |\n| small | 9 MB | **no** |" in page
    assert "**3 s**\n\n| model | ms |\n| --- | --- |\n| ours | 1 |\n| theirs | 2 |" in page
    assert 'make bench ARGS="--only encoders"' in page
    assert "Machine: a CPU, 4 cores (avx2), 8 GB, Linux; numpy 2.0." in page
    assert "Bundles: tiny, fp32 (encoder 0123456789ab)." in page
    assert "Not measured: accuracy, without corpora." in page
    assert "Load before: 0.5." in page
    assert "[b.json](b.json)" in page


def test_the_json_lies_beside_the_page_with_every_figure(tmp_path: Path) -> None:
    page = tmp_path / "docs" / "page.md"
    report(encoders=Section("Latency", "How.", [], {"ms": [1, 2]})).write(page)
    written = json.loads(page.with_suffix(".json").read_text())
    assert written["parts"]["encoders"]["figures"] == {"ms": [1, 2]}
    assert written["machine"]["cpu"] == "a CPU"
    assert "page.json" in page.read_text()


def test_parts_measured_again_replace_theirs_on_the_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    table = Table("3 s", ("model", "ms"), [("ours", "1")])
    kept = Section("Length", "How.", [table], {"ms": [1]}, [Target("fast", "1 ms", True)], 0.5)
    report(encoders=Section("Latency", "How.", [], {"ms": [2]}), length=kept).write(page)
    again = report(encoders=Section("Latency", "How.", [], {"ms": [3]})).over(page)
    assert again.sections["length"] == kept
    assert again.sections["encoders"].figures == {"ms": [3]}
    assert list(again.sections) == ["encoders", "length"]


@pytest.mark.parametrize("text", [None, "{}", "not JSON", '{"parts": {"length": {}}}'])
def test_a_page_that_cannot_be_read_is_replaced(text: str | None, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    if text is not None:
        page.with_suffix(".json").write_text(text)
    fresh = report(encoders=Section("Latency", "How.", [], {}))
    assert fresh.over(page) == fresh


@pytest.mark.parametrize("change", [{"machine": replace(MACHINE, cpu="another")}, {"bundles": {"other, int8": "f"}}])
def test_figures_of_other_machines_and_bundles_never_mix(change: dict[str, Any], tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    replace(report(length=Section("Length", "How.", [], {})), **change).write(page)
    assert list(report(encoders=Section("Latency", "How.", [], {})).over(page).sections) == ["encoders"]


@pytest.mark.slow
def test_a_part_runs_in_a_process_of_its_own(bundle: Bundle) -> None:
    assert command._apart(process_of, Plan((bundle,))).notes != str(os.getpid())


def test_the_machine_is_described_without_its_name() -> None:
    machine = Machine.here()
    assert machine.cpu
    assert 1 <= machine.cores == cores()
    assert machine.memory_gb > 0
    assert machine.versions["numpy"] != "not installed"


@pytest.mark.slow
@pytest.mark.usefixtures("small")
def test_one_command_measures_what_needs_no_corpora(
    bundle_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "bench.md"
    command.main(["--quick", "--threads", "1", "--bundle", str(bundle_folder), "--json", "--out", str(page)])
    measured: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert measured == json.loads(page.with_suffix(".json").read_text())
    assert set(measured["parts"]) == set(command.PARTS) - {"accuracy", "unseen"}
    assert measured["skipped"] == [f"{part}, which needs corpora: --data FOLDER" for part in ("accuracy", "unseen")]
    figures = {part: section["figures"] for part, section in measured["parts"].items()}
    latency = figures["encoders"]["latency"]
    assert [row["encoder"] for row in latency] == ["tiny, fp32", "small shape"]
    assert latency[1]["weights"] == "random"
    assert latency[1]["flops"] > 0
    assert {row["batches"] for row in figures["buckets"]["strategies"]} >= {"length buckets"}
    assert [row["people"] for row in figures["people"]["people"]] == [1, 10]
    detectors = {row["detector"] for row in figures["activity"]["error"]}
    assert {"affectd", "WebRTC alone"} <= detectors
    assert measured["parts"]["buckets"]["targets"]


@pytest.mark.usefixtures("small")
def test_a_part_alone_is_printed_and_leaves_the_page_alone(
    bundle_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    command.main(["--quick", "--only", "length", "--bundle", str(bundle_folder)])
    assert "## Cost against length" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--bundle", "missing"], "missing"),
        (["--bundle", "BUNDLE", "--bundle", "BUNDLE"], "two bundles have the same name and precision"),
    ],
)
def test_a_wrong_option_is_one_line(bundle_folder: Path, arguments: list[str], message: str) -> None:
    with pytest.raises(SystemExit, match=message):
        command.main([str(bundle_folder) if word == "BUNDLE" else word for word in arguments])


@pytest.mark.parametrize("arguments", [["--rounds", "0"], ["--threads", "-1"], ["--only", "everything"]])
def test_options_are_checked(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        command.main(arguments)
    assert refused.value.code == 2
