"""Programs in the place of systemd's, which note what they are asked: no test has a user's systemd to itself."""

from __future__ import annotations

from pathlib import Path

PROGRAM = """\
#!/bin/sh
folder='{folder}'
printf '%s\\n' "{name} $*" >> "$folder/calls"
case "{name} $*" in
  "systemctl --version") cat "$folder/version" ;;
  "systemctl --user show --property=Version") [ -e "$folder/manager" ] || {{ echo 'No medium found' >&2; exit 1; }} ;;
  "systemctl --user show "*) [ "$TZ" = UTC ] && cat "$folder/shown" ;;
  "loginctl show-user "*) cat "$folder/linger" ;;
  *) if [ -e "$folder/refusal" ]; then cat "$folder/refusal" >&2; exit 1; fi; echo "{name} says so" ;;
esac
"""


class FakeSystemd:
    """``systemctl``, ``loginctl`` and ``journalctl`` in the folder ``programs``."""

    def __init__(self, folder: Path) -> None:
        self.programs = folder / "programs"
        self.programs.mkdir(parents=True)
        self._folder = folder
        for name in ("systemctl", "loginctl", "journalctl"):
            program = self.programs / name
            program.write_text(PROGRAM.format(folder=folder, name=name), encoding="utf-8")
            program.chmod(0o755)
        (folder / "manager").touch()
        self.has("version", "systemd 252 (252.38-1~deb12u1)\n+PAM +AUDIT")
        self.has("linger", "yes")

    def has(self, name: str, text: str) -> None:
        """Let it answer: ``version``, ``linger``, ``shown`` (properties), or ``refusal`` of everything else."""
        (self._folder / name).write_text(text + "\n", encoding="utf-8")

    def lacks_manager(self) -> None:
        """Let no systemd of the user's run."""
        (self._folder / "manager").unlink()

    def calls(self) -> list[str]:
        """Return what it was asked since the last time."""
        calls = self._folder / "calls"
        found = calls.read_text(encoding="utf-8").splitlines() if calls.exists() else []
        calls.unlink(missing_ok=True)
        return found
