"""``affectd-calibrate corpus``."""

from calibrate.cli.options import Debug, Folder, Json, Reader, Strict
from edge.cli.kit.entry import examples

EXAMPLES = examples("affectd-calibrate corpus crema-d CREMA-D/AudioWAV --strict")


def corpus(
    name: Reader,
    folder: Folder,
    *,
    strict: Strict = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """List what a corpus folder holds: utterances per label and speaker, and each file that does not fit, with why."""
    from calibrate.corpora.listing import list_corpus

    list_corpus(name, folder, strict).show(json)
