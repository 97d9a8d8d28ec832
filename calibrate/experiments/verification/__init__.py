"""Speaker verification: what it is worth on speakers held out from all fitting, and the verifier for a bundle."""

from calibrate.experiments.verification.experiment import measure_verification
from calibrate.experiments.verification.figures import LeaveOut

__all__ = ["LeaveOut", "measure_verification"]
