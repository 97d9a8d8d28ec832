"""What values are fitted to and evaluated against: annotations of a corpus, or derived from its labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from calibrate.corpora import CORPORA
from calibrate.corpora.base import Scale, Utterance
from calibrate.corpora.circumplex import CIRCUMPLEX
from calibrate.corpora.circumplex import SCALE as CIRCUMPLEX_SCALE
from calibrate.dataset import Part
from calibrate.recipe import Recipe, ValueRecipe
from edge.arrays import Doubles
from edge.errors import UsageError


def value_targets(part: Part, labels: Sequence[str], values: Sequence[ValueRecipe]) -> Doubles:
    """Return what is known of values, ``float64[utterances, values]``, in their ranges; NaN where nothing is.

    Args:
        part: the utterances.
        labels: what the indices of the part's labels stand for.
        values: to look up.

    Raises:
        UsageError: an annotation lies outside of its scale.
    """
    targets = np.full((len(part.utterances), len(values)), np.nan)
    for column, value in enumerate(values):
        for row, utterance in enumerate(part.utterances):
            if value.origin == "circumplex":
                known = CIRCUMPLEX.get(labels[part.labels[row]], {}).get(value.name)
                scale = CIRCUMPLEX_SCALE
            else:
                known, scale = getattr(utterance, value.name), scale_of(part, utterance, value)
            if known is not None:
                targets[row, column] = _mapped(known, scale, value, utterance)
    return targets


def learnable(part: Part, recipe: Recipe) -> tuple[ValueRecipe, ...]:
    """Return the values of a recipe that can be learned from a part: a corpus that is left out may be theirs."""
    targets = value_targets(part, recipe.labels, recipe.values)
    columns = [target[~np.isnan(target)] for target in targets.T]
    return tuple(value for value, known in zip(recipe.values, columns, strict=True) if len(np.unique(known)) > 1)


def require_targets(targets: Doubles, part: Part, values: Sequence[ValueRecipe]) -> None:
    """Make sure that every value can be learned.

    Raises:
        UsageError: no clip has a value, or all have the same.
    """
    corpora = ", ".join(dict.fromkeys(part.corpora.tolist()))
    for column, value in enumerate(values):
        known = targets[~np.isnan(targets[:, column]), column]
        what = "annotation" if value.origin == "annotations" else "label of the circumplex"
        if not len(known):
            raise UsageError(f"[[values]] {value.name}: none of {len(part.paths)} clips of {corpora} has the {what}")
        if np.ptp(known) == 0:
            raise UsageError(f"[[values]] {value.name}: all of {len(known)} clips are {known[0]:g}; nothing to learn")


def scale_of(part: Part, utterance: Utterance, value: ValueRecipe) -> Scale:
    """Return the scale that a value of an utterance is annotated on: by its recipe, its reader, or else its range."""
    origin = part.origins.get(utterance.corpus)
    reader = CORPORA.get(origin.name if origin else utterance.corpus)
    declared = {**(reader.scales if reader else {}), **(origin.scales if origin else {})}
    return declared.get(value.name, value.range)


def _mapped(known: float, scale: Scale, value: ValueRecipe, utterance: Utterance) -> float:
    """Return a number on a scale as one within the range of a value, end to end."""
    low, high = scale
    if not low <= known <= high:
        raise UsageError(
            f"{utterance.path}: {value.name} {known:g} lies outside of its scale, {low:g} to {high:g}; "
            f"scales = {{ {value.name} = [LOWEST, HIGHEST] }} under [[corpora]] states another"
        )
    return value.range[0] + (known - low) / (high - low) * (value.range[1] - value.range[0])
