"""The model card that travels with every bundle."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from calibrate.metrics import Figures
from calibrate.report import headline
from calibrate.run import Run
from calibrate.speakers.verifier import SpeakerModel
from edge.bundle import Manifest
from export.bundle.check import Check
from export.bundle.who_speaks import who_speaks

CARD_NAME = "MODEL_CARD.md"
SECTION = "## Who speaks"
NON_COMMERCIAL = re.compile(r"\bNC\b|(?i:non-?commercial)")


def model_card(
    manifest: Manifest, run: Run, speaker: SpeakerModel | None, figures: Mapping[str, Figures], checks: Sequence[Check]
) -> str:
    """Return the card as Markdown: what it is, on what it was trained, its figures, its limits."""
    corpora = run.recipe.training_corpora
    left_out = list(dict.fromkeys(corpus.name for corpus in corpora if NON_COMMERCIAL.search(corpus.licence)))
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
        left_out=left_out,
        free=any(corpus.name not in left_out for corpus in corpora),
        who_speaks=who_speaks(speaker),
        figures=headline(figures).markdown(),
        checks=checks,
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
