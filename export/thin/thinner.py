"""A Whisper encoder made thinner: fewer channels in its front end and feed-forward layers, and pairs of tokens merged.

Nothing is trained. Behind every step a linear layer is fitted by least squares, in closed form, so that what comes out
of it is what the whole encoder says there: of a pair of tokens, the mean of both. So each layer makes up for what those
before it have lost, and what is fitted first is heard by what is fitted next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from calibrate.encoders.batches import plan_batches
from calibrate.encoders.logmel import as_product, frame_mask, shifted_copies
from calibrate.encoders.pretrained import PooledEncoder
from calibrate.encoders.shapes import WhisperStudentShape
from calibrate.encoders.whisper import Rows, WhisperEncoder, means_of_pairs
from calibrate.progress import progress_bar
from edge.audio import SAMPLE_RATE_HZ, Waveform
from edge.buckets import pad
from edge.errors import UsageError
from export.thin.least_squares import Moments

BATCH_S = 48.0


@dataclass(frozen=True)
class Thickness:
    """What is left of an encoder."""

    stem: int = 0
    """Channels between the convolutions of the front end; 0: all."""
    hidden: int = 0
    """Channels of each feed-forward layer; 0: all."""
    merge: bool = False
    """Pairs of tokens become one in the first layer."""

    def check(self, whole: WhisperEncoder) -> None:
        """Refuse what is no thinner than the encoder is.

        Raises:
            UsageError: there is more of something than the encoder has, or nothing to be thinned.
        """
        block: Any = whole.blocks[0]
        found = {"stem": whole.conv1.out_channels, "hidden": block.fc1.out_features}
        for name, most in found.items():
            if getattr(self, name) > most:
                raise UsageError(f"--{name} {getattr(self, name)}: the encoder has {most} channels there")
        if not (self.merge and not whole.merge) and all(
            getattr(self, name) in (0, most) for name, most in found.items()
        ):
            raise UsageError("nothing would be thinner: give --stem, --hidden or a recipe with encoder.merge")


def thin(whole: WhisperEncoder, thickness: Thickness, speech: Sequence[Waveform], voiced_db: float) -> WhisperEncoder:
    """Return a thinner encoder that answers to speech as nearly as the whole one as least squares find.

    Args:
        whole: to be thinned; stays as it is.
        thickness: what is left of it.
        speech: that it is fitted to, each ``float32[samples]``; no longer than the encoder takes.
        voiced_db: of the recipe, see ``PooledEncoder``: what is fitted is heard as it will be.

    Raises:
        UsageError: see ``Thickness.check``.
    """
    thickness.check(whole)
    slim = deepcopy(whole).eval()
    slim.merge = whole.merge or thickness.merge
    fitting = Fitting(whole.eval(), slim, speech, voiced_db)
    steps: list[Callable[[], None]] = [lambda: fitting.thin_stem(thickness.stem)] if thickness.stem else []
    for layer in range(slim.layers):
        steps += [
            lambda layer=layer: fitting.fit_attention(layer),  # type: ignore[misc]
            lambda layer=layer: fitting.thin_feed_forward(layer, thickness.hidden),  # type: ignore[misc]
        ]
    with progress_bar() as progress, torch.inference_mode():
        for step in progress.track(steps, description="thinning"):
            step()
    return slim


class Fitting:
    """Two encoders that hear the same speech; the weights of the slim one are changed."""

    def __init__(
        self, whole: WhisperEncoder, slim: WhisperEncoder, speech: Sequence[Waveform], voiced_db: float
    ) -> None:
        self.whole, self.slim, self.speech = whole, slim, speech
        self.heard = PooledEncoder(slim, (0,), voiced_db).heard

    def thin_stem(self, channels: int) -> None:
        """Leave so many channels of the first convolution, and fit the second to do without the others."""
        first, second = self.slim.conv1, self.slim.conv2
        (taps,) = second.kernel_size
        moments = Moments(taps * second.in_channels, second.out_channels)
        for waveform, lengths in self._batches():
            narrow, frames = self.slim.stem(waveform, lengths)
            seen = shifted_copies(narrow, second)
            seen = seen[frame_mask(frames, seen)]
            moments.add(seen, seen.new_zeros(len(seen), second.out_channels))
        weights = _with_bias(as_product(second), second)
        groups = torch.arange(taps * second.in_channels).reshape(taps, -1).T
        kept = moments.kept(weights, groups, channels)
        left = moments.taken_over(weights, groups[kept].T.flatten()).float()
        self.slim.conv1 = nn.Conv1d(first.in_channels, channels, first.kernel_size, padding=1)
        self.slim.conv1.load_state_dict({"weight": first.weight[kept], "bias": first.bias[kept]})
        self.slim.conv2 = nn.Conv1d(channels, second.out_channels, second.kernel_size, second.stride, padding=1)
        folded = left[:, :-1].reshape(-1, taps, channels).transpose(1, 2)
        self.slim.conv2.load_state_dict({"weight": folded, "bias": left[:, -1]})

    def fit_attention(self, layer: int) -> None:
        """Fit the last product of a layer's attention to the tokens behind the whole encoder's."""
        product = self._block(self.slim, layer).self_attn.out_proj
        _set(product, self._moments(layer, product, behind_attention=True).fitted(_with_bias(product.weight, product)))

    def thin_feed_forward(self, layer: int, channels: int) -> None:
        """Leave so many channels of a feed-forward layer, 0: all, and fit its last product to the layer's states."""
        block = self._block(self.slim, layer)
        first, second = block.fc1, block.fc2
        moments = self._moments(layer, second, behind_attention=False)
        weights = moments.fitted(_with_bias(second.weight, second))
        if channels:
            kept = moments.kept(weights, torch.arange(second.in_features)[:, None], channels)
            weights = moments.taken_over(weights, torch.tensor(kept))
            block.fc1, block.fc2 = nn.Linear(first.in_features, channels), nn.Linear(channels, second.out_features)
            block.fc1.load_state_dict({"weight": first.weight[kept], "bias": first.bias[kept]})
        _set(block.fc2, weights)

    def _moments(self, layer: int, product: nn.Linear, behind_attention: bool) -> Moments:
        """Return the moments of a product of the slim encoder, and how far its tokens are from the whole one's."""
        moments = Moments(product.in_features, product.out_features)
        with (
            _inputs_of(product) as seen,
            _inputs_of(self._block(self.slim, layer).final_layer_norm) as mine,
            _inputs_of(self._block(self.whole, layer).final_layer_norm) as theirs,
        ):
            for waveform, lengths in self._batches():
                wanted, every = self.whole(waveform, lengths)
                found, frames = self.slim(waveform, lengths)
                wanted, found = (theirs[-1], mine[-1]) if behind_attention else (wanted[layer + 1], found[layer + 1])
                if self.slim.merge and not self.whole.merge:
                    wanted = means_of_pairs(Rows.of(wanted, every))
                inside = frame_mask(frames, found)
                moments.add(seen[-1][inside], (wanted - found)[inside])
        return moments

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the speech as the encoders hear it, ``float32[batch, samples]`` and ``int64[batch]``."""
        for rows in plan_batches([len(waveform) / SAMPLE_RATE_HZ for waveform in self.speech], BATCH_S):
            waveforms = [self.speech[row] for row in rows]
            lengths = torch.tensor([len(waveform) for waveform in waveforms])
            waveform, lengths, _ = self.heard(torch.from_numpy(pad(waveforms, int(lengths.max()))), lengths)
            yield waveform, lengths

    @staticmethod
    def _block(encoder: WhisperEncoder, layer: int) -> Any:
        return encoder.blocks[layer]


def shape_of(encoder: WhisperEncoder) -> WhisperStudentShape:
    """Return the shape that an encoder is saved with, see ``save_student``."""
    block: Any = encoder.blocks[0]
    stem = encoder.conv1.out_channels
    return WhisperStudentShape(
        layers=encoder.layers,
        width=encoder.width,
        heads=encoder.heads,
        hidden=block.fc1.out_features,
        stem=stem if stem != encoder.width else 0,
        mels=encoder.conv1.in_channels,
        hop=encoder.front.hop,
        stride=encoder.conv2.stride[0],
        positions=len(encoder.positions),
        merge=encoder.merge,
    )


@contextmanager
def _inputs_of(module: nn.Module) -> Iterator[list[Tensor]]:
    """Gather what a module gets, the latest alone."""
    latest: list[Tensor] = []

    def note(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        latest[:] = [inputs[0]]

    hook = module.register_forward_pre_hook(note)
    try:
        yield latest
    finally:
        hook.remove()


def _with_bias(weights: Tensor, layer: nn.Linear | nn.Conv1d) -> Tensor:
    """Return ``float64[outputs, inputs + 1]``, the bias behind the weights."""
    assert layer.bias is not None
    return torch.cat([weights, layer.bias[:, None]], dim=1).double()


def _set(product: nn.Linear, weights: Tensor) -> None:
    """Set weights and bias from ``float64[outputs, inputs + 1]``."""
    product.load_state_dict({"weight": weights[:, :-1].float(), "bias": weights[:, -1].float()})
