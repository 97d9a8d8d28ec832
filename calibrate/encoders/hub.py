"""Models of the hub: what keeps it quiet, and what an error of it comes to in one line."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)
from transformers.utils.logging import disable_progress_bar

UNREACHABLE = (LocalEntryNotFoundError, OfflineModeIsEnabled)


def quiet_hub() -> None:
    """Let the hub's library say nothing of its own: neither bars of each file nor every attempt that fails."""
    disable_progress_bar()  # type: ignore[no-untyped-call]
    logging.getLogger("huggingface_hub").setLevel(logging.CRITICAL)


def no_model(what: str, name_or_folder: str, error: BaseException) -> str:
    """Return why a model cannot be loaded and what to do about it, in one line.

    Args:
        what: kind of model, such as ``encoder``.
        name_or_folder: where it was to come from.
        error: that was raised.
    """
    is_folder = bool(name_or_folder) and Path(name_or_folder).is_dir()
    where = f"no {what} loads from {name_or_folder!r}" + ("" if is_folder else " (no such folder)")
    causes = list(_causes(error))
    if any(isinstance(each, GatedRepoError) for each in causes):
        return f"{where}: the hub gives it only to those who have agreed to its terms: hf auth login"
    if any(isinstance(each, RepositoryNotFoundError) for each in causes):
        return f"{where}: the hub has no such model, or shows it only to its owner: hf auth login"
    if any(isinstance(each, HFValidationError) for each in causes):
        return f"{where}: nor is it the name of a model on the hub, such as openai/whisper-base"
    if any(isinstance(each, UNREACHABLE) for each in causes):
        return (
            f"{where}: the hub cannot be reached, and no copy is kept here; once with a network, or give a folder in "
            f"its place: hf download {name_or_folder} --local-dir FOLDER"
        )
    return f"{where}: {next(iter(str(error).splitlines()), type(error).__name__)}"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
