import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.bundle import Bundle
from edge.errors import ModelError
from edge.profiling.candidates import Candidate, Sweep, as_settings, best_batch, best_of, sweep, thread_counts
from edge.profiling.facts import this_machine
from edge.profiling.measurements import read_profile
from edge.settings import EncoderSettings, load_settings
from helpers.conversation import Conversation
from helpers.tiny import tiny_bundle, write_manifest

Start = Callable[..., "subprocess.Popen[bytes]"]
Call = Callable[..., int]

SHORT, TYPICAL, LONG = 16_000, 64_000, 64_000


def candidate(bundle: Bundle, threads: int, single_ms: float, batch_ms: float = 80.0) -> Candidate:
    """Measured in five rounds whose samples lie within a percent."""
    rounds = [[1.0, 1.002, 1.004], [1.003, 1.001, 1.002], [1.0, 1.001, 1.002], [1.002, 1.0, 1.003], [1.001] * 3]
    measured = {
        (SHORT, 1): [[single_ms / 4 * sample for sample in samples] for samples in rounds],
        (TYPICAL, 1): [[single_ms * sample for sample in samples] for samples in rounds],
        (TYPICAL, 8): [[batch_ms * sample for sample in samples] for samples in rounds],
    }
    return Candidate(bundle, EncoderSettings(provider="cpu", threads=threads), rounds_ms=measured)


def test_the_fastest_is_best_and_threads_that_bring_nothing_are_not_taken(bundle: Bundle) -> None:
    one, two, four = candidate(bundle, 1, 20), candidate(bundle, 2, 12), candidate(bundle, 4, 12)
    assert best_of([one, two, four]) is two
    assert best_of([four, two, one]) is two
    assert best_of([one, candidate(bundle, 2, 20)]) is one


def test_batches_are_taken_when_an_utterance_gets_cheaper(bundle: Bundle) -> None:
    assert best_batch(candidate(bundle, 1, single_ms=20, batch_ms=80)) == 8
    assert best_batch(candidate(bundle, 1, single_ms=20, batch_ms=160)) == 1
    assert best_batch(candidate(bundle, 1, single_ms=20, batch_ms=300)) == 1


@given(st.integers(1, 256))
def test_thread_counts_end_at_all_cores(cores: int) -> None:
    counts = thread_counts(cores)
    assert counts[0] == 1
    assert counts[-1] == cores
    assert counts == sorted(set(counts))


@pytest.mark.parametrize("name", ["tiny", 'a "b" \\ c\nd = 1', "größe\x7f"])
def test_the_settings_file_is_read_back_whatever_things_are_called(name: str, bundle: Bundle, tmp_path: Path) -> None:
    folder = tmp_path / name.replace("\n", "\t")
    tiny_bundle(folder)
    write_manifest(folder, name=name)
    strange = Bundle.load(folder)
    best = candidate(strange, 2, 10)
    failed = Candidate(strange, EncoderSettings(provider="cuda"), failure="no\nsuch = device")
    text = as_settings(
        Sweep((best, failed), best, 8), this_machine(), "2026-01-01T00:00", {strange.encoder_hash: folder}
    )
    file = tmp_path / "best.toml"
    file.write_text(text, encoding="utf-8")
    loaded = load_settings(file, {})
    encoder = loaded.settings.encoder
    assert (encoder.provider, encoder.threads, encoder.max_batch) == ("cpu", 2, 8)
    assert encoder.bundle_folder == folder
    assert sum(origin != "default" for origin in loaded.origins.values()) == 4
    assert "10.01 ms" in text


def test_what_cannot_run_is_told_and_not_chosen(bundle: Bundle) -> None:
    with pytest.raises(ModelError, match=r"nothing runs here: .*'cuda' was wanted"):
        sweep([bundle], EncoderSettings(provider="cuda"), (1,), 1, lambda text: None)


def test_the_sweep_writes_settings_that_run_accepts(
    start: Start, conversation: Conversation, bundle_folder: Path, tmp_path: Path
) -> None:
    other = tiny_bundle(tmp_path / "other")
    best, report = tmp_path / "best.toml", tmp_path / "sweep.json"
    process = start(
        *("profile", "--sweep", "--rounds", 1, "--batches", "1,2", "--bundle", bundle_folder, "--bundle", other),
        *("--provider", "cpu", "--out", best, "--json"),
    )
    stdout, stderr = process.communicate()
    assert (process.returncode, stderr) == (0, b"")
    assert b"best: tiny 0 fp32" in stdout
    report.write_bytes(stdout)
    found = read_profile(report)
    assert {(row.bucket_s, row.batch) for row in found.rows} == {(1.0, 1), (4.0, 1), (4.0, 2)}
    assert f"# - 4 s x 2: {found.rows[-1].quantile(0.5):.2f} ms, n {found.rows[-1].n}" in best.read_text()
    assert load_settings(best, {}).settings.encoder.max_batch == found.model.max_batch
    process = start("run", "--config", best, "--source", conversation.path, "--fast", "--json")
    stdout, _ = process.communicate()
    assert process.returncode == 0
    assert stdout.count(b'"utterance"') == 3
