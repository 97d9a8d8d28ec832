"""Readers of emotional speech corpora in their official layouts, one file each, all through :func:`read_corpus`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from calibrate.corpora.banglaser import BANGLASER
from calibrate.corpora.base import Corpus, CorpusListing, Gender, Refusal, Utterance
from calibrate.corpora.crema_d import CREMA_D
from calibrate.corpora.emodb import EMODB
from calibrate.corpora.emovo import EMOVO
from calibrate.corpora.esd import ESD
from calibrate.corpora.librispeech import LIBRISPEECH
from calibrate.corpora.msp_podcast import MSP_PODCAST
from calibrate.corpora.nemo import NEMO
from calibrate.corpora.ravdess import RAVDESS
from calibrate.corpora.savee import SAVEE
from calibrate.corpora.table import CSV, TableCorpus
from calibrate.corpora.tess import TESS
from edge.errors import UsageError, one_of

__all__ = [
    "CORPORA",
    "Corpus",
    "CorpusListing",
    "Gender",
    "Refusal",
    "TableCorpus",
    "Utterance",
    "read_corpus",
    "require_trainable",
]

_READERS: tuple[Corpus | TableCorpus, ...] = (
    RAVDESS,
    NEMO,
    BANGLASER,
    CREMA_D,
    ESD,
    EMODB,
    EMOVO,
    TESS,
    SAVEE,
    LIBRISPEECH,
    MSP_PODCAST,
    CSV,
)
CORPORA = {reader.name: reader for reader in _READERS}


def read_corpus(name: str, folder: Path, strict: bool = False) -> CorpusListing:
    """List the utterances of a corpus in ``folder``, and the audio files that break its rules.

    ``csv`` also takes the path of the table itself.

    Raises:
        UsageError: the corpus is unknown, the folder holds none of it, or, when ``strict``, a file breaks a rule.
    """
    reader = CORPORA[one_of("corpus", name, tuple(CORPORA))]
    listing = reader.read(folder)
    reasons = "; ".join(reason for _, reason in listing.refused[:3])
    if not listing.utterances:
        why = f" ({len(listing.refused)} refused: {reasons})" if reasons else ""
        raise UsageError(f"{folder}: holds no recording of {name}; expected {reader.layout}{why}")
    if strict and listing.refused:
        raise UsageError(f"{folder}: {len(listing.refused)} audio files are not {name}: {reasons}")
    return listing


def require_trainable(paths: Iterable[Path]) -> None:
    """Refuse to train on recordings that may only be evaluated on, whatever corpus or folder they are given as.

    Raises:
        UsageError: a file is named as one of a corpus whose licence does not allow weights that ship.
    """
    readers = [reader for reader in _READERS if isinstance(reader, Corpus) and reader.evaluation_only]
    for path in paths:
        for reader in readers:
            try:
                reader.parse(path)
            except UsageError:
                continue
            raise UsageError(
                f"{path}: is of {reader.name}, whose licence allows evaluation only; no weights may learn from it: "
                'set role = "test" in the recipe, or leave it out'
            )
