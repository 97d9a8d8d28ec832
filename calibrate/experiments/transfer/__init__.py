"""Transfer between two corpora, of two languages for instance: what a recipe's model of the source is worth on unseen
speakers of the target, what training on some of these adds, alone or along with the source, and what it costs there."""

from calibrate.experiments.transfer.experiment import measure_transfer

__all__ = ["measure_transfer"]
