"""Months in minutes: a daemon under faults, and what of it must stay true."""
