"""The runs of a grid: every combination of its values."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from dacapo_core.experiments.run_config import RunConfig

MOST_RUNS = 100

Grid = Mapping[str, Sequence[Any]]


class SweepGridError(ValueError):
    """The grid names no field of a run, or values that do not fit it."""


def expand(run: RunConfig, grid: Grid) -> dict[str, dict[str, Any]]:
    """Name every combination of the grid's values.

    The same values give the same name, so that a grid may be extended later.

    Args:
        grid: dotted field of a run configuration → the values it takes.

    Returns:
        Name of the run → field → value.

    Raises:
        SweepGridError: no field, no value, a value twice, a field a run does not have, or more
            than ``MOST_RUNS`` combinations.
    """
    if not grid:
        raise SweepGridError('the grid is empty; name a field and its values: {"seed": [0, 1]}')
    fields = run.model_dump(mode="json")
    for field, values in grid.items():
        _check_field(fields, field)
        if not values:
            raise SweepGridError(f"grid field {field!r} has no values")
        if len({json.dumps(value, sort_keys=True) for value in values}) < len(values):
            raise SweepGridError(f"grid field {field!r} has a value twice: {list(values)}")
    count = 1
    for values in grid.values():
        count *= len(values)
    if count > MOST_RUNS:
        raise SweepGridError(f"the grid means {count} runs; {MOST_RUNS} are allowed at once")
    combinations = (
        dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())
    )
    return {run_name(run.name, combination): combination for combination in combinations}


def configured(run: RunConfig, name: str, values: Mapping[str, Any]) -> RunConfig:
    """The run with these values under that name.

    Raises:
        SweepGridError: they do not fit; it says which and why.
    """
    fields = run.model_dump(mode="json") | {"name": name}
    for field, value in values.items():
        *parents, last = field.split(".")
        place = fields
        for parent in parents:
            place = place[parent]
        place[last] = value
    try:
        return RunConfig.model_validate(fields)
    except ValueError as error:
        raise SweepGridError(f"run {name!r} of the grid, {dict(values)}: {error}") from error


def run_name(name: str, values: Mapping[str, Any]) -> str:
    """``sweep_learning_rate-0.01_seed-1``; values that are no plain word become a few digits."""
    return "_".join([name, *(f"{field.split('.')[-1]}-{_word(v)}" for field, v in values.items())])


def _word(value: Any) -> str:
    text = json.dumps(value, sort_keys=True).strip('"')
    if re.fullmatch(r"[A-Za-z0-9.+-]{1,20}", text):
        return text
    return hashlib.sha256(text.encode()).hexdigest()[:6]


def _check_field(fields: Mapping[str, Any], field: str) -> None:
    if field == "name":
        raise SweepGridError("the grid gives each run its name; do not sweep over name")
    place: Any = fields
    walked: list[str] = []
    for part in field.split("."):
        if not isinstance(place, Mapping) or part not in place:
            where = f"{'.'.join(walked)} has" if walked else "a run has"
            known = ", ".join(place) if isinstance(place, Mapping) else "no fields"
            raise SweepGridError(f"grid field {field!r}: {where} no {part!r}; there are: {known}")
        place = place[part]
        walked.append(part)
