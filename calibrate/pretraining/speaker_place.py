"""Where an encoder is told who speaks: at the output of its transformer, at the input, as a first token, or nowhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import torch
from torch import Tensor

from calibrate.encoders.base import SpeechEncoder
from calibrate.recipe import SpeakerPlace
from edge.errors import one_of


def transform_for(
    encoder: SpeechEncoder, hidden: Tensor, frames: Tensor, speakers: Tensor | None, place: SpeakerPlace
) -> list[Tensor]:
    """Return the hidden states of tokens that somebody has spoken (Tran et al. 2023, section 3.1: ``f + e_s``).

    Args:
        encoder: its transformer, and where its front end's tokens are from.
        hidden: ``float32[batch, frames, width]``.
        frames: valid ones, ``int64[batch]``.
        speakers: embedding of who speaks, ``float32[batch, width]``; None: not told.
        place: added to the last states, added to the tokens, or a token before the first.
    """
    if speakers is None or place == "none":
        return encoder.transform(hidden, frames)
    told = speakers[:, None, :]
    if place == "first":
        return encoder.transform(hidden + told, frames)
    if place == "prefix":
        return [state[:, 1:] for state in encoder.transform(torch.cat([told, hidden], dim=1), frames + 1)]
    states = encoder.transform(hidden, frames)
    return [*states[:-1], states[-1] + told]


def places_named(names: Sequence[str]) -> list[SpeakerPlace]:
    """Return the places of these names, each once, ``none`` left to TAPT.

    Raises:
        UsageError: there is no such place.
    """
    allowed = [place for place in get_args(SpeakerPlace) if place != "none"]
    return [one_of("--place", name, allowed) for name in dict.fromkeys(names)]
