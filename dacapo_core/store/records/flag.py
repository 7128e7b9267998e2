"""A flag on one checkpoint, a small JSON object: when it was set, by whom, and more by its kind."""

from __future__ import annotations

from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict, Field


class Flag(BaseModel):
    """When it was set, and by whom."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    time: datetime = Field(default_factory=lambda: datetime.now(UTC))
    by: str | None = None
