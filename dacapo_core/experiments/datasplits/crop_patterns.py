"""Many crops as one volume whose paths hold ``*``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import fsspec

STAR = re.compile(r"\*")


def crops_of(volume: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The values of one volume a match of its raw data's path, else of its ground truth's.

    Each ``*`` stands for a part of a name between two ``/``. In name and other paths the first
    ``*`` is what the first one matched, and so on; a name without any has the matches added.

    Args:
        volume: values of a ``RawGTDatasetConfig``.

    Raises:
        ValueError: nothing matches, or name or path have more ``*`` than the one that is matched.
    """
    patterned = next((array for array in _arrays(volume) if "*" in _url(array)), None)
    if patterned is None:
        if "*" in str(volume.get("name", "")):
            raise ValueError(f"volume {volume['name']!r} has a * in its name and none in a path")
        return [dict(volume)]
    url = _url(patterned)
    if "**" in url:
        raise ValueError(f"{url}: a * stands for one name, ** for nothing; write */* for two")
    found = []
    for parts in matches(url, patterned.get("storage_options") or {}):
        name = str(volume.get("name", ""))
        filled = {key: _filled(value, parts) for key, value in volume.items() if key != "name"}
        filled["name"] = _fill(name, parts) if "*" in name else "_".join([name, *parts])
        found.append(filled)
    if not found:
        raise ValueError(f"volume {volume.get('name')!r}: nothing matches {url}")
    return found


def matches(pattern: str, storage_options: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """What the stars of a path or URL stand for, for each file or folder that is there.

    Raises:
        ValueError: it cannot be looked up.
    """
    try:
        filesystem, path = fsspec.core.url_to_fs(pattern, **storage_options)
        # brackets and question marks are ordinary characters of names
        listed = filesystem.glob(re.sub(r"([\[?])", r"[\1]", path))
    except (OSError, ImportError) as error:
        raise ValueError(f"{pattern} cannot be looked up: {error}") from error
    expression = re.compile("([^/]*)".join(re.escape(part) for part in path.split("*")))
    found = [expression.fullmatch(each.rstrip("/")) for each in listed]
    return sorted((each.groups() for each in found if each is not None), key=_natural)


def _natural(parts: tuple[str, ...]) -> list[tuple[int, str]]:
    """crop2 before crop10."""
    pieces = re.split(r"(\d+)", "/".join(parts))
    return [(int(piece), "") if piece.isdigit() else (-1, piece) for piece in pieces]


def _arrays(volume: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The arrays of a volume, raw data first."""
    for key in ("raw_config", "gt_config", "mask_config"):
        yield from _arrays_in(volume.get(key))


def _arrays_in(value: Any) -> Iterator[Mapping[str, Any]]:
    if not isinstance(value, Mapping):
        return
    if "file_name" in value:
        yield value
        return
    for inner in value.values():
        yield from _arrays_in(inner)


def _url(array: Mapping[str, Any]) -> str:
    inside = str(array.get("dataset", "")).strip("/")
    outside = str(array["file_name"]).rstrip("/")
    return f"{outside}/{inside}" if inside else outside


def _filled(value: Any, parts: tuple[str, ...]) -> Any:
    """`value` with the stars of its arrays' paths replaced."""
    if not isinstance(value, Mapping):
        return value
    if "file_name" not in value:
        return {key: _filled(inner, parts) for key, inner in value.items()}
    outside = str(value["file_name"])
    filled = {**value, "file_name": _fill(outside, parts)}
    if "dataset" in value:
        # a path goes on from the container into the array
        inside = str(value["dataset"])
        rest = parts[outside.count("*") :] if "*" in outside else parts
        filled["dataset"] = _fill(inside, rest, _url(value))
    return filled


def _fill(text: str, parts: tuple[str, ...], named: str | None = None) -> str:
    if text.count("*") > len(parts):
        raise ValueError(f"{named or text} has more * than the path that is matched")
    left = iter(parts)
    return STAR.sub(lambda _: next(left), text)
