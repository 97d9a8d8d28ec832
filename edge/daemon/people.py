"""What a running affectd can be asked about people: who is enrolled, and to forget or enrol somebody."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from edge import forgetting
from edge.actions import Actions, name_in
from edge.calibration import CalibratedModel
from edge.capture import Source
from edge.errors import AffectdError, UsageError
from edge.event import Event
from edge.folders import data_folder
from edge.guided_enrolment import Enough, View, listen_guided
from edge.people.consent import CONSENT_VERSION, consent_text
from edge.people.enrolment import Enrolled, Enrolment
from edge.people.roster import entry_of
from edge.people.store import SpeakerStore
from edge.people.store.person import Consent, Person, clean_name
from edge.recent import RecentEvents
from edge.stream import new_segmenter


class People:
    """The people of a running affectd, which takes notice of every change by itself. May be used on any thread."""

    def __init__(self, model: Callable[[], CalibratedModel], recent: RecentEvents) -> None:
        """Prepare; ``model`` returns the one in use, with its settings, and ``recent`` keeps the latest events."""
        self._model, self._recent = model, recent
        self._everyone: frozenset[str] = frozenset()
        """By id, when it was looked last."""
        self.actions: Actions = {
            "people": lambda _: self.listed(),
            "consent": self._consent,
            "forget": lambda request: self.forget(name_in(request, "name")),
        }
        """What may be asked for by who may ask about people; see ``Daemon.actions``."""

    def follow(self, event: Event) -> None:
        """Keep the next event of the run; once somebody was forgotten, none of those before, which may name them."""
        if event.reason in ("ready", "people_changed"):
            everyone = self._ids()
            if self._everyone - everyone:
                self._recent.clear()
            self._everyone = everyone
        self._recent.add(event)

    def listed(self) -> list[dict[str, Any]]:
        """Return everyone who is enrolled, as `affectd speakers list --json` does; raises StoreError."""
        bundle = self._model().recognizer.bundle
        with self._store() as store:
            return [entry_of(store, person, bundle).to_dict() for person in store.people()]

    def forget(self, name: str) -> dict[str, Any]:
        """Remove someone and every trace of them, as `affectd speakers forget` does.

        Raises:
            StoreError: there is nobody of that name, or the store cannot be written.
            OutputError: they are forgotten, but not in a journal.
        """
        with self._store() as store:
            forgotten = forgetting.forget(store, store.person(name), self._model().settings)
        self._recent.clear()
        facts = {"name": forgotten.name, "rooms": forgotten.rooms, "journal": forgotten.journal}
        return facts | {"message": str(forgotten)}

    def enrol(
        self, name: str, consent_version: str, may_refine: bool, source: Source, enough: Enough, view: View
    ) -> Enrolled:
        """Enrol someone who speaks at a source, until it is enough or the source ends.

        It is heard and encoded on the caller's thread, by the encoders that recognise: their sessions may run on
        several threads at a time.

        Args:
            name: who it is; adds to the profile of someone enrolled.
            consent_version: of the text that they have agreed to, which has to be the present one.
            may_refine: they agree that running refines their profile.
            source: what they say.
            enough: when to stop.
            view: is told of everything.

        Raises:
            UsageError: the name is none, or they have agreed to another text, or to none.
            StoreError: the store cannot be read or written.
        """
        name = clean_name(name)
        if consent_version != CONSENT_VERSION:
            raise UsageError(
                f"{name} must agree to text {CONSENT_VERSION} first, and not to {consent_version or 'none'}"
            )
        model = self._model()
        recognizer = model.recognizer
        with self._store() as store:
            known = store.find(name)
            if known and may_refine and not known.may_refine:
                known = store.allow_refinement(known.name, True)
            consent = Consent(text_version=consent_version, how="asked")
            person = known or Person(name=name, consent=consent, may_refine=may_refine)
            recognizer.load(voiceprints=recognizer.bundle.manifest.speaker is not None)
            enrolment = Enrolment(store, recognizer, person, is_new=known is None)
            listen_guided(enrolment, source, new_segmenter(recognizer, model.settings), enough, view)
            return enrolment.finish()

    def _ids(self) -> frozenset[str]:
        try:
            with SpeakerStore.open(self._model().settings.speakers.store_folder, readonly=True) as store:
                return frozenset(person.id for person in store.people())
        except AffectdError:
            return self._everyone

    def _consent(self, request: Mapping[str, Any]) -> dict[str, str]:
        name = clean_name(name_in(request, "name"))
        folder = self._model().settings.speakers.store_folder or data_folder()
        return {"name": name, "version": CONSENT_VERSION, "text": consent_text(name, folder)}

    def _store(self) -> SpeakerStore:
        return SpeakerStore.open(self._model().settings.speakers.store_folder)
