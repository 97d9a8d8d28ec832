"""``affectd-calibrate features mfcc``."""

from pathlib import Path
from typing import Annotated

import typer

from calibrate.cli.options import Debug, Folder, Force, Json, Reader, finished_out
from edge.cli.kit.entry import examples

EXAMPLES = examples(
    "affectd-calibrate features mfcc crema-d CREMA-D/AudioWAV --out features",
    "affectd-calibrate features mfcc ravdess data/ravdess --out features --coefficients 20 --clips 8",
)


def mfcc(
    corpus: Reader,
    folder: Folder,
    *,
    out: Annotated[Path, finished_out("mfcc.json", help="Folder for what is written.")],
    coefficients: Annotated[int, typer.Option(help="Cepstral coefficients, the first of them energy.")] = 40,
    clips: Annotated[
        int | None, typer.Option(min=1, help="Clips of each speaker, drawn at random.", show_default="all")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of that draw.")] = 0,
    force: Force = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Write one mean-pooled MFCC vector a speaker as JSON, and plot their principal components.

    The plot is coloured by gender and, where the corpus states it, by race. With --clips the JSON lists the files used,
    so that an evaluation can leave them out.
    """
    from calibrate.corpora.mfcc import describe_speakers

    report = describe_speakers(corpus, folder, coefficients=coefficients, clips=clips, seed=seed)
    report.write(out)
    report.show(json, out)
