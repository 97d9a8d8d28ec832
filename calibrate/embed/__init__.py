"""Embeddings of whole corpora, on disk, for any analysis outside this project."""
