"""From a recipe to the report on who speaks, and to the verifier that a bundle takes in."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from calibrate.dataset import read_parts
from calibrate.experiments.verification.figures import evaluate_verifier
from calibrate.experiments.verification.report import verification_report
from calibrate.progress import progress_bar
from calibrate.recipe import read_recipe
from calibrate.report import Report
from calibrate.speakers.fitting import fit_verifier
from calibrate.speakers.trials import Voices
from calibrate.speakers.verifier import SpeakerModel
from calibrate.speakers.voice_table import OnnxVoices, TorchVoices, cached_voices
from calibrate.speakers.voices import load_voice_encoder
from calibrate.splits import SPLITS
from calibrate.workspace import Workspace
from edge.errors import UsageError
from edge.settings import SpeakerSettings

SHARE = 0.5
"""Of each corpus's speakers, held out in a draw."""


def measure_verification(workspace: Workspace, recipe_path: Path, *, encoder: Path | None, draws: int) -> Report:
    """Measure how well speakers are distinguished, and fit the ``SpeakerModel`` that is written along with the report.

    Args:
        workspace: data, cache and threads.
        recipe_path: its corpora and splits are used.
        encoder: ONNX speaker encoder; None: GE2E and the spectrum.
        draws: of held-out speakers.

    Raises:
        UsageError: the corpora cannot be read, or have too few speakers.
        ModelError: resemblyzer is not installed, or ``encoder`` does not keep the contract.
    """
    recipe = read_recipe(recipe_path)
    parts = read_parts(recipe, workspace.data)
    source = TorchVoices(load_voice_encoder()) if encoder is None else OnnxVoices(encoder, workspace.threads)
    utterances = [utterance for split in SPLITS for utterance in parts[split].utterances]
    voices = cached_voices(source, utterances, workspace.cache, recipe.seed)
    with progress_bar() as progress:
        task = progress.add_task("draws of speakers", total=draws)
        figures = evaluate_verifier(voices, draws, SHARE, lambda: progress.advance(task))
    model = fit_model(voices, set(parts["test"].speakers.tolist()), encoder)
    return verification_report(figures, describe(voices, draws, model), model.save)


def fit_model(voices: Voices, test: set[str], encoder: Path | None) -> SpeakerModel:
    """Fit on everybody but the test speakers.

    Raises:
        UsageError: nobody is left.
    """
    known = voices.select(~np.isin(voices.speaker, sorted(test)))
    if not len(known.speaker):
        raise UsageError("no speaker of the corpora is in the train or validation split")
    verifier = fit_verifier(known)
    if encoder is not None:
        return SpeakerModel.of_onnx(verifier.calibration, encoder)
    assert verifier.projection is not None
    return SpeakerModel.of_projection(verifier.calibration, verifier.projection)


def describe(voices: Voices, draws: int, model: SpeakerModel) -> str:
    """Return the protocol of the figures."""
    speakers = ", ".join(
        f"{corpus} {len(np.unique(voices.speaker[voices.corpus == corpus]))}" for corpus in np.unique(voices.corpus)
    )
    settings = SpeakerSettings()
    fitted = "calibration is" if model.projection is None else "projection and calibration are"
    return (
        f"{model.architecture}, dim {model.dim}; mean of {draws} seeded draws; in each, half of the speakers of every "
        f"corpus ({speakers}; at least five, none where there are fewer than seven) are tested among themselves, and "
        f"{fitted} fitted on the others; half of a speaker's clips, drawn once, only enrol, the others only test; "
        "clips go through the device's voice activity detection; enrolment clips are of as many emotions as possible, "
        "or all neutral; tests of a given duration are clips cut, or prolonged by others of that speaker and emotion; "
        f"strangers are other speakers of the corpus, expected with probability {settings.stranger}; a name needs a "
        f"posterior of {settings.threshold}"
    )
