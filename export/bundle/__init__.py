"""Bundles: written, checked, described and installed."""
