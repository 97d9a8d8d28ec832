from pathlib import Path

import pytest

from edge.errors import UsageError
from edge.settings import load_settings
from edge.shipped import CONFIGS, find_config


@pytest.mark.parametrize("name", ["gpu", "gpu.toml", Path("gpu"), Path("gpu.toml")])
def test_a_bare_name_is_one_of_affectds_own(name: str | Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_config(name, "--config") == CONFIGS / "gpu.toml"
    assert load_settings(find_config(name, "--config"), environment={}).settings.encoder.provider == "cuda"
    assert find_config("base", "--head", "heads") == CONFIGS / "heads" / "base.toml"


@pytest.mark.parametrize("name", ["gpu", "gpu.toml"])
def test_a_file_in_the_current_folder_wins(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).touch()
    assert find_config(name, "--config").resolve() == (tmp_path / name).resolve()


def test_a_folder_in_the_current_folder_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gpu").mkdir()
    assert find_config("gpu", "--config") == CONFIGS / "gpu.toml"


@pytest.mark.parametrize("path", ["elsewhere/gpu.toml", "/gone/gpu.toml", "."])
def test_a_path_is_left_as_it_is(path: str) -> None:
    assert find_config(path, "--config") == Path(path)


@pytest.mark.parametrize(("name", "hint"), [("jetsn", r" \(did you mean 'jetson'\?\)"), ("mine.toml", "")])
def test_an_unknown_name_is_answered_with_the_known_and_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(UsageError, match=rf"^--config '{name}': no such file here, .*gpu, .*jetson.*{hint}$"):
        find_config(name, "--config")
