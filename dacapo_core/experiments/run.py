"""A run as it is trained (DaCapo's ``dacapo.experiments.run``)."""

from dacapo_core.training.run import Run

__all__ = ["Run"]
