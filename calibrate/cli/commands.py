"""The ``affectd-calibrate`` command: every command is a function of its own name in a file of that name."""

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
    init,
    mfcc,
    papt,
    personalise,
    pldc,
    report,
    robustness,
    sounds,
    strangers,
    sweep,
    table,
    text_control,
    train,
    transfer,
    verification,
)
from calibrate.progress import watched
from edge.cli.kit.entry import examples, new_app

app = new_app(
    "affectd-calibrate",
    "Train and evaluate: from emotional speech corpora to a model that [bold]affectd-export[/bold] bundles.",
    examples(
        "affectd-calibrate init my-corpus/                        what is in your folder, and a recipe that fits it",
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


for module in (
    init, corpus, table, embed, batching, papt, train, evaluate, report, calibrated, compare, crossvalidate, folds,
    generalise, transfer, sweep, robustness, sounds, text_control, strangers, adaptation, pldc, personalise,
    verification, household,
):  # fmt: skip
    name = module.__name__.rpartition(".")[2]
    command = getattr(module, name)
    app.command(name.replace("_", "-"), epilog=module.EXAMPLES)(command if module is init else watched(command))
features.command(epilog=mfcc.EXAMPLES)(watched(mfcc.mfcc))
app.add_typer(features, name="features")
