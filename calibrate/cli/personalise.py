"""``affectd-calibrate personalise``."""

from pathlib import Path
from typing import Annotated

import typer

from calibrate.cli.options import Cache, Data, Debug, EncoderName, Force, Json, RecipeFile, Threads, finished_out
from edge.cli.kit.entry import examples

EXAMPLES = examples(
    "affectd-calibrate personalise configs/personalise.toml --data data --out report",
    "affectd-calibrate personalise configs/personalise.toml --data data --place last --place first --out report",
    "affectd-calibrate personalise configs/personalise.toml --data data --seeds 1 --epochs 1 --out report",
)


def personalise(
    recipe: RecipeFile,
    *,
    data: Data,
    out: Annotated[Path, finished_out("personalisation.md")],
    seeds: Annotated[int, typer.Option(min=1, help="Draws of the speakers, and trainings.")] = 3,
    place: Annotated[
        list[str] | None,
        typer.Option(help="Where the speakers' embeddings go: last, first, prefix. Repeatable.", show_default="last"),
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=0, help="Of every round.", show_default="the recipe's")] = None,
    work: Annotated[
        Path,
        typer.Option(help="Folder of the encoders; what is finished there is not done again.", file_okay=False),
    ] = Path("runs/personalise"),
    encoder: EncoderName = None,
    cache: Cache = Path("cache"),
    threads: Threads = 2,
    force: Force = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    r"""Compare ways to make a model one person's, on people whom nothing has learned from.

    The published encoder, task-adaptive pre-training (TAPT) and pre-training that is told who speaks (PAPT), see
    affectd-calibrate papt; each without and with the calibration of a device to room and person, and with a label
    prior of the person (PLDC). And the gap between people learned from and others, by how many were learned from.
    Killed, it goes on where it was.
    """
    from calibrate.experiments.personalisation import measure_personalisation
    from calibrate.pretraining.speaker_place import places_named
    from calibrate.workspace import Workspace

    report = measure_personalisation(
        Workspace(data, cache, threads).open(), recipe, work, seeds=seeds, places=places_named(place or ["last"]),
        epochs=epochs, encoder=encoder,
    )  # fmt: skip
    report.write(out)
    report.show(json, out)
