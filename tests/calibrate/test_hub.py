"""A hub that does not answer is said once, in one line, with what to do about it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import huggingface_hub.constants
import pytest
from huggingface_hub.errors import GatedRepoError, HFValidationError, LocalEntryNotFoundError, RepositoryNotFoundError

from calibrate.embed.embedders import _depth
from calibrate.encoders.hub import no_model
from calibrate.encoders.pretrained import load_encoder
from calibrate.experiments.text_control.encoder import load_text_encoder
from edge.errors import ModelError

LOADERS = [lambda name: load_encoder(name, 3), _depth, load_text_encoder]


@pytest.mark.parametrize("load", LOADERS, ids=["speech", "depth", "text"])
def test_a_hub_out_of_reach(
    load: Callable[[str], object], caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    assert huggingface_hub.constants.HF_HUB_OFFLINE, "as the tests have it"
    with pytest.raises(ModelError) as error:
        load("nobody/nothing")
    message = str(error.value)
    assert "from 'nobody/nothing' (no such folder): the hub cannot be reached, and no copy is kept here" in message
    assert "hf download nobody/nothing --local-dir FOLDER" in message
    assert "\n" not in message
    assert capfd.readouterr().err == ""
    assert not logging.getLogger("huggingface_hub").isEnabledFor(logging.WARNING), "each of five attempts"
    assert caplog.records == []


@pytest.mark.parametrize("name", ["/gone/folder", "a/b/c", "no such name", ""])
def test_what_is_neither_a_folder_nor_a_name(name: str) -> None:
    with pytest.raises(ModelError, match=r"no such folder\): nor is it the name of a model on the hub"):
        load_encoder(name, 3)


def caused(by: Exception) -> OSError:
    """Return an error as the library raises it, two lines and a cause."""
    error = OSError("First line.\nSecond line, with an address.")
    error.__cause__ = by
    return error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (caused(LocalEntryNotFoundError("gone")), "the hub cannot be reached"),
        (caused(RepositoryNotFoundError.__new__(RepositoryNotFoundError)), "the hub has no such model"),
        (caused(GatedRepoError.__new__(GatedRepoError)), "agreed to its terms: hf auth login"),
        (caused(HFValidationError("name")), "nor is it the name of a model"),
        (OSError("First line.\nSecond."), ": First line."),
        (RuntimeError(), "RuntimeError"),
    ],
    ids=str,
)
def test_each_reason_has_one_line(error: Exception, words: str, tmp_path: Path) -> None:
    message = no_model("encoder", "some/name", error)
    assert message.startswith("no encoder loads from 'some/name' (no such folder): ")
    assert words in message
    assert "\n" not in message
    assert "no such folder" not in no_model("encoder", str(tmp_path), error)
