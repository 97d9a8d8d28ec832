"""affectd's device side: what runs on the robot, the kiosk or the desk. One file per stage of the pipeline."""

__version__ = "0.1.0"
