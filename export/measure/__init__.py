"""The benchmark: everything that is claimed of speed and accuracy, measured side by side in one run."""
