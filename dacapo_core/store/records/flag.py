"""A flag on one checkpoint, a small JSON object: when it was set, by whom, and more by its kind."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError


class Flag(BaseModel):
    """When it was set, and by whom."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    time: datetime = Field(default_factory=lambda: datetime.now(UTC))
    by: str | None = None


Kind = TypeVar("Kind", bound=Flag)


def parsed(kind: type[Kind], content: bytes) -> Kind | None:
    """The flag in a file; None where it cannot be read."""
    try:
        return kind.model_validate_json(content)
    except ValidationError:
        return None
