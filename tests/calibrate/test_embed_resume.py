import multiprocessing
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from accelerate.commands import launch

from calibrate.cli.app import main
from calibrate.embed import corpus as work
from helpers import layouts
from helpers.embedding import SMALL, Embed, contents

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
LAUNCH = (
    "accelerate-launch --multi_gpu --num_processes 2 --num_machines 1 --mixed_precision no "
    "--dynamo_backend no --main_process_port 0 -m calibrate"
)
"""accelerate knows many processes without a GPU only by this name; they take CPUs where --device is cpu."""
PATIENCE_S = 120


def kill_in(batch: int, arguments: tuple[object, ...]) -> None:
    """Run the command in a process that is killed when it encodes its nth batch."""

    def killed() -> None:
        calls, real = 0, work.encode

        def dying(*rest: Any) -> Any:
            nonlocal calls
            if calls == batch:
                os.kill(os.getpid(), signal.SIGKILL)
            calls += 1
            return real(*rest)

        work.encode = dying
        sys.argv = ["affectd-calibrate", "embed", *map(str, arguments), "--threads", "1"]
        main()

    process = multiprocessing.get_context("fork").Process(target=killed)
    process.start()
    process.join(PATIENCE_S)
    assert process.exitcode == -signal.SIGKILL


def test_killed_and_resumed_it_ends_with_the_same_bytes(
    embed: Embed, crema_d: Path, encoders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("crema-d", crema_d, "--encoder", encoders["whisper"], "--layers", "1,3", *SMALL, "--out")
    assert embed(*arguments, tmp_path / "whole") == 0
    kill_in(0, (*arguments, tmp_path / "killed"))
    kill_in(8, (*arguments, tmp_path / "killed"))
    done = sorted(path.name for path in (tmp_path / "killed" / "partial").glob("*.npz"))
    assert 2 <= len(done) < 5
    kill_in(4, (*arguments, tmp_path / "killed"))
    half = tmp_path / "killed" / "partial" / ".000004.npz.half" / "000004.npz"
    half.parent.mkdir()
    half.write_bytes(b"half of it")
    shards = []
    make = work.Worker.shard
    monkeypatch.setattr(
        work.Worker, "shard", lambda self, rows, advance: shards.append(rows.start) or make(self, rows, advance)
    )  # type: ignore[func-returns-value]
    assert embed(*arguments, tmp_path / "killed") == 0
    assert shards
    assert set(shards).isdisjoint(5 * int(name[:6]) for name in done)
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_killed_while_it_put_the_files_together(
    embed: Embed, crema_d: Path, encoders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("crema-d", crema_d, "--encoder", encoders["whisper"], *SMALL, "--out")
    assert embed(*arguments, tmp_path / "whole") == 0
    replace = os.replace
    for name in ("embeddings.npy", "utterances.csv", "manifest.json"):

        def dying(source: Any, target: Any, last: str = name) -> None:
            if Path(target).name == last:
                raise KeyboardInterrupt
            replace(source, target)

        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", dying)
            assert embed(*arguments, tmp_path / "killed") != 0
        assert not (tmp_path / "killed" / "manifest.json").exists()
    assert embed(*arguments, tmp_path / "killed") == 0
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_a_finished_folder_is_verified_and_left_alone(
    embed: Embed, crema_d: Path, encoders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    arguments = ("crema-d", crema_d, "--encoder", encoders["whisper"], *SMALL, "--out", tmp_path)
    assert embed(*arguments) == 0
    before, first = contents(tmp_path), capsys.readouterr().out
    with monkeypatch.context() as patch:
        patch.setattr(work.Worker, "shard", None)
        assert embed(*arguments) == 0
    assert (contents(tmp_path), capsys.readouterr().out) == (before, first)
    embeddings = bytearray(before["embeddings.npy"])
    embeddings[-1] ^= 1
    (tmp_path / "embeddings.npy").write_bytes(embeddings)
    assert embed(*arguments) == 3
    assert "embeddings.npy: is not what was written" in capsys.readouterr().err
    (tmp_path / "utterances.csv").unlink()
    (tmp_path / "embeddings.npy").write_bytes(before["embeddings.npy"])
    assert embed(*arguments) == 3
    assert "utterances.csv: is missing" in capsys.readouterr().err


def test_damaged_and_foreign_leftovers_are_named(
    embed: Embed, crema_d: Path, encoders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("crema-d", crema_d, "--encoder", encoders["whisper"], *SMALL)
    kill_in(8, (*arguments, "--out", tmp_path / "a"))
    kill_in(8, (*arguments, "--layers", 1, "--out", tmp_path / "b"))
    partial = tmp_path / "a" / "partial"
    shard = partial / "000001.npz"
    whole = shard.read_bytes()
    position = whole.index(b"vectors.npy") + 200
    damaged = {
        "flipped": whole[:position] + bytes([whole[position] ^ 255]) + whole[position + 1 :],
        "cut": whole[:-300],
        "empty": b"",
        "no shard": b"hello",
    }
    for kind, data in damaged.items():
        shard.write_bytes(data)
        assert embed(*arguments, "--out", tmp_path / "a") == 3, kind
        assert "000001.npz: is damaged" in capsys.readouterr().err
    shard.write_bytes((tmp_path / "b" / "partial" / "000001.npz").read_bytes())
    assert embed(*arguments, "--out", tmp_path / "a") == 3
    assert "000001.npz: belongs to another job" in capsys.readouterr().err
    shard.unlink()
    assert embed(*arguments, "--layers", 2, "--out", tmp_path / "b") == 2
    assert "holds embeddings of another job, with layers [1], not [2]" in capsys.readouterr().err
    (partial / "notes.txt").write_text("mine")
    assert embed(*arguments, "--out", tmp_path / "a") == 2
    assert "notes.txt: is not part of this embedding job" in capsys.readouterr().err
    (partial / "notes.txt").unlink()
    (partial / "job.json").write_text("{")
    assert embed(*arguments, "--out", tmp_path / "a") == 3
    assert "job.json: is damaged" in capsys.readouterr().err
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("")
    assert embed(*arguments, "--out", tmp_path / "mine") == 2
    assert "thesis.tex: is not part of this embedding job" in capsys.readouterr().err


def test_a_corpus_that_changed_is_not_gone_on_with(
    embed: Embed, encoders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = layouts.crema_d(tmp_path / "crema-d")
    arguments = ("crema-d", folder, "--encoder", encoders["whisper"], *SMALL, "--out", tmp_path / "out")
    kill_in(5, arguments)
    shutil.copy(folder / "1001_TIE_ANG_XX.wav", folder / "1001_IEO_ANG_HI.wav")
    assert embed(*arguments) == 2
    assert "of another job, with utterances_sha256" in capsys.readouterr().err


def test_two_processes_go_on_where_one_was_and_write_what_one_would(
    embed: Embed, crema_d: Path, encoders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    arguments = ("crema-d", crema_d, "--encoder", encoders["hubert"], "--device", "cpu", *SMALL, "--out")
    assert embed(*arguments, tmp_path / "one") == 0
    kill_in(4, (*arguments, tmp_path / "two"))
    begun = len(list((tmp_path / "two" / "partial").glob("*.npz")))
    assert begun in {1, 2}
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    command = [*LAUNCH.split(), "embed", *arguments, tmp_path / "two", "--threads", 1]
    monkeypatch.setattr(sys, "argv", [*map(str, command)])
    capfd.readouterr()
    process = multiprocessing.get_context("fork").Process(target=launch.main)
    process.start()
    process.join(PATIENCE_S)
    printed = capfd.readouterr()
    assert process.exitcode == 0, printed.err
    assert printed.out.count("24 utterances") == 1, "one process reports"
    assert contents(tmp_path / "two") == contents(tmp_path / "one")
