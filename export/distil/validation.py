"""What a student is worth on validation speakers, with the heads of its teacher."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from calibrate.dataset import Part
from calibrate.encoders.batches import plan_batches
from calibrate.metrics import ua_by
from calibrate.run import Run
from edge.audio import SAMPLE_RATE_HZ, Waveform, read_audio
from edge.buckets import pad
from edge.spoken import spoken
from export.distil.imitation import Imitation
from export.distil.teacher import answers

BATCH_S = 64.0


class Validation:
    """Validation speech, what is spoken in each file as the device cuts it, and the teacher's embeddings of it."""

    def __init__(self, teacher: Run, part: Part) -> None:
        self.part = part
        limit = round(teacher.recipe.encoder.max_s * SAMPLE_RATE_HZ)
        self.waveforms = [spoken(read_audio(path))[:limit] for path in part.paths]
        lengths_s = [len(waveform) / SAMPLE_RATE_HZ for waveform in self.waveforms]
        self.batches = list(plan_batches(lengths_s, BATCH_S))
        self.expected = self._embed(lambda waveforms: answers(teacher, waveforms, 1)[2])

    def __call__(self, imitation: Imitation) -> tuple[float, float]:
        """Return the mean cosine of ``z`` to the teacher's, and the mean over corpora of UA with the teacher's head."""
        imitation.eval()

        def embed(waveforms: list[Waveform]) -> Tensor:
            lengths = torch.tensor([len(waveform) for waveform in waveforms])
            z: Tensor = imitation(torch.from_numpy(pad(waveforms, int(lengths.max()))), lengths)[2]
            return z

        z = self._embed(embed)
        with torch.inference_mode():
            predicted = imitation.output(z).argmax(1).numpy()
        ua = ua_by(self.part.corpora, predicted, self.part.labels)
        return float(F.cosine_similarity(z, self.expected).mean()), float(np.mean(list(ua.values())))

    def _embed(self, embed: Callable[[list[Waveform]], Tensor]) -> Tensor:
        rows: list[Tensor] = [torch.empty(0)] * len(self.waveforms)
        with torch.inference_mode():
            for batch in self.batches:
                for row, z in zip(batch, embed([self.waveforms[row] for row in batch]), strict=True):
                    rows[row] = z
        return torch.stack(rows)
