"""``affectd-calibrate table``."""

from pathlib import Path
from typing import Annotated

from calibrate.cli.options import Debug, Folder, Force, Json, Reader, Strict, finished_out
from edge.cli.kit.entry import examples

EXAMPLES = examples(
    "affectd-calibrate table crema-d CREMA-D/AudioWAV --out tables",
    "affectd-calibrate table esd ESD --out tables --json",
)


def table(
    corpus: Reader,
    folder: Folder,
    *,
    out: Annotated[Path, finished_out("summary.json", help="Folder for what is written.")],
    strict: Strict = False,
    force: Force = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Write a corpus as one CSV, with plots of clip lengths, emotions and who speaks.

    A row an utterance: path, speaker, sentence, emotion, a column of 0 and 1 a label, intensity, demographics and the
    listeners' votes, as far as the corpus states them, otherwise empty. The csv reader reads the table back.
    """
    from calibrate.corpora.overview import tabulate_corpus

    report = tabulate_corpus(corpus, folder, strict)
    report.write(out)
    report.show(json, out)
