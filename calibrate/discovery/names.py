"""What the names of files and folders say: each part of a path is a column, one of which may be who speaks."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import PurePath
from statistics import median
from typing import NamedTuple

from edge.errors import UsageError

MOST_PARTS = 8
"""Of the folders above a file, and of its name."""
LEAST_CLIPS = 4
"""Of a speaker, in the mean: what changes more often is no speaker."""
LEAST_LABELS = 0.5
"""Share of the labels that half of the speakers have at least: what goes with the label is no speaker."""
_MARKED = re.compile(
    r"(?:actor|female|f|id|male|m|participant|person|p|speaker|spk|spkr|sp|subject|subj|sub|s|user|u|voice|v|w)"
    r"[-_]?[0-9]+",
    re.IGNORECASE,
)
_TOKEN, _BETWEEN = r"[^/_\-. ]+", r"[_\-. ]+"


class Part(NamedTuple):
    """One part of every path."""

    where: str
    """In words: ``part 2 of the file name``."""
    pattern: str
    """Regular expression whose group finds it."""
    values: tuple[str, ...]
    """What it is in each path."""

    @property
    def shown(self) -> str:
        """The part with its values, in words."""
        names = sorted(set(self.values))
        few = ", ".join(names[:4]) + (f" … {names[-1]}" if len(names) > 4 else "")
        return f"{self.where} ({len(names)}: {few})"


def parts_of(paths: Sequence[PurePath]) -> list[Part]:
    """Return the parts that all paths have: their folders from above, then what the file name is put together of."""
    patterns = [(f"sub-folder {depth + 1}", rf"^(?:[^/]+/){{{depth}}}([^/]+)/") for depth in range(MOST_PARTS)]
    patterns += [
        (f"part {place + 1} of the file name", rf"(?:^|/)(?:{_TOKEN}{_BETWEEN}){{{place}}}({_TOKEN})[^/]*$")
        for place in range(MOST_PARTS)
    ]
    patterns.append(("letters that the file name begins with", r"(?:^|/)([^\W\d_]+)[^/]*$"))
    names = [path.with_suffix("").as_posix() for path in paths]
    found = ((where, pattern, [re.search(pattern, name) for name in names]) for where, pattern in patterns)
    return [
        Part(where, pattern, tuple(match[1] for match in matches if match))
        for where, pattern, matches in found
        if all(matches)
    ]


def by_pattern(pattern: str, paths: Sequence[PurePath]) -> Part:
    """Return what a user's own pattern finds in every path.

    Raises:
        UsageError: it is no regular expression with a group, or finds nothing in a path.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UsageError(f"--speaker-pattern {pattern!r} is no regular expression: {error}") from None
    if not compiled.groups:
        raise UsageError(f"--speaker-pattern {pattern!r} has no group; put who speaks in brackets: '^([a-z]+)_'")
    values = []
    for path in paths:
        match = compiled.search(path.as_posix())
        if not match or not match[1]:
            raise UsageError(f"--speaker-pattern {pattern!r} finds nobody in {path.as_posix()!r}")
        values.append(match[1])
    return Part(f"--speaker-pattern {pattern}", pattern, tuple(values))


def possible_speakers(parts: Sequence[Part], labels: Sequence[str], is_label: Callable[[str], bool]) -> list[Part]:
    """Return the parts that may be who speaks, the likelier ones first; those that group the clips alike once.

    Args:
        parts: of the paths.
        labels: of the same.
        is_label: says whether a word is an emotion.
    """
    possible: dict[tuple[int, ...], Part] = {}
    for part in parts:
        names = list(dict.fromkeys(part.values))
        groups = tuple(names.index(value) for value in part.values)
        if groups not in possible and not any(map(is_label, names)) and _may_speak(part, labels):
            possible[groups] = part
    return sorted(possible.values(), key=_unlikeliness)


def the_speaker(possible: Sequence[Part]) -> Part | None:
    """Return the one that stands out; bare numbers never do, which may as well count takes or sentences."""
    if not possible or _unlikeliness(possible[0]) == 3:
        return None
    alike = [part for part in possible if _unlikeliness(part) == _unlikeliness(possible[0])]
    return alike[0] if len(alike) == 1 else None


def _may_speak(part: Part, labels: Sequence[str]) -> bool:
    counts = Counter(part.values)
    if not 2 <= len(counts) <= len(part.values) / LEAST_CLIPS:
        return False
    pairs = Counter(value for value, _ in set(zip(part.values, labels, strict=True)))
    return median(pairs.values()) >= LEAST_LABELS * len(set(labels))


def _unlikeliness(part: Part) -> int:
    """Return 0 for names such as ``spk01``, 1 for folders, 2 for words, 3 for all else."""
    if all(_MARKED.fullmatch(value) for value in part.values):
        return 0
    if part.where.startswith("sub-folder"):
        return 1
    return 2 if all(value.isalpha() for value in part.values) else 3
