"""The model card that travels with every bundle."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from calibrate.evaluate import ValuesByCorpus
from calibrate.metrics import Figures
from calibrate.report import headline, values_table
from calibrate.run import Run
from calibrate.speakers.verifier import SpeakerModel
from edge.bundle import Manifest
from edge.errors import UsageError
from edge.values import DERIVED
from export.bundle.check import Check
from export.bundle.who_speaks import who_speaks

CARD_NAME = "MODEL_CARD.md"
SECTION = "## Who speaks"
NON_COMMERCIAL = re.compile(r"\bNC\b|(?i:non-?commercial)")


def model_card(
    manifest: Manifest,
    run: Run,
    speaker: SpeakerModel | None,
    figures: Mapping[str, Figures],
    checks: Sequence[Check],
    left_out: Mapping[str, Any] | None = None,
    values: ValuesByCorpus | None = None,
) -> str:
    """Return the card as Markdown: what it is, on what it was trained, its figures, its limits.

    ``left_out`` is what ``affectd-calibrate generalise`` found of its recipe, ``values`` how good its values are.
    """
    corpora = run.recipe.training_corpora
    unbound = list(dict.fromkeys(corpus.name for corpus in corpora if NON_COMMERCIAL.search(corpus.licence)))
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    return templates.get_template("card.md.jinja").render(
        manifest=manifest,
        encoder=manifest.encoder,
        recipe=run.recipe,
        temperature=run.temperature,
        bound=[corpus.name for corpus in manifest.corpora if NON_COMMERCIAL.search(corpus.licence)],
        unbound=unbound,
        free=any(corpus.name not in unbound for corpus in corpora),
        who_speaks=who_speaks(speaker),
        figures=headline(figures).markdown(),
        values=values_table(values).markdown() if values else [],
        derived=[value.name for value in manifest.values if value.origin == DERIVED],
        checks=checks,
        left_out=left_out,
    )


def with_speaker(card: str, title: str, speaker: SpeakerModel) -> str:
    """Return a card with another title and speaker encoder.

    Raises:
        ValueError: it has no title, or no section on who speaks.
    """
    changed, titles = re.subn(r"\A# .*\n", lambda _: f"# {title}\n", card)
    section = rf"(?<=\n{SECTION}\n\n).*?(?=\n## )"
    changed, sections = re.subn(section, lambda _: who_speaks(speaker), changed, flags=re.DOTALL)
    if (titles, sections) != (1, 1):
        raise ValueError(f"has {titles} titles and {sections} sections {SECTION!r}, not one of each")
    return changed


def read_left_out(path: Path | None) -> dict[str, Any] | None:
    """Return what ``affectd-calibrate generalise`` found, None for no file.

    Raises:
        UsageError: the file cannot be read, or is none of its reports.
    """
    if path is None:
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from None
    if not isinstance(found, dict) or not {"protocol", "left_out", "folds", "everyday"} <= found.keys():
        raise UsageError(f"{path}: is no generalisation.json of affectd-calibrate generalise")
    return found
