"""The ``affectd-export`` command: every command in a file of its own, which imports its work when it is called."""

from __future__ import annotations

from calibrate.progress import watched
from edge.cli.kit.entry import examples, new_app
from export.cli import bundle, check, distil, engines, replace_speaker, speaker, thin

app = new_app(
    "affectd-export",
    "Turn a trained run into a bundle that [bold]affectd[/bold] runs: ONNX graph, int8, checks, model card.",
    examples("affectd-export bundle runs/default --data data --out bundles/mine"),
)


@app.callback()
def export() -> None:
    """Options before any command."""


app.command(epilog=bundle.EXAMPLES)(watched(bundle.bundle))
app.command(epilog=check.EXAMPLES)(watched(check.check))
app.command(epilog=distil.EXAMPLES)(watched(distil.distil))
app.command(epilog=engines.EXAMPLES)(watched(engines.engines))
app.command(epilog=replace_speaker.EXAMPLES)(watched(replace_speaker.replace_speaker))
app.command(epilog=speaker.EXAMPLES)(watched(speaker.speaker))
app.command(epilog=thin.EXAMPLES)(watched(thin.thin))
