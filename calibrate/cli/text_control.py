"""``affectd-calibrate text-control``."""

from pathlib import Path
from typing import Annotated

import typer

from calibrate.cli.options import Debug, Folder, Force, Json, Threads, finished_out
from edge.cli.kit.entry import examples

EXAMPLES = examples(
    "affectd-calibrate text-control nemo data/nemo --encoder google-bert/bert-base-multilingual-cased",
    "affectd-calibrate text-control esd ESD --encoder models/bert --finetune --sanity emotions.csv --out report",
)


def text_control(
    corpus: Annotated[str, typer.Argument(help="Reader of a corpus with transcripts: nemo, ravdess, crema-d, esd, …")],
    folder: Folder,
    *,
    encoder: Annotated[str, typer.Option(help="Hub name or folder of a text encoder of the transformers library.")],
    finetune: Annotated[bool, typer.Option("--finetune", help="Train the encoder along with the head.")] = False,
    sanity: Annotated[
        Path | None,
        typer.Option(
            help="Texts that are known to carry emotions: a CSV with the columns text,label.", metavar="FILE",
            exists=True, dir_okay=False,
        ),
    ] = None,
    folds: Annotated[int, typer.Option(min=2, help="At most, of speakers, sentences and texts.")] = 10,
    seed: Annotated[int, typer.Option(min=0, help="Of folds and heads.")] = 0,
    out: Annotated[Path | None, finished_out("text-control.md", is_optional=True)] = None,
    threads: Threads = 2,
    force: Force = False,
    json: Json = False,
    debug: Debug = False,
) -> None:  # fmt: skip
    """Ask whether the words of a corpus give its emotions away: the same kind of head on a text encoder.

    UA at chance, with speakers and with sentences held out, means that they do not. That the control could find a leak
    is shown on the same transcripts with a leak planted, and on a text-emotion set of yours.
    """
    from calibrate.experiments.text_control import control_text
    from calibrate.workspace import Workspace

    Workspace(threads=threads).open()
    report = control_text(corpus, folder, encoder=encoder, sanity=sanity, finetune=finetune, folds=folds, seed=seed)
    report.write(out)
    report.show(json, out)
