import multiprocessing
import os
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from calibrate.encoders.batches import central_part, encode
from calibrate.encoders.pretrained import PooledEncoder, load_encoder
from calibrate.recipe import AugmentationRecipe
from calibrate.training import features
from calibrate.training.features import DONE, UNREADABLE, WAITING, FeatureTable, embed
from edge.audio import Waveform
from edge.high_pass import high_passed
from helpers.signals import silence, speech_like


class Listener(torch.nn.Module):
    """Stands in for a pooled encoder: level and length of each row; notes its batches, may end the process."""

    pooled, dim, voiced_db, samples_a_token = (1, 2), 4, None, 320

    def __init__(self, die_at: int | None = None, fail_at: int | None = None, weight: float = 1.0) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor([weight, 2.0]))
        self.die_at, self.fail_at = die_at, fail_at
        self.batches: list[tuple[int, int]] = []

    def forward(self, waveform: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        if len(self.batches) == self.die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if len(self.batches) == self.fail_at:
            raise RuntimeError("out of memory")
        self.batches.append(tuple(waveform.shape))  # type: ignore[arg-type]
        level = waveform.abs().sum(1) / lengths
        return self.weight[0] * torch.stack([level, level.square(), lengths / 16_000, torch.ones_like(level)], 1)


def run(listener: Listener, paths: Sequence[Path], cache: Path, **options: Any) -> FeatureTable:
    return embed(listener, "listener", paths, cache, **{"batch_s": 1.0, **options})  # type: ignore[arg-type]


def only_folder(cache: Path) -> Path:
    (folder,) = cache.iterdir()
    return folder


@pytest.fixture
def clips(data: Path) -> list[Path]:
    return sorted(data.rglob("*.wav"))[:12]


@pytest.fixture
def mixed(clips: list[Path], tmp_path: Path) -> list[Path]:
    """Readable clips with two that are not among them."""
    broken = tmp_path / "broken.wav"
    broken.write_bytes(clips[0].read_bytes()[:30])
    return [*clips[:3], tmp_path / "gone.wav", *clips[3:], broken]


def test_a_row_is_what_the_encoder_says_of_its_file(
    encoders: dict[str, Path], clips: list[Path], tmp_path: Path
) -> None:
    encoder = PooledEncoder(load_encoder(str(encoders["whisper"]), 2), (0, 2)).eval()
    table = embed(encoder, "tiny", clips, tmp_path, batch_s=1.0)
    assert table.readable.all()
    assert table.features.shape == (len(clips), 2, 32)
    assert table.features.dtype == np.float16
    for path, row in zip(clips, table.features, strict=True):
        expected = encode(encoder, [high_passed(features.read_audio(path))]).reshape(2, 32)
        np.testing.assert_allclose(row, expected, atol=2e-3, rtol=2e-3)


def test_a_second_time_nothing_is_encoded(mixed: list[Path], tmp_path: Path) -> None:
    first = run(Listener(), mixed, tmp_path / "cache")
    again = Listener()
    second = run(again, mixed, tmp_path / "cache")
    assert again.batches == []
    np.testing.assert_array_equal(first.features, second.features)
    np.testing.assert_array_equal(first.readable, second.readable)


def test_unreadable_files_are_marked_and_zero(mixed: list[Path], tmp_path: Path) -> None:
    table = run(Listener(), mixed, tmp_path / "cache")
    unreadable = [3, len(mixed) - 1]
    assert np.flatnonzero(~table.readable).tolist() == unreadable
    assert not np.asarray(table.features[unreadable]).any()
    assert np.asarray(table.features[table.readable]).all()
    state = np.load(only_folder(tmp_path / "cache") / "state.npy")
    assert set(state[unreadable]) == {UNREADABLE}
    assert (np.delete(state, unreadable) == DONE).all()


def test_a_list_with_nothing_readable(tmp_path: Path) -> None:
    listener = Listener()
    assert not run(listener, [tmp_path / "a.wav", tmp_path / "b.wav"], tmp_path / "cache").readable.any()
    assert listener.batches == []


def test_a_killed_run_resumes_to_the_same_bytes(mixed: list[Path], tmp_path: Path) -> None:
    whole = Listener()
    run(whole, mixed, tmp_path / "whole")
    assert len(whole.batches) >= 4
    process = multiprocessing.get_context("fork").Process(
        target=run, args=(Listener(die_at=2), mixed, tmp_path / "killed")
    )
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    state = np.load(only_folder(tmp_path / "killed") / "state.npy")
    assert {WAITING, DONE} <= set(state.tolist())
    rest = Listener()
    run(rest, mixed, tmp_path / "killed")
    assert rest.batches == whole.batches[2:]
    for name in ("features.npy", "state.npy"):
        same = [(only_folder(tmp_path / cache) / name).read_bytes() for cache in ("whole", "killed")]
        assert same[0] == same[1], name


def test_a_failed_run_resumes_too_and_is_not_read_to_its_end(
    clips: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = run(Listener(), clips, tmp_path / "whole").features.copy()
    read: list[Path] = []

    def read_audio(path: Path) -> Waveform:
        read.append(path)
        return original(path)

    original = features.read_audio
    monkeypatch.setattr(features, "read_audio", read_audio)
    with pytest.raises(RuntimeError, match="out of memory"):
        run(Listener(fail_at=1), clips, tmp_path / "failed", batch_s=0.1)
    assert len(read) <= 3, "two batches of one file, and one ahead"
    np.testing.assert_array_equal(run(Listener(), clips, tmp_path / "failed", batch_s=0.1).features, expected)


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: os.truncate(folder / "features.npy", 200),
        lambda folder: os.truncate(folder / "features.npy", 0),
        lambda folder: os.truncate(folder / "state.npy", 129),
        lambda folder: (folder / "state.npy").write_bytes(b"no array"),
        lambda folder: (folder / "features.npy").unlink(),
        lambda folder: (folder / "state.npy").unlink(),
        lambda folder: np.save(folder / "features.npy", np.zeros((3, 2, 2), np.float16)),
        lambda folder: np.save(folder / "state.npy", np.ones(14, np.float64)),
    ],
)
def test_a_damaged_cache_is_built_anew(mixed: list[Path], tmp_path: Path, damage: Any) -> None:
    expected = run(Listener(), mixed, tmp_path)
    rows, readable = expected.features.copy(), expected.readable
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
    damage(folder)
    again = Listener()
    table = run(again, mixed, tmp_path)
    assert again.batches
    np.testing.assert_array_equal(table.features, rows)
    np.testing.assert_array_equal(table.readable, readable)


def test_whatever_changes_the_features_has_a_cache_of_its_own(clips: list[Path], tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    runs: list[tuple[Listener, list[Path], dict[str, Any]]] = [
        (Listener(), clips, {}),
        (Listener(weight=1.001), clips, {}),
        (Listener(), clips[1:], {}),
        (Listener(), clips[::-1], {}),
        (Listener(), clips, {"augmentation": AugmentationRecipe()}),
        (Listener(), clips, {"augmentation": AugmentationRecipe(), "seed": 1}),
        (Listener(), clips, {"augmentation": AugmentationRecipe(gain_db=3.0)}),
        (Listener(), clips, {"max_s": 0.2}),
    ]
    swapped = Listener()
    swapped.weight.data = swapped.weight.data.flip(0)
    runs.append((swapped, clips, {}))
    tables = [np.array(run(listener, paths, cache, **options).features) for listener, paths, options in runs]
    assert all(listener.batches for listener, _, _ in runs)
    assert len(list(cache.iterdir())) == len(runs)
    assert len({table.tobytes() for table in tables}) == len(runs)
    np.testing.assert_array_equal(tables[2], tables[0][1:])
    np.testing.assert_array_equal(tables[3], tables[0][::-1])


def test_the_same_weights_on_other_tokens_have_a_cache_of_their_own(clips: list[Path], tmp_path: Path) -> None:
    merging = Listener()
    merging.samples_a_token = 640
    for listener in (Listener(), merging):
        run(listener, clips, tmp_path / "cache")
        assert listener.batches
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_a_file_written_anew_is_read_anew(clips: list[Path], tmp_path: Path, clip: Any) -> None:
    path = clip(tmp_path / "a.wav", np.full(4_000, 0.1, np.float32))
    quiet = run(Listener(), [path], tmp_path / "cache").features.copy()
    before = path.stat()
    clip(path, np.full(4_000, 0.2, np.float32))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    loud = run(Listener(), [path], tmp_path / "cache").features
    assert loud[0, 0, 0] == pytest.approx(2 * quiet[0, 0, 0], rel=0.01)


def test_a_copy_of_a_corpus_finds_what_was_computed(clips: list[Path], tmp_path: Path) -> None:
    first = run(Listener(), clips, tmp_path / "cache").features.copy()
    copies = [Path(shutil.copy(path, tmp_path / f"copy-{path.name}")) for path in clips]
    listener = Listener()
    np.testing.assert_array_equal(run(listener, copies, tmp_path / "cache").features, first)
    assert listener.batches == []


def test_of_a_file_with_silence_only_what_is_spoken_is_embedded(tmp_path: Path, clip: Any) -> None:
    room = clip(tmp_path / "room.wav", silence(2.0))
    talk = clip(tmp_path / "talk.wav", np.concatenate([silence(1.5), speech_like(1.0), silence(1.5)]))
    whole = run(Listener(), [talk, room], tmp_path / "cache").features
    heard = run(Listener(), [talk, room], tmp_path / "cache", spoken_only=True).features
    assert len(list((tmp_path / "cache").iterdir())) == 2
    assert whole[0, 1, 0] == pytest.approx(4.0, abs=0.01)
    assert heard[0, 1, 0] == pytest.approx(1.5, abs=0.2), "speech with the roll before and after it"
    assert heard[1, 1, 0] == pytest.approx(2.0, abs=0.01), "without a voice all of it stays"


def test_long_files_are_cut_in_the_middle(tmp_path: Path, clip: Any) -> None:
    waveform = np.concatenate([np.zeros(8_000), np.tile([0.5, -0.5], 2_000), np.zeros(8_000)]).astype(np.float32)
    path = clip(tmp_path / "long.wav", waveform)
    row = run(Listener(), [path], tmp_path / "cache", max_s=0.25).features[0].ravel()
    np.testing.assert_allclose(row, [0.5, 0.25, 0.25, 1], atol=1e-3)
    np.testing.assert_array_equal(central_part(waveform, 99_999), waveform)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batch_s=st.floats(0.05, 8.0))
def test_batches_hold_no_more_audio_than_allowed(data: Path, tmp_path_factory: Any, batch_s: float) -> None:
    paths = sorted(data.rglob("*.wav"))[:8]
    listener = Listener()
    table = run(listener, paths, tmp_path_factory.mktemp("cache"), batch_s=batch_s)
    assert table.readable.all()
    assert sum(rows for rows, _ in listener.batches) == len(paths)
    for rows, samples in listener.batches:
        assert rows == 1 or rows * samples <= batch_s * 16_000 + rows
