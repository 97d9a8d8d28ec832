"""``affectd-calibrate verification``."""

from pathlib import Path
from typing import Annotated

import typer

from calibrate.cli.options import Data, Debug, Force, Json, Threads, finished_out
from edge.cli.kit.entry import examples

EXAMPLES = examples(
    "affectd-calibrate verification configs/default-train.toml --data data --out verifier",
    "affectd-calibrate verification configs/default-train.toml --data data --out verifier --encoder speaker.onnx",
)


def verification(
    recipe: Annotated[Path, typer.Argument(help="Training recipe: its corpora and splits are used.")],
    *,
    data: Data,
    out: Annotated[Path, finished_out("verification.md", help="Folder for the report and the verifier.")],
    encoder: Annotated[
        Path | None,
        typer.Option(
            help="ONNX speaker encoder of your own, waveform and lengths to voiceprint (affectd-export speaker makes "
            "one of a WeSpeaker or 3D-Speaker export).",
            dir_okay=False, exists=True, metavar="FILE", show_default="that of the default bundle",
        ),
    ] = None,
    cohort: Annotated[
        Path | None,
        typer.Option(
            help="Folder of recordings of other people, SPEAKER-….*: scores are less what these voices get.",
            file_okay=False, exists=True, metavar="DIR", show_default="none",
        ),
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(help="Corpus to leave out, such as that of the cohort. Repeatable."),
    ] = None,
    draws: Annotated[int, typer.Option(min=1, help="Random draws of clips, households and conversations.")] = 20,
    leave_out: Annotated[
        str,
        typer.Option(help="corpora: each is tested after fitting on the others; speakers: half of them in each draw."),
    ] = "corpora",
    cache: Annotated[Path, typer.Option(help="Folder for voiceprints.", file_okay=False)] = Path("cache"),
    threads: Threads = 2,
    force: Force = False,
    json: Json = False,
    debug: Debug = False,
) -> None:  # fmt: skip
    """Measure how well speakers are distinguished, and fit what a bundle needs to recognise them.

    The figures are on speakers held out from all fitting; of a single corpus, speakers are left out. The verifier in
    the same folder is then fitted on the recipe's train and validation speakers, never on its test speakers.
    """
    from typing import get_args

    from calibrate.experiments.verification import LeaveOut, measure_verification
    from calibrate.workspace import Workspace
    from edge.errors import one_of

    left_out = one_of("--leave-out", leave_out, get_args(LeaveOut))
    workspace = Workspace(data, cache, threads).open()
    report = measure_verification(
        workspace, recipe, without=without or [], encoder=encoder, draws=draws, leave_out=left_out,
        cohort_folder=cohort,
    )  # fmt: skip
    report.write(out)
    report.show(json, out)
