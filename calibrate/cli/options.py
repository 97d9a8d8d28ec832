"""The options and arguments that several commands of ``affectd-calibrate`` share."""

from pathlib import Path
from typing import Annotated, Any

import typer

from calibrate.finished import keep_finished
from edge.cli.kit.entry import set_debug
from edge.errors import UsageError

RecipeFile = Annotated[Path, typer.Argument(help="Training recipe in TOML, see configs/default-train.toml.")]
Model = Annotated[Path, typer.Argument(help="Run folder, or bundle folder.")]
Reader = Annotated[str, typer.Argument(help="Reader: ravdess, nemo, banglaser, crema-d, esd, emodb, …, csv.")]
RecordingsReader = Annotated[
    str,
    typer.Argument(help="Reader: ravdess, crema-d, esd, …, csv; or audio: any folder of recordings, without labels."),
]
Folder = Annotated[Path, typer.Argument(help="Where the corpus lies.")]

Data = Annotated[Path, typer.Option(help="Folder that the recipe's corpora and splits are relative to.", metavar="DIR")]
EvaluationRecipe = Annotated[
    Path | None, typer.Option("--recipe", help="Corpora and splits to evaluate on.", show_default="those of the run")
]
SplitName = Annotated[str, typer.Option("--split", help="train, validation or test.")]
HeldOutSplit = Annotated[str, typer.Option("--split", help="validation or test.")]
Strict = Annotated[bool, typer.Option("--strict", help="A file that breaks the naming is an error.")]
EncoderName = Annotated[
    str | None, typer.Option("--encoder", help="Hub name or folder of the pretrained encoder, over the recipe's.")
]
HeadName = Annotated[
    str | None,
    typer.Option(
        "--head",
        help="Head, schedule and augmentation of configs/heads, or of a file like these, over the "
        "recipe's: base, personal, mfcc, deep, wav2vec, …",
        metavar="NAME",
        show_default="the recipe's",
    ),
]
Layers = Annotated[
    str | None,
    typer.Option(
        help="Layers to pool, side by side: 1,2,3; 0 is the input of the first. Those above the highest do not run.",
        show_default="the last",
    ),
]
Pool = Annotated[
    str | None, typer.Option(help="Over time, of each layer: mean, or mean-deviation.", show_default="mean")
]
BatchSeconds = Annotated[
    float | None,
    typer.Option(
        min=0,
        help="Seconds of audio a batch, padding included; 0 encodes one at a time.",
        show_default="64; 0 for group-norm encoders, which feel their padding",
    ),
]
ANY_ENCODER = "Hub name or folder of a HuBERT, wav2vec 2.0, XLSR, WavLM or Whisper, or folder of a distilled student"

Cache = Annotated[Path, typer.Option(help="Folder for features of the frozen encoder.", file_okay=False, metavar="DIR")]
Threads = Annotated[int, typer.Option(min=1, help="Threads of torch.")]
Device = Annotated[str, typer.Option(help="torch device: cpu, cuda, cuda:1; many processes on cuda take one GPU each.")]
Force = Annotated[bool, typer.Option("--force", help="Replace what is finished there.", is_eager=True)]
Json = Annotated[bool, typer.Option("--json", help="JSON instead of tables.")]
Debug = Annotated[bool, typer.Option("--debug", callback=set_debug, help="Log details and show tracebacks.")]


def finished_out(*names: str, help: str = "Folder for the report.", is_optional: bool = False) -> Any:
    """Return the option ``--out`` of a command, which also takes ``force: Force``.

    Args:
        names: files that the folder holds once the command is done; where they are, ``--force`` is needed.
        help: what the folder is for.
        is_optional: whether nothing may be written.
    """

    def check(context: typer.Context, out: Path | None) -> Path | None:
        if out is not None:
            keep_finished(out, bool(context.params.get("force")), *names)
        return out

    default = "none is written" if is_optional else True
    return typer.Option("--out", help=help, file_okay=False, metavar="DIR", show_default=default, callback=check)


def layer_numbers(layers: str | None) -> list[int] | None:
    """Return the numbers of a list such as ``1,2,3``; None where the option was left out.

    Raises:
        UsageError: it is no such list.
    """
    if layers is None:
        return None
    try:
        return [int(number) for number in layers.split(",")]
    except ValueError:
        raise UsageError(f"--layers {layers!r} is not a list of numbers such as 1,2,3") from None
