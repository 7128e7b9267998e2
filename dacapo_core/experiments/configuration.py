"""The base of every configuration of a run."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Configuration(BaseModel):
    """A part of a run's configuration: plain values, checked when made, unknown fields refused.

    Configurations build in milliseconds and import no torch, so that a form or a worker can
    show and check them without the training stack.
    """

    model_config = ConfigDict(extra="forbid", validate_default=True)
