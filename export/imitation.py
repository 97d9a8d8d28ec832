"""A student in its teacher's shoes, and how far apart the two are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from calibrate.dataset import Rows
from calibrate.encoders import PooledEncoder
from calibrate.heads import Classifier
from calibrate.logmel import frame_mask
from calibrate.run import Run
from calibrate.students import build_student, inherit
from edge.buckets import pad
from export.distil_recipe import DistilRecipe
from export.teacher import View

UNLABELLED = -1
"""Label of an utterance that has none."""
LOSSES = ("states", "embedding", "logits", "labels")


class Imitation(nn.Module):
    """A student that speaks in the teacher's own spaces: hidden states, ``z`` and logits.

    A student of the teacher's width starts from its layers and its embedding. Any other maps its states with a linear
    layer each, which is dropped afterwards (DistilHuBERT, Chang et al. 2022).
    """

    def __init__(self, teacher: Run, recipe: DistilRecipe) -> None:
        super().__init__()
        student = build_student(recipe.student)
        inherit(student, teacher.encoder.encoder)
        self.encoder = PooledEncoder(student, recipe.pooled)
        width, layers = teacher.encoder.encoder.width, len(teacher.encoder.pooled)
        dim = teacher.classifier.project.out_features
        if student.width == width and len(recipe.pooled) == layers:
            self.maps = nn.ModuleList(nn.Identity() for _ in range(layers))
            self.project = nn.Sequential(_standardised(teacher.classifier))
        else:
            self.maps = nn.ModuleList(nn.Linear(student.width, width) for _ in range(layers))
            self.project = nn.Sequential(nn.LayerNorm(self.encoder.dim), nn.Linear(self.encoder.dim, dim))
        self.output = nn.Linear(dim, teacher.classifier.output.out_features)
        self.output.load_state_dict(teacher.classifier.output.state_dict())
        self.output.requires_grad_(False)

    def forward(self, waveform: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return states ``float32[batch, tokens, layers, width]``, tokens ``int64[batch]``, ``z`` and logits.

        The student's pooled layers answer for the teacher's, the last for the last; the first for all that are left.
        """
        states, tokens, pooled = self.encoder.states(waveform, lengths)
        missing = len(self.maps) - len(states)
        chosen = [states[0]] * missing + states[max(0, -missing) :]
        mapped = [mapping(state) for mapping, state in zip(self.maps, chosen, strict=True)]
        z = self.project(pooled).tanh()
        return torch.stack(mapped, dim=2), tokens, z, self.output(z)


@dataclass(frozen=True)
class Scale:
    """Mean and deviation of the teacher's states, ``float32[layers, width]``, so that no channel drowns the others."""

    mean: Tensor
    deviation: Tensor

    @classmethod
    def of(cls, view: View) -> Scale:
        """Return the statistics of a view, of at most about 100,000 tokens."""
        step = max(1, len(view.states) // 100_000)
        sample = torch.from_numpy(np.asarray(view.states[::step], np.float32))
        return cls(sample.mean(0), sample.std(0) + 1e-5)

    def __call__(self, states: Tensor) -> Tensor:
        """Return standardised states."""
        return (states - self.mean) / self.deviation


def losses(imitation: Imitation, view: View, rows: Rows, labels: Tensor, scale: Scale) -> Tensor:
    """Return the losses ``float32[4]``, in the order of ``LOSSES``.

    Hidden states: distance and angle per token (DistilHuBERT, equation 1, on standardised channels); embedding: squared
    error, relative; logits: divergence from what the teacher's head says; labels: cross-entropy.
    """
    waveforms = [view.waveform(row) for row in rows]
    lengths = torch.tensor([len(waveform) for waveform in waveforms])
    states, tokens, z, logits = imitation(torch.from_numpy(pad(waveforms, int(lengths.max()))), lengths)
    targets = [torch.from_numpy(view.target(row)) for row in rows]
    expected = nn.utils.rnn.pad_sequence(targets, batch_first=True)
    time = min(states.shape[1], expected.shape[1])
    inside = frame_mask(torch.minimum(tokens, torch.tensor([len(target) for target in targets])), states[:, :time])
    found, wanted = scale(states[:, :time])[inside], scale(expected[:, :time])[inside]
    heard = torch.from_numpy(view.embeddings[rows])
    says = imitation.output(heard)
    return torch.stack(
        [
            F.l1_loss(found, wanted) + 1 - F.cosine_similarity(found, wanted, dim=-1).mean(),
            (z - heard).square().sum() / heard.square().sum(),
            F.kl_div(logits.log_softmax(1), says.log_softmax(1), log_target=True, reduction="batchmean"),
            F.cross_entropy(logits, labels, label_smoothing=0.1, ignore_index=UNLABELLED, reduction="sum") / len(rows),
        ]
    )


def _standardised(classifier: Classifier) -> nn.Linear:
    """Return the embedding layer of a classifier with its standardisation multiplied in."""
    project, standardise = classifier.project, classifier.standardise
    weight = project.weight.detach() * standardise.scale
    layer = nn.Linear(project.in_features, project.out_features)
    layer.load_state_dict({"weight": weight, "bias": project.bias.detach() - weight @ standardise.mean})
    return layer
