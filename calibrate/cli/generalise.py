"""``affectd-calibrate generalise``."""

from pathlib import Path
from typing import Annotated

import typer

from calibrate.cli.options import Cache, Data, Debug, EncoderName, Json, Out, RecipeFile, Threads
from edge.cli.kit.entry import examples

EXAMPLES = examples("affectd-calibrate generalise configs/default-train.toml --data data --out report")


def generalise(
    recipe: RecipeFile,
    *,
    data: Data,
    out: Out,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each kind.")] = 3,
    encoder: EncoderName = None,
    cache: Cache = Path("cache"),
    threads: Threads = 2,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Train on all corpora of a recipe but one, and evaluate on that one, for each of them.

    Choose a recipe by the speakers who are not in the fixed test part; those who are have columns of their own.
    """
    from calibrate.experiments.generalisation import measure_generalisation
    from calibrate.workspace import Workspace

    workspace = Workspace(data, cache, threads).open()
    report = measure_generalisation(workspace, recipe, encoder=encoder, seeds=seeds)
    report.write(out)
    report.show(json, out)
