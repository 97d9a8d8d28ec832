"""The ``affectd`` command: one file a command; what each needs is imported when it is called."""
