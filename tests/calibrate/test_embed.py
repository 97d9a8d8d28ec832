import gc
import json
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from calibrate.cli.app import main
from calibrate.corpora import read_corpus
from calibrate.embed import corpus as work
from calibrate.encoders.batches import encode
from calibrate.encoders.pretrained import PooledEncoder, load_encoder
from calibrate.run import load_run
from edge.audio import Waveform, read_audio
from edge.bundle import sha256_of
from edge.high_pass import high_passed
from helpers.calling import exit_code
from helpers.embedding import FILES, SMALL, Embed, table
from helpers.run_folders import write_run
from helpers.signals import silence, speech_like


def alone(encoder: torch.nn.Module, paths: list[Path]) -> np.ndarray[Any, Any]:
    """Embeddings of one file at a time, which nothing pads."""
    return np.concatenate([encode(encoder, [high_passed(read_audio(path))]) for path in paths])


def test_crema_d_through_hubert_is_a_mean_of_the_last_layer(
    embed: Embed, crema_d: Path, encoders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert embed("crema-d", crema_d, "--encoder", encoders["hubert"], "--out", out, *SMALL) == 0
    assert f'np.load("{out}/embeddings.npy", mmap_mode="r")' in capsys.readouterr().out
    assert {path.name for path in out.iterdir()} == FILES
    embeddings, rows = np.load(out / "embeddings.npy", mmap_mode="r"), table(out)
    assert (embeddings.shape, embeddings.dtype) == ((24, 16), np.float32)
    assert [int(row["row"]) for row in rows] == [*range(24)]
    angry = next(row for row in rows if row["path"] == "1015_IEO_ANG_HI.wav")
    assert (angry["corpus"], angry["speaker"], angry["label"], angry["gender"]) == (
        "crema-d",
        "crema-d-1015",
        "angry",
        "m",
    )
    assert 0.3 <= float(angry["seconds"]) <= 0.5
    pooled = PooledEncoder(load_encoder(str(encoders["hubert"]), 3), (3,))
    expected = alone(pooled, [crema_d / row["path"] for row in rows])[:, :16]
    np.testing.assert_allclose(embeddings, expected, rtol=1e-3, atol=1e-4)
    manifest = json.loads((out / "manifest.json").read_text())
    assert (manifest["job"]["embedder"]["label"], manifest["job"]["embedder"]["layers"]) == ("hubert", [3])
    assert (manifest["embeddings"], manifest["unreadable"]) == ({"dtype": "float32", "shape": [24, 16]}, 0)
    assert manifest["files"]["embeddings.npy"]["sha256"] == sha256_of(out / "embeddings.npy")
    assert manifest["files"]["utterances.csv"]["bytes"] == (out / "utterances.csv").stat().st_size
    assert 0 < manifest["padding_share"] < 0.5


def test_esd_through_wav2vec2_with_means_and_deviations_of_layers(
    embed: Embed, esd: Path, encoders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("esd", esd, "--encoder", encoders["wav2vec2"], "--layers", "0,2", "--pool", "mean-deviation")
    assert embed(*arguments, "--out", tmp_path, "--json", *SMALL) == 0
    manifest = json.loads(capsys.readouterr().out)
    assert manifest["embeddings"]["shape"] == [24, 2 * 2 * 16]
    assert {row["label"] for row in table(tmp_path)} == {"neutral", "happy", "angry"}
    pooled = PooledEncoder(load_encoder(str(encoders["wav2vec2"]), 2), (0, 2))
    expected = alone(pooled, [esd / row["path"] for row in table(tmp_path)])
    np.testing.assert_allclose(np.load(tmp_path / "embeddings.npy"), expected, rtol=1e-3, atol=1e-4)


def test_what_a_run_makes_of_speech(
    embed: Embed, crema_d: Path, encoders: dict[str, Path], recipe_of: Callable[..., Any], tmp_path: Path
) -> None:
    folder = write_run(tmp_path / "run", recipe_of(), encoders["whisper"])
    assert embed("crema-d", crema_d, "--run", folder, "--out", tmp_path / "out", *SMALL) == 0
    run = load_run(folder)
    pooled = alone(run.encoder, [crema_d / row["path"] for row in table(tmp_path / "out")])
    expected = run.classifier.embed(torch.from_numpy(pooled).reshape(24, 3, -1)).numpy()
    np.testing.assert_allclose(np.load(tmp_path / "out" / "embeddings.npy"), expected, rtol=1e-3, atol=1e-4)
    described = json.loads((tmp_path / "out" / "manifest.json").read_text())["job"]
    assert (described["embedder"]["label"], described["max_s"]) == ("tiny: z on whisper", 1.0)


def test_unreadable_files_are_told_and_counted(
    embed: Embed, encoders: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture, clip: Any
) -> None:
    folder, out = tmp_path / "recordings", tmp_path / "out"
    for name in ("a", "c/deep", "e"):
        clip(folder / f"{name}.wav", speech_like(0.4))
    (folder / "b.wav").write_bytes(b"no audio at all")
    (folder / "d.wav").write_bytes(b"")
    (folder / "notes.txt").write_text("not audio")
    assert embed("audio", folder, "--encoder", encoders["whisper"], "--out", out, "--shard", 2) == 0
    assert [row["path"] for row in table(out)] == ["a.wav", "c/deep.wav", "e.wav"]
    assert [row["row"] for row in table(out)] == ["0", "1", "2"]
    assert {row["speaker"] + row["label"] for row in table(out)} == {""}
    embeddings = np.load(out / "embeddings.npy")
    assert len(embeddings) == 3
    np.testing.assert_allclose(embeddings[1], embeddings[0], rtol=1e-4, atol=1e-5)
    unreadable = table(out, "unreadable.csv")
    assert [row["path"] for row in unreadable] == ["b.wav", "d.wav"]
    assert unreadable[1]["reason"] == "is empty (0 bytes)"
    assert caplog.text.count("left out") == 2
    assert set(json.loads((out / "manifest.json").read_text())["files"]) == FILES - {"manifest.json"} | {
        "unreadable.csv"
    }


def test_nothing_that_can_be_read(
    embed: Embed, encoders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    arguments = ("audio", tmp_path / "in", "--encoder", encoders["whisper"], "--out", tmp_path / "out")
    assert embed(*arguments) == 2
    assert "holds no audio file" in capsys.readouterr().err
    (tmp_path / "in" / "a.wav").write_bytes(b"")
    assert embed(*arguments) == 2
    assert "none of 1 files can be read, the first of them a.wav: is empty (0 bytes)" in capsys.readouterr().err


def test_long_recordings_are_cut_and_pauses_left_out(
    embed: Embed, encoders: dict[str, Path], tmp_path: Path, clip: Any
) -> None:
    clip(tmp_path / "in" / "talk.wav", np.concatenate([silence(1.5), speech_like(1.0), silence(1.5)]))
    arguments = ("audio", tmp_path / "in", "--encoder", encoders["whisper"], "--dtype", "float16", "--out")
    found = {}
    for name, options in {"whole": (), "spoken": ("--spoken",), "cut": ("--max-s", 0.5)}.items():
        assert embed(*arguments, tmp_path / name, *options) == 0
        manifest = json.loads((tmp_path / name / "manifest.json").read_text())
        assert (manifest["cut"], manifest["embeddings"]["dtype"]) == (name == "cut", "float16")
        assert table(tmp_path / name)[0]["seconds"] == "4.000"
        found[name] = np.load(tmp_path / name / "embeddings.npy")[0]
    assert np.abs(found["whole"] - found["spoken"]).max() > 0.01
    encoder = PooledEncoder(load_encoder(str(encoders["whisper"]), 3), (3,))
    middle = high_passed(read_audio(tmp_path / "in" / "talk.wav"))[28_000:36_000]
    np.testing.assert_allclose(found["cut"], encode(encoder, [middle])[0, :16], rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("family", ["whisper", "hubert"])
def test_batches_do_not_move_what_ignores_padding(
    embed: Embed, crema_d: Path, encoders: dict[str, Path], tmp_path: Path, family: str
) -> None:
    arguments = ("crema-d", crema_d, "--encoder", encoders[family], "--max-s", 0.6, "--batch-s", 2, "--out")
    found, shares = {}, {}
    for kind in ("length", "order", "pad"):
        assert embed(*arguments, tmp_path / kind, "--batching", kind) == 0
        found[kind] = np.load(tmp_path / kind / "embeddings.npy")
        shares[kind] = json.loads((tmp_path / kind / "manifest.json").read_text())["padding_share"]
        np.testing.assert_allclose(found[kind], found["length"], rtol=1e-3, atol=1e-4)
    assert shares["length"] < shares["order"] < shares["pad"]


def test_what_feels_padding_is_encoded_one_at_a_time(
    embed: Embed, crema_d: Path, encoders: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    arguments = ("crema-d", crema_d, "--encoder", encoders["hubert-group"], "--out")
    assert embed(*arguments, tmp_path / "a") == 0
    assert "feels its padding" not in caplog.text
    pooled = PooledEncoder(load_encoder(str(encoders["hubert-group"]), 3), (3,))
    expected = alone(pooled, [crema_d / row["path"] for row in table(tmp_path / "a")])[:, :16]
    np.testing.assert_array_equal(np.load(tmp_path / "a" / "embeddings.npy"), expected)
    assert embed(*arguments, tmp_path / "b", "--batch-s", 2) == 0
    assert "hubert-group feels its padding" in caplog.text


def test_a_shard_and_two_batches_are_all_that_is_held(
    embed: Embed, encoders: dict[str, Path], tmp_path: Path, clip: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for index in range(60):
        clip(tmp_path / "in" / f"{index:02d}.wav", speech_like(0.3))
    filtered, make = work.high_passed, work.Worker.shard
    held = {"samples": 0, "rows": 0}
    most = dict(held)

    def hold(kind: str, count: int, array: Any) -> Any:
        held[kind] += count
        most[kind] = max(most[kind], held[kind])
        weakref.finalize(array, lambda: held.update({kind: held[kind] - count}))
        return array

    def filter_and_count(raw: Waveform) -> Waveform:
        waveform = filtered(raw)
        return hold("samples", len(waveform), waveform)

    def shard(self: work.Worker, rows: range, advance: Any) -> work.Shard:
        made = make(self, rows, advance)
        hold("rows", len(made.vectors), made.vectors)
        return made

    monkeypatch.setattr(work, "high_passed", filter_and_count)
    monkeypatch.setattr(work.Worker, "shard", shard)
    batch = 0.9 * 16_000
    arguments = ("audio", tmp_path / "in", "--encoder", encoders["whisper"], "--shard", 10, "--batch-s", 0.9)
    assert embed(*arguments, "--out", tmp_path / "out") == 0
    gc.collect()
    assert held == {"samples": 0, "rows": 0}
    assert batch < most["samples"] <= 2 * batch + 0.3 * 16_000, "a batch, the next one, and the file that is read"
    assert 10 <= most["rows"] <= 20, "a shard, and the one before it until it is replaced"


def test_what_is_not_possible(
    embed: Embed, crema_d: Path, encoders: dict[str, Path], recipe_of: Any, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    run = write_run(tmp_path / "run", recipe_of(), encoders["whisper"])
    for corpus, options, code, said in (
        ("crema", (), 2, "corpus 'crema' is not one of audio, ravdess"),
        ("crema-d", ("--layers", "1,x"), 2, "--layers '1,x' is not a list of numbers such as 1,2,3"),
        ("crema-d", ("--layers", "1,4"), 2, "has 3 layers, so 4 is not from 0"),
        ("crema-d", ("--pool", "men"), 2, "pool 'men' is not one of mean, mean-deviation (did you mean"),
        ("crema-d", ("--batching", "size"), 2, "batching 'size' is not one of length, order, pad"),
        ("crema-d", ("--dtype", "float64"), 2, "dtype 'float64' is not one of float32, float16"),
        ("crema-d", ("--max-s", 31), 2, "whisper takes 30 s at most"),
        ("crema-d", ("--run", run, "--max-s", 2), 2, "takes 1 s at most"),
        ("crema-d", ("--run", run, "--layers", "1"), 2, "a run pools layers of its own"),
        ("crema-d", ("--device", "tpu9"), 2, "device 'tpu9' is not usable here"),
        ("crema-d", ("--encoder", run), 2, f"is a run, not an encoder: --run {run}"),
        ("crema-d", ("--encoder", tmp_path / "none", "--layers", "12"), 3, "(no such folder)"),
        ("crema-d", ("--encoder", encoders["bert"]), 3, "model family 'bert' is not one of"),
    ):
        assert embed(corpus, crema_d, "--encoder", encoders["whisper"], "--out", tmp_path / "out", *options) == code
        assert said in capsys.readouterr().err.replace("\n", " ")
    assert embed("crema-d", crema_d, "--out", tmp_path / "out") == 2
    assert "--encoder or --run must say what embeds" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_what_batches_of_like_length_are_worth(
    esd: Path, encoders: dict[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("batching", "esd", esd, "--encoder", encoders["wav2vec2"], "--clips", 12, "--rounds", 2, "--batch-s", 2)
    assert exit_code(main, monkeypatch, "affectd-calibrate", *command, "--json") == 0
    described = json.loads(capsys.readouterr().out)
    kinds = described["batching"]
    assert list(kinds) == ["one at a time", "length", "order", "pad"]
    assert (described["clips"], kinds["one at a time"]["batches"]) == (12, 12)
    padding = [kinds[name]["padding_share"] for name in kinds]
    assert padding == sorted(padding)
    assert padding[0] == kinds["one at a time"]["largest_difference"] == 0
    assert kinds["pad"]["times_pad"] == 1
    assert all(row["largest_difference"] < 1e-4 and len(row["rounds_s"]) == 2 for row in kinds.values())
    feels = ("batching", "esd", esd, "--encoder", encoders["hubert-group"], "--clips", 6, "--rounds", 1)
    assert exit_code(main, monkeypatch, "affectd-calibrate", *feels, "--json") == 0
    moved = json.loads(capsys.readouterr().out)["batching"]
    assert min(moved[kind]["largest_difference"] for kind in ("length", "order", "pad")) > 1e-3
    assert exit_code(main, monkeypatch, "affectd-calibrate", *feels) == 0
    assert "6 clips of esd, hubert-group, 1 rounds" in capsys.readouterr().out


def test_the_readers_own_order_is_kept(embed: Embed, esd: Path, encoders: dict[str, Path], tmp_path: Path) -> None:
    assert embed("esd", esd, "--encoder", encoders["whisper"], "--out", tmp_path, "--shard", 7) == 0
    assert [esd / row["path"] for row in table(tmp_path)] == [one.path for one in read_corpus("esd", esd).utterances]
