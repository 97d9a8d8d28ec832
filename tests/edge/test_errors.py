from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.bundle import Bundle
from edge.errors import AffectdError, ExitCode, ModelError, nearest, one_line


@pytest.mark.parametrize(
    ("value", "allowed", "suggested"),
    [
        ("CUDA", ["cpu", "cuda"], "cuda"),
        ("anna", ["Ben", "Anna"], "Anna"),
        ("Jetsn", ["gpu", "jetson"], "jetson"),
        ("ÄRGER", ["ärger"], "ärger"),
        ("nan", ["nano", "default"], "nano"),
        ("/a/long/way/to/on.wav", ["/a/long/way/to/off.wav", "/a/long/way/to/one.wav"], "/a/long/way/to/one.wav"),
    ],
)
def test_a_suggestion_is_near_in_any_case(value: str, allowed: list[str], suggested: str) -> None:
    assert nearest(value, allowed) == f" (did you mean {suggested!r}?)"


def test_a_common_folder_makes_nothing_near() -> None:
    assert nearest("/a/long/way/to/mine", ["/a/long/way/to/yours"]) == ""


@given(st.text(), st.lists(st.text()))
def test_nothing_is_suggested_for_itself(value: str, allowed: list[str]) -> None:
    assert nearest(value, [value]) == ""
    assert f"did you mean {value!r}?" not in nearest(value, [*allowed, value])


def test_only_bundles_are_suggested_for_a_bundle(bundle_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.wav").touch()
    (tmp_path / "mine-2").mkdir()
    for wrong in ("mine.wav", "mine.wv", "mine-1"):
        with pytest.raises(ModelError, match=r"no bundle folder") as failure:
            Bundle.load(tmp_path / wrong)
        assert "did you mean" not in str(failure.value)
    (tmp_path / "mine-2" / "bundle.json").write_bytes((bundle_folder / "bundle.json").read_bytes())
    for wrong in ("mine", "Mine-2", "mine-1"):
        with pytest.raises(ModelError) as failure:
            Bundle.load(tmp_path / wrong)
        assert str(failure.value).endswith(f"(did you mean {str(tmp_path / 'mine-2')!r}?)")


def test_every_exit_code_says_when_it_comes() -> None:
    assert [int(code) for code in ExitCode] == [0, 1, 2, 3, 4, 5, 130]
    assert all(code.meaning for code in ExitCode)
    kinds = [AffectdError, *AffectdError.__subclasses__()]
    assert {kind.exit_code for kind in kinds} <= set(ExitCode)


@given(st.text())
def test_a_message_is_one_line(text: str) -> None:
    assert one_line(text).isprintable()
