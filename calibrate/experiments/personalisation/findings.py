"""What was measured of ways to make a model one person's, and its file: a killed comparison goes on where it was."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from calibrate.experiments.personalisation.gap import Gap
from calibrate.experiments.pldc.categorical import Score
from calibrate.experiments.pldc.figures import Case, Collected
from edge.files import new_file


@dataclass
class Findings:
    """What was measured, of one seed or of all."""

    scores: Collected = field(default_factory=Collected)
    losses: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Masked loss of new speakers by encoder and embedding, one a seed."""
    gaps: list[Gap] = field(default_factory=list)
    tested: set[str] = field(default_factory=set)
    """Speakers."""

    def add(self, other: Findings) -> None:
        """Take in those of another seed."""
        for case, speakers in other.scores.scores.items():
            for speaker, scores in speakers.items():
                for condition, found in scores.items():
                    self.scores.scores[case][speaker][condition] += found
            self.scores.enrolled[case] += other.scores.enrolled[case]
        for name, losses in other.losses.items():
            self.losses[name] += losses
        self.gaps += other.gaps
        self.tested |= other.tested

    def values(self) -> dict[str, Any]:
        """Return all of it as JSON values."""
        scores = [
            {
                "case": asdict(case),
                "speaker": speaker,
                "condition": condition,
                "scores": [asdict(each) for each in found],
            }
            for case, speakers in self.scores.scores.items()
            for speaker, conditions in speakers.items()
            for condition, found in conditions.items()
        ]
        enrolled = [{"case": asdict(case), "clips": clips} for case, clips in self.scores.enrolled.items()]
        gaps = [asdict(gap) for gap in self.gaps]
        return {
            "scores": scores,
            "enrolled": enrolled,
            "losses": self.losses,
            "gaps": gaps,
            "tested": sorted(self.tested),
        }

    @classmethod
    def of(cls, values: dict[str, Any]) -> Findings:
        """Return what ``values`` made JSON of."""
        found = cls(gaps=[Gap(**gap) for gap in values["gaps"]], tested=set(values["tested"]))
        for name, losses in values["losses"].items():
            found.losses[name] = losses
        for row in values["scores"]:
            scores = found.scores.scores[Case(**row["case"])][row["speaker"]]
            scores[row["condition"][0], row["condition"][1]] = [Score(**score) for score in row["scores"]]
        for row in values["enrolled"]:
            found.scores.enrolled[Case(**row["case"])] = row["clips"]
        return found


def kept_findings(path: Path, described: str, measure: Callable[[], Findings]) -> Findings:
    """Return what a file holds of a seed, or measure and keep it.

    Args:
        path: of the file.
        described: all that the findings depend on; a file about anything else is replaced.
        measure: called where there is no such file.
    """
    try:
        kept = json.loads(path.read_text())
        if kept["of"] == described:
            return Findings.of(kept["findings"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    found = measure()
    path.parent.mkdir(parents=True, exist_ok=True)
    with new_file(path) as new:
        new.write_text(json.dumps({"of": described, "findings": found.values()}))
    return found
