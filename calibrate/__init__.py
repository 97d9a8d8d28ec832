"""The training side: corpora, features, heads, schedules, personal calibration and its evaluation."""

import edge as edge  # turns the telemetry of onnxruntime off, before anything here imports it
