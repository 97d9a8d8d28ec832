import json
import re
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.errors import UsageError
from edge.settings import (
    ENV_PREFIX,
    LoadedSettings,
    OutputSettings,
    Settings,
    SourceSettings,
    load_settings,
    setting_keys,
)
from edge.settings.reference import settings_markdown

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
ENTRY_KEYS = ["sources.0.source", "sources.0.speakers", "outputs.0.type", "sources.1.name"]
WORDS = st.sampled_from([*KEYS, *ENTRY_KEYS]) | st.text()
quick = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def toml(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "settings.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:7000", "ws://127.0.0.1:7000/hall", "unix:/run/hall"])
def test_two_sources_cannot_wait_at_one_address(address: str) -> None:
    entries = {"sources.0.source": address, "sources.0.name": "a", "sources.1.source": address, "sources.1.name": "b"}
    with pytest.raises(UsageError, match="0 and 1 both wait at"):
        load_settings(overrides=entries)


def test_the_documented_file_is_the_defaults_and_nothing_else() -> None:
    text = DEFAULT.read_text(encoding="utf-8")
    tables = tomllib.loads(text)
    assert [f"{section}.{key}" for section, table in tables.items() for key in table] == KEYS
    assert tables == Settings().model_dump(mode="json", exclude={"sources", "outputs"})
    assert load_settings(DEFAULT, environment={}).settings == Settings()
    lines = text.splitlines()
    for key in KEYS:
        section, name = key.split(".")
        start = next(index for index, line in enumerate(lines) if line.startswith(f"[{section}]"))
        index = next(index for index in range(start, len(lines)) if lines[index].startswith(f"{name} = "))
        assert lines[index - 1].startswith("# "), f"{key} lacks its meaning"


def test_the_documented_file_shows_the_lists(tmp_path: Path) -> None:
    text = re.sub(r"^#(?=[\[a-z])", "", DEFAULT.read_text(encoding="utf-8"), flags=re.MULTILINE)
    file = toml(tmp_path, text)
    loaded = load_settings(file, environment={})
    assert loaded.settings == Settings(sources=(SourceSettings(),), outputs=(OutputSettings(),))
    entries = {key: origin for key, origin in loaded.origins.items() if key not in KEYS}
    assert set(entries.values()) == {f"file {file}"}
    assert all(line.startswith("# ") for line in re.findall(r"^(.*)\n(?:name|speakers|type|path) = ", text, re.M))


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
        (
            "[segmenter]\nend_silence_s = 'soon'\n",
            r"segmenter\.end_silence_s = 'soon' from file .*: Input should be a valid number.*; or .* should be 'auto'",
        ),
        ("[encoder]\nprovider = 'gpu'\n", "should be 'auto', 'cpu', 'cuda' or 'tensorrt'"),
        ("[vad\n", "is not valid TOML"),
        (f"[vad]\naggressiveness = {'9' * 5000}\n", "is not valid TOML"),
        ("[[source]]\n", r"unknown section \[source\] \(did you mean 'sources'\?\)"),
        ("[sources]\ndevice = 'USB'\n", r"sources is a list: write \[\[sources\]\] above each entry"),
        ("outputs = 3\n", r"outputs is a list: write \[\[outputs\]\]"),
        ("[[vad]]\naggressiveness = 1\n", r"there is only one vad: write \[vad\]"),
        (
            "[[sources]]\n[[sources]]\ndevise = 'USB'\n",
            r"'sources\.1\.devise' from file .* \(did you mean 'sources\.1\.device'\?\)",
        ),
        (
            "[[sources]]\nrate_hz = 4\n",
            r"sources\.0\.rate_hz = 4 from file .*: Input should be greater than or equal to",
        ),
        (
            "[[outputs]]\ntype = 'xml'\n",
            r"outputs\.0\.type = 'xml' from file .*: Input should be 'table', 'json', 'csv' or 'journal'",
        ),
        ("[[sources]]\n[[sources]]\n", "sources 0 and 1 are both called 'mic': give each a name of its own"),
        ("[[sources]]\nsource = '/a/x.wav'\n[[sources]]\nname = 'x.wav'\n", "both called 'x.wav'"),
        (
            "[[sources]]\nsource = '-'\nname = 'a'\n[[sources]]\nsource = '-'\nname = 'b'\n",
            "sources 0 and 1 are all on standard input, where only one",
        ),
        ("[[outputs]]\n[[outputs]]\ntype = 'table'\n", "outputs 0 and 1 are all on standard output, where only one"),
        (
            "[[outputs]]\ntype = 'journal'\n[[outputs]]\ntype = 'journal'\npath = 'x'\n",
            "outputs 0 and 1 are all journals, of which there can be only one",
        ),
        ("[[outputs]]\ntype = 'table'\npath = 'x'\n", "outputs 0 is a table, which is only for standard output"),
        ("[[outputs]]\npath = '~/x'\n[[outputs]]\npath = '~/a/../x'\n", r"1 would replace ~/a/\.\./x, which 0 writes"),
        ("[capture]\nsource = 'x.wav'\n[[outputs]]\npath = './x.wav'\n", r"0 would replace \./x\.wav, which is read"),
        ("[[sources]]\nsource = 'x.wav'\n[[outputs]]\npath = 'x.wav'\n", r"0 would replace x\.wav, which is read"),
    ],
)
def test_mistakes_are_named(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        load_settings(toml(tmp_path, text), environment={})


def test_entries_of_lists_are_merged_from_all_layers(tmp_path: Path) -> None:
    file = toml(tmp_path, "[[sources]]\nname = 'hall'\ndevice = 'HDA'\n[[sources]]\n[[outputs]]\npath = 'a.jsonl'\n")
    environment = {
        "AFFECTD_SOURCES_0_DEVICE": "USB",
        "AFFECTD_SOURCES_1_RATE_HZ": "8000",
        "AFFECTD_OUTPUTS_1_TYPE": "csv",
    }
    loaded = load_settings(file, environment, {"sources.1.speakers": "anna, bo", "sources.0.realtime": "false"})
    assert loaded.settings.sources == (
        SourceSettings(name="hall", device="USB", realtime=False),
        SourceSettings(rate_hz=8_000, speakers=("anna", "bo")),
    )
    assert loaded.settings.outputs == (OutputSettings(path="a.jsonl"), OutputSettings(type="csv"))
    assert [source.label for source in loaded.settings.sources] == ["hall", "mic"]
    origins = {key: origin for key, origin in loaded.origins.items() if key not in KEYS}
    assert list(loaded.origins)[: len(KEYS)] == KEYS
    assert list(origins)[: len(SourceSettings.model_fields)] == [
        f"sources.0.{key}" for key in SourceSettings.model_fields
    ]
    assert origins["sources.0.name"] == f"file {file}"
    assert origins["sources.0.device"] == "environment AFFECTD_SOURCES_0_DEVICE"
    assert origins["sources.0.realtime"] == origins["sources.1.speakers"] == "command line"
    assert origins["sources.0.rate_hz"] == origins["outputs.1.path"] == "default"


def test_the_source_of_the_command_line_stands_for_those_of_a_file(tmp_path: Path) -> None:
    file = toml(tmp_path, "[[sources]]\nname = 'hall'\n")
    assert len(load_settings(file, {}).settings.sources) == 1
    loaded = load_settings(file, {"AFFECTD_SOURCES_1_SOURCE": "-"}, {"capture.source": "talk.wav"})
    assert loaded.settings.sources == ()
    assert list(loaded.origins) == KEYS
    both = load_settings(file, {}, {"capture.source": "talk.wav", "sources.0.name": "yard"})
    assert [source.name for source in both.settings.sources] == ["yard"]


def test_entries_are_numbered_without_gaps() -> None:
    with pytest.raises(UsageError, match=r"sources\.2 is set, but there is no sources\.0"):
        load_settings(environment={}, overrides={"sources.2.device": "USB"})
    for key in ("sources.00.device", "sources.-1.device", "sources.x.device", "sources.9999.device", "sources.device"):
        with pytest.raises(UsageError, match=rf"unknown setting '{key}' from command line \(did you mean 'sources\."):
            load_settings(environment={}, overrides={key: "USB"})


def test_the_reference_has_every_setting() -> None:
    text = settings_markdown()
    for section in Settings.model_fields:
        assert f"[{section}]" in text
    for key in KEYS:
        assert f"\n| `{key.split('.')[1]}` | " in text
    assert "| `aggressiveness` | whole number | `2` | ≥ 0, ≤ 3 | WebRTC mode: 0 lets most through" in text
    assert '| `provider` | text | `"auto"` | `"auto"`, `"cpu"`, `"cuda"`, `"tensorrt"` | Preferred' in text
    assert "| `speakers` | list of texts | `[]` |  | Enrolled people whom this source" in text


def test_unknown_environment_variables_are_named() -> None:
    with pytest.raises(UsageError, match=r"AFFECTD_SOURCES_1_DEVISE .*mean 'AFFECTD_SOURCES_1_DEVICE'"):
        load_settings(environment={"AFFECTD_SOURCES_1_DEVISE": "USB"})
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


@pytest.mark.parametrize("key", ["capture.source", "capture.device", "encoder.bundle", "speakers.store"])
def test_a_null_character_is_refused_by_name(key: str) -> None:
    with pytest.raises(UsageError, match=rf"{key}.* holds a null character"):
        load_settings(environment={}, overrides={key: "a\0b"})


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


def test_variables_of_a_service_called_affectd_are_no_settings() -> None:
    service = {
        "AFFECTD_PORT": "tcp://10.0.0.7:8080",
        "AFFECTD_SERVICE_HOST": "10.0.0.7",
        "AFFECTD_SERVICE_PORT": "8080",
        "AFFECTD_SERVICE_PORT_HTTP": "8080",
        "AFFECTD_PORT_8080_TCP": "tcp://10.0.0.7:8080",
        "AFFECTD_PORT_8080_TCP_PROTO": "tcp",
        "AFFECTD_PORT_53_UDP_ADDR": "10.0.0.7",
        "AFFECTD_CAPTURE_SERVICE_HOST": "10.0.0.8",
        "AFFECTD_CAPTURE_PORT": "tcp://10.0.0.8:80",
    }
    assert load_settings(environment=service).settings == Settings()
    for name, value in (
        ("AFFECTD_PORT", "8080"),
        ("AFFECTD_CAPTURE_RATE", "8000"),
        ("AFFECTD_SERVICE", "x"),
        ("AFFECTD_VAD_GATE_DBF", "-50"),
    ):
        with pytest.raises(UsageError, match=f"unknown environment variable {name}"):
            load_settings(environment=service | {name: value})
