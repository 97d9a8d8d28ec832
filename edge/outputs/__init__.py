"""Outputs: JSON lines for programs, rows for a person at a terminal, CSV for a spreadsheet, a journal for later."""

from edge.outputs.base import Output
from edge.outputs.csv_table import CsvTable
from edge.outputs.iterator import EventIterator
from edge.outputs.journal import JournalOutput
from edge.outputs.json_lines import JsonLines
from edge.outputs.live_table import LiveTable
from edge.outputs.open import open_as, open_output, wanted_outputs
from edge.outputs.output_queue import can_refresh
from edge.outputs.queued import Outputs

__all__ = [
    "CsvTable",
    "EventIterator",
    "JournalOutput",
    "JsonLines",
    "LiveTable",
    "Output",
    "Outputs",
    "can_refresh",
    "open_as",
    "open_output",
    "wanted_outputs",
]
