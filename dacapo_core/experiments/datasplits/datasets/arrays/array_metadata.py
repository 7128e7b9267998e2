"""Axes, voxel size and offset from the attributes that writers of zarr arrays leave. Pure.

Conventions read: funlib.persistence and DaCapo (``voxel_size`` or ``resolution``, ``offset``,
``units``, ``axis_names``), cellmap (``transform``), N5 viewers (``pixelResolution``, x first) and
OME-Zarr 0.4 and 0.5 (``multiscales`` of the group around the array).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

NANOMETRES = {
    "nm": 1.0,
    "nanometer": 1.0,
    "nanometers": 1.0,
    "um": 1e3,
    "µm": 1e3,
    "micrometer": 1e3,
    "micrometers": 1e3,
    "micron": 1e3,
    "microns": 1e3,
    "mm": 1e6,
    "millimeter": 1e6,
    "angstrom": 0.1,
    "m": 1e9,
    "meter": 1e9,
}


@dataclass(frozen=True)
class ArrayMetadata:
    """What attributes say; None where they say nothing. Sizes are in nm.

    ``axes`` are all of the array's; ``voxel_size`` and ``offset`` are of the space axes, or of as
    many as were written.
    """

    axes: tuple[str, ...] | None = None
    voxel_size: tuple[float, ...] | None = None
    offset: tuple[float, ...] | None = None


def read_metadata(
    attributes: Mapping[str, Any],
    group_attributes: Mapping[str, Any] | None = None,
    path_in_group: str = "",
) -> ArrayMetadata:
    """What the array's own attributes say, else what the OME-Zarr group around it says.

    Raises:
        ValueError: a unit that is not known.
    """
    own = _from_transform(attributes) or _from_keys(attributes)
    if own is not None and own.voxel_size is not None:
        return own
    ome = _from_ome(group_attributes or {}, path_in_group)
    return ome or own or ArrayMetadata()


def _from_keys(attributes: Mapping[str, Any]) -> ArrayMetadata | None:
    axes = attributes.get("axis_names") or attributes.get("axes")
    names = None
    if axes and all(isinstance(axis, str) for axis in axes):
        names = tuple(axes)
    if "pixelResolution" in attributes and not _size(attributes):
        found = attributes["pixelResolution"]
        values = found["dimensions"] if isinstance(found, Mapping) else found
        unit = found.get("unit", "nm") if isinstance(found, Mapping) else "nm"
        return ArrayMetadata(names, _in_nm(list(reversed(values)), unit), None)
    size = _size(attributes)
    if size is None:
        return ArrayMetadata(names) if names else None
    units = attributes.get("units") or "nm"
    offset = attributes.get("offset")
    return ArrayMetadata(
        names, _in_nm(size, units), None if offset is None else _in_nm(offset, units)
    )


def _size(attributes: Mapping[str, Any]) -> Sequence[float] | None:
    for key in ("voxel_size", "resolution"):
        value = attributes.get(key)
        if isinstance(value, Sequence) and not isinstance(value, str) and value:
            return value
    return None


def _from_transform(attributes: Mapping[str, Any]) -> ArrayMetadata | None:
    transform = attributes.get("transform")
    if not isinstance(transform, Mapping) or "scale" not in transform:
        return None
    units = transform.get("units") or "nm"
    size = _in_nm(transform["scale"], units)
    centre = _in_nm(transform.get("translate") or [0.0] * len(size), units)
    axes = transform.get("axes")
    return ArrayMetadata(tuple(axes) if axes else None, size, _corner(centre, size))


def _from_ome(group: Mapping[str, Any], path: str) -> ArrayMetadata | None:
    multiscales = group.get("ome", group).get("multiscales") or []
    for image in multiscales:
        for level in image.get("datasets", []):
            if level.get("path", "").strip("/") != path.strip("/"):
                continue
            axes = image.get("axes") or []
            names = tuple(axis["name"] if isinstance(axis, Mapping) else axis for axis in axes)
            units = [axis.get("unit") if isinstance(axis, Mapping) else None for axis in axes]
            scale = [1.0] * len(names)
            shift = [0.0] * len(names)
            for transformation in [
                *level.get("coordinateTransformations", []),
                *image.get("coordinateTransformations", []),
            ]:
                if transformation.get("type") == "scale":
                    factors = transformation["scale"]
                    scale = [a * b for a, b in zip(scale, factors, strict=True)]
                    shift = [a * b for a, b in zip(shift, factors, strict=True)]
                elif transformation.get("type") == "translation":
                    moves = transformation["translation"]
                    shift = [a + b for a, b in zip(shift, moves, strict=True)]
            space = [i for i, name in enumerate(names) if name in ("z", "y", "x")]
            in_space = [units[i] or "nm" for i in space]
            size = _in_nm([scale[i] for i in space], in_space)
            centre = _in_nm([shift[i] for i in space], in_space)
            return ArrayMetadata(names, size, _corner(centre, size))
    return None


def _corner(centre: Sequence[float], size: Sequence[float]) -> tuple[float, ...]:
    """OME-Zarr and cellmap give the centre of the first voxel; we count from its corner."""
    return tuple(c - s / 2 for c, s in zip(centre, size, strict=True))


def _in_nm(values: Sequence[float], units: str | Sequence[str]) -> tuple[float, ...]:
    listed = [units] * len(values) if isinstance(units, str) else list(units)[-len(values) :]
    for unit in listed:
        if unit.lower() not in NANOMETRES:
            raise ValueError(f"unit {unit!r} is not known; set voxel_size (in nm) by hand")
    return tuple(float(v) * NANOMETRES[u.lower()] for v, u in zip(values, listed, strict=True))
