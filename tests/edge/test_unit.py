"""The systemd unit: what is in it, that systemd takes it, and that it reads every path as it was meant."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.daemon.unit import MARK, NAME, Unit, command_line
from edge.errors import UsageError

HARDENING = {
    "LimitCORE": "0",
    "LockPersonality": "yes",
    "MemoryMax": "1G",
    "MemorySwapMax": "0",
    "NoNewPrivileges": "yes",
    "RestrictAddressFamilies": "AF_UNIX",
    "RestrictNamespaces": "yes",
    "RestrictRealtime": "yes",
    "RestrictSUIDSGID": "yes",
    "SystemCallArchitectures": "native",
    "UMask": "0077",
}
RUNNING = {
    "ExecReload": "/bin/kill -HUP $MAINPID",
    "ExecStart": "/opt/affectd/bin/affectd run --config /etc/kiosk.toml",
    "KillMode": "mixed",
    "NotifyAccess": "main",
    "Restart": "on-failure",
    "RestartPreventExitStatus": "2",
    "RestartSec": "200ms",
    "TimeoutStartSec": "10min",
    "TimeoutStopSec": "20",
    "Type": "notify",
    "WatchdogSec": "30",
}
COMMAND = ("/opt/affectd/bin/affectd", "run", "--config", "/etc/kiosk.toml")
ODD = ["a b", "100%h %%", "$HOME ${HOME} $$", "it's", 'say "it"', "back\\slash \\x41", "tab\tnew\nline", "ü日 \u00a0"]
ODD += ["", ";", "#c", "-dash", "@x", "\\", "end "]


def sections(text: str) -> dict[str, dict[str, str]]:
    """Return the sections of a unit; no key is there twice."""
    found: dict[str, dict[str, str]] = {}
    for line in text.splitlines():
        if line.startswith("["):
            section = found.setdefault(line.strip("[]"), {})
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            assert key not in section
            section[key] = value
    return found


def words(line: str) -> list[str]:
    """Return a command line as systemd reads it: quotes, then escapes, ``%%``, and in arguments ``$$``."""
    found = []
    for quoted, plain in re.findall(r'"((?:[^"\\]|\\.)*)"(?= |$)|(\S+)', line):
        bytes_ = re.sub(
            rb'\\(?:x([0-9a-f]{2})|(["\\]))',
            lambda match: bytes.fromhex(match[1].decode()) if match[1] else match[2],
            (quoted or plain).encode(),
        )
        word = bytes_.decode()
        assert not re.search("%[^%]", word.replace("%%", ""))
        word = word.replace("%%", "%")
        if found:
            assert "$" not in word.replace("$$", "")
            word = word.replace("$$", "$")
        found.append(word)
    return found


def verified(unit: str, tmp_path: Path) -> str:
    """Return what systemd has to say about a unit."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    (tmp_path / NAME).write_text(unit, encoding="utf-8")
    result = subprocess.run(
        ["systemd-analyze", "verify", "--user", str(tmp_path / NAME)],
        env=os.environ | {"HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    return result.stdout + result.stderr


def program_in(folder: Path) -> str:
    """Make a program, and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "affectd"
    program.write_text("#!/bin/sh\n", encoding="utf-8")
    program.chmod(0o755)
    return str(program)


def test_what_is_in_the_unit() -> None:
    text = Unit(COMMAND, systemd=252).text()
    assert text.startswith(MARK)
    assert sections(text) == {
        "Unit": {"Description": "affectd, on-device speech emotion", "StartLimitIntervalSec": "0"},
        "Service": RUNNING | HARDENING,
        "Install": {"WantedBy": "default.target"},
    }


def test_a_newer_systemd_knows_when_it_has_reloaded() -> None:
    service = sections(Unit(COMMAND, systemd=253).text())["Service"]
    assert service.pop("Type") == "notify-reload"
    assert service == {key: value for key, value in (RUNNING | HARDENING).items() if key not in ("Type", "ExecReload")}


def test_what_depends_on_the_settings() -> None:
    plain = sections(Unit(COMMAND, 252).text())["Service"]
    network = sections(Unit(COMMAND, 252, needs_network=True).text())["Service"]
    assert dict(network.items() - plain.items()) == {"RestrictAddressFamilies": "AF_UNIX AF_INET AF_INET6"}
    on_gpu = sections(Unit(COMMAND, 252, on_gpu=True).text())["Service"]
    assert plain.items() - on_gpu.items() == {("MemoryMax", "1G")}
    key = sections(Unit(COMMAND, 252, key=Path("/srv/ke y%")).text())["Service"]
    assert dict(key.items() - plain.items()) == {"LoadCredential": "affectd-store-key:/srv/ke y%%"}


@given(st.lists(st.one_of(st.sampled_from(ODD), st.text(st.characters(exclude_categories=["Cs"], min_codepoint=1)))))
def test_arguments_are_read_as_they_were_meant(arguments: list[str]) -> None:
    line = command_line(["/opt/af fe%ctd/$bin", *arguments])
    assert "\n" not in line
    assert line.isprintable()
    assert words(line) == ["/opt/af fe%ctd/$bin", *arguments]


@pytest.mark.parametrize(
    ("unit", "message"),
    [
        (Unit(("/opt/it's/affectd", "run"), 252), "systemd cannot start"),
        (Unit(("/opt/\udcff/affectd", "run"), 252), "UTF-8"),
        (Unit((*COMMAND, "/\udcff"), 252), r"UTF-8.*\\udcff"),
        (Unit(COMMAND, 252, key=Path("/new\nline")), "systemd cannot read a key"),
        (Unit(COMMAND, 252, key=Path("/end ")), "systemd cannot read a key"),
        (Unit(COMMAND, 252, key=Path("/end\\")), "systemd cannot read a key"),
        (Unit(COMMAND, 246, key=Path("/key")), "needs systemd 247"),
    ],
)
def test_what_systemd_cannot_have_is_refused(unit: Unit, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        unit.text()


@pytest.mark.parametrize("odd", ["plain", *(name for name in ODD if name not in ("", ";"))])
def test_systemd_takes_it_and_finds_the_program(odd: str, tmp_path: Path) -> None:
    program = program_in(tmp_path / "bin" / odd)
    unit = Unit((program, "run", *ODD), 252, needs_network=True, key=Path("/srv/ke y%"))
    try:
        text = unit.text()
    except UsageError:
        quoted = program.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("%", "%%")
        refused = Unit(COMMAND, 252).text().replace(COMMAND[0], f'"{quoted}"')
        assert "special characters" in verified(refused, tmp_path)
    else:
        assert verified(text, tmp_path) == ""


def test_systemd_notices_mistakes(tmp_path: Path) -> None:
    text = Unit((program_in(tmp_path), "run"), 252).text()
    assert verified(text, tmp_path) == ""
    assert "UMsk" in verified(text.replace("UMask", "UMsk"), tmp_path)
