"""Reports: one description, written as Markdown, CSV, JSON and HTML, and shown on the terminal."""

from calibrate.report.blocks import Note, Picture, Table
from calibrate.report.cells import deviation, interval, points, rounded, span, spread
from calibrate.report.figures import confusion_picture, figures_report, headline, remarks, summary, training_picture
from calibrate.report.legend import legend_below, legend_beside
from calibrate.report.report import Report
from calibrate.report.values import values_blocks, values_summary, values_table

__all__ = [
    "Note",
    "Picture",
    "Report",
    "Table",
    "confusion_picture",
    "deviation",
    "figures_report",
    "headline",
    "interval",
    "legend_below",
    "legend_beside",
    "points",
    "remarks",
    "rounded",
    "span",
    "spread",
    "summary",
    "training_picture",
    "values_blocks",
    "values_summary",
    "values_table",
]
