"""``affectd-calibrate batching``."""

from typing import Annotated

import typer

from calibrate.cli.options import (
    ANY_ENCODER,
    BatchSeconds,
    Debug,
    Folder,
    Json,
    Layers,
    Pool,
    RecordingsReader,
    Threads,
    layer_numbers,
)
from edge.cli.kit.entry import examples

EXAMPLES = examples(
    "affectd-calibrate batching crema-d CREMA-D/AudioWAV --encoder facebook/hubert-large-ll60k --clips 100",
    "affectd-calibrate batching nemo data/nemo --encoder models/whisper-base --layers 1,2,3 --max-s 3 --json",
)


def batching(
    corpus: RecordingsReader,
    folder: Folder,
    *,
    encoder: Annotated[str, typer.Option(help=f"{ANY_ENCODER}.")],
    layers: Layers = None,
    pool: Pool = None,
    clips: Annotated[int, typer.Option(min=2, help="Drawn at random from the corpus.")] = 200,
    rounds: Annotated[int, typer.Option(min=1, help="Every kind of batching once a round.")] = 5,
    batch_s: BatchSeconds = None,
    max_s: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            help="Of longer recordings only the central part is encoded, and pad pads to it.",
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
    from calibrate.workspace import Workspace

    report = measure_batching(
        Workspace(threads=threads).open(), corpus, folder, encoder, layers=layer_numbers(layers), pool=pool,
        clips=clips, rounds=rounds, batch_s=batch_s, max_s=max_s, seed=seed,
    )  # fmt: skip
    report.show(json)
