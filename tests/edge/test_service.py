"""``affectd service``, with programs in the place of systemd's that note what they are asked."""

import json
import os
import subprocess
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import pytest

from edge.daemon.unit import MARK
from edge.people.store import SpeakerStore
from edge.people.store.person import Consent
from helpers.fake_systemd import FakeSystemd
from helpers.voices import clip

Call = Callable[..., int]
Capture = pytest.CaptureFixture[str]
Start = Callable[..., "subprocess.Popen[bytes]"]

VERSION, MANAGER = "systemctl --version", "systemctl --user show --property=Version"
STARTS = [
    "systemctl --user daemon-reload",
    "systemctl --user enable affectd.service",
    "systemctl --user restart --no-block affectd.service",
]
LISTENS = {
    "LoadState": "loaded",
    "ActiveState": "active",
    "SubState": "running",
    "StateChangeTimestamp": "Sun 2026-11-29 06:31:17 UTC",
    "NRestarts": "2",
    "StatusText": "listens to Küche = 1",
    "Result": "success",
    "MainPID": "4711",
    "MemoryCurrent": "171300000",
    "UnitFileState": "enabled",
}


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSystemd:
    systemd = FakeSystemd(tmp_path / "systemd")
    monkeypatch.setenv("PATH", f"{systemd.programs}{os.pathsep}{os.environ['PATH']}")
    return systemd


@pytest.fixture
def settings(tmp_path: Path, bundle_folder: Path) -> Callable[[str], Path]:
    """Write a settings file with a bundle that loads quickly."""

    def write(text: str = "") -> Path:
        path = tmp_path / "a kiosk.toml"
        path.write_text(f'[encoder]\nbundle = "{bundle_folder}"\n{text}', encoding="utf-8")
        return path

    return write


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """Where the unit will be."""
    return tmp_path / "config-home" / "systemd" / "user" / "affectd.service"


def state(systemd: FakeSystemd, **properties: str) -> None:
    systemd.has("shown", "\n".join(f"{name}={value}" for name, value in (LISTENS | properties).items()))


def test_install_writes_the_unit_and_starts_it_however_often(
    call: Call, systemd: FakeSystemd, settings: Callable[..., Path], unit: Path, capsys: Capture
) -> None:
    for _ in range(2):
        assert call("service", "install", "--config", settings()) == 0
        assert [line for line in systemd.calls() if "loginctl" not in line] == [VERSION, MANAGER, *STARTS]
        text = unit.read_text(encoding="utf-8")
        assert text.startswith(MARK)
        (start,) = (line for line in text.splitlines() if line.startswith("ExecStart="))
        assert start.endswith(f' run --config "{settings()}"')
        program = start.removeprefix("ExecStart=").split(" run ")[0].split()[0].strip('"')
        assert os.access(program, os.X_OK)
        assert os.path.isabs(program)
        assert [path.name for path in unit.parent.iterdir()] == [unit.name]
        said = capsys.readouterr().err
        assert f"{unit} is written and started" in said
        assert "events go to the journal" in said
        assert "linger" not in said


def test_install_takes_the_users_own_settings(
    call: Call, systemd: FakeSystemd, settings: Callable[..., Path], unit: Path, tmp_path: Path, capsys: Capture
) -> None:
    own = tmp_path / "config-home" / "affectd" / "config.toml"
    own.parent.mkdir(parents=True)
    events = f'[[outputs]]\npath = "{tmp_path}/events.jsonl"\n[[outputs]]\ntype = "journal"\n'
    settings(f'{events}[[sources]]\nsource = "/dev/null"\n').rename(own)
    systemd.has("linger", "no")
    assert call("service", "install") == 0
    assert any(line.endswith(" run") for line in unit.read_text(encoding="utf-8").splitlines())
    said = capsys.readouterr().err
    assert "events go to the journal" not in said
    assert f"{tmp_path}/events.jsonl begins anew whenever the service starts" in said
    assert "loginctl enable-linger" in said
    assert f"loginctl show-user {os.getuid()} --property=Linger --value" in systemd.calls()


def test_dry_run_shows_the_unit_and_changes_nothing(
    call: Call, systemd: FakeSystemd, settings: Callable[..., Path], unit: Path, capsys: Capture
) -> None:
    systemd.lacks_manager()
    systemd.has("version", "systemd 255 (255.4)")
    assert call("service", "install", "--dry-run", "--config", settings()) == 0
    assert systemd.calls() == [VERSION]
    text = capsys.readouterr().out
    assert text.startswith(MARK)
    assert "Type=notify-reload" in text
    assert not unit.exists()


def test_no_start_needs_no_systemd(
    call: Call,
    settings: Callable[..., Path],
    unit: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert call("service", "install", "--no-start", "--config", settings()) == 0
    assert "Type=notify\n" in unit.read_text(encoding="utf-8")
    assert "systemctl --user enable --now affectd.service starts it" in capsys.readouterr().err


@pytest.mark.parametrize("there_is", ["nothing", "no manager"])
def test_without_a_systemd_it_is_said_in_a_line(
    call: Call,
    start: Start,
    settings: Callable[..., Path],
    unit: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
    there_is: str,
) -> None:
    systemd = FakeSystemd(tmp_path / "systemd")
    systemd.lacks_manager()
    monkeypatch.setenv("PATH", str(systemd.programs) if there_is == "no manager" else str(tmp_path))
    message = "systemd runs nothing for this user (No medium found)" if there_is == "no manager" else "no systemd here"
    if there_is == "no manager":
        monkeypatch.setenv("PATH", f"{systemd.programs}:/usr/bin:/bin")
    assert call("service", "install", "--config", settings()) == 2
    assert call("service", "status") == 2
    assert not unit.exists()
    assert call("service", "install", "--no-start", "--config", settings()) == 0
    assert call("service", "remove") == 2
    assert unit.exists()
    lines = [line for line in capsys.readouterr().err.splitlines() if "is written" not in line]
    assert len(lines) == 3
    assert all(message in line for line in lines)
    if there_is == "nothing":
        process = start("service", "logs")
        assert message in process.communicate()[1].decode()
        assert process.returncode == 2


def test_a_systemd_that_refuses_is_quoted(
    call: Call, systemd: FakeSystemd, settings: Callable[..., Path], capsys: Capture
) -> None:
    systemd.has("refusal", "Failed to enable unit:\nunit is masked")
    assert call("service", "install", "--config", settings()) == 2
    error = capsys.readouterr().err
    assert error == "affectd: systemctl --user daemon-reload: Failed to enable unit: unit is masked\n"


def test_a_unit_of_somebody_else_stays(
    call: Call, systemd: FakeSystemd, settings: Callable[..., Path], unit: Path, capsys: Capture
) -> None:
    unit.parent.mkdir(parents=True)
    unit.write_bytes(b"[Service]\nExecStart=/bin/true \xff\n")
    for command in (("install", "--config", settings()), ("remove",)):
        assert call("service", *command) == 2
        assert "was not written by affectd, and stays as it is without --force" in capsys.readouterr().err
        assert unit.read_bytes().startswith(b"[Service]")
    assert not set(systemd.calls()) & set(STARTS)
    assert call("service", "install", "--force", "--config", settings()) == 0
    assert unit.read_text(encoding="utf-8").startswith(MARK)


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ('[capture]\nsource = "-"', 2, "a service has no standard input"),
        ('[capture]\nsource = "talk.wav"', 2, "source 'talk.wav' is relative"),
        ('[[sources]]\nsource = "../pipe"', 2, "source '../pipe' is relative"),
        ('[capture]\nsource = "unix:hall.sock"', 2, "source 'hall.sock' is relative"),
        ('[capture]\nsource = "tcp://nowhere"', 2, "is not of the form tcp://127.0.0.1:7000"),
        ('[capture]\nsource = "ws://0.0.0.0:7001/hall"', 2, "needs a token"),
        ('[[outputs]]\ntype = "journal"\npath = "journal.db"', 2, "output 'journal.db' is relative"),
        ('[[outputs]]\ntype = "table"', 2, "a service has no terminal for a table"),
        ('[[outputs]]\npath = "events.jsonl"', 2, "output 'events.jsonl' is relative"),
        ('[[outputs]]\npath = "/etc/passwd"', 2, "cannot write /etc/passwd: it exists and is no"),
        ('[speakers]\nstore = "people"', 2, "speakers.store 'people' is relative"),
        ("[vad]\ngate = -50", 2, "unknown setting 'vad.gate'"),
    ],
)
def test_settings_that_would_not_do_are_refused(
    call: Call,
    systemd: FakeSystemd,
    settings: Callable[..., Path],
    unit: Path,
    capsys: Capture,
    text: str,
    code: int,
    message: str,
) -> None:
    assert call("service", "install", "--config", settings(text)) == code
    assert message in capsys.readouterr().err
    assert not unit.exists()
    assert systemd.calls() == []


@pytest.mark.parametrize(
    ("source", "families"),
    [
        ("mic", "AF_UNIX"),
        ("unix:/run/hall.sock", "AF_UNIX"),
        ("tcp://127.0.0.1:7000", "AF_UNIX AF_INET AF_INET6"),
        ("ws://[::1]:7001/hall", "AF_UNIX AF_INET AF_INET6"),
    ],
)
def test_only_a_source_on_the_network_opens_it(
    call: Call, systemd: FakeSystemd, settings: Callable[..., Path], source: str, families: str, capsys: Capture
) -> None:
    text = f'[[sources]]\nsource = "{source}"\n[[sources]]\nsource = "/dev/null"\n[[outputs]]\ntype = "journal"\n'
    assert call("service", "install", "--dry-run", "--config", settings(text)) == 0
    assert f"\nRestrictAddressFamilies={families}\n" in capsys.readouterr().out


def test_a_model_and_an_environment_that_would_not_do_are_refused(
    call: Call, systemd: FakeSystemd, tmp_path: Path, unit: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    path = tmp_path / "settings.toml"
    for bundle, code, message in (
        (tmp_path / "gone", 3, f"no bundle folder {tmp_path}/gone"),
        ("mine", 2, "encoder.bundle 'mine' is relative"),
    ):
        path.write_text(f'[encoder]\nbundle = "{bundle}"', encoding="utf-8")
        assert call("service", "install", "--config", path) == code
        assert message in capsys.readouterr().err
    monkeypatch.setenv("AFFECTD_VAD_GATE_DBFS", "-50")
    assert call("service", "install", "--config", path) == 2
    assert "AFFECTD_VAD_GATE_DBFS is set here and would not be in the service" in capsys.readouterr().err
    assert not unit.exists()
    assert systemd.calls() == []


def test_the_key_is_that_of_the_store(
    call: Call, systemd: FakeSystemd, settings: Callable[..., Path], unit: Path, tmp_path: Path, capsys: Capture
) -> None:
    config = settings(f'[speakers]\nstore = "{tmp_path}/store"')
    key = tmp_path / "key"
    for text, message in (("ab" * 31, "is no key"), (None, "the key of the store is missing")):
        key.unlink(missing_ok=True)
        if text:
            key.write_text(text, encoding="ascii")
        assert call("service", "install", "--config", config, "--key", key) == 5
        assert message in capsys.readouterr().err
    key.write_text("ab" * 32, encoding="ascii")
    assert call("service", "install", "--config", config, "--key", key) == 0
    assert f"LoadCredential=affectd-store-key:{key}\n" in unit.read_text(encoding="utf-8")
    with SpeakerStore.open(tmp_path / "store") as store:
        ann = store.add_person("Ann", Consent(text_version="1", how="--yes"))
        store.add_clip(ann, clip(1))
    assert call("service", "install", "--config", config, "--key", key) == 5
    assert f"is not the key of {tmp_path}" in capsys.readouterr().err
    key.write_bytes((tmp_path / "store" / "store.key").read_bytes())
    assert call("service", "install", "--config", config, "--key", key) == 0
    systemd.has("version", "systemd 245 (245.4)")
    assert call("service", "install", "--config", config, "--key", key) == 2
    assert "--key needs systemd 247" in capsys.readouterr().err


def test_status_of_one_that_listens(call: Call, systemd: FakeSystemd, capsys: Capture) -> None:
    state(systemd)
    assert call("service", "status", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    since = found.pop("since")
    assert found == {
        "installed": True,
        "state": "active",
        "detail": "running",
        "restarts": 2,
        "status": "listens to Küche = 1",
        "result": "success",
        "pid": 4711,
        "memory_mb": 171.3,
        "enabled": True,
        "log": "journalctl --user --unit affectd.service",
    }
    assert datetime.fromisoformat(since) == datetime(2026, 11, 29, 6, 31, 17, tzinfo=timezone.utc)
    assert call("service", "status") == 0
    text = capsys.readouterr().out
    for part in ("active (running)", "2026-11-", "listens to Küche = 1", "171 MB", "affectd service logs"):
        assert part in text


@pytest.mark.parametrize(
    ("properties", "code", "said"),
    [
        ({"ActiveState": "reloading", "SubState": "reload"}, 0, "reloading (reload)"),
        ({"ActiveState": "activating", "SubState": "auto-restart", "Result": "watchdog"}, 1, "watchdog"),
        ({"ActiveState": "failed", "SubState": "failed", "Result": "exit-code", "MainPID": "0"}, 1, "exit-code"),
        ({"ActiveState": "inactive", "StateChangeTimestamp": "", "StatusText": "", "UnitFileState": ""}, 1, "inactive"),
        ({"MemoryCurrent": "[not set]"}, 0, "active (running)"),
        ({"MemoryCurrent": "18446744073709551615"}, 0, "active (running)"),
    ],
)
def test_status_is_good_only_of_one_that_listens(
    call: Call, systemd: FakeSystemd, capsys: Capture, properties: dict[str, str], code: int, said: str
) -> None:
    state(systemd, **properties)
    assert call("service", "status") == code
    text = capsys.readouterr().out
    assert said in text
    assert ("MB" in text) == ("MemoryCurrent" not in properties)


def test_status_without_a_service(call: Call, systemd: FakeSystemd, capsys: Capture) -> None:
    systemd.has("shown", "LoadState=not-found\nActiveState=inactive")
    assert call("service", "status") == 1
    assert "no service is installed" in capsys.readouterr().err
    assert call("service", "status", "--json") == 1
    assert json.loads(capsys.readouterr().out) == {
        "installed": False,
        "log": "journalctl --user --unit affectd.service",
    }


def test_logs_are_those_of_the_journal(start: Start, systemd: FakeSystemd) -> None:
    for arguments, options in (((), "--lines=50"), (("-f", "-n", 7), "--lines=7 --follow")):
        process = start("service", "logs", *arguments)
        assert process.communicate()[0] == b"journalctl says so\n"
        assert process.returncode == 0
        assert systemd.calls() == [f"journalctl --user --unit affectd.service {options}"]


def test_remove_stops_it_and_leaves_everything_else(
    call: Call, systemd: FakeSystemd, settings: Callable[..., Path], unit: Path, tmp_path: Path, capsys: Capture
) -> None:
    assert call("service", "remove") == 2
    assert f"no service is installed: there is no {unit}" in capsys.readouterr().err
    assert call("service", "install", "--config", settings()) == 0
    (unit.parent / "other.service").touch()
    systemd.calls()
    assert call("service", "remove") == 0
    assert systemd.calls() == [
        MANAGER,
        "systemctl --user disable --now affectd.service",
        "systemctl --user daemon-reload",
    ]
    assert [path.name for path in unit.parent.iterdir()] == ["other.service"]
    assert "settings, people and rooms stay" in capsys.readouterr().err
    assert (tmp_path / "a kiosk.toml").exists()
