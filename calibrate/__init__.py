"""The training side: corpora, features, heads, schedules, personal calibration and its evaluation."""
