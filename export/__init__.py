"""Turning a trained model into a bundle: ONNX graph, quantisation, checks."""
