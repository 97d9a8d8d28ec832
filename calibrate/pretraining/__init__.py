"""Continued pre-training of a speech encoder on unlabelled speech, with an embedding of each speaker (PAPT)."""
