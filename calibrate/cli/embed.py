"""``affectd-calibrate embed | batching``: their options."""
# ruff: noqa: PLC0415  (imports inside the commands, so that --help does not wait for torch)

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from calibrate.cli.app import Debug, Threads, app
from edge.cli.kit.entry import examples
from edge.errors import UsageError

Reader = Annotated[
    str,
    typer.Argument(help="Reader: ravdess, crema-d, esd, …, csv; or audio: any folder of recordings, without labels."),
]
Folder = Annotated[Path, typer.Argument(help="Where the corpus lies.")]
ENCODERS = "Hub name or folder of a HuBERT, wav2vec 2.0, XLSR, WavLM or Whisper, or folder of a distilled student"
Layers = Annotated[
    str | None,
    typer.Option(
        help="Layers to pool, side by side: 1,2,3; 0 is the input of the first. Those above the highest do not run.",
        show_default="the last",
    ),
]
Pool = Annotated[
    str | None, typer.Option(help="Over time, of each layer: mean, or mean-deviation.", show_default="mean")
]
BatchSeconds = Annotated[
    float | None,
    typer.Option(
        min=0,
        help="Seconds of audio a batch, padding included; 0 encodes one at a time.",
        show_default="64; 0 for group-norm encoders, which feel their padding",
    ),
]
MaxSeconds = Annotated[
    float | None,
    typer.Option(
        min=0.1, help="Longer recordings are cut to their middle.", show_default="30, or what the encoder takes"
    ),
]
Json = Annotated[bool, typer.Option("--json", help="JSON instead of text.")]


@app.command(
    epilog=examples(
        "affectd-calibrate embed crema-d CREMA-D/AudioWAV --encoder facebook/hubert-large-ll60k --out hubert",
        "affectd-calibrate embed esd ESD --encoder models/xlsr --layers 8,12,16 --pool mean-deviation --out xlsr-mid",
        "affectd-calibrate embed audio recordings/ --run runs/default --spoken --out embeddings/z",
        "accelerate launch --multi_gpu -m calibrate embed esd ESD --encoder models/xlsr --out xlsr --device cuda",
    )
)
def embed(
    corpus: Reader,
    folder: Folder,
    *,
    out: Annotated[Path, typer.Option(help="Folder for the embeddings.", file_okay=False, metavar="DIR")],
    encoder: Annotated[str | None, typer.Option(help=f"{ENCODERS}; with --run, where its encoder lies.")] = None,
    run: Annotated[
        Path | None,
        typer.Option(help="Run folder: its embedding z instead of pooled layers.", file_okay=False, metavar="DIR"),
    ] = None,
    layers: Layers = None,
    pool: Pool = None,
    batching: Annotated[
        str,
        typer.Option(
            help="length: batches of like length; order: as the files come; pad: as they come, all padded to --max-s."
        ),
    ] = "length",
    batch_s: BatchSeconds = None,
    max_s: MaxSeconds = None,
    spoken: Annotated[bool, typer.Option("--spoken", help="Only what the segmenter leaves of a file.")] = False,
    dtype: Annotated[str, typer.Option(help="float32 or float16.")] = "float32",
    shard: Annotated[
        int, typer.Option(min=1, help="Utterances held in memory, and lost at most when a process is killed.")
    ] = 512,
    strict: Annotated[bool, typer.Option("--strict", help="A file that breaks the naming is an error.")] = False,
    threads: Threads = 2,
    device: Annotated[
        str, typer.Option(help="torch device: cpu, cuda, cuda:1; many processes on cuda take one GPU each.")
    ] = "cpu",
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Write one vector for every utterance of a corpus, by any speech encoder, as files that numpy and pandas load.

    embeddings.npy has a row for every line of utterances.csv (path, corpus, speaker, emotion, label, gender, seconds,
    row); what cannot be read is in unreadable.csv with the reason; manifest.json says what made them, with hashes.

    The same command again goes on where a killed one was and ends with the same bytes. A corpus may be larger than the
    memory. Many processes under accelerate share the work and write what one would.
    """
    from calibrate.embed.corpus import embed_corpus

    embed_corpus(
        corpus, folder, out, encoder, run=run, layers=_numbers(layers), pool=pool, batching=batching, batch_s=batch_s,
        max_s=max_s, spoken_only=spoken, dtype=dtype, shard=shard, strict=strict, threads=threads, device=device,
        as_json=json,
    )  # fmt: skip


@app.command(
    epilog=examples(
        "affectd-calibrate batching crema-d CREMA-D/AudioWAV --encoder facebook/hubert-large-ll60k --clips 100",
        "affectd-calibrate batching nemo data/nemo --encoder models/whisper-base --layers 1,2,3 --max-s 3 --json",
    )
)
def batching(
    corpus: Reader,
    folder: Folder,
    *,
    encoder: Annotated[str, typer.Option(help=f"{ENCODERS}.")],
    layers: Layers = None,
    pool: Pool = None,
    clips: Annotated[int, typer.Option(min=2, help="Drawn at random from the corpus.")] = 200,
    rounds: Annotated[int, typer.Option(min=1, help="Every kind of batching once a round.")] = 5,
    batch_s: BatchSeconds = None,
    max_s: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            help="Longer recordings are cut to their middle, and pad pads to it.",
            show_default="the longest of the clips",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the draw.")] = 0,
    threads: Threads = 1,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Measure what batches of like length save: padding, throughput, and how far the embeddings move.

    One at a time, by length, in the order of the draw, and all padded to one length: alternated in one process, with
    the audio in memory beforehand. Embeddings are compared with those of one at a time, which nothing pads.
    """
    from calibrate.embed.measure import measure_batching

    measure_batching(
        corpus, folder, encoder, layers=_numbers(layers), pool=pool, clips=clips, rounds=rounds, batch_s=batch_s,
        max_s=max_s, seed=seed, threads=threads, as_json=json,
    )  # fmt: skip


def _numbers(text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        return [int(number) for number in text.split(",")]
    except ValueError:
        raise UsageError(f"--layers {text!r} is not a list of numbers such as 1,2,3") from None
