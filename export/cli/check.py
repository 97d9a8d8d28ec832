"""``affectd-export check``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge.cli.kit.entry import examples
from edge.errors import one_of
from export.cli.options import Debug, EncoderName, Threads

TEACHER = "HuBERT-large shape"


EXAMPLES = examples(
    "affectd-export check bundles/mine",
    "affectd-export check bundles/mine --data data --recipe configs/default-train.toml --against bundles/float",
    "affectd-export check bundles/nano --max-mb 2 --run runs/nano --data data --latency --least-ratio 600",
)


def check(
    bundle: Annotated[Path, typer.Argument(help="Bundle folder.")],
    *,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the corpora, for figures on the test speakers.", metavar="DIR", show_default="none"
        ),
    ] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(
            help="Recipe that names corpora and splits.", metavar="TOML", dir_okay=False, show_default="that of --run"
        ),
    ] = None,
    against: Annotated[
        Path | None, typer.Option(help="Float bundle of the same run, to compare with.", metavar="DIR")
    ] = None,
    run: Annotated[
        Path | None, typer.Option(help="The run itself, to compare with instead: slower.", metavar="DIR")
    ] = None,
    encoder: EncoderName = None,
    max_mb: Annotated[float, typer.Option(min=0, help="Most megabytes of the bundle.", metavar="MB")] = 20.0,
    latency: Annotated[bool, typer.Option("--latency", help="Time it against a pretrained encoder's shape.")] = False,
    teacher: Annotated[str, typer.Option(help="That shape; its weights are random.")] = TEACHER,
    least_ratio: Annotated[float, typer.Option(min=0, help="Least times that the bundle must be faster.")] = 1.0,
    cache: Annotated[Path, typer.Option(help="Folder for features of the run's encoder.", metavar="DIR")] = Path(
        "cache"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    threads: Threads = 2,
    debug: Debug = False,
) -> None:
    """Verify a finished bundle: files, graph, parity, padding, batches, figures, latency. A failure is exit code 3.

    Without data, embeddings are compared on the example conversation. Each check that is skipped gives its reason.
    """
    import json

    import torch

    from calibrate.run import load_run
    from edge.bundle import Bundle
    from edge.errors import ModelError, UsageError
    from export.bundle.check import failures
    from export.bundle.examine import Evidence, Reference, examine, held_out_speakers
    from export.bundle.latency import SHAPES, Race
    from export.bundle.write import PARITY_UTTERANCES
    from export.cli.checks_table import show_checks
    from export.example_conversation import turns
    from export.graph.parity import some_speech

    race = Race(one_of("teacher", teacher, tuple(SHAPES)), least_ratio) if latency else None
    if against and run:
        raise UsageError("a bundle is compared either --against a float bundle or with its --run")
    torch.set_num_threads(threads)
    trained = load_run(run, encoder) if run else None
    test = held_out_speakers(bundle, data, recipe, trained) if data else None
    reference = None
    if trained:
        reference = Reference.of_run(trained, cache)
    elif against:
        reference = Reference.of_bundle(Bundle.load(against), threads)
    speech = some_speech(test, PARITY_UTTERANCES) if test else turns()
    checks = examine(bundle, Evidence(speech, test, reference, race), max_mb, threads)
    failed = failures(checks)
    if as_json:
        rows = [each.as_json() for each in checks]
        print(json.dumps({"bundle": str(bundle), "passed": not failed, "checks": rows}, indent=2))
    else:
        show_checks(checks, f"checks of {bundle}")
    if failed:
        raise ModelError(f"{bundle}: {failed}")
