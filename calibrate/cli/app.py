"""The ``affectd-calibrate`` command: every command in a file of its own, which imports its work when it is called."""

from __future__ import annotations

from calibrate.cli import (
    adaptation,
    batching,
    calibrated,
    compare,
    corpus,
    crossvalidate,
    embed,
    evaluate,
    folds,
    generalise,
    household,
    mfcc,
    report,
    robustness,
    strangers,
    sweep,
    table,
    text_control,
    train,
    transfer,
    verification,
)
from edge.cli.kit.entry import examples, launch, new_app

app = new_app(
    "affectd-calibrate",
    "Train and evaluate: from emotional speech corpora to a model that [bold]affectd-export[/bold] bundles.",
    examples(
        "affectd-calibrate corpus ravdess data/ravdess            what is in a folder, and what does not fit",
        "affectd-calibrate train configs/default-train.toml --data data --encoder models/whisper-base",
        "affectd-calibrate evaluate runs/default --data data      figures on the test speakers",
    ),
)
features = new_app("features", "Describe what is in the recordings of a corpus.", mfcc.EXAMPLES)


@app.callback()
def calibrate() -> None:
    """Options before any command."""


@features.callback()
def describe() -> None:
    """Options before any feature."""


app.command(epilog=corpus.EXAMPLES)(corpus.corpus)
app.command(epilog=table.EXAMPLES)(table.table)
app.add_typer(features, name="features")
features.command(epilog=mfcc.EXAMPLES)(mfcc.mfcc)
app.command(epilog=embed.EXAMPLES)(embed.embed)
app.command(epilog=batching.EXAMPLES)(batching.batching)
app.command(epilog=train.EXAMPLES)(train.train)
app.command(epilog=evaluate.EXAMPLES)(evaluate.evaluate)
app.command(epilog=report.EXAMPLES)(report.report)
app.command(epilog=calibrated.EXAMPLES)(calibrated.calibrated)
app.command(epilog=compare.EXAMPLES)(compare.compare)
app.command(epilog=crossvalidate.EXAMPLES)(crossvalidate.crossvalidate)
app.command(epilog=folds.EXAMPLES)(folds.folds)
app.command(epilog=generalise.EXAMPLES)(generalise.generalise)
app.command(epilog=transfer.EXAMPLES)(transfer.transfer)
app.command(epilog=sweep.EXAMPLES)(sweep.sweep)
app.command(epilog=robustness.EXAMPLES)(robustness.robustness)
app.command("text-control", epilog=text_control.EXAMPLES)(text_control.text_control)
app.command(epilog=strangers.EXAMPLES)(strangers.strangers)
app.command(epilog=adaptation.EXAMPLES)(adaptation.adaptation)
app.command(epilog=verification.EXAMPLES)(verification.verification)
app.command(epilog=household.EXAMPLES)(household.household)


def main() -> None:
    """Run the command line and exit with its code."""
    launch(app, "affectd-calibrate")
