"""The report as one HTML file that needs nothing from anywhere: tables, plots as inline SVG, no script."""

from __future__ import annotations

from collections.abc import Sequence

from edge.markup import element, text
from edge.profiling.compare import Comparison
from edge.profiling.measurements import Profile
from edge.profiling.plots import length_plot, share_plot, spread_plot, streams_plot
from edge.profiling.tables import TextTable, comparison_table, facts_table, profile_tables

STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2.2rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .15rem .7rem .15rem 0; border-bottom: 1px solid #8884; text-align: left; vertical-align: top; }
.number { text-align: right; } td:last-child, th:last-child { text-align: left; }
.bold td { font-weight: 600; }
svg { width: 100%; height: auto; font-size: 12px; }
figure { margin: 1rem 0; } figcaption { opacity: .7; }
"""


def page(profile: Profile, comparison: Comparison | None) -> str:
    """Return the report as an HTML page that is well-formed XML too."""
    facts = facts_table(profile)
    body = [element("h1", text(facts.title)), _table(facts)]
    body += _figures(profile)
    for shown in profile_tables(profile, every_length=True):
        body += [element("h2", text(shown.title)), _table(shown)]
    if comparison:
        body.append(element("h2", "Compared with an earlier report"))
        body += [element("p", text(warning)) for warning in comparison.warnings]
        body.append(_table(comparison_table(comparison, every_length=True)))
    head = [
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width"),
        element("title", text(facts.title)),
        element("style", STYLE),
    ]
    return f"<!DOCTYPE html>\n{element('html', element('head', *head), element('body', *body), lang='en')}\n"


def _figures(profile: Profile) -> list[str]:
    pipeline = [row for row in profile.of("pipeline") if row.bucket_s is None]
    plots = {
        "Pipeline stages: thick from p50 to p90, thin to p99, the dot is the slowest.": spread_plot(pipeline),
        "Utterances that were answered within a time, from knowing that the speech is over (answer), and the encoder's "
        "part of it.": share_plot([row for row in pipeline if row.stage in ("answer", "encoder")]),
        "Encoder, milliseconds per utterance over its padded length; bars reach up to p90.": length_plot(
            [row for row in profile.of("direct") if row.stage == "encoder"]
        ),
        "Live sources on one core, each talking half of the time: from the end of the silence that ends an utterance "
        "to its final event.": streams_plot(profile.of("streams")),
    }
    return [element("figure", plot, element("figcaption", text(caption))) for caption, plot in plots.items() if plot]


def _table(shown: TextTable) -> str:
    def line(kind: str, cells: Sequence[str], **attributes: str) -> str:
        classes = ["number" if index >= shown.numbers_from else "name" for index in range(len(cells))]
        filled = (element(kind, text(cell) or " ", class_=name) for cell, name in zip(cells, classes, strict=True))
        return element("tr", *filled, **attributes)

    rows = [line("td", row, class_="bold" if index in shown.bold else "plain") for index, row in enumerate(shown.rows)]
    return element("table", element("thead", line("th", shown.heads)), element("tbody", *rows))
