"""Training a run (DaCapo's ``dacapo.train``)."""

from dacapo_core.training.loop import train_until

__all__ = ["train_until"]
