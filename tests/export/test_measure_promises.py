from dataclasses import replace

import pytest

from edge.bundle import Bundle
from export.measure.promises import PROMISES, Factor, Share, processor_note, targets
from export.rounds import RoundTimes

NAME = "default, int8"


def times(**milliseconds: float) -> dict[tuple[str, float], RoundTimes]:
    rows = {"ours_3": (NAME, 3.0), "ours_12": (NAME, 12.0), "old_3": ("default 3", 3.0), "large_3": ("large", 3.0)}
    return {rows[name]: RoundTimes((value,)) for name, value in milliseconds.items()}


@pytest.mark.parametrize(("old_ms", "met"), [(20.0, True), (18.0, False)])
def test_a_share_of_the_older_bundle(old_ms: float, met: bool) -> None:
    target = Share("default", 3.0, 0.55, "default 3").target(NAME, times(ours_3=10, old_3=old_ms))
    assert target
    assert target.met is met
    assert target.promise == "default, int8: at 3 s at most 0.55 times the time of default 3 at 3 s, one thread"


def test_a_share_of_its_own_time_at_another_length() -> None:
    target = Share("default", 12.0, 4.5, rival_s=3.0).target(NAME, times(ours_3=10, ours_12=46))
    assert target
    assert (target.measured, target.met) == ("4.60", False)
    assert "its own at 3 s" in target.promise


def test_a_factor_is_promised_for_processors_without_amx() -> None:
    target = Factor("default", 3.0, "large", 120).target(NAME, times(ours_3=10, large_3=1_300))
    assert target
    assert (target.measured, target.met) == ("130 times", True)
    assert "without AMX" in target.promise


@pytest.mark.parametrize("promise", PROMISES)
def test_nothing_is_said_of_rows_that_are_not_there(promise: Share | Factor) -> None:
    assert promise.target(NAME, {}) is None


def test_only_int8_bundles_of_the_package_are_promised_anything(bundle: Bundle) -> None:
    manifest = bundle.manifest
    int8 = manifest.encoder.model_copy(update={"precision": "int8"})
    ours = replace(bundle, manifest=manifest.model_copy(update={"name": "default", "encoder": int8}))
    assert len(targets([ours], times(ours_3=10, old_3=20))) == 1
    assert not targets([bundle], times(ours_3=10, old_3=20))


def test_the_processor_is_named_with_and_without_amx() -> None:
    assert processor_note("a CPU", ("avx2", "amx_int8")).startswith("This processor, a CPU, has AMX")
    assert processor_note("a CPU", ("avx2",)) == "This processor, a CPU, has no AMX."
