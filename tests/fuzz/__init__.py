"""Malformed input to everything that reads what others write."""
