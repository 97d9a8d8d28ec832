"""Who speaks and how that changes the reading: voiceprints, verification, adaptation, the population."""
