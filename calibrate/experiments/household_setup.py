"""Households as experiments draw them: who lives there, how they enrol, and how their conversations go."""

HOUSEHOLD = 4
"""People."""
HOUSEHOLD_CLIPS = 8
"""That each enrols with."""
TURNS = 5
"""Utterances of a conversation."""
STAYS = 0.7
"""In a conversation of several people: how often the last voice goes on."""
