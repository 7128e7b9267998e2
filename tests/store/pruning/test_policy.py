"""The policy as a form: what it takes, and what it refuses by name."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import jsonschema
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
    assert types == ["string", "number", "null"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("grace", each) for each in (90, 0.5, "90", " 12h ", "1.5h", "2w", "P7D", "PT12H")),
        *(("minimum_age", each) for each in ("P1DT2H", "7 days", "1 day, 02:00:00", "2:30:00")),
        *(("max_total_size", each) for each in (10, "200 GB", "1.5TiB", ".5 gb", "5 kbit", "5k")),
        *(("grace", each) for each in ("7 fortnights", "d", "", "P", "7dd", "-3d", "0d", 0, -1)),
        *(("max_total_size", each) for each in ("12 apples", "5 XB", "GB", "0", "-1 GB", 0)),
    ],
)
def test_the_form_refuses_what_could_not_be_read_and_nothing_else(field: str, value: Any) -> None:
    given = {"keep_last": 1, field: value}
    try:
        RetentionPolicy(**given)
    except ValidationError:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(given, RetentionPolicy.model_json_schema())
    else:
        jsonschema.validate(given, RetentionPolicy.model_json_schema())
