import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from edge.arrays import percentile_interval
from edge.cli.profile import _print_table
from edge.errors import UsageError
from edge.model_facts import ModelFacts
from edge.profiling.compare import LEVEL, Verdict, change_of, compare, medians, rounds_of
from edge.profiling.facts import Machine
from edge.profiling.measurements import Profile, Row, read_profile, rounded
from edge.profiling.stages import pipeline_rows
from edge.profiling.tables import comparison_table, profile_tables
from edge.timing import STAGES, Timing

MACHINE = Machine(cpu="a core", cores=2, governor=None, memory_mb=None, system="Linux", versions={"numpy": "2"})
MODEL = ModelFacts(
    bundle="tiny", version="0", sha256="f" * 64, architecture="loudness", precision="fp32", provider="CPU", threads=1,
    max_batch=8,
)  # fmt: skip

samples = st.lists(st.floats(0.001, 1e6), min_size=1, max_size=20)
rounds = st.lists(samples, min_size=1, max_size=6)


def row(*measured: list[float], stage: str = "encoder") -> Row:
    return Row(part="direct", stage=stage, bucket_s=1.0, batch=1, rounds=tuple(map(tuple, measured)))


def report(*rows: Row, **changes: object) -> Profile:
    values = {"time": "2026-01-01T00:00:00+00:00", "mode": "replay", "machine": MACHINE, "model": MODEL, "rows": rows}
    return Profile.model_validate(values | changes)


@given(rounds)
def test_drawn_medians_stay_within_the_samples(measured: list[list[float]]) -> None:
    drawn = medians(measured, draws=50)
    every = [sample for samples in measured for sample in samples]
    assert drawn.shape == (50,)
    assert drawn.min() >= min(every)
    assert drawn.max() <= max(every)
    low, high = percentile_interval(drawn, LEVEL)
    assert drawn.min() <= low <= high <= drawn.max()
    np.testing.assert_array_equal(drawn, medians(measured, draws=50))


@given(rounds)
def test_a_row_has_not_changed_from_itself(measured: list[list[float]]) -> None:
    change = change_of(row(*measured), row(*measured))
    assert change.difference == change.percent == 0
    assert change.verdict in (Verdict.NOISE, Verdict.UNKNOWN)
    assert (change.verdict is Verdict.UNKNOWN) == (len(measured) < 5)


@given(st.lists(st.lists(st.floats(10, 11), min_size=2, max_size=9), min_size=5, max_size=8), st.floats(1.5, 100))
def test_a_change_beyond_all_samples_is_told_from_noise(measured: list[list[float]], factor: float) -> None:
    before, after = row(*measured), row(*[[factor * sample for sample in samples] for samples in measured])
    slower, faster = change_of(before, after), change_of(after, before)
    assert (slower.verdict, faster.verdict) == (Verdict.MORE, Verdict.LESS)
    assert slower.difference == pytest.approx(-faster.difference)
    assert slower.percent == pytest.approx(100 * (factor - 1))
    assert 0 < slower.low <= slower.high


def test_samples_of_one_round_do_not_stand_for_many() -> None:
    """Rounds on a calm and on a disturbed machine: the samples agree within each, and tell nothing."""
    calm, disturbed = [10.0, 10.1] * 50, [14.0, 14.1] * 50
    before, after = row(calm, disturbed, calm, disturbed, calm), row(calm, disturbed, disturbed, disturbed, calm)
    assert change_of(before, after).verdict is Verdict.NOISE


def test_a_pipeline_heard_once_is_compared_by_its_fifths() -> None:
    once = Row(part="pipeline", stage="encoder", rounds=(tuple(range(1, 12)),))
    assert [list(part) for part in rounds_of(once)] == [[1, 2, 3], [4, 5], [6, 7], [8, 9], [10, 11]]
    few = Row(part="pipeline", stage="encoder", rounds=((1.0, 2.0), (3.0,)))
    assert rounds_of(few) == few.rounds
    assert change_of(few, once).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("same", [True, False])
def test_noise_is_seldom_taken_for_a_change(same: bool) -> None:
    random = np.random.default_rng(1)
    beyond = 0
    for _ in range(60):
        before, after = (
            row(*(random.normal(20, 0.5, (5, 1)) + shift + random.gamma(2, 0.2, (5, 10))).tolist())
            for shift in (0, 5 * (not same))
        )
        beyond += change_of(before, after).verdict in (Verdict.LESS, Verdict.MORE)
    assert beyond <= 3 if same else beyond == 60


def test_zero_has_no_percentage() -> None:
    assert change_of(row([0.0] * 9), row([1.0] * 9)).percent is None


def test_reports_are_matched_by_row_and_differences_of_the_setup_are_told() -> None:
    old = report(row([1.0] * 9), row([1.0] * 9, stage="gone"))
    model = MODEL.model_copy(update={"threads": 2})
    new = report(row([1.0] * 9), row([1.0] * 9, stage="new"), model=model)
    comparison = compare(old, new)
    assert [change.new.stage for change in comparison.changes] == ["encoder"]
    assert [row.stage for row in comparison.only_old] == ["gone"]
    assert [row.stage for row in comparison.only_new] == ["new"]
    assert comparison.warnings == ("threads: 1 then, 2 now",)
    words = comparison_table(comparison, every_length=False)
    assert [(row[0], row[-1]) for row in words.rows] == [
        ("direct: encoder 1 s x 1", "too few"),
        ("direct: gone 1 s x 1", "gone"),
        ("direct: new 1 s x 1", "new"),
    ]


def test_a_comparison_in_words_marks_what_is_beyond_noise() -> None:
    calm = [[10.0, 10.1, 10.2]] * 6
    slow = [[15.0, 15.1, 15.2]] * 6
    steady, slower = row(*calm, stage="head"), row(*slow)
    of_a_length = Row(part="pipeline", stage="queue", bucket_s=2.0, rounds=((1.0,),))
    comparison = compare(report(row(*calm), steady, of_a_length), report(slower, steady, of_a_length))
    words = comparison_table(comparison, every_length=False)
    assert [line[0] for line in words.rows] == ["direct: encoder 1 s x 1", "direct: head 1 s x 1"]
    assert words.bold == {0}
    assert words.rows[0][1:4] == ("10.10 ms", "15.10 ms", "+49.5 %")
    assert len(comparison_table(comparison, every_length=True).rows) == 3


@given(rounds)
def test_a_report_is_read_as_it_was_written(measured: list[list[float]]) -> None:
    written = report(row(*measured))
    assert Profile.model_validate_json(written.to_json()) == written


def test_files_that_are_no_reports_are_refused(tmp_path: Path) -> None:
    good = json.loads(report(row([1.0])).to_json())
    for text, message in (
        ("", "is no report of affectd profile --json"),
        ("[]", "is no report of affectd profile --json"),
        ('{"schema_version": 1}', "is no report of affectd profile --json"),
        (json.dumps(good | {"schema_version": 2}), "has schema 2, this version compares 1"),
        (json.dumps(good | {"rows": [{"part": "direct"}]}), "rows.0.stage: Field required"),
        (json.dumps(good | {"rows": [good["rows"][0] | {"rounds": [[]]}]}), "rows.0.rounds.0: Tuple should have"),
        (json.dumps(good).replace("1.0]", "NaN]"), "rows.0.rounds.0.0: Input should be a finite number"),
    ):
        file = tmp_path / "old.json"
        file.write_text(text)
        with pytest.raises(UsageError, match=r"old\.json: ") as error:
            read_profile(file)
        assert message in str(error.value)
    with pytest.raises(UsageError, match="cannot read"):
        read_profile(tmp_path)


stage_ms = st.fixed_dictionaries({stage: st.floats(0, 1e4) for stage in STAGES})
timings = st.builds(
    lambda speech_s, pause_s, bucket_s, stages: Timing(
        speech_s, speech_s + pause_s, bucket_s, 1, 0.0, stages, 260.0,
        sum(stages.values()) - stages["vad"] - stages["publish"], 0, 0.0,
    ),
    st.floats(0.3, 12), st.floats(0, 60), st.sampled_from([1.0, 2.0, 4.0]), stage_ms,
)  # fmt: skip


@given(st.lists(st.lists(timings, max_size=5), max_size=4))
def test_rows_hold_every_utterance_once_for_all_lengths_and_once_for_its_own(measured: list[list[Timing]]) -> None:
    rows = pipeline_rows(measured)
    every = [timing for timings in measured for timing in timings]
    assert len({row.key for row in rows}) == len(rows)
    for stage in (*STAGES, "provisional", "answer", "total"):
        mine = [row for row in rows if row.stage == stage]
        assert sum(row.n for row in mine if row.bucket_s is None) == len(every)
        assert sum(row.n for row in mine if row.bucket_s is not None) == len(every)
    for found in rows:
        if found.stage == "encoder" and found.bucket_s is None:
            assert found.samples == rounded(timing.stage_ms["encoder"] for timing in every)
            speech_s = sum(timing.speech_s for timing in every)
            assert found.real_time_factor == pytest.approx(sum(found.samples) / 1e3 / speech_s)
        if found.stage in ("endpoint", "queue", "provisional", "answer"):
            assert found.real_time_factor is None


@given(rounds)
def test_the_report_has_quantiles_beside_the_samples(measured: list[list[float]]) -> None:
    text = report(row(*measured)).to_json()
    (written,) = json.loads(text)["rows"]
    every = [sample for samples in measured for sample in samples]
    for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0)):
        assert written[name] == pytest.approx(np.quantile(every, share), abs=1e-4)
    assert written["n"] == len(every)
    assert written["rounds"] == measured
    assert Profile.model_validate_json(text) == report(row(*measured))


def test_a_report_without_quantiles_is_still_read(tmp_path: Path) -> None:
    values = json.loads(report(row([1.0, 2.0])).to_json())
    for name in ("p50", "p90", "p99", "max", "n"):
        del values["rows"][0][name]
    (tmp_path / "old.json").write_text(json.dumps(values))
    assert read_profile(tmp_path / "old.json") == report(row([1.0, 2.0]))


@pytest.mark.parametrize("width", [30, 40, 80, 100, 120, 200])
def test_every_figure_is_shown_on_any_terminal(width: int) -> None:
    stages = [row([1.2345, 12.345, 123.4], stage=stage) for stage in ("encoder", "speaker", "adapt")]
    start = Row(part="start", stage="cold start", rounds=((4321.0, 5432.0),))
    profile = report(*stages, start)
    tables = [*profile_tables(profile, every_length=True), comparison_table(compare(profile, profile), True)]
    for table in tables:
        console = Console(width=width, file=io.StringIO())
        _print_table(table, console)
        text = console.file.getvalue()
        assert max(map(len, text.splitlines())) <= width
        shown = {word.strip(",") for word in text.split()}
        meanings = table.heads[-1] == ""
        assert set(table.heads[0].split()) <= {word.strip(":,") for word in text.split()}
        for cells in table.rows:
            assert {word for cell in cells[: len(cells) - meanings] for word in cell.split()} <= shown
