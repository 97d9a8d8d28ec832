import json
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.errors import UsageError
from edge.settings import ENV_PREFIX, LoadedSettings, Settings, load_settings, setting_keys

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DEFAULT = Path(__file__).resolve().parents[2] / "configs" / "default.toml"
KEYS = setting_keys()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
WORDS = st.sampled_from(KEYS) | st.text()
quick = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def toml(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "settings.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_documented_file_is_the_defaults_and_nothing_else() -> None:
    text = DEFAULT.read_text(encoding="utf-8")
    tables = tomllib.loads(text)
    assert [f"{section}.{key}" for section, table in tables.items() for key in table] == KEYS
    assert tables == Settings().model_dump(mode="json")
    assert load_settings(DEFAULT, environment={}).settings == Settings()
    lines = text.splitlines()
    for key in KEYS:
        (index,) = [index for index, line in enumerate(lines) if line.startswith(f"{key.split('.')[1]} = ")]
        assert lines[index - 1].startswith("# "), f"{key} lacks its meaning"


@pytest.mark.parametrize("name", ["gpu", "jetson"])
def test_the_files_for_devices_say_what_each_setting_is_for(name: str) -> None:
    file = DEFAULT.with_name(f"{name}.toml")
    loaded = load_settings(file, environment={})
    lines = file.read_text(encoding="utf-8").splitlines()
    for key in [key for key, origin in loaded.origins.items() if origin != "default"]:
        (index,) = [index for index, line in enumerate(lines) if line.startswith(f"{key.split('.')[1]} = ")]
        assert lines[index - 1].startswith("# "), f"{key} lacks its reason"
    encoder = loaded.settings.encoder
    assert encoder.provider in ("cuda", "tensorrt")
    assert encoder.bundle, "the default bundle is for CPUs"


def test_the_command_line_beats_the_environment_beats_the_file(tmp_path: Path) -> None:
    file = toml(tmp_path, "[vad]\naggressiveness = 1\ngate_dbfs = -50\nabove_noise_db = 3\n")
    environment = {"AFFECTD_VAD_AGGRESSIVENESS": "3", "AFFECTD_VAD_GATE_DBFS": "-40", "PATH": "/bin"}
    loaded = load_settings(file, environment, {"vad.aggressiveness": 0, "vad.gate_dbfs": None})
    vad = loaded.settings.vad
    assert (vad.aggressiveness, vad.gate_dbfs, vad.above_noise_db) == (0, -40, 3)
    assert loaded.origins["vad.aggressiveness"] == "command line"
    assert loaded.origins["vad.gate_dbfs"] == "environment AFFECTD_VAD_GATE_DBFS"
    assert loaded.origins["vad.above_noise_db"] == f"file {file}"
    assert loaded.origins["segmenter.max_s"] == "default"
    assert list(loaded.origins) == KEYS


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[vda]\n", r"unknown section \[vda\] \(did you mean 'vad'\?\)"),
        ("[vad]\nagressiveness = 1\n", r"'vad\.agressiveness' from file .* \(did you mean 'vad\.aggressiveness'\?\)"),
        ("aggressivness = 1\n", r"outside of a \[section\] \(did you mean 'aggressiveness'\?\)"),
        (
            "[vad]\naggressiveness = 7\n",
            r"vad\.aggressiveness = 7 from file .*: Input should be less than or equal to 3",
        ),
        ("[encoder]\nprovider = 'gpu'\n", "should be 'auto', 'cpu', 'cuda' or 'tensorrt'"),
        ("[vad\n", "is not valid TOML"),
        (f"[vad]\naggressiveness = {'9' * 5000}\n", "is not valid TOML"),
    ],
)
def test_mistakes_are_named(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        load_settings(toml(tmp_path, text), environment={})


def test_unknown_environment_variables_are_named() -> None:
    with pytest.raises(UsageError, match=r"AFFECTD_VAD_AGRESSIVENESS .*mean 'AFFECTD_VAD_AGGRESSIVENESS'"):
        load_settings(environment={"AFFECTD_VAD_AGRESSIVENESS": "1"})


def test_a_missing_file_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read settings file .*No such file"):
        load_settings(tmp_path / "gone.toml", environment={})
    with pytest.raises(UsageError, match="Is a directory"):
        load_settings(tmp_path, environment={})


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().vad.aggressiveness = 3


def test_a_bundle_folder_may_be_below_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    assert load_settings(environment={}).settings.encoder.bundle_folder is None
    encoder = load_settings(environment={}, overrides={"encoder.bundle": "~/bundle"}).settings.encoder
    assert encoder.bundle_folder == Path("/home/ada/bundle")


def is_valid_or_refused(**layers: object) -> None:
    with suppress(UsageError):
        loaded = load_settings(**{"environment": {}, **layers})
        assert isinstance(loaded, LoadedSettings)
        assert Settings.model_validate_json(loaded.settings.model_dump_json()) == loaded.settings


@given(st.dictionaries(WORDS, JSON))
@quick
def test_any_command_line_is_valid_or_refused(overrides: dict[str, object]) -> None:
    is_valid_or_refused(overrides=overrides)


@given(st.dictionaries(WORDS.map(lambda key: ENV_PREFIX + key.replace(".", "_").upper()), st.text()))
@quick
def test_any_environment_is_valid_or_refused(environment: dict[str, str]) -> None:
    is_valid_or_refused(environment=environment)


@given(st.binary() | st.text().map(lambda text: text.encode("utf-8", "surrogatepass")))
@quick
def test_any_file_is_valid_or_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "any.toml"
    file.write_bytes(content)
    is_valid_or_refused(file=file)


@given(st.sampled_from(KEYS), JSON)
@quick
def test_any_value_in_a_file_is_valid_or_refused(tmp_path: Path, key: str, value: object) -> None:
    section, name = key.split(".")
    is_valid_or_refused(file=toml(tmp_path, f"[{section}]\n{name} = {json.dumps(value)}\n"))
