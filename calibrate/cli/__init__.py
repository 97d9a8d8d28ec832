"""The ``affectd-calibrate`` command: corpora, training, evaluation."""
