"""The ``affectd-export`` command: from a trained run to a bundle."""
