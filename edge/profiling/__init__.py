"""Latency profiling: ``affectd profile``. A file per noun; ``edge.commands.profile`` puts them together."""
