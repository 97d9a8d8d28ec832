"""Latency profiling: ``affectd profile``. A file per noun; ``modes`` puts them together."""
