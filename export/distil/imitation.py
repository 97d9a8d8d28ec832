"""A student in its teacher's shoes, and how far apart the two are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from calibrate.encoders.logmel import frame_mask
from calibrate.encoders.pretrained import PooledEncoder, load_encoder
from calibrate.encoders.students import build_student, inherit
from calibrate.run import Run, build_run
from calibrate.training.heads import Standardise, narrowed
from edge.buckets import pad
from edge.errors import UsageError
from export.distil.student_recipe import DistilRecipe
from export.distil.teacher import Example, View

UNLABELLED = -1
"""Label of an utterance that has none."""
LOSSES = ("states", "embedding", "logits", "labels")
EVERYTHING = {"mix": "concatenate", "pool": "statistics", "standardise": True}
"""How a student's embedding comes from its layers, whatever its teacher's did."""
MOMENTUM = 0.01
"""Weight of one batch in the running statistics."""


class Imitation(nn.Module):
    """A student that speaks in the teacher's own spaces: hidden states, ``z`` and logits.

    A student of the teacher's width that starts from it takes its embedding too. Any other maps its states with a
    linear layer each, which is dropped afterwards (DistilHuBERT, Chang et al. 2022). The teacher's heads stay as they
    are.
    """

    def __init__(self, teacher: Run, recipe: DistilRecipe, start: str = "") -> None:
        super().__init__()
        student = build_student(recipe.student)
        start = start or recipe.start
        if start and recipe.student.kind != "whisper":
            raise UsageError(
                f"a {recipe.student.kind} student starts from scratch, not from {start}; kind = 'whisper' can"
            )
        inherit(student, load_encoder(start, student.layers) if start else teacher.encoder.encoder)
        self.encoder = PooledEncoder(student, recipe.pooled, teacher.recipe.encoder.voiced_db)
        self.bounded = teacher.recipe.head.kind == "dense"
        width, layers = teacher.encoder.encoder.width, len(teacher.encoder.pooled)
        dim = teacher.classifier.project.out_features
        self.standardise = RunningStandardise(self.encoder.dim)
        self.narrow = narrowed(self.encoder.dim, recipe.rank)
        self.project = nn.Linear(recipe.rank or self.encoder.dim, dim)
        same = self.encoder.dim == teacher.classifier.project.in_features and not recipe.rank
        if same and not start and student.width == width and len(recipe.pooled) == layers:
            self.maps = nn.ModuleList(nn.Identity() for _ in range(layers))
            self.standardise.start(teacher.classifier.standardise)
            self.project.load_state_dict(teacher.classifier.project.state_dict())
        else:
            self.maps = nn.ModuleList(nn.Linear(student.width, width) for _ in range(layers))
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
        z = self.project(self.narrow(self.standardise(pooled)))
        z = z.tanh() if self.bounded else z
        return torch.stack(mapped, dim=2), tokens, z, self.output(z)

    def as_run(self, teacher: Run, recipe: DistilRecipe, encoder_name: str) -> Run:
        """Return a run of the student's encoder and embedding with the teacher's heads, its temperature not yet fitted.

        Its recipe names as the encoder what the student started from.

        Args:
            teacher: what was imitated.
            recipe: of the imitation.
            encoder_name: folder that the student's encoder was saved to.
        """
        taught_by = teacher.recipe.encoder
        kept = {
            "name": recipe.start or taught_by.name,
            "licence": " and ".join(dict.fromkeys(filter(None, (taught_by.licence, recipe.start_licence)))),
            "layers": self.encoder.encoder.layers,
            "pooled": recipe.pooled,
            "finetune": 0,
        }
        described = teacher.recipe.model_copy(
            update={
                "name": recipe.name,
                "encoder": taught_by.model_copy(update=kept),
                "head": teacher.recipe.head.model_copy(update=EVERYTHING | {"rank": recipe.rank}),
            }
        )
        run = build_run(described, encoder_name)
        learned = {"standardise": self.standardise, "narrow": self.narrow, "project": self.project}
        mine = {f"{part}.{name}": tensor for part in learned for name, tensor in learned[part].state_dict().items()}
        del mine["standardise.seen"]
        heads = {name: tensor for name, tensor in teacher.classifier.state_dict().items() if name not in mine}
        run.classifier.load_state_dict({name: heads.get(name, mine.get(name)) for name in run.classifier.state_dict()})
        run.corpora, run.speakers, run.readout = teacher.corpora, teacher.speakers, teacher.readout
        return run


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


def losses(imitation: Imitation, examples: Sequence[Example], labels: Tensor, scale: Scale) -> Tensor:
    """Return the losses ``float32[4]`` on examples, in the order of ``LOSSES``.

    Hidden states: distance and angle per token (DistilHuBERT, equation 1, on standardised channels); embedding: squared
    error, relative; logits: divergence from the teacher's probabilities; labels: cross-entropy.
    """
    waveforms = [each.waveform for each in examples]
    lengths = torch.tensor([len(waveform) for waveform in waveforms])
    states, tokens, z, logits = imitation(torch.from_numpy(pad(waveforms, int(lengths.max()))), lengths)
    targets = [torch.from_numpy(each.states) for each in examples]
    expected = nn.utils.rnn.pad_sequence(targets, batch_first=True)
    time = min(states.shape[1], expected.shape[1])
    inside = frame_mask(torch.minimum(tokens, torch.tensor([len(target) for target in targets])), states[:, :time])
    found, target = scale(states[:, :time])[inside], scale(expected[:, :time])[inside]
    embeddings = torch.from_numpy(np.stack([each.embedding for each in examples]))
    answers = imitation.output(embeddings)
    known = F.cross_entropy(logits, labels, ignore_index=UNLABELLED, reduction="sum", label_smoothing=0.1)
    return torch.stack(
        [
            F.l1_loss(found, target) + 1 - F.cosine_similarity(found, target, dim=-1).mean(),
            (z - embeddings).square().sum() / embeddings.square().sum(),
            F.kl_div(logits.log_softmax(1), answers.log_softmax(1), log_target=True, reduction="batchmean"),
            known / len(labels),
        ]
    )


class RunningStandardise(Standardise):
    """Standardise by running statistics, while training as afterwards.

    Batches are of like length, so statistics of one batch, as batch normalisation takes them, would mislead.
    """

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.seen: Tensor
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def start(self, known: Standardise) -> None:
        """Go on from the statistics of another."""
        self.load_state_dict(known.state_dict() | {"seen": torch.tensor(round(1 / MOMENTUM))})

    def forward(self, features: Tensor) -> Tensor:
        """Return standardised features ``float32[batch, dim]``; while training, learn from them first."""
        if self.training:
            with torch.no_grad():
                self.seen += 1
                share = max(MOMENTUM, 1 / int(self.seen))
                self.mean = torch.lerp(self.mean, features.mean(0), share)
                variance = torch.lerp(self.scale.pow(-2), (features - self.mean).square().mean(0), share)
                self.scale = (variance + 1e-8).rsqrt()
        return super().forward(features)
