"""TensorRT: what its parser takes, graphs of fixed shape, and engines built ahead of time."""
