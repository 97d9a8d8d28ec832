"""From a file, a pipe or a stream to what decodes it."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path

from edge.decoding import ffmpeg
from edge.decoding.flac import FlacDecoder
from edge.decoding.lengths import file_length_note
from edge.decoding.libsndfile import SndfileDecoder
from edge.decoding.parts import mpeg_decoder, ogg_decoder
from edge.decoding.piped import PipedDecoder
from edge.decoding.raw import RawDecoder
from edge.decoding.reader import AudioReader, Decoder
from edge.decoding.signatures import Format, recognised
from edge.decoding.tape import Stream, Tape
from edge.decoding.wav import OtherEncodingError, WavDecoder
from edge.errors import AudioFileError

AUDIO_EXTENSIONS = frozenset(
    (
        *(".wav", ".wave", ".bwf", ".rf64", ".w64", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".mp2", ".caf"),
        *(".aif", ".aiff", ".aifc", ".au", ".snd", ".voc", ".sph", ".nist", ".avr", ".iff", ".svx", ".8svx"),
        *(".ircam", ".sf", ".paf", ".pvf", ".sds"),
    )
)
"""Names of files that libsndfile reads."""
FFMPEG_EXTENSIONS = frozenset(
    (
        *(".m4a", ".m4b", ".mp4", ".mov", ".3gp", ".aac", ".amr", ".wma", ".webm", ".weba", ".mka", ".mkv"),
        *(".ape", ".wv", ".tta", ".ac3", ".mpc"),
    )
)
"""Names of files that ffmpeg reads where it is installed."""
NEEDS_FFMPEG = "which needs ffmpeg: apt install ffmpeg"
TO_PCM = "ffmpeg -i - -f s16le -ac 1 -ar 16000 -"


def open_audio(path: Path) -> AudioReader:
    """Open a file, or a named pipe, for reading in blocks.

    Raises:
        AudioFileError: it is missing, empty, in no format that libsndfile or an ffmpeg on the path know, or not at 8 to
            192 kHz.
    """
    name = str(path)
    try:
        mode = path.stat().st_mode
        if stat.S_ISFIFO(mode):
            return open_stream(path.open("rb", buffering=0), name)
        if not stat.S_ISREG(mode):
            raise AudioFileError(f"{name}: is {'a folder' if stat.S_ISDIR(mode) else 'no file'}")
        if path.stat().st_size == 0:
            raise AudioFileError(f"{name}: is empty (0 bytes)")
        return AudioReader(_file_decoder(path, name), name)
    except PermissionError as error:
        raise AudioFileError(f"{name}: cannot be read: {error.strerror}") from None
    except (OSError, ValueError):  # a name that is too long, or has a null character, is nobody's
        missing = "is a link to nothing" if os.path.islink(path) else "no such file"
        raise AudioFileError(f"{name}: {missing}") from None


def open_stream(stream: Stream, name: str, rate_hz: int | None = None) -> AudioReader:
    """Open a pipe, socket or standard input for reading in blocks. A header in it says what it is.

    Args:
        stream: unbuffered, so that no read waits for more than there is.
        name: what errors call it.
        rate_hz: of 16-bit mono PCM, which a stream without a header is; None: such a stream is refused.

    Raises:
        AudioFileError: it cannot be read, or is in a format that cannot be read from a pipe.
    """
    tape = Tape(stream, name)
    found = recognised(tape)
    if found:
        return AudioReader(_stream_decoder(tape, found, _redirected(stream)), name)
    nothing = "nothing arrives: did the program that writes into the pipe fail?"
    if not tape.peek(1):
        raise AudioFileError(f"{name}: {nothing}")
    if rate_hz is None:
        raise AudioFileError(f"{name}: is headerless audio, whose rate and sample type are unknown")
    return AudioReader(RawDecoder(tape, rate_hz), name, nothing)


def raw_stream(stream: Stream, name: str, rate_hz: int) -> AudioReader:
    """Open a stream of 16-bit mono PCM, whatever it begins like; see ``open_stream``."""
    return AudioReader(RawDecoder(Tape(stream, name), rate_hz), name, "nothing arrives")


def _file_decoder(path: Path, name: str) -> Decoder:
    tape = Tape(path.open("rb"), name)
    found = recognised(tape)
    if found and found.decoder == "flac":
        return FlacDecoder(tape)
    try:
        if found and found.decoder == "wav":
            return WavDecoder(tape)
    except OtherEncodingError:
        found = None
    tape.close()
    if found and found.decoder == "ffmpeg":
        if not ffmpeg.is_installed():
            raise AudioFileError(f"{name}: is {found.name}, {NEEDS_FFMPEG}; or convert it: {ffmpeg.conversion(path)}")
        decoder: Decoder = ffmpeg.FfmpegDecoder(path, name)
    else:
        decoder = _sndfile_decoder(path, name, found)
    if note := file_length_note(path):
        decoder.notes.append(note)
    return decoder


def _sndfile_decoder(path: Path, name: str, found: Format | None) -> Decoder:
    try:
        if found and found.decoder == "ogg":
            return ogg_decoder(path, name)
        if found and found.decoder == "mpeg":
            return mpeg_decoder(path, name)
        return SndfileDecoder(iter([os.fsencode(path)]), name)  # a name need not be valid UTF-8
    except AudioFileError:
        if (found or path.suffix.lower() in FFMPEG_EXTENSIONS) and ffmpeg.is_installed():
            return ffmpeg.FfmpegDecoder(path, name)
        raise


def _redirected(stream: Stream) -> Path | None:
    """Return the file that standard input was redirected from, if it was."""
    if isinstance(stream, io.FileIO) and stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        path = Path(os.path.realpath(f"/dev/fd/{stream.fileno()}"))
        return path if path.is_file() else None
    return None


def _stream_decoder(tape: Tape, found: Format, file: Path | None) -> Decoder:
    if file and (not found.streams or found.decoder == "ffmpeg"):
        return _file_decoder(file, tape.name)
    if found.decoder == "wav":
        try:
            return WavDecoder(tape)
        except OtherEncodingError:
            raise AudioFileError(
                f"{tape.name}: is WAV, but not PCM, which cannot be read from a pipe; convert it: … | {TO_PCM}"
            ) from None
    if found.decoder == "flac":
        return FlacDecoder(tape)
    if found.streams and found.decoder != "ffmpeg":
        return PipedDecoder(tape, found)
    if ffmpeg.is_installed():
        return ffmpeg.FfmpegDecoder(tape, tape.name)
    raise AudioFileError(f"{tape.name}: is {found.name}, {NEEDS_FFMPEG}; or convert it: … | {TO_PCM}")
