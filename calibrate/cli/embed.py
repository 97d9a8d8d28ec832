"""``affectd-calibrate embed``."""

from json import dumps
from pathlib import Path
from typing import Annotated

import typer

from calibrate.cli.options import (
    ANY_ENCODER,
    BatchSeconds,
    Debug,
    Device,
    Folder,
    Json,
    Layers,
    Pool,
    RecordingsReader,
    Strict,
    Threads,
    layer_numbers,
)
from edge.cli.kit.entry import examples

MaxSeconds = Annotated[
    float | None,
    typer.Option(
        min=0.1,
        help="Of longer recordings the central part is encoded.",
        show_default="30, or what the encoder takes",
    ),
]

EXAMPLES = examples(
    "affectd-calibrate embed crema-d CREMA-D/AudioWAV --encoder facebook/hubert-large-ll60k --out hubert",
    "affectd-calibrate embed esd ESD --encoder models/xlsr --layers 8,12,16 --pool mean-deviation --out xlsr-mid",
    "affectd-calibrate embed audio recordings/ --run runs/default --spoken --out embeddings/z",
    "accelerate launch --multi_gpu -m calibrate embed esd ESD --encoder models/xlsr --out xlsr --device cuda",
)


def embed(
    corpus: RecordingsReader,
    folder: Folder,
    *,
    out: Annotated[Path, typer.Option(help="Folder for the embeddings.", file_okay=False, metavar="DIR")],
    encoder: Annotated[str | None, typer.Option(help=f"{ANY_ENCODER}; with --run, where its encoder lies.")] = None,
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
    strict: Strict = False,
    threads: Threads = 2,
    device: Device = "cpu",
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Write one vector for every utterance of a corpus, by any speech encoder, as files that numpy and pandas load.

    embeddings.npy has a row for every line of utterances.csv (path, corpus, speaker, emotion, label, gender, seconds,
    row); what cannot be read is in unreadable.csv with the reason; manifest.json says what made them, with hashes.

    The same command again goes on where a killed one was and ends with the same bytes. A corpus may be larger than the
    memory. Many processes under accelerate share the work and write what one would.
    """
    from calibrate.embed.corpus import embed_corpus, show_manifest
    from calibrate.workspace import Workspace

    manifest = embed_corpus(
        Workspace(threads=threads, device=device).open(), corpus, folder, out, encoder, run=run,
        layers=layer_numbers(layers), pool=pool, batching=batching, batch_s=batch_s, max_s=max_s, spoken_only=spoken,
        dtype=dtype, shard=shard, strict=strict,
    )  # fmt: skip
    if manifest is not None and json:
        print(dumps(manifest, ensure_ascii=False))
    elif manifest is not None:
        show_manifest(manifest, out)
