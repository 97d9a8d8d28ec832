"""Thinning: an encoder with fewer tokens and channels, fitted by least squares to answer as the whole one does."""
