"""Which checkpoints of a run are kept: the policy, and the plan that it makes. Pure."""

from dacapo_core.store.pruning.keep_rules import plan
from dacapo_core.store.pruning.policy import RetentionPolicy

__all__ = ["RetentionPolicy", "plan"]
