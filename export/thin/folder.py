"""From a training recipe to the folder of a thin encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from calibrate.dataset import read_parts
from calibrate.encoders.pretrained import load_encoder
from calibrate.encoders.students import save_student
from calibrate.encoders.whisper import WhisperEncoder
from calibrate.progress import stage
from calibrate.recipe import Recipe
from calibrate.training.augment import augment
from edge.audio import SAMPLE_RATE_HZ, Waveform
from edge.errors import ModelError, UsageError
from export.distil.unlabelled import as_speech
from export.graph.parity import some_speech
from export.thin.likeness import Likeness, likeness
from export.thin.thinner import Thickness, shape_of, thin

JUDGED_BY = 80
"""Utterances that the report is on."""


@dataclass(frozen=True)
class Wanted:
    """What is left of an encoder, and what it is fitted to."""

    stem: int
    hidden: int
    clips: int
    seed: int


@dataclass(frozen=True)
class Report:
    """What an encoder has in common with what it was made from."""

    origin: str
    clips: int
    """That it was not fitted to."""
    rows: Mapping[str, Sequence[Likeness]]
    """Of the thin encoder, and of one whose tokens are merged and nothing more, where they are."""


def write_thin(recipe: Recipe, data: Path, name: str | None, wanted: Wanted, out: Path) -> Report:
    """Thin the encoder of a recipe, write it as a folder that loads like any pretrained encoder, and say what it cost.

    Args:
        recipe: names corpora, encoder and how it hears.
        data: folder of the corpora.
        name: of the encoder, over the recipe's.
        wanted: what is left of it.
        out: folder to be written.

    Raises:
        UsageError: there is too little speech, or nothing would be thinner.
        ModelError: the encoder is no Whisper, or does not load.
    """
    described = recipe.encoder
    origin = name or described.name
    whole = load_encoder(origin, described.layers)
    if not isinstance(whole, WhisperEncoder):
        raise ModelError(f"{origin}: only Whisper, and its students, can be thinned")
    thickness = Thickness(wanted.stem, wanted.hidden, described.merge)
    thickness.check(whole)
    fitted, judged = _speech(recipe, data, wanted.clips)
    slim = thin(whole, thickness, _half_augmented(fitted, recipe, wanted.seed), described.voiced_db)
    with stage("comparing"):
        rows = {"thin": likeness(whole, slim, judged, described.pooled, described.voiced_db)}
        if slim.merge and not whole.merge:
            merged = load_encoder(origin, described.layers)
            merged.merge_pairs()
            rows["merged alone"] = likeness(whole, merged, judged, described.pooled, described.voiced_db)
    label = whole.label or described.name.rstrip("/").rpartition("/")[2]
    save_student(slim, shape_of(slim), out, f"{label}, {_described(thickness)}")
    return Report(label, len(judged), rows)


def _described(thickness: Thickness) -> str:
    """Return what model cards say of a thin encoder."""
    kept = {"its stem": thickness.stem, "its feed-forward layers": thickness.hidden}
    thinned = " and ".join(f"{channels} channels in {where}" for where, channels in kept.items() if channels)
    return f"thinned to {thinned}" if thinned else "fitted to merged tokens"


def _speech(recipe: Recipe, data: Path, clips: int) -> tuple[list[Waveform], list[Waveform]]:
    """Return utterances of those who are trained on: what an encoder is fitted to, and what it is judged by."""
    with stage("reading speech"):
        longest = round(recipe.encoder.max_s * SAMPLE_RATE_HZ)
        found = some_speech(as_speech(read_parts(recipe, data)["train"]), clips + JUDGED_BY, longest)
    judged = min(JUDGED_BY, len(found) // 4)
    if judged < 2:
        raise UsageError(f"{data}: {len(found)} utterances are too few to fit an encoder to")
    return found[:-judged], found[-judged:]


def _half_augmented(speech: Sequence[Waveform], recipe: Recipe, seed: int) -> list[Waveform]:
    """Return the utterances, every other one augmented as a recipe says, where it says so."""
    if not recipe.augmentation.copies:
        return list(speech)
    longest = round(recipe.encoder.max_s * SAMPLE_RATE_HZ)
    return [
        augment(waveform, recipe.augmentation, np.random.default_rng([seed, row]))[:longest] if row % 2 else waveform
        for row, waveform in enumerate(speech)
    ]
