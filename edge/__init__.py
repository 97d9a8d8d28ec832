"""affectd's device side: what runs on the robot, the kiosk or the desk. One file per stage of the pipeline."""

import os

__version__ = "0.1.0"

# From 1.29 on onnxruntime reports its use to its vendor, unless it is told not to before it is first imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
