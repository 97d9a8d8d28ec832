"""Run folders as training writes them, without the training."""

from __future__ import annotations

from pathlib import Path

import torch

from calibrate.recipe import Recipe
from calibrate.run import build_run

LOG = """epoch,train_loss,validation_loss,validation_ua,learning_rate
1,1.9,2.0,0.2,0.1
2,1.5,1.8,0.4,0
"""


def write_run(folder: Path, recipe: Recipe, encoder: Path, speakers: tuple[str, ...] = ()) -> Path:
    """Write a run whose head was drawn at random, and which says that it was trained on these speakers."""
    run = build_run(recipe, str(encoder))
    torch.nn.init.normal_(run.classifier.output.weight)
    run.speakers = list(speakers)
    folder.mkdir()
    run.save(folder)
    (folder / "log.csv").write_text(LOG)
    return folder
