"""Pseudo-labels for masked prediction on unlabelled speech."""
