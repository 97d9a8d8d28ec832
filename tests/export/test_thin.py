"""Thinning: which channels go, how the others take over, and the folder that comes of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from calibrate.encoders.pretrained import PooledEncoder, load_encoder
from calibrate.encoders.whisper import WhisperEncoder
from edge.audio import Waveform
from edge.errors import UsageError
from export.cli.app import main
from export.thin.least_squares import Moments
from export.thin.likeness import likeness
from export.thin.thinner import Thickness, shape_of, thin
from helpers.calling import exit_code

VOICED_DB = 30.0


def speech(count: int = 24, seed: int = 0) -> list[Waveform]:
    """Return hisses of changing loudness, half a second to a second long, each ``float32[samples]``."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        samples = int(rng.integers(8_000, 16_000))
        loudness = 0.1 * np.abs(np.sin(np.arange(samples) / rng.uniform(500, 3_000)))
        found.append((loudness * rng.standard_normal(samples)).astype(np.float32))
    return found


@pytest.fixture
def whole(encoders: dict[str, Path]) -> WhisperEncoder:
    return cast(WhisperEncoder, load_encoder(str(encoders["whisper"]), 2))


def states(encoder: WhisperEncoder, waveform: Waveform, samples: int = 0) -> list[Tensor]:
    padded = torch.zeros(1, max(samples, len(waveform)))
    padded[0, : len(waveform)] = torch.from_numpy(waveform)
    with torch.inference_mode():
        every, frames = encoder(padded, torch.tensor([len(waveform)]))
    return [state[0, : int(frames)] for state in every]


@given(
    inputs=st.integers(2, 8), outputs=st.integers(1, 5), spare=st.integers(1, 5), size=st.integers(1, 3), data=st.data()
)
def test_what_can_be_made_up_for_goes_and_nothing_is_lost(
    inputs: int, outputs: int, spare: int, size: int, data: st.DataObject
) -> None:
    """Groups of inputs that the others determine are as many as may go; what is left answers as all did."""
    rng = np.random.default_rng(data.draw(st.integers(0, 1_000)))
    own = rng.standard_normal((500, inputs * size))
    known = np.concatenate([own, own @ rng.standard_normal((inputs * size, spare * size)) + 1.0], axis=1)
    order = rng.permutation(inputs + spare)
    groups = np.arange(known.shape[1]).reshape(-1, size)
    seen = torch.from_numpy(known[:, groups[order].flatten()])
    weights = torch.from_numpy(rng.standard_normal((outputs, seen.shape[1] + 1)))
    moments = Moments(seen.shape[1], outputs)
    moments.add(seen, seen.new_zeros(len(seen), outputs))
    kept = moments.kept(weights, torch.from_numpy(groups), inputs)
    assert kept == sorted(set(kept))
    assert len(kept) == inputs
    columns = torch.from_numpy(groups)[kept].flatten()
    left = moments.taken_over(weights, columns)
    expected = seen @ weights[:, :-1].T + weights[:, -1]
    error = seen[:, columns] @ left[:, :-1].T + left[:, -1] - expected
    assert float(error.norm() / expected.norm()) < 0.02


@given(inputs=st.integers(1, 6), outputs=st.integers(1, 6), seed=st.integers(0, 1_000))
def test_a_layer_is_fitted_to_what_its_output_lacks(inputs: int, outputs: int, seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    seen = torch.randn(400, inputs, generator=rng, dtype=torch.float64)
    weights, wanted = torch.randn(2, outputs, inputs + 1, generator=rng, dtype=torch.float64)
    moments = Moments(inputs, outputs)
    for rows in seen.split(150):
        moments.add(rows, rows @ (wanted - weights)[:, :-1].T + (wanted - weights)[:, -1])
    fitted = moments.fitted(weights)
    assert float((fitted - wanted).norm()) <= 0.05 * float((weights - wanted).norm())
    idle = Moments(inputs, outputs)
    idle.add(seen, seen.new_zeros(400, outputs))
    torch.testing.assert_close(idle.fitted(weights), weights)


def test_channels_that_say_nothing_of_their_own_go_unnoticed(whole: WhisperEncoder) -> None:
    """Silent channels, constant ones and twins: a thinner encoder says what the whole one does, padded or not."""
    with torch.no_grad():
        for block in cast(Any, whole.blocks):
            block.fc1.weight[3] = block.fc1.weight[7]
            block.fc1.bias[3] = block.fc1.bias[7]
            block.fc1.weight[5], block.fc1.bias[5] = 0, 2.0
            block.fc2.weight[:, 9] = 0
        whole.conv1.weight[2] = whole.conv1.weight[4]
        whole.conv1.bias[2] = whole.conv1.bias[4]
    before = deepcopy(whole.state_dict())
    slim = thin(whole, Thickness(stem=15, hidden=29), speech(), VOICED_DB)
    assert (shape_of(slim).stem, shape_of(slim).hidden) == (15, 29)
    for name, tensor in whole.state_dict().items():
        torch.testing.assert_close(tensor, before[name], msg=name)
    for waveform in speech(4, seed=1):
        for samples in (0, 20_000):
            for found, expected in zip(states(slim, waveform, samples), states(whole, waveform), strict=True):
                assert float((found - expected).norm() / expected.norm()) < 0.01


def test_what_merging_tokens_costs_is_made_up_for(whole: WhisperEncoder) -> None:
    merged = deepcopy(whole)
    merged.merge_pairs()
    slim = thin(whole, Thickness(merge=True), speech(60), VOICED_DB)
    assert slim.merge
    others = speech(30, seed=1)
    alone, fitted = (likeness(whole, each, others, (1, 2), VOICED_DB) for each in (merged, slim))
    assert [row.layer for row in fitted] == [1, 2]
    for before, after in zip(alone, fitted, strict=True):
        assert after.means + after.deviations > before.means + before.deviations
    (same,) = likeness(whole, whole, others, (2,), VOICED_DB)
    assert min(same.means, same.deviations) > 0.999


def test_of_thinner_encoders_the_thicker_is_more_alike(whole: WhisperEncoder) -> None:
    found = [
        likeness(whole, thin(whole, Thickness(stem, hidden), speech(), VOICED_DB), speech(20, seed=1), (2,), VOICED_DB)
        for stem, hidden in ((4, 8), (12, 24))
    ]
    assert found[1][0].means > found[0][0].means


@pytest.mark.parametrize(
    ("thickness", "said"),
    [
        (Thickness(stem=17), "--stem 17: the encoder has 16 channels there"),
        (Thickness(hidden=40), "--hidden 40: the encoder has 32 channels there"),
        (Thickness(stem=16, hidden=32), "nothing would be thinner"),
        (Thickness(), "nothing would be thinner"),
    ],
)
def test_what_is_no_thinner_is_refused(whole: WhisperEncoder, thickness: Thickness, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        thin(whole, thickness, speech(2), VOICED_DB)


@pytest.mark.parametrize("merge", [False, True])
def test_the_command_writes_an_encoder_that_loads(
    merge: bool,
    data: Path,
    recipe_file: Callable[..., Path],
    encoders: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipe = recipe_file(encoder={"layers": 2, "pooled": [1, 2], "merge": merge})
    given_ = ("--data", data, "--encoder", encoders["whisper"], "--out", tmp_path / "thin")
    less = ("--stem", 12, "--hidden", 24, "--clips", 20)
    assert exit_code(main, monkeypatch, "affectd-export", "thin", recipe, *given_, *less) == 0
    said = capsys.readouterr().out
    assert ("merged alone" in said) is merge
    assert "encoder written to" in said
    encoder = cast(WhisperEncoder, load_encoder(str(tmp_path / "thin"), 2, 1.0))
    shape = json.loads((tmp_path / "thin" / "config.json").read_text())["shape"]
    assert (shape["stem"], shape["hidden"], shape["merge"], encoder.merge) == (12, 24, merge, merge)
    assert encoder.label == "nothing, thinned to 12 channels in its stem and 24 channels in its feed-forward layers"
    with torch.inference_mode():
        pooled = PooledEncoder(encoder, (1, 2), VOICED_DB)(torch.randn(2, 9_000), torch.tensor([9_000, 4_000]))
    assert pooled.shape == (2, 64)
    assert exit_code(main, monkeypatch, "affectd-export", "thin", recipe, *given_, *less) == 2
    assert "--force replaces it" in capsys.readouterr().err
    once = (tmp_path / "thin" / "model.safetensors").read_bytes()
    assert exit_code(main, monkeypatch, "affectd-export", "thin", recipe, *given_, *less, "--force") == 0
    assert (tmp_path / "thin" / "model.safetensors").read_bytes() == once


def test_what_cannot_be_thinned_is_said_before_any_speech_is_read(
    recipe_file: Callable[..., Path],
    encoders: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipe = recipe_file(encoder={"layers": 2, "pooled": [1, 2]})
    given_ = ("affectd-export", "thin", recipe, "--data", tmp_path / "gone", "--out", tmp_path / "thin")
    assert exit_code(main, monkeypatch, *given_, "--stem", 12, "--encoder", encoders["hubert"]) == 3
    assert "only Whisper, and its students, can be thinned" in capsys.readouterr().err
    assert exit_code(main, monkeypatch, *given_, "--stem", 999, "--encoder", encoders["whisper"]) == 2
    assert "the encoder has 16 channels there" in capsys.readouterr().err
    assert exit_code(main, monkeypatch, *given_, "--encoder", encoders["whisper"]) == 2
    assert "give --stem, --hidden or a recipe with encoder.merge" in capsys.readouterr().err
    assert not (tmp_path / "thin").exists()
