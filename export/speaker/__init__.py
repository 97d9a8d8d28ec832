"""Speaker encoders as ONNX graphs: GE2E, and published ones that take Kaldi filterbanks."""
