"""What is worth knowing about a bundle at work."""

from __future__ import annotations

from edge.bundle import Bundle
from edge.records import Record
from edge.settings import EncoderSettings


class ModelFacts(Record):
    """What ran, and on what."""

    bundle: str
    version: str
    sha256: str
    """Of the encoder."""
    architecture: str
    precision: str
    provider: str
    """Execution provider that is really in use; empty while the model loads."""
    threads: int
    max_batch: int


def model_facts(bundle: Bundle, settings: EncoderSettings, provider: str) -> ModelFacts:
    """Return what is worth knowing about a bundle at work."""
    manifest = bundle.manifest
    return ModelFacts(
        bundle=manifest.name,
        version=manifest.version,
        sha256=bundle.encoder_hash,
        architecture=manifest.encoder.architecture,
        precision=manifest.encoder.precision,
        provider=provider,
        threads=settings.threads,
        max_batch=settings.max_batch,
    )
