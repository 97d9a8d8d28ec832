from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from calibrate import processes
from calibrate.cli.app import main
from calibrate.training import trainer as training
from helpers.calling import exit_code
from helpers.launched import launched

pytestmark = pytest.mark.slow

CHANGES: dict[str, Any] = {
    "encoder": {"finetune": 2},
    "head": {"kind": "dense", "dropout": 0.3},
    "schedule": {"epochs": 2, "learning_rate": 0.01},
    "finetune": {
        "epochs": 3,
        "batch": 15,
        "learning_rate": 0.01,
        "encoder_learning_rate": 1e-3,
        "rank": 2,
        "mixup": 0.2,
        "adversarial": 0.1,
    },
}
"""An odd batch, and terms that compare utterances of different processes."""


class StoppedError(Exception):
    pass


def test_two_processes_go_on_where_one_was_and_end_with_its_numbers(
    recipe_file: Callable[..., Path],
    data: Path,
    encoders: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """``accelerate launch`` itself is started in the tests of ``embed``."""
    recipe = recipe_file(**CHANGES)
    command = ["train", recipe, "--data", data, "--encoder", encoders["whisper"], "--threads", 1, "--cache"]
    alone = [*command, tmp_path / "cache-alone", "--out", tmp_path / "alone"]
    assert exit_code(main, monkeypatch, "affectd-calibrate", *alone) == 0

    save = training.Checkpoint.save

    def save_and_stop(self: training.Checkpoint, epochs: int) -> None:
        save(self, epochs)
        if epochs == 1 and self.path.parent == tmp_path / "both":
            raise StoppedError

    both = [*command, tmp_path / "cache-both", "--out", tmp_path / "both"]
    with monkeypatch.context() as patch:
        patch.setattr(training.Checkpoint, "save", save_and_stop)
        with pytest.raises(StoppedError):
            exit_code(main, patch, "affectd-calibrate", *both)
    for path in (tmp_path / "cache-both").rglob("state.npy"):
        path.unlink()
    capfd.readouterr()
    assert launched(main, ["affectd-calibrate", *both, "--resume"], 2) == [0, 0]
    assert capfd.readouterr().out.count(f"run written to {tmp_path / 'both'}\n") == 1, "one process reports"
    for name in ("frozen", "."):
        folders = [tmp_path / run / name for run in ("alone", "both")]
        files = [sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*")) for folder in folders]
        assert files[0] == files[1]
        assert folders[0].joinpath("log.csv").read_text() == folders[1].joinpath("log.csv").read_text()
        models = [load_file(folder / "model.safetensors") for folder in folders]
        torch.testing.assert_close(models[1], models[0], rtol=1e-3, atol=1e-5)
    start = load_file(tmp_path / "both" / "frozen" / "model.safetensors")["classifier.output.weight"]
    assert (models[0]["classifier.output.weight"] - start).abs().max() > 1e-3


class OneOfMany:
    """What ``PartialState`` is to a process that has not met the others."""

    def __init__(self, index: int, count: int) -> None:
        self.process_index, self.num_processes = index, count


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_shares_are_equal_and_cover_all_rows(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.arange(100, 105)
    shares = []
    for index in range(count):
        monkeypatch.setattr(processes, "PartialState", lambda index=index: OneOfMany(index, count))
        shares.append(processes.share(rows))
    assert {len(share) for share in shares} == {-(-len(rows) // count)}
    np.testing.assert_array_equal(np.stack(shares, axis=1).ravel()[: len(rows)], rows)
