"""Axes, voxel size and offset from the attributes that writers of arrays leave. Pure.

Conventions read: funlib.persistence and DaCapo (``voxel_size`` or ``resolution``, ``offset``,
``units``, ``axis_names``), cellmap (``transform``, also within ``multiscales``), N5 and its viewers
(``pixelResolution``, ``downsamplingFactors``, x first), paintera (the same on the group around the
array) and OME-Zarr 0.4 and 0.5 (``multiscales`` of that group).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

NANOMETRES = {
    "nm": 1.0,
    "nanometer": 1.0,
    "nanometers": 1.0,
    "um": 1e3,
    "µm": 1e3,
    "μm": 1e3,
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

SPACE = ("z", "y", "x")


@dataclass(frozen=True)
class VolumeMetadata:
    """What attributes say; None where they say nothing. Sizes are in nm.

    ``axes`` are all of the array's; ``voxel_size`` and ``offset`` are of all axes or of the space
    axes, in the order of the axes.
    """

    axes: tuple[str, ...] | None = None
    voxel_size: tuple[float, ...] | None = None
    offset: tuple[float, ...] | None = None


def own_metadata(attributes: Mapping[str, Any], *, x_first: bool = False) -> VolumeMetadata:
    """What an array's own attributes say.

    Args:
        x_first: lists count the axes as N5 does; what is returned does not.

    Raises:
        ValueError: a unit that is not known.
    """
    found = _from_transform(attributes.get("transform"), x_first=x_first)
    return found or _from_keys(attributes, x_first=x_first)


def group_metadata(
    attributes: Mapping[str, Any],
    path: str,
    own_attributes: Mapping[str, Any],
    *,
    x_first: bool = False,
) -> VolumeMetadata:
    """What a group says about the array at `path` in it.

    Raises:
        ValueError: a unit that is not known.
    """
    found = _from_multiscales(attributes, path, x_first=x_first)
    if found is not None:
        return found
    whole = _from_keys(attributes, x_first=x_first)
    if whole.voxel_size is None:
        return whole
    factors = _factors(attributes, path, own_attributes)
    if factors is None:
        return whole
    if x_first:
        factors = factors[::-1]
    size = whole.voxel_size
    scaled = [v * f for v, f in zip(size[-len(factors) :], factors, strict=True)]
    return replace(whole, voxel_size=(*size[: -len(factors)], *scaled))


def ome_without_scales(attributes: Mapping[str, Any]) -> bool:
    """Whether a group says that it is an OME-Zarr, and holds no image."""
    ome = attributes.get("ome")
    return "ome" in attributes and not (isinstance(ome, Mapping) and ome.get("multiscales"))


def scale_paths(attributes: Mapping[str, Any]) -> list[str]:
    """Paths of the arrays that an OME-Zarr group names."""
    return [
        str(level["path"])
        for image in _multiscales(attributes)
        for level in image.get("datasets", [])
        if "path" in level
    ]


def _from_keys(attributes: Mapping[str, Any], *, x_first: bool) -> VolumeMetadata:
    axes = attributes.get("axis_names") or attributes.get("axes")
    names: Any = None
    if axes and all(isinstance(axis, str) for axis in axes):
        names = tuple(axes)
    size: Any = _size(attributes)
    units, offset = attributes.get("units"), attributes.get("offset")
    if size is None and "pixelResolution" in attributes:
        # written by viewers of N5, which count x first, into zarr too
        found = attributes["pixelResolution"]
        if isinstance(found, Mapping):
            size, units = found["dimensions"], found.get("unit")
        else:
            size = found
        factors = attributes.get("downsamplingFactors")
        if x_first and factors and _is_numbers(factors):
            size = [v * f for v, f in zip(size, factors, strict=True)]
        if not x_first:
            size = list(reversed(size))
    if x_first:
        names, size, units, offset = (
            v if v is None or isinstance(v, str) else v[::-1] for v in (names, size, units, offset)
        )
    return VolumeMetadata(
        names,
        None if size is None else _in_nm(size, units),
        None if offset is None else _in_nm(offset, units),
    )


def _size(attributes: Mapping[str, Any]) -> Sequence[float] | None:
    for key in ("voxel_size", "resolution"):
        value = attributes.get(key)
        if isinstance(value, Sequence) and not isinstance(value, str) and value:
            return value
    return None


def _from_transform(transform: Any, *, x_first: bool) -> VolumeMetadata | None:
    if not isinstance(transform, Mapping) or "scale" not in transform:
        return None
    axes = transform.get("axes")
    size = _in_nm(transform["scale"], transform.get("units"))
    centre = _in_nm(transform.get("translate") or [0.0] * len(size), transform.get("units"))
    corner = _corner(centre, size)
    # N5 written by programs that count z first names its axes in that order
    if x_first and not (axes and axes[-1] == "x"):
        size, corner = size[::-1], corner[::-1]
        axes = axes and axes[::-1]
    return VolumeMetadata(tuple(axes) if axes else None, size, corner)


def _multiscales(group: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    ome = group.get("ome", group)
    return (ome.get("multiscales") or []) if isinstance(ome, Mapping) else []


def _from_multiscales(
    group: Mapping[str, Any], path: str, *, x_first: bool
) -> VolumeMetadata | None:
    for image in _multiscales(group):
        for level in image.get("datasets", []):
            if level.get("path", "").strip("/") != path.strip("/"):
                continue
            if "transform" in level:
                return _from_transform(level["transform"], x_first=x_first)
            return _from_ome(image, level)
    return None


def _from_ome(image: Mapping[str, Any], level: Mapping[str, Any]) -> VolumeMetadata:
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
    space = [i for i, name in enumerate(names) if name in SPACE]
    in_space = [units[i] for i in space]
    size = _in_nm([scale[i] for i in space], in_space)
    centre = _in_nm([shift[i] for i in space], in_space)
    return VolumeMetadata(names, size, _corner(centre, size))


def _factors(group: Mapping[str, Any], path: str, own: Mapping[str, Any]) -> Sequence[float] | None:
    """By how much the array at `path` is coarser than the resolution its group names."""
    if _is_numbers(own.get("downsamplingFactors")):
        return own["downsamplingFactors"]
    level = re.fullmatch(r"s(\d+)", path.strip("/").rpartition("/")[2])
    for key in ("downsamplingFactors", "scales"):
        listed = group.get(key)
        if level and isinstance(listed, Sequence) and int(level[1]) < len(listed):
            factors = listed[int(level[1])]
            return factors if _is_numbers(factors) else None
    return None


def _is_numbers(value: Any) -> bool:
    return (
        isinstance(value, Sequence)
        and bool(value)
        and all(isinstance(each, int | float) for each in value)
    )


def _corner(centre: Sequence[float], size: Sequence[float]) -> tuple[float, ...]:
    """OME-Zarr and cellmap give the centre of the first voxel; we count from its corner."""
    return tuple(c - s / 2 for c, s in zip(centre, size, strict=True))


def _in_nm(values: Sequence[float], units: str | Iterable[str | None] | None) -> tuple[float, ...]:
    """Where no unit is said, or a blank one, it is nm."""
    listed = [units] * len(values) if units is None or isinstance(units, str) else list(units)
    listed = listed[-len(values) :]
    if len(listed) != len(values):
        raise ValueError(f"{len(values)} values {list(values)} have {len(listed)} units {listed}")
    plain = [(unit or "").strip().lower() or "nm" for unit in listed]
    for unit in plain:
        if unit not in NANOMETRES:
            raise ValueError(f"unit {unit!r} is not known; set voxel_size (in nm) by hand")
    return tuple(float(v) * NANOMETRES[u] for v, u in zip(values, plain, strict=True))
