"""Forms in the order in which a person fills them in, with what is seldom changed folded. Pure.

Prefect's form shows every field of every object, one below the other, and knows no folding; but of
alternatives it shows one, as tabs. So what has a default becomes the alternatives "Default", which
is one line of text, and the fields.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

Schema = dict[str, Any]

FOLDED = ("retention", "source")
FIRST = (
    *("name", "start_config", "num_iterations", "validation_interval", "batch_size"),
    *("learning_rate", "task_config", "datasplit_config", "architecture_config"),
    "trainer_config",
)
KEPT = ("default", "description", "position")
AS_IT_IS = "AsItIs"
LONGEST = 60


def form(schema: Mapping[str, Any]) -> Schema:
    """A flow's parameters, as Prefect describes them, with the same values valid.

    The fields of ``run`` that a person sets come first; its configurations, and the parameters
    ``retention`` and ``source``, are folded.
    """
    shaped = deepcopy(dict(schema))
    definitions: dict[str, Schema] = shaped.get("definitions", {})
    properties: dict[str, Schema] = shaped.get("properties", {})
    if (run := properties.get("run")) is not None and "$ref" in run:
        properties["run"] = _run_form(run, definitions)
    for name in FOLDED:
        if name in properties:
            properties[name] = _folded(name, properties[name], definitions)
    # the keyword that makes a tab of one value must not stand where validation looks for a type:
    # what it says of a mistake in the fields would be lost
    definitions[AS_IT_IS] = {"type": "object", "title": "Default"}
    return shaped


def _run_form(run: Schema, definitions: Mapping[str, Schema]) -> Schema:
    """The fields of a run in place of the reference to them: its defaults are this form's own."""
    described = _with_defaults(_resolved(run["$ref"], definitions), run.get("default", {}))
    named = {key: value for key, value in run.items() if key != "$ref"}
    fields: dict[str, Schema] = described["properties"]
    for name, field in fields.items():
        if name.endswith("_config"):
            fields[name] = _folded(name, field, definitions)
    order = {name: place for place, name in enumerate(FIRST)}
    for place, name in enumerate(sorted(fields, key=lambda name: order.get(name, len(FIRST)))):
        fields[name]["position"] = place
    return {**described, **named}


def _folded(name: str, field: Schema, definitions: Mapping[str, Schema]) -> Schema:
    """The field as tabs: its default in a line, if it has one, and each kind of value."""
    default = field.get("default")
    tabs: list[Schema] = []
    for kind in _alternatives(field):
        if default is None or not _is_of(default, kind, definitions):
            tabs.append(kind)
            continue
        fields = _with_defaults(_resolved(kind["$ref"], definitions), default)
        in_order = {each: default[each] for each in fields["properties"] if each in default}
        as_it_is = {
            "$ref": f"#/definitions/{AS_IT_IS}",
            "title": "Default",
            "description": _line(in_order),
            "const": default,
        }
        tabs = [as_it_is, *tabs, fields]
    kept: Schema = {key: field[key] for key in KEPT if key in field}
    if isinstance(default, dict) and "description" in kept:
        # what is without one is not what is here
        kept["description"] = kept["description"].partition(" Default: ")[0]
    title = field.get("title", name.replace("_", " ").title())
    return {"title": title, **kept, "anyOf": tabs}


def _with_defaults(described: Schema, values: Mapping[str, Any]) -> Schema:
    """An object whose fields begin with these values.

    A default of the whole would equal that of the tab "Default", and lead back to it.
    """
    found = deepcopy(described)
    for name, value in values.items():
        found["properties"][name]["default"] = value
    return found


def _alternatives(field: Mapping[str, Any]) -> list[Schema]:
    """The kinds of value, without alternatives inside alternatives."""
    for keyword in ("anyOf", "oneOf"):
        if keyword in field:
            return [kind for each in field[keyword] for kind in _alternatives(each)]
    return [{key: field[key] for key in ("$ref", "type") if key in field}]


def _is_of(value: Any, kind: Mapping[str, Any], definitions: Mapping[str, Schema]) -> bool:
    """Whether a value is of that kind, told by its ``type`` where kinds have one."""
    if not isinstance(value, dict) or "$ref" not in kind:
        return False
    fields = _resolved(kind["$ref"], definitions).get("properties", {})
    if not value.keys() <= fields.keys():
        return False
    return "type" not in value or bool(fields["type"].get("const") == value["type"])


def _resolved(reference: str, definitions: Mapping[str, Schema]) -> Schema:
    return definitions[reference.rpartition("/")[2]]


def _line(values: Mapping[str, Any]) -> str:
    """``channels mito, er · kernel_size 1``: what is set, without objects inside."""
    said = []
    for name, value in values.items():
        if value is None or value in ("", [], {}) or isinstance(value, dict):
            continue
        shown = _shown(value)
        if len(shown) <= LONGEST:
            said.append(f"{name} {shown}")
    return " · ".join(said)


def _shown(value: Any) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        inner = [f"({_shown(each)})" if isinstance(each, list) else _shown(each) for each in value]
        return ", ".join(inner)
    return str(value)
