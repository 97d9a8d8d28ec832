"""Turning a trained model into a bundle: ONNX graph, quantisation, checks."""

import edge as edge  # turns the telemetry of onnxruntime off, before anything here imports it
