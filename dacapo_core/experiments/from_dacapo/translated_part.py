"""A part of a configuration in translation: what was there, what it becomes, what is left over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

INDENT = "  "


class Source:
    """Stored values, taken one by one; what nobody took has no counterpart."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        # attrs keeps private fields under their private names
        self._left = {key.lstrip("_"): value for key, value in values.items()}
        self.kind = str(values.get("__type__", ""))
        for key in ("type__", "id"):
            self._left.pop(key, None)

    def take(self, key: str, default: Any = None) -> Any:
        """The value, which is then accounted for; `default` where it is missing or None."""
        value = self._left.pop(key, None)
        return default if value is None else value

    def peek(self, key: str) -> Any:
        """The value, which is not accounted for by that; None where it is missing."""
        return self._left.get(key)

    def left_over(self) -> list[str]:
        """A line for each field that nobody took and that says something."""
        return [f"{key}: {inline(value)}" for key, value in self._left.items() if value is not None]


@dataclass
class Part:
    """A mapping of ours.

    Attributes:
        values: may hold parts, and lists of them.
        notes: comments above it.
    """

    values: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def note_left_over(self, source: Source, of: str) -> None:
        """Say which fields of DaCapo's have no counterpart."""
        self.notes += [f"no counterpart for DaCapo's {of} {line}" for line in source.left_over()]

    def take(self, source: Source, *fields: str) -> None:
        """Take over fields that are called alike and have a value."""
        for name in fields:
            value = source.take(name)
            if value is not None:
                self.values[name] = _lists(value)

    def put(self, key: str, translated: Part | None, of: str, values: Any, choose: str) -> None:
        """Set a field to a part; where there is none like DaCapo's, leave it to be filled in.

        Args:
            of: what the message calls DaCapo's part.
            values: DaCapo's.
            choose: what there is to choose from.
        """
        self.values[key] = TO_FILL_IN if translated is None else translated
        if translated is None:
            self.notes.append(
                f"{of or 'this'} has no counterpart; choose {choose}. It was {inline(values)}"
            )

    def text(self) -> str:
        """As YAML, notes as comments."""
        return "\n".join(_lines(self)) + "\n"

    def missing(self) -> list[str]:
        """Dotted names of what has to be filled in by hand."""
        return _missing(self, "")


def inline(value: Any) -> str:
    """A value in one line of YAML."""
    dumped = yaml.safe_dump(value, default_flow_style=True, width=10**6, sort_keys=False)
    return dumped.removesuffix("\n").removesuffix("\n...").strip()


def _lines(part: Part) -> list[str]:
    lines = [f"# {line}" for note in part.notes for line in note.splitlines()]
    for key, value in part.values.items():
        if isinstance(value, Part):
            lines.append(f"{inline(key)}:")
            lines += [INDENT + line for line in _lines(value)]
        elif isinstance(value, list) and any(isinstance(each, Part) for each in value):
            lines.append(f"{inline(key)}:")
            for each in value:
                inner = _lines(each)
                first = next(i for i, line in enumerate(inner) if not line.startswith("#"))
                lines += [f"{INDENT}{line}" for line in inner[:first]]
                lines.append(f"{INDENT}- {inner[first]}")
                lines += [f"{INDENT}  {line}" for line in inner[first + 1 :]]
        else:
            lines.append(f"{inline(key)}: {inline(value)}")
    return lines


TO_FILL_IN = "TO BE FILLED IN"


def _missing(value: Any, path: str) -> list[str]:
    if isinstance(value, Part):
        return [
            name
            for key, inner in value.values.items()
            for name in _missing(inner, f"{path}.{key}" if path else key)
        ]
    if isinstance(value, list):
        return [
            name for index, inner in enumerate(value) for name in _missing(inner, f"{path}.{index}")
        ]
    return [path] if value == TO_FILL_IN else []


def _lists(value: Any) -> Any:
    """Tuples become lists, all through."""
    return [_lists(each) for each in value] if isinstance(value, list | tuple) else value
