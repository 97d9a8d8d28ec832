"""``make arm64``: the bundles on arm64, emulated, against this processor."""
