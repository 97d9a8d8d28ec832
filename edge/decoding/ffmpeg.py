"""ffmpeg, where it is installed, for what libsndfile does not decode. No shell, no network, no endless wait."""

from __future__ import annotations

import os
import select
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import IO

from edge.arrays import Matrix
from edge.decoding.piped import Pump, pieces_of
from edge.decoding.reader import Note
from edge.decoding.tape import Tape
from edge.decoding.wav import WavDecoder
from edge.errors import AudioFileError

STALLS_S = 60.0
"""Without a byte of a file ffmpeg is ended."""
LONGEST_S = 86_400
"""Of audio; a small file can promise any length."""
DEMUXERS = (
    "aac,amr,ape,asf,caf,flac,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,mp3,mpeg,mpegts,ogg,tta,wav,w64,wv,aiff,au,voc,ac3,"
    "eac3,dts,avi,flv,mpc,mpc8,amrnb,amrwb"
)
"""Formats that are one file; a playlist could name any other."""


class FfmpegDecoder:
    """The first audio stream of a file or tape, decoded by an ffmpeg of its own."""

    def __init__(self, source: Path | Tape, name: str) -> None:
        """Start ffmpeg.

        Raises:
            AudioFileError: it is not installed, or cannot decode this; it says why.
        """
        program = shutil.which("ffmpeg")
        assert program, "is_installed() comes first"
        pump = Pump(pieces_of(source), name) if isinstance(source, Tape) else None
        self.notes: list[Note] = []
        self._name = name
        self._hint = "" if isinstance(source, Path) else "; it may need the file itself, not a pipe"
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  (closed with the decoder)
        self._process = subprocess.Popen(
            [
                program, "-nostdin", "-v", "error", "-threads", "1",
                "-protocol_whitelist", "file,pipe", "-format_whitelist", DEMUXERS,
                "-i", f"file:{source}" if isinstance(source, Path) else "pipe:0",
                "-map", "0:a:0", "-t", str(LONGEST_S), "-c:a", "pcm_f32le", "-f", "wav", "pipe:1",
            ],
            stdin=pump.reading_end if pump else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            bufsize=0,
        )  # fmt: skip
        assert self._process.stdout
        if pump:
            os.close(pump.reading_end)
        self._tape = Tape(_Patient(self._process.stdout, name, None if pump else STALLS_S), name)
        try:
            if not self._tape.peek(12):
                raise AudioFileError(f"{name}: cannot be decoded by ffmpeg: {self._failure()}{self._hint}")
            self._wav = WavDecoder(self._tape)
        except AudioFileError:
            self.close()
            raise
        self.rate_hz, self.channels = self._wav.rate_hz, self._wav.channels
        self._frames, self._ended = 0, False

    def decode(self, frames: int) -> Matrix:
        """Return the next ``float32[<= frames, channels]``; see ``Decoder``."""
        samples = self._wav.decode(frames)
        self._frames += len(samples)
        if not len(samples) and not self._ended:
            self._ended = True
            at_s = self._frames / self.rate_hz
            reason = self._failure()
            if reason and not self._frames:
                raise AudioFileError(f"{self._name}: cannot be decoded by ffmpeg: {reason}{self._hint}")
            if reason:
                self.notes.append(Note("partial", f"is read up to {at_s:.1f} s: {reason}"))
            elif at_s >= LONGEST_S:
                self.notes.append(Note("partial", f"is read up to {at_s:.0f} s, as nothing longer is"))
        return samples

    def close(self) -> None:
        """End ffmpeg."""
        self._process.kill()
        self._process.wait()
        self._tape.close()
        self._errors.close()

    def _failure(self) -> str:
        """Return the last of what ffmpeg complained of, once it has ended."""
        try:
            code = self._process.wait(STALLS_S)
        except subprocess.TimeoutExpired:
            return "it does not end"
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").split("\n")
        said = [line.strip() for line in lines if line.strip()]
        return said[-1] if said else f"exit code {code}" if code else ""


class _Patient:
    """The output of a process, which must not keep silent for too long, unless a live source may."""

    def __init__(self, stream: IO[bytes], name: str, longest_s: float | None) -> None:
        self._stream, self._name, self._longest_s = stream, name, longest_s

    def read(self, size: int) -> bytes:
        if not select.select([self._stream], [], [], self._longest_s)[0]:
            raise AudioFileError(f"{self._name}: ffmpeg has been silent for {self._longest_s:.0f} s")
        return self._stream.read(size)

    def close(self) -> None:
        self._stream.close()


def is_installed() -> bool:
    """Return whether ffmpeg is on the path."""
    return shutil.which("ffmpeg") is not None


def conversion(path: Path) -> str:
    """Return the command that converts a file."""
    name = str(path)
    source = f"./{name}" if name.startswith("-") else name
    target = str(Path(source).with_suffix(".flac"))
    target = f"./{target}" if target.startswith("-") else target
    return f"ffmpeg -i {shlex.quote(source)} {shlex.quote(target)}"
