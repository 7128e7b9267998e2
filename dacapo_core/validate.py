"""Validating a run (DaCapo's ``dacapo.validate``)."""

from dacapo_core.validation.scoring import validate_iteration

__all__ = ["validate_iteration"]
