"""People who agreed: their enrolment, their store, and recognising them in a conversation."""
