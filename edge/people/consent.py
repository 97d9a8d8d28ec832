"""What someone agrees to before anything of their voice is kept. A change of its meaning needs a new version."""

from __future__ import annotations

import shlex
from pathlib import Path

CONSENT_VERSION = "2"

# A paragraph a line, for a terminal of any width.
_TEXT = (
    "affectd is about to remember how {name} sounds.",
    "What is kept: the name, and for every clip of speech a few hundred numbers: how it sounds, a voiceprint by which "
    "the voice can be recognised (biometric data), its length and, where told, its emotion. The recording itself is "
    "not kept. Where a journal is switched on, which it is not by default, also when and how {name} sounded, for as "
    "many days as are set.",
    "Where: in {store}, encrypted; the key lies beside it unless systemd provides one. Nothing is sent anywhere.",
    "What for: on this device, affectd will say when it is {name} who speaks, and judge how that sounds by how {name} "
    "usually sounds. It can be wrong in both.",
    'How it ends: whenever {name} wants, "affectd speakers forget {quoted}" removes every trace. Until then "affectd '
    'speakers show {quoted}" tells what is kept, "affectd speakers export {quoted}" hands it out, and "affectd history '
    '--person {quoted}" what is in a journal.',
)


def consent_text(name: str, store: Path) -> str:
    """Return what to agree to, a paragraph a line."""
    return "\n\n".join(_TEXT).format(name=name, store=store, quoted=shlex.quote(name))
