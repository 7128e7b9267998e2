"""The policy that says which checkpoints of a run to keep: its rules, as a form. Pure."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_SHORT_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([smhdw]?)\s*")
_LONGEST = timedelta(days=36_500)


def _short_duration(value: Any) -> Any:
    if isinstance(value, str) and (match := _SHORT_DURATION.fullmatch(value)):
        try:
            return timedelta(**{_UNITS[match[2] or "s"]: float(match[1])})
        except OverflowError:
            return timedelta.max
    return value


def _sensible(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        raise ValueError("must be longer than 0; leave it out to have none")
    if value > _LONGEST:
        raise ValueError("must be 100 years (36500d) at most")
    return value


# a form's schema refuses what could not be read, so that no run is started to say so
_ONE_DIGIT_ABOVE_0 = r"(?=.*[1-9])"
_ISO_DURATION = (
    r"\+?P(\d+(\.\d+)?[YMWD])*(T(\d+(\.\d+)?[HMS])+)?"
    r"|(\d+ ?([dD]|[dD]ays?),? ?)?\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?"
    r"|\d+ ?([dD]|[dD]ays?),?"
)
_DURATION = rf"^{_ONE_DIGIT_ABOVE_0}({_SHORT_DURATION.pattern}|{_ISO_DURATION})$"
_SIZE = (
    rf"^{_ONE_DIGIT_ABOVE_0}\s*\d*\.?\d+\s*"
    r"([kKmMgGtTpPeE]([iI]?[bB]([iI][tT])?)?|[bB]([iI][tT])?)?\s*$"
)

Duration = Annotated[
    timedelta,
    BeforeValidator(_short_duration),
    AfterValidator(_sensible),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": _DURATION},
                {"type": "number", "exclusiveMinimum": 0},
            ]
        },
        mode="validation",
    ),
]
"""Seconds (``90``), ISO 8601 (``P7D``) or short (``90s``, ``12h``, ``7d``, ``2w``)."""

Size = Annotated[
    ByteSize,
    Field(gt=0),
    WithJsonSchema(
        {"anyOf": [{"type": "string", "pattern": _SIZE}, {"type": "integer", "minimum": 1}]},
        mode="validation",
    ),
]
"""Bytes, or with a unit (``200 GB``, ``1.5 TiB``)."""


class RetentionPolicy(BaseModel):
    """Which checkpoints of a run to keep; a checkpoint that any rule keeps is kept.

    Never pruned, whatever the policy says: the latest, the target of every best record, pinned
    ones, those waiting for a requested validation, and those a live run reads or starts from.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    keep_last: int | None = Field(default=None, ge=1, description="Keep the newest n.")
    keep_every: int | None = Field(
        default=None, ge=1, description="Keep each iteration that is a multiple of this."
    )
    keep_best: int | None = Field(
        default=None, ge=1, description="Keep the best n of each dataset and criterion."
    )
    criteria: list[str] | None = Field(
        default=None,
        min_length=1,
        description="Criteria that keep_best looks at, as `dice` or `dataset/dice`; default all.",
    )
    keep_hourly: int | None = Field(
        default=None, ge=1, description="Keep the newest of each of the last n hours that have one."
    )
    keep_daily: int | None = Field(
        default=None, ge=1, description="Keep the newest of each of the last n days that have one."
    )
    keep_weekly: int | None = Field(
        default=None, ge=1, description="Keep the newest of each of the last n weeks that have one."
    )
    max_total_size: Size | None = Field(
        default=None,
        description="Limit for a run's checkpoints together, as `200 GB`; the oldest go first, "
        "the best last. Alone it keeps all that fits.",
    )
    pins: list[Annotated[int, Field(ge=0)]] = Field(
        default_factory=list, description="Iterations to keep in any case."
    )
    minimum_age: Duration | None = Field(
        default=None, description="Never prune what is younger: seconds, `12h`, `7d`."
    )
    grace: Duration | None = Field(
        default=None,
        description="Pruning only marks; a sweep deletes after this time: seconds, `12h`, `7d`.",
    )

    @model_validator(mode="after")
    def _keeps_something(self) -> RetentionPolicy:
        if self.criteria is not None and self.keep_best is None:
            raise ValueError("criteria is given without keep_best; give both or neither")
        if not self.has_rules and self.max_total_size is None:
            raise ValueError(
                "this policy would keep nothing; give at least one of keep_last, keep_every, "
                "keep_best, keep_hourly, keep_daily, keep_weekly, max_total_size, minimum_age, pins"
            )
        return self

    @property
    def has_rules(self) -> bool:
        """Whether any rule gives a reason to keep; a size limit alone does not."""
        rules = (
            self.keep_last,
            self.keep_every,
            self.keep_best,
            self.keep_hourly,
            self.keep_daily,
            self.keep_weekly,
            self.minimum_age,
        )
        return any(rule is not None for rule in rules) or bool(self.pins)


def shown_duration(duration: timedelta) -> str:
    """For people: ``90 seconds``, ``12 hours``, ``7 days``."""
    seconds = duration.total_seconds()
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length and seconds % length == 0:
            count = int(seconds // length)
            return f"{count} {unit}{'s' if count != 1 else ''}"
    return f"{seconds:g} seconds"
