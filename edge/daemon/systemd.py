"""The user's systemd, by its own commands: ``systemctl --user``, ``loginctl``, ``journalctl``."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from datetime import datetime, timezone

from edge.daemon.unit import NAME
from edge.errors import UsageError, one_line

PROPERTIES = (
    "LoadState",
    "ActiveState",
    "SubState",
    "StateChangeTimestamp",
    "NRestarts",
    "StatusText",
    "Result",
    "MainPID",
    "MemoryCurrent",
    "UnitFileState",
)
LISTENING = frozenset({"active", "reloading"})
NO_SYSTEMD = "there is no systemd here (no systemctl): start `affectd run` by what this system starts services with"
LOG_COMMAND = ("journalctl", "--user", "--unit", NAME)


@dataclass(frozen=True)
class ServiceState:
    """What systemd knows of the service."""

    state: str
    """``active``, ``activating``, ``reloading``, ``deactivating``, ``inactive``, or ``failed``."""
    detail: str
    """The same in systemd's own words, such as ``auto-restart``."""
    since: str | None
    """ISO time of the last change of the state."""
    restarts: int
    """By systemd, since somebody started it."""
    status: str
    """What affectd itself says it does."""
    result: str
    """How it ended last: ``success``, ``exit-code``, ``watchdog``, ``oom-kill`` …"""
    pid: int | None
    memory_mb: float | None
    enabled: bool
    """It starts with the user's systemd."""

    @property
    def is_listening(self) -> bool:
        """It is up."""
        return self.state in LISTENING


def systemd_version() -> int:
    """Return the version of systemd; 0 where there is none."""
    try:
        said = _run("systemctl", "--version").stdout
    except FileNotFoundError:
        return 0
    found = re.match(r"systemd (\d+)", said)
    return int(found[1]) if found else 0


def check_manager() -> None:
    """Make sure that the user's systemd answers.

    Raises:
        UsageError: there is no systemd, or it runs none for this user.
    """
    try:
        answer = _run("systemctl", "--user", "show", "--property=Version")
    except FileNotFoundError:
        raise UsageError(NO_SYSTEMD) from None
    if answer.returncode:
        raise UsageError(
            f"systemd runs nothing for this user ({one_line(answer.stderr)}): log in as the user, not by su or sudo"
        )


def systemctl(*arguments: str) -> None:
    """Tell the user's systemd something; raises UsageError with its answer if it refuses."""
    answer = _run("systemctl", "--user", *arguments)
    if answer.returncode:
        raise UsageError(f"systemctl --user {' '.join(arguments)}: {one_line(answer.stderr)}")


def service_state() -> ServiceState | None:
    """Return the state of the service, None where no unit is installed; raises UsageError without a systemd."""
    check_manager()
    # TZ: systemctl writes times in that of its own environment.
    shown = _run("systemctl", "--user", "show", NAME, f"--property={','.join(PROPERTIES)}", TZ="UTC").stdout
    found = dict(line.partition("=")[::2] for line in shown.splitlines())
    if found.get("LoadState") == "not-found":
        return None
    memory = found.get("MemoryCurrent", "")
    return ServiceState(
        state=found.get("ActiveState", "unknown"),
        detail=found.get("SubState", ""),
        since=_iso(found.get("StateChangeTimestamp", "")),
        restarts=int(found.get("NRestarts") or 0),
        status=found.get("StatusText", ""),
        result=found.get("Result", ""),
        pid=int(found.get("MainPID") or 0) or None,
        # Where nothing counts it, it is "[not set]", or 2^64 - 1 before systemd 247.
        memory_mb=round(int(memory) / 1e6, 1) if memory.isdecimal() and int(memory) < 2**63 else None,
        enabled=found.get("UnitFileState") == "enabled",
    )


def lingers() -> bool:
    """Return whether the user's services run while the user is not logged in; also where nobody knows."""
    try:
        answer = _run("loginctl", "show-user", str(os.getuid()), "--property=Linger", "--value")
    except FileNotFoundError:
        return True
    return answer.stdout.strip() == "yes"


def _iso(text: str) -> str | None:
    """Return what systemd writes as ``Sun 2026-11-29 06:15:08 UTC`` as ISO local time."""
    try:
        time = datetime.strptime(text, "%a %Y-%m-%d %H:%M:%S UTC")
    except ValueError:
        return None
    return time.replace(tzinfo=timezone.utc).astimezone().isoformat()


def _run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program and return what it said; raises FileNotFoundError if it is not installed."""
    own = os.environ | {"LC_ALL": "C.UTF-8"} | environment
    return subprocess.run(
        arguments, env=own, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False
    )
