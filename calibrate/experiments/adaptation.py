"""What enrolment gains a trained run."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from calibrate.dataset import Part, read_parts, require_speakers
from calibrate.experiments.clip_counts import speakers_with_clips
from calibrate.experiments.enrolment import LEAST_CLIPS, PROTOCOL, PURPOSE, cannot_enrol, measure
from calibrate.experiments.enrolment_report import enrolment_report
from calibrate.progress import stage
from calibrate.report import Report
from calibrate.run import Run, load_run
from calibrate.speakers.factor_model import device_head, embed_part, population_of
from calibrate.splits import Split
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
        UsageError: the speakers were trained on, there are none, or nobody has clips enough.
    """
    run = load_run(run_folder, encoder)
    parts = read_parts(run.recipe, workspace.data)
    tested = require_speakers(parts, split)
    if set(tested.speakers).intersection(run.speakers):
        raise UsageError(f"the {split} speakers were trained on; adaptation is measured on others")
    speakers, left_out = speakers_with_clips(tested.corpora, tested.speakers, LEAST_CLIPS, PURPOSE)
    tested = tested.select(np.isin(tested.speakers, speakers))
    left_out += cannot_enrol(tested, run.recipe.labels)
    source = run.source(workspace.cache)
    lacking = _complete(run, parts, source)
    population = population_of(run, parts["train"], source)
    model = DeviceModel(device_head(run, run.temperature), population)
    embedded = embed_part(run, tested, source)
    with stage("measuring enrolment"):
        gains, speaker_gains = measure(model, *embedded)
    protocol = f"{split} speakers of {run.recipe.splits.origin}, never trained on; {PROTOCOL}"
    if lacking:
        logger.warning("%s, which stands in its place here", lacking)
        protocol += f"; {lacking}, which stands in its place, so that what training lacks is not taken for a gain"
    return enrolment_report(gains, speaker_gains, "; ".join([protocol, *left_out]))


def _complete(run: Run, parts: Mapping[Split, Part], source: FeatureSource) -> Undertrained | None:
    """Put a converged output layer in the place of an under-trained one; returns what was lacking, if anything."""
    validation = parts["validation"] if parts["validation"].paths else parts["train"]
    train, others = (source.clean(part, spoken_only=True) for part in (parts["train"], validation))
    lacking = find_undertrained(run.classifier, run.recipe, train, others)
    if lacking:
        lacking.replace_output(run.classifier)
        run.temperature = lacking.temperature
    return lacking
