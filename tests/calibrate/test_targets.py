import multiprocessing
import os
import signal
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from calibrate.corpora import Utterance
from calibrate.encoders.base import SpeechEncoder
from calibrate.encoders.pretrained import load_encoder
from calibrate.pretraining import frames, targets
from calibrate.pretraining.targets import Targets, cluster_targets
from edge.audio import Waveform
from edge.errors import UsageError
from helpers.models import EMOTIONS, emotional

FILES = {"centres.npy", "classes.bin", "offsets.npy"}
UTTERANCES = [
    Utterance(Path(f"{row}.wav"), "tiny", f"tiny-{row % 4}", tuple(EMOTIONS)[row % 3], sentence=f"{row % 5}")
    for row in range(30)
]
WAVEFORMS = [emotional(each.emotion, f"{each.speaker}{each.sentence}") for each in UTTERANCES]
UNREADABLE = (4, 29)


class DeathError(Exception):
    """In the place of a signal, where many deaths are tried."""


def read(row: int) -> Waveform | None:
    return None if row in UNREADABLE else WAVEFORMS[row]


@pytest.fixture(autouse=True)
def few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little groups, so that 30 rows are many of them."""
    for module in (frames, targets):
        monkeypatch.setattr(module, "ROWS_AT_ONCE", 4)


@pytest.fixture(scope="module")
def encoder(encoders: dict[str, Path]) -> SpeechEncoder:
    return load_encoder(str(encoders["whisper"]), 2)


def run(encoder: SpeechEncoder, folder: Path, layer: int | None = 1, **changes: Any) -> Targets:
    options = {"read": read, "utterances": UTTERANCES, "clusters": 8, "seed": 0, "batch_s": 1.0, "described": "tiny"}
    return cluster_targets(encoder=encoder, layer=layer, folder=folder, **options | changes)  # type: ignore[arg-type]


def contents(folder: Path) -> dict[str, bytes]:
    (kept,) = folder.iterdir()
    return {path.name: path.read_bytes() for path in kept.iterdir()}


def classes_of(found: Targets) -> list[list[int]]:
    return [found.of(row).tolist() for row in range(len(found.utterances))]


@pytest.mark.parametrize("layer", [None, 0, 2])
def test_every_frame_has_the_class_of_the_nearest_centre(
    encoder: SpeechEncoder, tmp_path: Path, layer: int | None
) -> None:
    found = run(encoder, tmp_path, layer)
    (folder,) = tmp_path.iterdir()
    assert {path.name for path in folder.iterdir()} == FILES
    centres = np.load(folder / "centres.npy")
    assert (found.classes, centres.dtype) == (8, np.float32)
    features = frames.MfccFeatures(encoder) if layer is None else frames.LayerFeatures(encoder, layer)
    for row, waveform in enumerate(map(read, range(30))):
        mine = found.of(row)
        assert mine.dtype == np.int64
        if waveform is None:
            assert mine.shape == (0,)
            continue
        assert len(mine) == encoder.frames_in(len(waveform))
        apart = np.linalg.norm(features.of([waveform])[0][:, None] - centres, axis=2)
        chosen = np.take_along_axis(apart, mine[:, None], axis=1)[:, 0]
        np.testing.assert_allclose(chosen, apart.min(axis=1), rtol=1e-3)
    assert isinstance(found.assigned, np.memmap)
    assert found.assigned.dtype == np.int16


def test_clusters_of_sounds_that_differ_know_them(encoder: SpeechEncoder, tmp_path: Path) -> None:
    quality = run(encoder, tmp_path, None).quality
    assert quality.used > 0.8
    assert quality.emotion > 0.1 > quality.speaker


def test_a_second_time_nothing_is_read(encoder: SpeechEncoder, tmp_path: Path) -> None:
    first = run(encoder, tmp_path)

    def unread(row: int) -> Waveform | None:
        raise AssertionError(f"row {row} is read")

    again = run(encoder, tmp_path, read=unread)
    assert classes_of(again) == classes_of(first)
    assert again.quality == first.quality


def test_the_seed_decides(encoder: SpeechEncoder, tmp_path: Path) -> None:
    for folder, seed in (("a", 0), ("b", 0), ("c", 1)):
        run(encoder, tmp_path / folder, seed=seed)
    a, b, c = (contents(tmp_path / folder) for folder in "abc")
    assert a == b
    assert a["centres.npy"] != c["centres.npy"]
    assert a["offsets.npy"] == c["offsets.npy"]


@pytest.fixture(scope="module")
def whole(encoder: SpeechEncoder, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What an unbroken run writes."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        for module in (frames, targets):
            patch.setattr(module, "ROWS_AT_ONCE", 4)
        run(encoder, folder)
    return contents(folder)


@settings(max_examples=12)
@given(deaths=st.lists(st.integers(1, 70), min_size=1, max_size=3))
def test_a_run_that_dies_at_any_row_resumes_to_the_same_bytes(
    encoder: SpeechEncoder, whole: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory, deaths: Sequence[int]
) -> None:
    folder = tmp_path_factory.mktemp("died")
    with pytest.MonkeyPatch.context() as patch:
        for module in (frames, targets):
            patch.setattr(module, "ROWS_AT_ONCE", 4)
        for death in deaths:
            reads = iter(range(death))

            def dying(row: int, reads: Any = reads) -> Waveform | None:
                if next(reads, None) is None:
                    raise DeathError
                return read(row)

            try:
                run(encoder, folder, read=dying)
            except DeathError:
                continue
        run(encoder, folder)
    assert contents(folder) == whole


def run_until_killed(encoder: Path, folder: Path, batch: int) -> None:
    """Run in a process that kills itself when so many batches have been encoded."""
    encoded, of = iter(range(batch)), frames.LayerFeatures.of

    def killed(self: frames.LayerFeatures, waveforms: Sequence[Waveform]) -> Any:
        if next(encoded, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)
        return of(self, waveforms)

    torch.set_num_threads(1)
    frames.LayerFeatures.of = killed  # type: ignore[method-assign]
    frames.ROWS_AT_ONCE = targets.ROWS_AT_ONCE = 4  # type: ignore[attr-defined]
    run(load_encoder(str(encoder), 2), folder)


@pytest.mark.parametrize("batch", [2, 12, 19])
def test_a_killed_run_resumes_to_the_same_bytes(
    encoder: SpeechEncoder, encoders: dict[str, Path], whole: dict[str, bytes], tmp_path: Path, batch: int
) -> None:
    """Killed while it samples, early and late while it assigns."""
    arguments = (encoders["whisper"], tmp_path, batch)
    process = multiprocessing.get_context("spawn").Process(target=run_until_killed, args=arguments)
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert contents(tmp_path) != whole
    kept = contents(tmp_path)
    run(encoder, tmp_path)
    assert contents(tmp_path) == whole
    if "classes.bin" in kept:
        assert whole["classes.bin"].startswith(kept["classes.bin"])


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: os.truncate(folder / "classes.bin", 20),
        lambda folder: (folder / "classes.bin").unlink(),
        lambda folder: os.truncate(folder / "offsets.npy", 200),
        lambda folder: os.truncate(folder / "offsets.npy", 0),
        lambda folder: (folder / "offsets.npy").write_bytes(b"no array"),
        lambda folder: (folder / "offsets.npy").unlink(),
        lambda folder: np.save(folder / "offsets.npy", np.zeros(3, np.int64)),
        lambda folder: np.save(folder / "offsets.npy", np.full(31, -1, np.int64)),
        lambda folder: np.save(folder / "offsets.npy", np.arange(31)[::-1].copy()),
        lambda folder: os.truncate(folder / "centres.npy", 200),
        lambda folder: os.truncate(folder / "centres.npy", 0),
        lambda folder: (folder / "centres.npy").unlink(),
    ],
)
def test_a_damaged_cache_is_built_anew(
    encoder: SpeechEncoder, whole: dict[str, bytes], tmp_path: Path, damage: Any
) -> None:
    run(encoder, tmp_path)
    (folder,) = tmp_path.iterdir()
    damage(folder)
    run(encoder, tmp_path)
    assert contents(tmp_path) == whole


def test_whatever_changes_the_targets_has_a_cache_of_its_own(encoder: SpeechEncoder, tmp_path: Path) -> None:
    other = deepcopy(encoder)
    with torch.no_grad():
        next(other.transformer_layers().parameters()).add_(0.01)
    changes: list[dict[str, Any]] = [
        {}, {"layer": 2}, {"layer": None}, {"clusters": 7}, {"seed": 1}, {"batch_s": 2.0}, {"described": "other"},
        {"utterances": UTTERANCES[:20]}, {"encoder": other},
    ]  # fmt: skip
    for change in changes:
        run(**{"encoder": encoder, "folder": tmp_path} | change)
    assert len(list(tmp_path.iterdir())) == len(changes)


def test_few_frames_carry_few_clusters(
    encoder: SpeechEncoder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    three = UTTERANCES[:3]
    found = run(encoder, tmp_path, None, utterances=three, clusters=500)
    count = sum(len(found.of(row)) for row in range(3))
    assert found.classes == count // 30
    assert f"{count} frames are enough for {found.classes} clusters, not for 500" in caplog.text
    caplog.clear()
    run(encoder, tmp_path, None)
    assert caplog.text == ""


def test_a_single_short_utterance_has_one_class(encoder: SpeechEncoder, tmp_path: Path) -> None:
    found = run(encoder, tmp_path, None, read=lambda row: WAVEFORMS[0][:400], utterances=UTTERANCES[:1])
    assert (found.classes, found.of(0).tolist()) == (1, [0, 0])


def test_nothing_to_read(encoder: SpeechEncoder, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^none of 30 utterances can be read, so there is nothing to cluster$"):
        run(encoder, tmp_path, read=lambda row: None)


def test_only_as_much_is_sampled_as_is_wanted(
    encoder: SpeechEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(targets, "FRAMES_A_CLUSTER", 10)
    rows: list[int] = []

    def noted(row: int) -> Waveform | None:
        rows.append(row)
        return read(row)

    found = run(encoder, tmp_path, None, read=noted, clusters=2)
    assert found.classes == 1
    assert len(rows) <= 30 + 12, "a group, and the one that is read meanwhile"


def test_utterances_only_name_rows(encoder: SpeechEncoder, tmp_path: Path) -> None:
    """What is known of them is no part of the cache's key: the targets do not depend on it."""
    first = run(encoder, tmp_path)
    renamed = [replace(each, speaker="tiny-0") for each in UTTERANCES]
    again = run(encoder, tmp_path, utterances=renamed)
    assert classes_of(again) == classes_of(first)
    assert again.quality.speaker == 0
