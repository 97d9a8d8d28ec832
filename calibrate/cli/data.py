"""``affectd-calibrate table | features``: their options."""
# ruff: noqa: PLC0415  (imports inside the commands, so that --help does not wait for torch)

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from calibrate.cli.app import Debug, app
from edge.cli.kit.entry import examples, new_app

Reader = Annotated[str, typer.Argument(help="Reader: ravdess, nemo, banglaser, crema-d, esd, emodb, …, csv.")]
Folder = Annotated[Path, typer.Argument(help="Where the corpus lies.")]
Out = Annotated[Path, typer.Option(help="Folder for what is written.", file_okay=False, metavar="DIR")]
Json = Annotated[bool, typer.Option("--json", help="JSON instead of tables.")]

features = new_app(
    "features",
    "Describe what is in the recordings of a corpus.",
    examples("affectd-calibrate features mfcc ravdess data/ravdess --out features"),
)
app.add_typer(features, name="features")


@features.callback()
def describe() -> None:
    """Options before any feature."""


@app.command(
    epilog=examples(
        "affectd-calibrate table crema-d CREMA-D/AudioWAV --out tables",
        "affectd-calibrate table esd ESD --out tables --json",
    )
)
def table(
    corpus: Reader,
    folder: Folder,
    *,
    out: Out,
    strict: Annotated[bool, typer.Option("--strict", help="A file that breaks the naming is an error.")] = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Write a corpus as one CSV, with plots of clip lengths, emotions and who speaks.

    A row an utterance: path, speaker, sentence, emotion, a column of 0 and 1 a label, intensity, demographics and what
    listeners heard, as far as the corpus tells; empty where it does not. The csv reader reads the table back.
    """
    from calibrate.corpora.overview import tabulate_corpus

    tabulate_corpus(corpus, folder, out, strict=strict, as_json=json)


@features.command(
    epilog=examples(
        "affectd-calibrate features mfcc crema-d CREMA-D/AudioWAV --out features",
        "affectd-calibrate features mfcc ravdess data/ravdess --out features --coefficients 20 --clips 8",
    )
)
def mfcc(
    corpus: Reader,
    folder: Folder,
    *,
    out: Out,
    coefficients: Annotated[int, typer.Option(help="Cepstral coefficients, the first of them energy.")] = 40,
    clips: Annotated[
        int | None, typer.Option(min=1, help="Clips of each speaker, drawn at random.", show_default="all")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of that draw.")] = 0,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Write one mean-pooled MFCC vector a speaker as JSON, and plot their principal components.

    The plot is coloured by gender and, where the corpus tells it, by race. With --clips the JSON lists the files used,
    so that an evaluation can leave them out.
    """
    from calibrate.corpora.mfcc import describe_speakers

    describe_speakers(corpus, folder, out, coefficients=coefficients, clips=clips, seed=seed, as_json=json)
