"""The error of a start that does not do what it says."""

from __future__ import annotations


class StartError(ValueError):
    """A start cannot initialise this model; the model is untouched. The message says why."""
