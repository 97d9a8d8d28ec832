"""ONNX graphs: from a trained encoder to one file, quantised, and proven to be the same model."""
