"""``affectd-export bundle``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge.cli.kit.entry import examples
from edge.errors import one_of
from export.cli.options import Debug, EncoderName, Force, Threads

EXAMPLES = examples(
    "affectd-export bundle runs/default --data data --out bundles/mine",
    "affectd-export bundle runs/nano --data data --out bundles/nano --max-mb 2       recognises nobody",
    "affectd run --bundle bundles/mine",
)


def bundle(
    run: Annotated[Path, typer.Argument(help="Folder that affectd-calibrate train wrote.")],
    *,
    data: Annotated[Path, typer.Option(help="Folder of the corpora, for checks and figures.", metavar="DIR")],
    out: Annotated[Path, typer.Option(help="Bundle folder, written when all checks pass.", metavar="DIR")],
    name: Annotated[str | None, typer.Option(help="Name of the bundle.", show_default="the recipe's name")] = None,
    version: Annotated[str, typer.Option(help="Version of the bundle.")] = "1",
    precision: Annotated[str, typer.Option(help="int8 (CPU), fp16 (GPU) or fp32.")] = "int8",
    quantisation: Annotated[
        str,
        typer.Option(
            help="How int8 gets the ranges of activations: dynamic (every run), static (calibrated on training speech) "
            "or auto (the better of both, measured on validation speech)."
        ),
    ] = "auto",
    encoder: EncoderName = None,
    speakers: Annotated[
        Path | None,
        typer.Option(
            help="Folder that affectd-calibrate verification wrote: who speaks.",
            metavar="DIR",
            show_default="the bundle recognises nobody",
        ),
    ] = None,
    left_out: Annotated[
        Path | None,
        typer.Option(
            help="generalisation.json that affectd-calibrate generalise wrote of the run's recipe, for the model card.",
            metavar="FILE",
            show_default="the card says nothing of corpora left out",
        ),
    ] = None,
    max_mb: Annotated[
        float | None, typer.Option(min=0, help="Refuse a larger bundle.", metavar="MB", show_default="any size")
    ] = None,
    cache: Annotated[Path, typer.Option(help="Folder for features of the frozen encoder.", metavar="DIR")] = Path(
        "cache"
    ),
    force: Force = False,
    threads: Threads = 2,
    debug: Debug = False,
) -> None:
    """Export a run: torch to ONNX to int8 or fp16, compared on the test speakers; a failed check writes nothing."""
    from typing import get_args

    import torch

    from calibrate.dataset import read_parts
    from calibrate.finished import keep_finished
    from calibrate.report import figures_report
    from calibrate.run import load_run
    from calibrate.speakers.factor_model import population_of
    from calibrate.speakers.verifier import SpeakerModel
    from calibrate.speech_check import speech_check_of
    from edge.bundle import MANIFEST_NAME
    from edge.errors import UsageError
    from export.bundle.card import read_left_out
    from export.bundle.contents import Identity, Model
    from export.bundle.write import export_bundle
    from export.cli.checks_table import show_checks
    from export.graph.precision import Precision, Quantisation

    chosen = one_of("precision", precision, get_args(Precision))
    way = None if quantisation == "auto" else one_of("quantisation", quantisation, get_args(Quantisation), "auto")
    keep_finished(out, force, MANIFEST_NAME)
    torch.set_num_threads(threads)
    trained = load_run(run, encoder)
    recipe = trained.recipe
    verifier = SpeakerModel.load(speakers) if speakers else None
    parts = read_parts(recipe, data)
    if not parts["test"].paths:
        raise UsageError(f"{data}: no test speakers, and an export is checked on them")
    protocol = (
        f"`affectd-export bundle`: test speakers of {recipe.splits.origin}, never trained on; "
        f"what is spoken in each file, through the device's code; {chosen}, CPU; {len(recipe.labels)} labels; "
        "no adaptation."
    )
    source = trained.source(cache)
    population = population_of(trained, parts["train"], source)
    speech = speech_check_of(trained, parts["train"], data, source)
    identity = Identity(name or recipe.name, version, chosen, way)
    written = export_bundle(
        Model(trained, population, verifier, speech), parts, out, identity, protocol, max_mb, read_left_out(left_out)
    )
    show_checks(written.checks, "checks of the export")
    for trial in written.trials:
        print(f"{trial.quantisation} int8: mean cosine {trial.cosine:.4f}, {trial.latency_ms:.1f} ms for 3 s")
    figures_report(written.figures, recipe.labels, protocol, "test speakers", written.values).show()
    print(f"bundle written to {out}, {sum(path.stat().st_size for path in out.iterdir()) / 1e6:.1f} MB")
    if verifier is None:
        print("it recognises nobody: affectd-calibrate verification makes what --speakers takes")
