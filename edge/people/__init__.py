"""People: who agreed to be known, how they are enrolled, kept, recognised in a conversation, and followed."""
