"""Pre-train an encoder by a recipe: the work behind ``affectd-calibrate papt``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from calibrate import processes
from calibrate.cache import content_of
from calibrate.corpora import Utterance, require_trainable
from calibrate.dataset import Rows, read_parts
from calibrate.encoders.base import SpeechEncoder
from calibrate.encoders.batches import central_part
from calibrate.encoders.pretrained import load_encoder
from calibrate.encoders.saved import new_hubert
from calibrate.pretraining.adapted import Adapted
from calibrate.pretraining.new_speakers import voice_of
from calibrate.pretraining.prediction import MaskedPrediction
from calibrate.pretraining.pretrainer import pretrain
from calibrate.pretraining.recordings import Recordings
from calibrate.pretraining.targets import Targets, cluster_targets
from calibrate.recipe import Recipe, RoundRecipe
from calibrate.training.audio_store import AudioStore
from calibrate.workspace import Workspace
from edge.arrays import Matrix
from edge.audio import SAMPLE_RATE_HZ, Waveform

LONGEST_S = 29.0
"""Of what is spoken in a recording: its central part is what the encoder takes."""
VOICE_RECORDINGS = 20
"""By which the known speakers' voices are measured."""


@dataclass(frozen=True)
class Round:
    """What came of a round."""

    recipe: RoundRecipe
    targets: Targets
    folder: Path
    """With its log."""


def pretrain_recipe(
    workspace: Workspace, recipe: Recipe, folder: Path, *, encoder: str | None = None, resume: bool = False
) -> Pretrained:
    """Pre-train by ``[pretraining]`` of a recipe on what its training corpora hold, without looking at a label.

    Args:
        workspace: data, cache and device.
        recipe: corpora, encoder, pre-training.
        folder: of the result, and of what it takes to resume.
        encoder: replaces where the pretrained encoder is loaded from.
        resume: go on from the checkpoints, if there are any.

    Raises:
        UsageError: the device does not work here, or there is no speech to learn from.
        ModelError: the encoder cannot be loaded.
    """
    device = processes.join(workspace)
    train = read_parts(recipe, workspace.data)["train"]
    require_trainable(train.paths)
    audio = AudioStore(recipe.pretraining.memory_gb * 1e9)
    recordings = Recordings.open(train.utterances, audio)
    torch.manual_seed(recipe.seed)
    start = start_of(recipe, encoder).to(device)
    pretrained = pretrain_encoder(recipe, start, recordings, folder, workspace.cache, resume=resume)
    if processes.is_main():
        source = encoder or recipe.encoder.name
        pretrained.adapted.save(folder, label_of(recipe, source))
    processes.meet()
    return pretrained


def start_of(recipe: Recipe, encoder: str | None = None) -> SpeechEncoder:
    """Return what pre-training starts from: the pretrained encoder's first layers, or a HuBERT that knows nothing."""
    if recipe.pretraining.scratch is not None:
        return new_hubert(recipe.pretraining.scratch)
    return load_encoder(encoder or recipe.encoder.name, recipe.encoder.layers)


def label_of(recipe: Recipe, source: str) -> str:
    """Return what model cards call the result."""
    kind = "TAPT" if recipe.pretraining.speakers == "none" else f"PAPT, {recipe.pretraining.speakers}"
    start = "HuBERT from scratch" if recipe.pretraining.scratch else source.rstrip("/").rpartition("/")[2]
    return f"{start} ({kind})"


@dataclass(frozen=True)
class Pretrained:
    """An encoder that has been pre-trained, with all that it was trained by."""

    model: MaskedPrediction
    recordings: Recordings
    """That it learned from."""
    rounds: list[Round]
    voices: Matrix
    """``float32[speakers, width]``, see ``Adapted``."""

    @property
    def adapted(self) -> Adapted:
        """What is kept of it."""
        return Adapted.of(self.model, self.recordings.speakers, self.voices)


def pretrain_encoder(
    recipe: Recipe,
    encoder: SpeechEncoder,
    recordings: Recordings,
    folder: Path,
    cache: Path,
    *,
    resume: bool,
    rows: Rows | None = None,
) -> Pretrained:
    """Take an encoder through the rounds of a recipe; it learns in place, and so do the speakers' embeddings.

    Args:
        recipe: its pre-training.
        encoder: learns.
        recordings: are clustered.
        folder: of logs and checkpoints.
        cache: of the clusters.
        resume: go on from the checkpoints, if there are any.
        rows: recordings to learn from, ``int64[n]``; None: all.
    """
    chosen = np.arange(len(recordings.utterances)) if rows is None else rows
    learnt = recordings.select(chosen)
    model: MaskedPrediction | None = None
    rounds = []
    for number, each in enumerate(recipe.pretraining.rounds, start=1):
        place = folder / f"round-{number}"
        place.mkdir(parents=True, exist_ok=True)
        targets = targets_of(recipe, each, encoder, recordings, cache)
        model = _next_model(recipe, encoder, targets.classes, learnt, number, model)
        pretrain(
            model, learnt, targets.select(chosen), recipe.pretraining, place, epochs=each.epochs,
            seed=recipe.seed + number - 1, resume=resume,
        )  # fmt: skip
        rounds.append(Round(each, targets, place))
    assert model is not None
    voices = [voice_of(model, read_some(learnt, speaker)) for speaker in range(len(learnt.speakers))]
    return Pretrained(model, learnt, rounds, np.stack(voices))


def targets_of(
    recipe: Recipe, round_recipe: RoundRecipe, encoder: SpeechEncoder, recordings: Recordings, cache: Path
) -> Targets:
    """Return the clusters of every recording, from the cache where they have been computed."""
    chosen = round_recipe.targets
    layer = None if chosen == "mfcc" else (encoder.layers + 1) // 2 if chosen == "middle" else chosen
    device = next(encoder.parameters()).device
    with processes.main_first():
        targets = cluster_targets(
            lambda row: read_part(recordings, row),
            recordings.utterances,
            encoder.eval().cpu(),
            layer,
            round_recipe.clusters,
            cache,
            seed=recipe.seed,
            batch_s=recipe.pretraining.batch_s,
            described=described(recordings.utterances),
        )
    encoder.to(device)
    return targets


def described(utterances: Sequence[Utterance]) -> list[str]:
    """Return what the waveforms of recordings depend on."""
    return [content_of(utterance.path) for utterance in utterances]


def read_part(recordings: Recordings, row: int) -> Waveform:
    """Return what is spoken in a recording, cut to what the encoder takes."""
    return central_part(recordings.read(row), round(LONGEST_S * SAMPLE_RATE_HZ))


def read_some(recordings: Recordings, speaker: int) -> list[Waveform]:
    """Return what is spoken in some of a speaker's recordings."""
    rows = np.flatnonzero(recordings.speaker == speaker)[:VOICE_RECORDINGS]
    return [read_part(recordings, row) for row in rows]


def _next_model(
    recipe: Recipe,
    encoder: SpeechEncoder,
    classes: int,
    recordings: Recordings,
    number: int,
    before: MaskedPrediction | None,
) -> MaskedPrediction:
    """Return the model of a round: new clusters, and what the round before knows of speakers and masks."""
    torch.manual_seed(recipe.seed + number)
    chosen = recipe.pretraining
    model = MaskedPrediction(encoder, classes, len(recordings.speakers), chosen.speakers, chosen.mask_probability)
    if before is not None:
        with torch.no_grad():
            model.speakers.copy_(before.speakers)
            model.mask.mask_embedding.copy_(before.mask.mask_embedding)
    return model.to(next(encoder.parameters()).device)
