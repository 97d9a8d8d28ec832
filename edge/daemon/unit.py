"""The systemd user unit: what ``affectd run`` is started as, how it is watched, and what it may do.

Sources: systemd.service(5), systemd.exec(5), systemd.resource-control(5).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.errors import UsageError, printable
from edge.folders import config_folder
from edge.people.store.vault import CREDENTIAL_NAME

NAME = "affectd.service"
MARK = "# Written by `affectd service install`"
"""How a unit begins that affectd may replace and delete."""
RELOADING_SINCE, CREDENTIALS_SINCE = 253, 247
"""Versions of systemd."""
PLAIN = re.compile(r"[\w@+=:,./-]+", re.ASCII)
"""Words that need no quotes."""
REFUSED = frozenset("\"'\\")
"""In the path of a program; systemd also refuses what cannot be printed."""

TEMPLATE = """\
{mark}, which replaces it; `affectd service remove` deletes it.
# `systemctl --user edit affectd` adds settings of your own, which stay.

[Unit]
Description=affectd, on-device speech emotion
# Never gives up: a device or a disk may come back after hours.
StartLimitIntervalSec=0

[Service]
# Ready once the model is warm and audio comes, and only affectd itself may say so.
{type}
NotifyAccess=main
ExecStart={command}
{key}# Also after a crash, but not when every source has ended or somebody stopped it.
Restart=on-failure
RestartSec=200ms
# Settings that are not valid stay so until somebody edits them.
RestartPreventExitStatus=2
# Killed and started again when the thread that recognises has been stuck for so long.
WatchdogSec=30
# A slow device takes its time to load and warm the model. While it waits for a microphone it asks for more.
TimeoutStartSec=10min
# Whoever was speaking gets an answer; affectd ends its children itself.
TimeoutStopSec=20
KillMode=mixed

# Neither memory nor files may show to others what was heard: no core dump, no swap, files for the owner alone.
LimitCORE=0
MemorySwapMax=0
UMask=0077
{memory}# No other privileges than the user's own, whatever is started; what follows needs it in a user unit.
NoNewPrivileges=yes
# None of this is needed to listen: other ABIs and personalities, namespaces, realtime scheduling (the sound server
# has it), files that run as somebody else.
LockPersonality=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
# {network_why}
RestrictAddressFamilies={families}
# Not here: ProtectSystem, PrivateTmp, PrivateNetwork and the like. In a user unit they need user namespaces, without
# which, as on many systems, it would not start; and they hide the sockets of sound servers.

[Install]
WantedBy=default.target
"""


@dataclass(frozen=True)
class Unit:
    """What is special about one installation."""

    command: tuple[str, ...]
    """Program, by its absolute path, and arguments."""
    systemd: int
    """Version of systemd; 0 where there is none."""
    needs_network: bool = False
    """A source or an output does."""
    on_gpu: bool = False
    """Memory has no bound then: CUDA's libraries alone take gigabytes of it."""
    key: Path | None = None
    """File of the store's key, as an absolute path; None is the store's own."""

    def text(self) -> str:
        """Return the unit file.

        Raises:
            UsageError: a path that systemd cannot have, or a key where it has no credentials.
        """
        reloads = self.systemd >= RELOADING_SINCE
        return TEMPLATE.format(
            mark=MARK,
            type="Type=notify-reload" if reloads else "Type=notify\nExecReload=/bin/kill -HUP $MAINPID",
            command=command_line(self.command),
            key=self._key_lines(),
            memory="" if self.on_gpu else "# Several times what it takes: beyond it something leaks.\nMemoryMax=1G\n",
            network_why=(
                "Sources or outputs of the settings are on the network; the sound server and systemd have sockets here."
                if self.needs_network
                else "No network at all: only sockets of this machine, which the sound server and systemd have."
            ),
            families="AF_UNIX AF_INET AF_INET6" if self.needs_network else "AF_UNIX",
        )

    def _key_lines(self) -> str:
        if self.key is None:
            return ""
        if self.systemd < CREDENTIALS_SINCE:
            raise UsageError(f"--key needs systemd {CREDENTIALS_SINCE} or newer, which has credentials")
        path = str(self.key)
        if not path.isprintable() or path != path.strip() or path.endswith("\\"):
            raise UsageError(f"systemd cannot read a key from {path!r}: name a file without control characters")
        return f"# The key of the store, for this service alone.\nLoadCredential={CREDENTIAL_NAME}:{_percent(path)}\n"


def unit_path() -> Path:
    """Return where the user's unit is: ``$XDG_CONFIG_HOME/systemd/user``, by default in ``~/.config``."""
    return config_folder().parent / "systemd" / "user" / NAME


def command_line(words: Sequence[str]) -> str:
    r"""Return the value of ``ExecStart``: quoted, ``%`` and ``$`` doubled, what cannot be printed as ``\xNN``.

    Raises:
        UsageError: systemd starts no program with such a path, or has no such argument.
    """
    program, *arguments = words
    if any("\ud800" <= char <= "\udfff" for char in "".join(words)):
        raise UsageError(f"systemd can only have UTF-8 in a command, and this is none: {printable(' '.join(words))}")
    if REFUSED.intersection(program) or any(ord(char) < 32 or ord(char) == 127 for char in program):
        raise UsageError(
            f"systemd cannot start {program!r}: install affectd where no folder has quotes, a backslash or a control "
            "character in its name"
        )
    # Variables are replaced in arguments only.
    return " ".join([_quoted(program), *(_quoted(argument).replace("$", "$$") for argument in arguments)])


def _quoted(word: str) -> str:
    return word if PLAIN.fullmatch(word) else f'"{_percent("".join(map(_escaped, word)))}"'


def _escaped(char: str) -> str:
    if char in '"\\':
        return f"\\{char}"
    return char if char.isprintable() else "".join(f"\\x{byte:02x}" for byte in char.encode())


def _percent(text: str) -> str:
    return text.replace("%", "%%")
