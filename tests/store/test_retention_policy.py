"""The policy as a form: what it takes, and what it refuses by name."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from dacapo_core.store.retention import RetentionPolicy


@pytest.mark.parametrize("week", [604_800, "604800", "168h", "7d", "1w", "P7D"])
def test_a_duration_is_seconds_or_has_a_unit(week: int | str) -> None:
    assert RetentionPolicy(keep_last=1, grace=week).grace == timedelta(days=7)


@pytest.mark.parametrize("long", ["9999999d", "99999999999d", "9" * 400 + "w", 10**12])
def test_an_absurdly_long_duration_is_refused(long: int | str) -> None:
    with pytest.raises(ValidationError, match="100 years"):
        RetentionPolicy(keep_last=1, grace=long)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "would keep nothing"),
        ({"grace": "7d"}, "would keep nothing"),
        ({"keep_last": 0}, "keep_last"),
        ({"keep_every": -5}, "keep_every"),
        ({"keep_last": 2, "criteria": ["dice"]}, "without keep_best"),
        ({"keep_last": 2, "grace": "0s"}, "longer than 0"),
        ({"max_total_size": 0}, "max_total_size"),
        ({"keep_last": 2, "pins": [-1]}, "pins"),
        ({"keep_lasst": 2}, "keep_lasst"),
    ],
)
def test_contradictory_policies_are_refused_by_name(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        RetentionPolicy(**values)


def test_the_policy_is_a_form() -> None:
    schema = RetentionPolicy.model_json_schema()
    assert json.dumps(schema)
    assert all(field.get("description") for field in schema["properties"].values())
    types = [each.get("type") for each in schema["properties"]["grace"]["anyOf"]]
    assert types == ["string", "integer", "null"]
