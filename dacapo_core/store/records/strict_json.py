"""Values as every JSON reader takes them: numbers of numpy and torch are numbers, NaN is none."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from dacapo_core.store.errors import InvalidValueError

NOT_FINITE = ("NaN", "Infinity", "-Infinity")


def plain(value: Any, name: str) -> Any:
    """A value as JSON holds it; a float that is not finite as the text that ``float`` reads.

    Args:
        name: of the value, for the error.

    Raises:
        InvalidValueError: JSON has nothing for it.
    """
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else _spelled(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, Mapping):
        return {str(key): plain(each, f"{name}.{key}") for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each, f"{name}[{number}]") for number, each in enumerate(value)]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if hasattr(value, "tolist"):
        # numpy and torch, scalars too
        listed = value.tolist()
        if isinstance(listed, bool | int | float | str | list):
            return plain(listed, name)
        if type(listed) is type(value) and hasattr(value, "__float__"):
            return plain(float(value), name)
    raise InvalidValueError(
        f"{name} is {value!r:.80} of type {type(value).__name__}; a record holds numbers, texts, "
        "lists and mappings of these"
    )


def without_nan(value: Any) -> Any:
    """Plain containers with None in place of floats that are not finite."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: without_nan(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(each) for each in value]
    return value


def dumped(value: Any, name: str, indent: int | None = None) -> bytes:
    """Strict JSON.

    Raises:
        InvalidValueError: JSON has nothing for a value in it; names the value.
    """
    return json.dumps(plain(value, name), indent=indent, allow_nan=False).encode()


def parsed_json(content: bytes | str) -> Any:
    """What JSON says.

    Raises:
        ValueError: it is no JSON, or is nested too deeply to be read.
    """
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("containers are nested too deeply") from None


def _spelled(value: float) -> str:
    nan, infinity, minus_infinity = NOT_FINITE
    return nan if math.isnan(value) else infinity if value > 0 else minus_infinity
