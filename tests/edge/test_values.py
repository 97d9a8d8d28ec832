"""Values: the second read-out of the embedding, from the head's file to the event."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from safetensors.numpy import load_file, save_file

from edge.adapt import adapted_values
from edge.bundle import HEAD_NAME, MANIFEST_NAME, Bundle
from edge.errors import ModelError
from edge.head import Head
from edge.model import load
from edge.values import Readout, Value, ValueRecord
from helpers.tiny import VALUES, tiny_bundle, with_values, write_manifest

AROUSAL = ValueRecord(name="arousal", low=-1, high=1, origin="annotated")
LINE = Readout((AROUSAL,), np.array([[2.0]], np.float32), np.array([0.5], np.float32))
TENSORS = {"values_weight": np.ones((2, 3), np.float32), "values_bias": np.zeros(2, np.float32)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return with_values(tiny_bundle(tmp_path / "valued"))


@given(st.floats(-(2.0**100), 2.0**100, width=32))
def test_an_estimate_is_linear_within_its_range(z: float) -> None:
    (found,) = LINE.estimate(np.array([[z]], np.float32))[0]
    assert found == pytest.approx(min(1.0, max(-1.0, 2 * z + 0.5)), rel=1e-6)


def test_someone_probably_enrolled_gets_the_expectation_over_both_cases() -> None:
    embedding, own, room = (np.array(each, np.float32) for each in ([[0.1]], [0.2], [0.3]))
    known, unknown = 2 * (0.1 - 0.2) + 0.5, 2 * (0.1 - 0.3) + 0.5
    found = adapted_values(LINE, embedding, own, 0.75, room)
    assert found == pytest.approx(np.array([[0.75 * known + 0.25 * unknown]]))


def test_a_value_knows_its_place_in_its_range() -> None:
    assert Value(4.0, 1.0, 7.0).share == 0.5


def test_a_bundle_with_values_loads_and_says_so(folder: Path) -> None:
    bundle = Bundle.load(folder)
    assert bundle.head.values
    assert bundle.head.values.names == ("arousal", "intensity")
    assert "angry, arousal -1 to 1, intensity 0 to 1)" in repr(bundle)
    assert "arousal -1 to 1" in repr(load(folder))


def test_a_bundle_without_values_answers_none(bundle_folder: Path) -> None:
    model = load(bundle_folder)
    assert model.value_ranges == {}
    assert model.values(np.full(16_000, 0.1, np.float32)).shape == (0,)


def test_the_library_returns_values_in_the_order_of_their_ranges(folder: Path) -> None:
    model = load(folder)
    assert model.value_ranges == {"arousal": (-1.0, 1.0), "intensity": (0.0, 1.0)}
    loud = np.sign(np.sin(np.arange(16_000))).astype(np.float32)
    assert model.values([loud * 0.01, loud]).shape == (2, 2)
    assert (model.values(loud) <= 1).all()
    assert model.values(loud)[1] > model.values(loud * 0.01)[1]


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        ({}, "lacks values_weight and values_bias, which arousal -1 to 1, intensity 0 to 1 need"),
        ({"values_weight": TENSORS["values_weight"]}, "which come together"),
        (TENSORS | {"values_weight": np.ones((3, 3), np.float32)}, "do not fit arousal -1 to 1"),
        (TENSORS | {"values_weight": np.ones((2, 4), np.float32)}, "of an embedding of 3"),
        (TENSORS | {"values_bias": np.zeros(1, np.float32)}, "do not fit"),
        (TENSORS | {"values_bias": np.full(2, np.nan, np.float32)}, "not finite"),
    ],
)
def test_tensors_that_do_not_fit_the_manifest_are_refused(
    tensors: Mapping[str, np.ndarray], reason: str, folder: Path
) -> None:
    kept = {name: tensor for name, tensor in load_file(folder / HEAD_NAME).items() if not name.startswith("values")}
    save_file(kept | tensors, folder / HEAD_NAME)
    write_manifest(folder, values=VALUES)
    with pytest.raises(ModelError, match=reason):
        Bundle.load(folder)


def test_tensors_that_the_manifest_does_not_name_are_refused(folder: Path) -> None:
    write_manifest(folder)
    with pytest.raises(ModelError, match="do not fit a manifest without values"):
        Bundle.load(folder)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"name": "arousel"}, "'arousel' is not one of .*did you mean 'arousal'"),
        ({"low": 1.0}, "the range 1 to 1 is empty"),
        ({"name": "intensity"}, "intensity, intensity name one twice"),
    ],
)
def test_a_manifest_with_wrong_values_is_refused(changes: dict[str, object], reason: str, folder: Path) -> None:
    write_manifest(folder, values=[VALUES[0] | changes, VALUES[1]])
    with pytest.raises(ModelError, match=reason):
        Bundle.load(folder)


def test_a_head_with_values_is_read_as_it_was_written(folder: Path, tmp_path: Path) -> None:
    head = Bundle.load(folder).head
    assert head.values
    head.save(tmp_path / HEAD_NAME)
    assert Head.load(tmp_path / HEAD_NAME, head.values.records).values is not None
    replace(head, values=None).save(tmp_path / HEAD_NAME)
    assert Head.load(tmp_path / HEAD_NAME).values is None


def test_the_manifest_round_trips(folder: Path) -> None:
    described = json.loads((folder / MANIFEST_NAME).read_text())["values"]
    assert [ValueRecord.model_validate(each).model_dump() for each in described] == described
    with pytest.raises(ValidationError):
        ValueRecord(name="arousal", low=float("nan"), high=1, origin="annotated")
