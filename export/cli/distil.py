"""``affectd-export distil``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge.cli.kit.entry import examples
from export.cli.options import Debug, Force, Threads

EXAMPLES = examples(
    "affectd-export distil runs/teacher configs/distil-nano.toml --data data --out runs/nano",
    "affectd-export distil runs/teacher configs/distil-nano.toml --data data --unlabelled speech --out runs/more",
)


def distil(
    run: Annotated[Path, typer.Argument(help="The teacher: folder that affectd-calibrate train wrote.")],
    recipe: Annotated[Path, typer.Argument(help="Student, losses and schedule in TOML, see configs/distil-*.toml.")],
    *,
    data: Annotated[Path, typer.Option(help="Folder of the corpora that the teacher trained on.", metavar="DIR")],
    out: Annotated[Path, typer.Option(help="Folder of the student's run.", file_okay=False, metavar="DIR")],
    unlabelled: Annotated[
        list[Path] | None,
        typer.Option(help="Folder of more speech, without labels. Repeatable.", file_okay=False, metavar="DIR"),
    ] = None,
    encoder: Annotated[
        str | None, typer.Option(help="Hub name or folder of the teacher's pretrained encoder, over the run's.")
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(help="Hub name or folder of the encoder that the student starts from, over the recipe's."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the student's checkpoint.")] = False,
    force: Force = False,
    cache: Annotated[
        Path, typer.Option(help="Folder for the answers of encoders, kept for the next time.", metavar="DIR")
    ] = Path("cache"),
    threads: Threads = 2,
    debug: Debug = False,
) -> None:
    """Train a small encoder to imitate a trained run, and write it as a run, with that run's own heads.

    Its folder "encoder" can also take the place of a pretrained encoder: affectd-calibrate train --encoder DIR/encoder.
    """
    import torch

    from calibrate.dataset import read_parts
    from calibrate.evaluate import evaluate_run
    from calibrate.finished import keep_finished
    from calibrate.recipe import read_toml
    from calibrate.report import figures_report
    from calibrate.run import RUN_NAME, load_run
    from calibrate.splits import Split
    from export.distil.student_recipe import DistilRecipe
    from export.distil.train import distil as train_student
    from export.distil.unlabelled import as_speech, readable, watched, with_unlabelled

    described = read_toml(recipe, DistilRecipe)
    keep_finished(out, force or resume, RUN_NAME)
    torch.set_num_threads(threads)
    teacher = load_run(run, encoder)
    parts = read_parts(teacher.recipe, data)
    taught, validation = watched(parts)
    train = readable(with_unlabelled(as_speech(taught), unlabelled or []))
    student = train_student(
        teacher, (train, readable(validation)), described, out, cache, start=start or "", resume=resume
    )
    split: Split = "validation" if parts["validation"].paths else "test"
    if parts[split].paths:
        figures = evaluate_run(student, readable(parts[split]), cache)
        splits = student.recipe.splits.origin
        protocol = f"{split} speakers of {splits}, never trained on; what is spoken in each file, torch"
        report = figures_report(figures, student.recipe.labels, protocol, f"{described.name}: {split} speakers")
        report.write(out / "validation")
        report.show()
    size = sum(path.stat().st_size for path in out.rglob("*.safetensors"))
    print(f"run written to {out}, {size / 1e6:.1f} MB in float32")
