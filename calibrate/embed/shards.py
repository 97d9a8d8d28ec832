"""The folder of embeddings: shards while the work goes on, plain files when it is done.

While it goes on, ``partial/`` holds ``job.json`` (what is embedded, and by what) and an ``.npz`` for each finished
shard, a stretch of utterances, moved into place when it is whole: a killed run loses the shards in hand. At the end the
shards become ``embeddings.npy``, ``utterances.csv`` and ``unreadable.csv``, with one shard in memory at a time;
``manifest.json`` comes last and says that all is there.
"""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from calibrate.cache import key_of
from edge.bundle import sha256_of
from edge.errors import ModelError, UsageError
from edge.files import new_file, write_file
from edge.spreadsheet import CsvWriter

PARTIAL, JOB, MANIFEST = "partial", "job.json", "manifest.json"
EMBEDDINGS, UTTERANCES, UNREADABLE = "embeddings.npy", "utterances.csv", "unreadable.csv"


@dataclass(frozen=True)
class Shard:
    """What became of a stretch of utterances."""

    vectors: npt.NDArray[np.floating[Any]]
    """``[readable, dim]``, in the order of the utterances."""
    seconds: npt.NDArray[np.float64]
    """``float64[utterances]``, of each recording."""
    reasons: npt.NDArray[np.str_]
    """``str[utterances]``, why a recording cannot be read; empty when it can."""
    samples: npt.NDArray[np.int64]
    """``int64[3]``: samples of speech, those with padding, and the number of recordings that were cut."""


class Store:
    """A folder that is filled with the embeddings of one job, whoever and however many work on it."""

    def __init__(self, out: Path, job: Mapping[str, object], shards: int) -> None:
        self.out, self.job, self.shards = out, dict(job), shards
        self.partial = out / PARTIAL
        self.key = key_of(self.job)

    def open(self) -> dict[str, Any] | None:
        """Begin, or go on with what is there; returns the manifest when nothing is left to do.

        Raises:
            UsageError: the folder holds something else.
            ModelError: it is damaged.
        """
        manifest = _read_json(self.out / MANIFEST)
        job = manifest.get("job") if manifest else _read_json(self.partial / JOB)
        if job is not None:
            self._compare(job)
        self._refuse_strangers(begun=job is not None)
        if manifest:
            self._verify(manifest)
            shutil.rmtree(self.partial, ignore_errors=True)
            return manifest
        if job is None:
            self.partial.mkdir(parents=True, exist_ok=True)
            _write_json(self.partial / JOB, self.job)
        return None

    def has(self, index: int) -> bool:
        """Return whether a shard is finished; it is then read, so that damage shows before the work goes on."""
        return self._path(index).exists() and self.read(index) is not None

    def read(self, index: int) -> Shard:
        """Return a finished shard.

        Raises:
            ModelError: it is damaged, or comes from another job.
        """
        path = self._path(index)
        try:
            with np.load(path) as arrays:
                key = str(arrays["key"])
                shard = Shard(**{field.name: arrays[field.name] for field in fields(Shard)})
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise ModelError(f"{path}: is damaged ({error}); delete it and run again") from None
        if key != self.key:
            raise ModelError(f"{path}: belongs to another job; delete it and run again")
        return shard

    def write(self, index: int, shard: Shard) -> None:
        """Keep a finished shard."""
        path = self._path(index)
        arrays = {field.name: getattr(shard, field.name) for field in fields(Shard)}
        with new_file(path) as new:
            np.savez(new, key=np.array(self.key), **arrays)

    def finish(self, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> dict[str, Any]:
        """Make the plain files out of all shards and return the manifest.

        Args:
            columns: of ``utterances.csv``, the path first; ``seconds`` and ``row`` are added.
            rows: their values, one row an utterance.

        Raises:
            UsageError: not one utterance could be read.
        """
        embedded, dim, samples, dtype = 0, 0, np.zeros(3, np.int64), np.dtype(np.float32)
        for shard in self._all():
            (readable, dim), dtype = shard.vectors.shape, shard.vectors.dtype
            embedded, samples = embedded + readable, samples + shard.samples
        if not embedded:
            reason = self.read(0).reasons[0]
            raise UsageError(f"none of {len(rows)} files can be read, the first of them {rows[0][0]}: {reason}")
        self._write_files((embedded, dim), dtype, columns, rows)
        unreadable = len(rows) - embedded
        names = [EMBEDDINGS, UTTERANCES, *([UNREADABLE] if unreadable else [])]
        for name in names:
            os.replace(self.partial / name, self.out / name)
        manifest = {
            "job": self.job,
            "embeddings": {"dtype": str(dtype), "shape": [embedded, dim]},
            "unreadable": unreadable,
            "cut": int(samples[2]),
            "padding_share": round(float(1 - samples[0] / samples[1]), 4),
            "files": {
                name: {"sha256": sha256_of(self.out / name), "bytes": (self.out / name).stat().st_size}
                for name in names
            },
        }
        _write_json(self.out / MANIFEST, manifest)
        shutil.rmtree(self.partial)
        return manifest

    def _all(self) -> Iterator[Shard]:
        return (self.read(index) for index in range(self.shards))

    def _write_files(
        self, shape: tuple[int, int], dtype: np.dtype[Any], columns: Sequence[str], rows: Sequence[Sequence[object]]
    ) -> None:
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        with (
            (self.partial / EMBEDDINGS).open("wb") as vectors,
            (self.partial / UTTERANCES).open("w", encoding="utf-8", errors="surrogateescape", newline="") as utterances,
            (self.partial / UNREADABLE).open("w", encoding="utf-8", errors="surrogateescape", newline="") as unreadable,
        ):
            np.lib.format.write_array_header_1_0(vectors, header)
            kept, lost = CsvWriter(utterances), CsvWriter(unreadable)
            kept.writerow([*columns, "seconds", "row"])
            lost.writerow(["path", "reason"])
            places, numbers = iter(rows), count()
            for shard in self._all():
                vectors.write(np.ascontiguousarray(shard.vectors).tobytes())
                for seconds, reason, row in zip(shard.seconds, shard.reasons, places, strict=False):
                    if reason:
                        lost.writerow([row[0], reason])
                    else:
                        kept.writerow([*row, f"{seconds:.3f}", next(numbers)])

    def _compare(self, job: Mapping[str, object]) -> None:
        """Refuse a folder of another job, naming the first difference."""
        theirs, ours = _flat(job), _flat(self.job)
        for name in sorted(ours.keys() | theirs.keys()):
            if theirs.get(name) != ours.get(name):
                raise UsageError(
                    f"{self.out}: holds embeddings of another job, with {name} {theirs.get(name)}, not "
                    f"{ours.get(name)}; choose another --out, or delete the folder"
                )

    def _refuse_strangers(self, begun: bool) -> None:
        """Refuse files that no embedding job wrote: the folder may be somebody's, and ``partial/`` is deleted."""
        ours = {PARTIAL, *((EMBEDDINGS, UTTERANCES, UNREADABLE, MANIFEST) if begun else ())}
        shards = {JOB, EMBEDDINGS, UTTERANCES, UNREADABLE, *(self._path(index).name for index in range(self.shards))}
        for folder, allowed in ((self.out, ours), (self.partial, shards if begun else {JOB})):
            for path in sorted(folder.iterdir()) if folder.is_dir() else ():
                if path.name not in allowed and not path.name.startswith(tuple(f".{name}." for name in allowed)):
                    raise UsageError(f"{path}: is not part of this embedding job; choose another --out, or delete it")

    def _verify(self, manifest: Mapping[str, Any]) -> None:
        for name, record in manifest["files"].items():
            path = self.out / name
            if not path.is_file() or sha256_of(path) != record["sha256"]:
                what = "is not what was written" if path.is_file() else "is missing"
                raise ModelError(f"{path}: {what}; delete the folder and run again")

    def _path(self, index: int) -> Path:
        return self.partial / f"{index:06d}.npz"


def _flat(job: Mapping[str, Any]) -> dict[str, object]:
    """Return a job's facts as JSON has them, those of the embedder beside the others."""
    plain: dict[str, Any] = json.loads(json.dumps(job))
    plain.update(plain.pop("embedder", {}))
    return plain


def _read_json(path: Path) -> dict[str, Any] | None:
    """Return what a JSON file holds, None when there is none.

    Raises:
        ModelError: it is damaged.
    """
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(read, dict):
            raise ValueError("no object")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: is damaged ({error}); delete the folder and run again") from None
    return read


def _write_json(path: Path, value: Mapping[str, object]) -> None:
    write_file(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")
