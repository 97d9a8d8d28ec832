"""Bundles as they once were, taken from the history of a git checkout."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

from edge.audio import Waveform
from edge.buckets import Buckets
from edge.encoder import Encoder
from edge.errors import UsageError
from edge.settings import EncoderSettings
from export.graph.inventory import graph_flops

CHECKOUT = Path(__file__).resolve().parents[2]
BUNDLES = "edge/bundles"


@dataclass(frozen=True)
class FormerBundle:
    """Files of an older version, of which only the encoder is run: today's loader may refuse its manifest."""

    folder: Path
    name: str
    version: str
    commit: str
    dim: int
    """Of the embedding."""
    buckets: Buckets

    @property
    def label(self) -> str:
        """What tables call it."""
        return f"{self.name} {self.version}"

    def opened(self, threads: int) -> FormerEncoder:
        """Return its encoder on the CPU, warm."""
        return FormerEncoder(self, threads)


class FormerEncoder:
    """The encoder of an older bundle, with the options of onnxruntime that today's bundles run with."""

    def __init__(self, bundle: FormerBundle, threads: int) -> None:
        settings = EncoderSettings(provider="cpu", threads=threads)
        self.buckets = bundle.buckets
        self._encoder = Encoder(bundle.folder / "encoder.onnx", bundle.dim, bundle.buckets, settings)
        self._encoder.load(every_bucket=True)

    def __call__(self, waveform: Waveform) -> object:
        """Return ``float32[1, dim]`` of ``float32[samples]``, padded to its bucket."""
        return self._encoder.embed([waveform], self.buckets.fit(len(waveform)))

    def flops(self, waveform: Waveform) -> int:
        """Return the operations for a waveform."""
        return graph_flops(self._encoder.path, self.buckets.fit(len(waveform)))


def take(name: str, version: str, folder: Path, checkout: Path = CHECKOUT) -> FormerBundle:
    """Extract a bundle of the package as the last commit with this version has it.

    Args:
        name: of the bundle, ``default`` or ``nano``.
        version: as its manifest says.
        folder: where the files are written to, into a folder of their own.
        checkout: of the repository.

    Raises:
        UsageError: there is no git, no history, or no such version in it.
    """
    inside = f"{BUNDLES}/{name}"
    if not (checkout / ".git").exists():
        raise UsageError(f"{name} {version}: this is no git checkout, so there is no history to take it from")
    for commit in _git(checkout, "log", "--format=%H", "--", f"{inside}/bundle.json").decode().split():
        if not _git(checkout, "ls-tree", commit, f"{inside}/bundle.json"):
            continue
        manifest = json.loads(_git(checkout, "show", f"{commit}:{inside}/bundle.json"))
        if manifest["version"] == version:
            break
    else:
        shallow = _git(checkout, "rev-parse", "--is-shallow-repository").strip() == b"true"
        why = "this is a shallow clone (git fetch --unshallow)" if shallow else "no commit has it"
        raise UsageError(f"{name} {version}: {why}")
    with tarfile.open(fileobj=io.BytesIO(_git(checkout, "archive", commit, inside))) as archive:
        archive.extractall(folder / commit, filter="data")
    dim, buckets = manifest["encoder"]["embedding_dim"], Buckets(tuple(manifest["buckets_s"]))
    return FormerBundle(folder / commit / inside, name, version, commit, dim, buckets)


def _git(checkout: Path, *arguments: str) -> bytes:
    try:
        return subprocess.run(["git", "-C", str(checkout), *arguments], capture_output=True, check=True).stdout
    except FileNotFoundError:
        raise UsageError("git is not installed, so no older bundle can be taken from the history") from None
    except subprocess.CalledProcessError as error:
        raise UsageError(f"git {arguments[0]}: {error.stderr.decode(errors='replace').strip()}") from None
