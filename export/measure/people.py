"""How cost grows with the people enrolled: recognising one of them, and reading all from the store."""

from __future__ import annotations

import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np

from edge.arrays import Matrix, unit
from edge.bundle import Bundle
from edge.people.household import Household
from edge.people.store import SpeakerStore
from edge.people.store.exchange import Belongings, write_export
from edge.people.store.person import Consent, EnrolledClip, Person, StoredProfile
from edge.people.voice_profiles import estimate_voice_profile, to_stored
from edge.settings import SpeakerSettings
from export.measure.plan import Plan, label
from export.measure.report import Section, Table
from export.rounds import alternate, digits, limited

PEOPLE = (1, 10, 100, 1_000, 10_000)
CLIPS = 8
"""Of each person, as an enrolment leaves them."""
SLOW_ROUNDS = 3
HEADER = ("people", "identify, ms", "n", "read the store, ms", "n", "write a person, ms", "store, MB")
NOTES = """\
Made-up people with {clips} enrolled clips and a profile each, in a real store in a temporary folder. *Identify* is
`edge.speaker.Identifier.identify` of one utterance against everyone. *Read* is `edge.people.household.Household.load`
(opening the store, unsealing every profile and voiceprint) and the identifier made of it: what `affectd run` does
once at its start and after a change of the store. *Write* is the mean over the people added to reach this number, on
the disk when done."""


def measure(plan: Plan) -> Section:
    """Grow a store and a household to 10,000 people."""
    bundle = plan.bundles[0]
    rows, figures = [], []
    with tempfile.TemporaryDirectory(prefix="affectd-bench-") as folder, limited(1):
        crowd = Crowd(bundle, Path(folder))
        for count in PEOPLE[:2] if plan.quick else PEOPLE:
            write_ms = crowd.grow(count)
            household = Household(bundle, SpeakerSettings(store=folder))
            reading = alternate({"read": partial(read, household)}, SLOW_ROUNDS, warm=int(count < 1_000))["read"]
            identifier, voiceprint = household.identifier(), crowd.voiceprint()
            identify = alternate(
                {"identify": partial(identifier.identify, voiceprint, 3.0)}, 10 * plan.rounds, warm=10
            )["identify"]
            size_mb = sum(path.stat().st_size for path in Path(folder).iterdir()) / 1e6
            identified, store = (str(identify), str(len(identify.values_ms))), (digits(write_ms), digits(size_mb))
            rows.append((f"{count:,}", *identified, str(reading), str(SLOW_ROUNDS), *store))
            figures.append(
                {"people": count, "write_ms": write_ms, "store_mb": size_mb}
                | {"identify": identify.as_json(), "read": reading.as_json()}
            )
    title = f"{label(bundle)}, 1 thread"
    return Section("People enrolled", NOTES.format(clips=CLIPS), [Table(title, HEADER, rows)], {"people": figures})


def read(household: Household) -> None:
    """Read the store and make an identifier of it."""
    household.load()
    household.identifier()


class Crowd:
    """A store that grows by made-up people."""

    def __init__(self, bundle: Bundle, folder: Path) -> None:
        self.bundle, self.folder = bundle, folder
        self.count = 0
        self._rng = np.random.default_rng(0)
        self._profile = self._make_profile()

    def grow(self, count: int) -> float:
        """Add people until there are this many, and return the milliseconds that a person took on average."""
        exports = (write_export(self._person(number)) for number in range(self.count, count))
        spent_s = 0.0
        with SpeakerStore.open(self.folder) as store:
            for export in exports:
                started_s = time.perf_counter()
                store.import_person(export)
                spent_s += time.perf_counter() - started_s
        added, self.count = count - self.count, count
        return spent_s / added * 1e3

    def voiceprint(self) -> Matrix:
        """Return ``float32[dim]`` of unit length."""
        speaker = self.bundle.manifest.speaker
        dim = speaker.voiceprint_dim if speaker else 1
        return unit(self._rng.standard_normal(dim).astype(np.float32))

    def _person(self, number: int) -> Belongings:
        person = Person(name=f"person {number}", consent=Consent(text_version="1", how="--yes"))
        return Belongings(person=person, clips=tuple(self._clip() for _ in range(CLIPS)), profiles=(self._profile,))

    def _clip(self) -> EnrolledClip:
        mean = self.bundle.population.mean
        return EnrolledClip(
            encoder_hash=self.bundle.encoder_hash,
            speaker_hash=self.bundle.speaker_hash,
            embedding=mean + 0.1 * self._rng.standard_normal(len(mean)).astype(np.float32),
            voiceprint=self.voiceprint(),
            duration_s=3.0,
        )

    def _make_profile(self) -> StoredProfile:
        """Return the profile of one person, which does for all: its numbers cost nothing."""
        profile = estimate_voice_profile(self.bundle, [self._clip() for _ in range(CLIPS)])
        return to_stored(profile, self.bundle, "made up")
