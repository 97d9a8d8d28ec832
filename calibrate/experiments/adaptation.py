"""What enrolment gains a trained run."""

from __future__ import annotations

from pathlib import Path

from calibrate.dataset import read_parts
from calibrate.experiments.enrolment import PROTOCOL, enrolment_report, measure
from calibrate.report import Report
from calibrate.run import load_run
from calibrate.speakers.factor_model import device_head, embed_part, population_of
from calibrate.splits import split_named
from calibrate.streams import DeviceModel
from calibrate.workspace import Workspace
from edge.errors import UsageError


def measure_adaptation(workspace: Workspace, run_folder: Path, *, split: str, encoder: str | None) -> Report:
    """Measure UA of a run's validation or test speakers against their number and kind of enrolment clips.

    Raises:
        UsageError: the speakers were trained on.
    """
    part_name = split_named(split)
    run = load_run(run_folder, encoder)
    parts = read_parts(run.recipe, workspace.data)
    source = run.source(workspace.cache)
    population = population_of(run, parts["train"], source)
    if set(parts[part_name].speakers).intersection(run.speakers):
        raise UsageError(f"the {split} speakers were trained on; adaptation is measured on others")
    model = DeviceModel(device_head(run, run.temperature), population)
    gains, speakers = measure(model, *embed_part(run, parts[part_name], source))
    protocol = f"{split} speakers of {run.recipe.splits.origin}, never trained on; {PROTOCOL}"
    return enrolment_report(gains, speakers, protocol)
