"""The files that come with affectd: settings, training recipes and heads, found by their bare names."""

from __future__ import annotations

from pathlib import Path

from edge.errors import UsageError, nearest

CONFIGS = Path(__file__).resolve().parent / "configs"
"""A link to the repository's top-level folder in a checkout, a folder of its own in an installed package."""


def find_config(name: str | Path, what: str, folder: str = ".") -> Path:
    """Return the file that was asked for: a path as it is, and for a bare name that is no file here affectd's own.

    Args:
        name: a path, or a bare name with or without ``.toml``, such as ``gpu``.
        what: the option or thing that the name was given for, as errors call it.
        folder: where in ``configs`` affectd's own lie, such as ``heads``.

    Raises:
        UsageError: the bare name is neither a file here nor one of affectd's own; names the nearest.
    """
    path = Path(name)
    if path.name != str(name) or path.is_file():
        return path
    shipped = {file.stem: file for file in (CONFIGS / folder).glob("*.toml")}
    stem = path.name.removesuffix(".toml")
    if stem not in shipped:
        own = ", ".join(sorted(shipped))
        raise UsageError(f"{what} {str(name)!r}: no such file here, and affectd has {own}{nearest(stem, shipped)}")
    return shipped[stem]
