"""The journal: what was heard, by whom and when, in one SQLite file, for a number of days."""

from edge.journal.entry import Answer, Entry
from edge.journal.file import check_journal, journal_paths
from edge.journal.journal import Journal

__all__ = ["Answer", "Entry", "Journal", "check_journal", "journal_paths"]
