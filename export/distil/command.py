"""The work behind ``affectd-export distil``."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from calibrate.corpora import Utterance
from calibrate.dataset import Part, read_parts
from calibrate.evaluate import evaluate_run
from calibrate.recipe import read_toml
from calibrate.report import figures_report
from calibrate.run import load_run
from edge.analyze import find_audio
from edge.audio import open_audio
from edge.errors import AudioFileError
from export.distil.imitation import UNLABELLED
from export.distil.student_recipe import DistilRecipe
from export.distil.train import distil

logger = logging.getLogger(__name__)


def distil_run(
    run_folder: Path,
    recipe_path: Path,
    data: Path,
    out: Path,
    unlabelled: Sequence[Path],
    encoder: str | None,
    start: str | None,
    *,
    resume: bool,
    cache: Path,
    threads: int,
) -> None:
    """Distil a run; see the command's help."""
    recipe = read_toml(recipe_path, DistilRecipe)
    torch.set_num_threads(threads)
    teacher = load_run(run_folder, encoder)
    parts = read_parts(teacher.recipe, data)
    train, validation = readable(with_unlabelled(parts["train"], unlabelled)), readable(parts["validation"])
    student = distil(teacher, (train, validation), recipe, out, cache, start=start or "", resume=resume)
    figures = evaluate_run(student, validation, cache)
    splits = student.recipe.splits.file or "a seeded draw"
    protocol = f"validation speakers of {splits}, never trained on; what is spoken in each file, torch"
    report = figures_report(figures, student.recipe.labels, protocol, f"{recipe.name}: validation speakers")
    report.write(out / "validation")
    report.show()
    size = sum(path.stat().st_size for path in out.rglob("*.safetensors"))
    print(f"run written to {out}, {size / 1e6:.1f} MB in float32")


def with_unlabelled(part: Part, folders: Sequence[Path]) -> Part:
    """Return a part with the audio files of folders added, each folder a corpus of its own, unlabelled.

    Raises:
        UsageError: a folder is missing or holds no audio.
    """
    utterances = list(part.utterances)
    for folder in folders:
        utterances += [Utterance(path, corpus=str(folder), speaker="", emotion="") for path in find_audio([folder])]
    labels = np.full(len(utterances), UNLABELLED)
    labels[: len(part.labels)] = part.labels
    return Part(utterances, labels, part.origins)


def readable(part: Part) -> Part:
    """Return the utterances whose files can be opened; the others are logged."""
    return part.select(np.array([_opens(path) for path in part.paths], np.bool_))


def _opens(path: Path) -> bool:
    try:
        open_audio(path).close()
    except AudioFileError as error:
        logger.warning("%s; it is left out", error)
        return False
    return True
