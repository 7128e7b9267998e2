"""The error of a start that cannot initialise its model."""

from __future__ import annotations


class StartError(ValueError):
    """A start cannot initialise a model, which is untouched. The message says why."""
