"""The households of an engine: one for all sources, and one for each set of people whom some source is bound to."""

from __future__ import annotations

from edge.bundle import Bundle
from edge.people.household import Household
from edge.settings import SpeakerSettings


class Households:
    """All that the streams of an engine know about people. For one thread, as ``Household``."""

    def __init__(self, bundle: Bundle, settings: SpeakerSettings) -> None:
        self._bundle, self._settings = bundle, settings
        self._households: dict[tuple[str, ...], Household] = {}

    def bound_to(self, names: tuple[str, ...]) -> Household:
        """Return the household of a source that is bound to some people; empty is as ``settings.only`` says."""
        only = names or self._settings.only
        bound = self._settings.model_copy(update={"only": only})
        return self._households.setdefault(only, Household(self._bundle, bound, can_gate=True))

    def load(self) -> None:
        """Read the store for all of them; raises StoreError as ``Household``."""
        for household in self._households.values():
            household.load()

    @property
    def wants_voiceprints(self) -> bool:
        """Voiceprints are of use to any of them."""
        return any(household.wants_voiceprints for household in self._households.values())
