"""``affectd-calibrate pldc``."""

from pathlib import Path
from typing import Annotated

import typer

from calibrate.cli.options import Cache, Data, Debug, EncoderName, Force, Json, RecipeFile, Threads, finished_out
from edge.cli.kit.entry import examples

EXAMPLES = examples(
    "affectd-calibrate pldc configs/default-train.toml --data data --out report",
    "affectd-calibrate pldc my.toml --data data --seeds 1 --folds 0 --out report            corpora left out only",
)


def pldc(
    recipe: RecipeFile,
    *,
    data: Data,
    out: Annotated[Path, finished_out("pldc.md")],
    seeds: Annotated[int, typer.Option(min=1, help="Enrolments of each kind, and of each label raised.")] = 5,
    folds: Annotated[int, typer.Option(min=0, help="Over the speakers; each is held out once. 0: none.")] = 5,
    power: Annotated[float, typer.Option(min=0, max=1, help="How far a label prior is believed.")] = 0.5,
    prior_clips: Annotated[float, typer.Option(min=0.01, help="Clips that the head's own prior counts for.")] = 40.0,
    copies: Annotated[
        int | None, typer.Option(min=0, help="Augmented copies to train with.", show_default="the recipe's")
    ] = None,
    without: Annotated[
        list[str] | None, typer.Option(help="Corpus of the recipe that takes no part. Repeatable.")
    ] = None,
    encoder: EncoderName = None,
    cache: Cache = Path("cache"),
    threads: Threads = 2,
    force: Force = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Measure what it is worth to learn how often a person shows each label, without being told.

    Personalised label distribution calibration: speakers on whom nothing was trained enrol with unlabelled clips, their
    labels in balance or one in excess, and are tested on others of the same shares. Against no prior, the room alone,
    and the true prior. UA, weighted accuracy and log loss, with intervals over speakers.
    """
    from calibrate.experiments.pldc import Belief, Effort, measure_pldc
    from calibrate.workspace import Workspace

    report = measure_pldc(
        Workspace(data, cache, threads).open(), recipe, effort=Effort(seeds, folds),
        belief=Belief(power, prior_clips), copies=copies, without=without or [], encoder=encoder,
    )  # fmt: skip
    report.write(out)
    report.show(json, out)
