"""A small fact that one object says: when, by whom, and what a kind of its own adds."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError


class Note(BaseModel):
    """When it was said, and by whom."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    time: datetime = Field(default_factory=lambda: datetime.now(UTC))
    by: str | None = None


Kind = TypeVar("Kind", bound=Note)


def parsed(kind: type[Kind], content: bytes) -> Kind | None:
    """None for one that cannot be read."""
    try:
        return kind.model_validate_json(content)
    except ValidationError:
        return None
