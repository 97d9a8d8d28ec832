"""What enrolment gains a trained run."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from calibrate.dataset import Part, read_parts
from calibrate.experiments.enrolment import PROTOCOL, measure
from calibrate.experiments.enrolment_report import enrolment_report
from calibrate.progress import stage
from calibrate.report import Report
from calibrate.run import Run, load_run
from calibrate.speakers.factor_model import device_head, embed_part, population_of
from calibrate.splits import Split, split_named
from calibrate.streams import DeviceModel
from calibrate.training.convergence import Undertrained, find_undertrained
from calibrate.training.sources import FeatureSource
from calibrate.workspace import Workspace
from edge.errors import UsageError

logger = logging.getLogger(__name__)


def measure_adaptation(workspace: Workspace, run_folder: Path, *, split: str, encoder: str | None) -> Report:
    """Measure UA of a run's validation or test speakers against their number and kind of enrolment clips.

    An output layer that is fitted to convergence stands in the place of one that is under-trained.

    Raises:
        UsageError: the speakers were trained on.
    """
    part_name = split_named(split)
    run = load_run(run_folder, encoder)
    parts = read_parts(run.recipe, workspace.data)
    source = run.source(workspace.cache)
    if set(parts[part_name].speakers).intersection(run.speakers):
        raise UsageError(f"the {split} speakers were trained on; adaptation is measured on others")
    lacking = _complete(run, parts, source)
    population = population_of(run, parts["train"], source)
    model = DeviceModel(device_head(run, run.temperature), population)
    tested = embed_part(run, parts[part_name], source)
    with stage("measuring enrolment"):
        gains, speakers = measure(model, *tested)
    protocol = f"{split} speakers of {run.recipe.splits.origin}, never trained on; {PROTOCOL}"
    if lacking:
        logger.warning("%s, which stands in its place here", lacking)
        protocol += f"; {lacking}, which stands in its place, so that what training lacks is not taken for a gain"
    return enrolment_report(gains, speakers, protocol)


def _complete(run: Run, parts: Mapping[Split, Part], source: FeatureSource) -> Undertrained | None:
    """Put a converged output layer in the place of an under-trained one; returns what was lacking, if anything."""
    validation = parts["validation"] if parts["validation"].paths else parts["train"]
    train, others = (source.clean(part, spoken_only=True) for part in (parts["train"], validation))
    lacking = find_undertrained(run.classifier, run.recipe, train, others)
    if lacking:
        lacking.replace_output(run.classifier)
        run.temperature = lacking.temperature
    return lacking
