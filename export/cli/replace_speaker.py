"""``affectd-export replace-speaker``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge.cli.kit.entry import examples
from export.cli.options import Debug, Force

EXAMPLES = examples(
    "affectd-export replace-speaker edge/bundles/default --verifier verifier --version 4 --out bundles/default",
)


def replace_speaker(
    bundle: Annotated[Path, typer.Argument(help="Bundle folder, or the name of one inside the package.")],
    *,
    verifier: Annotated[
        Path, typer.Option(help="Folder of affectd-calibrate verification.", exists=True, file_okay=False)
    ],
    version: Annotated[str, typer.Option(help="Version of the new bundle.")],
    out: Annotated[Path, typer.Option(help="Bundle folder to write.", file_okay=False, metavar="DIR")],
    max_mb: Annotated[float, typer.Option(min=0, help="Most megabytes of the whole bundle.")] = 20.0,
    force: Force = False,
    debug: Debug = False,
) -> None:
    """Put another speaker encoder into a finished bundle; everything else in it stays as it is.

    Voiceprints of two encoders do not mix: whoever is enrolled keeps their voice profile, and enrols again to be
    recognised.
    """
    from calibrate.finished import keep_finished
    from calibrate.speakers.verifier import SpeakerModel
    from edge.bundle import MANIFEST_NAME
    from export.bundle.speaker_swap import replace_speaker as write

    keep_finished(out, force, MANIFEST_NAME)
    written = write(bundle, SpeakerModel.load(verifier), out, version, max_mb)
    print(f"{written} written to {out}, {sum(path.stat().st_size for path in out.iterdir()) / 1e6:.1f} MB")
