"""Enrolment: from someone's consent and recordings to clips in the store, a profile, and what could be better."""
