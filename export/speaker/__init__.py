"""Published speaker encoders, which take Kaldi filterbanks, as ONNX graphs that take audio."""
