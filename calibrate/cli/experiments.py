"""``affectd-calibrate compare | report | text-control | calibrated``: their options."""
# ruff: noqa: PLC0415  (imports inside the commands, so that --help does not wait for torch)

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from calibrate.cli.app import Cache, Data, Debug, EncoderName, Threads, app
from edge.cli.kit.entry import examples

Model = Annotated[Path, typer.Argument(help="Run folder, or bundle folder.")]
RecipeFile = Annotated[
    Path | None, typer.Option("--recipe", help="Corpora and splits to evaluate on.", show_default="those of the run")
]
SplitName = Annotated[str, typer.Option("--split", help="train, validation or test.")]
Out = Annotated[Path, typer.Option(help="Folder for the report.", file_okay=False, metavar="DIR")]
OptionalOut = Annotated[
    Path | None,
    typer.Option(
        "--out", help="Folder for the report.", file_okay=False, metavar="DIR", show_default="none is written"
    ),
]
Json = Annotated[bool, typer.Option("--json", help="JSON instead of tables.")]


@app.command(
    epilog=examples(
        "affectd-calibrate compare runs/default runs/mine --data data --out report",
        "affectd-calibrate compare runs/mine bundles/mine --data data --recipe configs/default-train.toml",
        "affectd-calibrate compare facebook/wav2vec2-large-xlsr-53 jonatasgrosman/wav2vec2-large-xlsr-53-english "
        "--data data --recipe configs/default-train.toml --folds 10",
    )
)
def compare(
    a: Annotated[str, typer.Argument(help="Run folder, bundle folder, or hub name or folder of an encoder.")],
    b: Annotated[str, typer.Argument(help="The same of what it is compared with.")],
    *,
    data: Data,
    recipe: RecipeFile = None,
    split: SplitName = "test",
    out: OptionalOut = None,
    encoder: EncoderName = None,
    encoder_b: Annotated[
        str | None, typer.Option(help="Where B's encoder is loaded from.", show_default="as --encoder")
    ] = None,
    folds: Annotated[int, typer.Option(min=2, help="Of encoders: each speaker is held out once.")] = 5,
    cache: Cache = Path("cache"),
    threads: Threads = 2,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Compare two models on the same utterances, with a paired significance test over speakers.

    Runs and bundles answer to the test speakers. Encoders get a head each by the recipe, cross-validated over its
    training and validation speakers, so that choosing one leaves the test speakers unread.
    """
    from calibrate.experiments.compare_run import compare_models

    compare_models(
        a, b, data, recipe, split, out, (encoder, encoder_b or encoder), folds=folds, cache=cache, threads=threads,
        as_json=json,
    )  # fmt: skip


@app.command(
    epilog=examples(
        "affectd-calibrate report runs/default --data data --out report",
        "affectd-calibrate report edge/bundles/default --data data --recipe configs/default-train.toml --out report",
    )
)
def report(
    model: Model,
    *,
    data: Data,
    out: Out,
    split: SplitName = "test",
    recipe: RecipeFile = None,
    encoder: EncoderName = None,
    cache: Cache = Path("cache"),
    threads: Threads = 2,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Write the classification report of a run or a bundle as Markdown, CSV, JSON and a single HTML file.

    Precision, recall, F1 and support of every label, accuracy, macro and weighted averages, the confusion matrix, and
    of a run the curves of its training.
    """
    from calibrate.experiments.classification_report import report_model

    report_model(model, data, split, recipe, out, encoder, cache=cache, threads=threads, as_json=json)


@app.command(
    "text-control",
    epilog=examples(
        "affectd-calibrate text-control nemo data/nemo --encoder google-bert/bert-base-multilingual-cased",
        "affectd-calibrate text-control esd ESD --encoder models/bert --finetune --sanity emotions.csv --out report",
    ),
)
def text_control(
    corpus: Annotated[str, typer.Argument(help="Reader of a corpus with transcripts: nemo, ravdess, crema-d, esd, …")],
    folder: Annotated[Path, typer.Argument(help="Where the corpus lies.")],
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
    out: OptionalOut = None,
    threads: Threads = 2,
    json: Json = False,
    debug: Debug = False,
) -> None:  # fmt: skip
    """Ask whether the words of a corpus give its emotions away: the same kind of head on a text encoder.

    UA at chance, with speakers and with sentences held out, means that they do not. That the control could find a leak
    is shown on the same transcripts with a leak planted, and on a text-emotion set of yours.
    """
    from calibrate.experiments.text_control_report import control_text

    control_text(
        corpus, folder, encoder, out, sanity, finetune=finetune, folds=folds, seed=seed, threads=threads, as_json=json
    )


@app.command(
    epilog=examples(
        "affectd-calibrate calibrated runs/default --data data --out report --accuracy 0.9",
        "affectd-calibrate calibrated bundles/mine --data data --recipe configs/default-train.toml --out report",
    )
)
def calibrated(
    model: Model,
    *,
    data: Data,
    out: Out,
    accuracy: Annotated[float, typer.Option(min=0, max=1, help="Wanted of the answers that nobody reviews.")] = 0.8,
    recipe: RecipeFile = None,
    encoder: EncoderName = None,
    cache: Cache = Path("cache"),
    threads: Threads = 2,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Measure confidence, and find the review threshold that reaches a wanted accuracy.

    Temperature, reliability diagram, expected calibration error and the coverage-accuracy curve; fitted on validation
    speakers, reported on test speakers. Prints the line for the settings.
    """
    from calibrate.experiments.confidence_report import calibrate_model

    calibrate_model(model, data, recipe, out, encoder, wanted=accuracy, cache=cache, threads=threads, as_json=json)
