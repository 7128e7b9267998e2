"""DaCapo's datasplits, datasets and arrays as ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import fsspec

from dacapo_core.experiments.from_dacapo.translated_part import (
    TO_FILL_IN,
    Part,
    Source,
)

Values = Mapping[str, Any]
Scaling = tuple[float, float]
"""A factor and what is added then."""


def translate_datasplit(
    values: Values, channels: list[str], scaling: Scaling = (1.0, 0.0)
) -> Part | None:
    """A datasplit; None if there is none like it.

    Args:
        channels: of the task, for labels that do not say theirs.
        scaling: what the trainer made of raw data in 0…1.
    """
    source = Source(values)
    source.take("name")
    if source.kind == "SimpleDataSplitConfig":
        return _simple_datasplit(source, channels, scaling)
    if source.kind != "TrainValidateDataSplitConfig":
        return None
    part = Part({"type": "train_validate"})
    for key in ("train_configs", "validate_configs"):
        part.values[key] = [_dataset(each, channels, scaling) for each in source.take(key, [])]
    part.note_left_over(source, "datasplit")
    return part


def _simple_datasplit(source: Source, channels: list[str], scaling: Scaling) -> Part:
    path = str(source.take("path"))
    raw = source.take("raw_name", "raw")
    labels = source.take("gt_name", "labels")
    mask = source.take("mask_name", "mask")
    part = Part(
        {"type": "train_validate"},
        ["DaCapo's SimpleDataSplitConfig: folders are looked up by the pattern"],
    )
    groups = {
        "train_configs": source.take("train_group_name", "train"),
        "validate_configs": source.take("validate_group_name", "test"),
    }
    for key, group in groups.items():
        folder = _simple_folder(path, group, raw)
        largest = _largest(f"{folder}/{raw}")
        volume = Part(
            {
                "name": f"{group}_*" if "*" in folder else group,
                "raw_config": Part({"file_name": f"{folder}/{raw}"}),
                "gt_config": Part(
                    {"type": "zarr", "file_name": f"{folder}/{labels}", "channels": channels}
                ),
            }
        )
        if largest is not None:
            volume.values["intensity_range"] = range_of(0, largest, scaling)
        else:
            low, high = range_of(0, 1, scaling)
            volume.notes.append(
                "to go on with what DaCapo's network saw, set intensity_range to "
                f"{low:g} and {high:g} times 255 (uint8), 65535 (uint16) or 1 (floating point); "
                "raw data could not be opened to tell"
            )
        if _is_there(f"{folder}/{mask}"):
            volume.values["mask_config"] = Part({"file_name": f"{folder}/{mask}"})
        part.values[key] = [volume]
    part.note_left_over(source, "datasplit")
    return part


def _simple_folder(path: str, group: str, raw: str) -> str:
    """Where DaCapo looks: the path itself, a folder of the group, or each folder in that."""
    for folder in (path, f"{path}/{group}"):
        if _is_there(f"{folder}/{raw}"):
            return folder
    return f"{path}/{group}/*"


def _is_there(pattern: str) -> bool:
    filesystem, path = fsspec.core.url_to_fs(pattern)
    return bool(filesystem.glob(path))


def _largest(pattern: str) -> float | None:
    """What DaCapo divided raw data by; None where it cannot be opened, or DaCapo refused it."""
    from dacapo_core.experiments.datasplits.datasets.arrays import ZarrArrayConfig

    filesystem, path = fsspec.core.url_to_fs(pattern)
    try:
        first = sorted(filesystem.glob(path))[0]
        # nothing but the type is asked for
        config = ZarrArrayConfig(file_name=filesystem.unstrip_protocol(first), voxel_size=(1, 1, 1))
        dtype = config.array().dtype
    except (OSError, ValueError, IndexError):
        return None
    if dtype.kind == "f":
        return 1.0
    return {"uint8": 255.0, "uint16": 65535.0}.get(dtype.name)


def range_of(low: float, high: float, scaling: Scaling) -> list[float]:
    """Raw values that become -1 and 1, where `low` and `high` became 0 and 1 and were scaled."""
    factor, shift = scaling
    if not factor:
        return [low, high]
    return sorted(low + (each - shift) / factor * (high - low) for each in (-1, 1))


def _dataset(values: Values, channels: list[str], scaling: Scaling) -> Part:
    source = Source(values)
    part = Part({"name": source.take("name")})
    if source.kind != "RawGTDatasetConfig":
        part.put("raw_config", None, source.kind, dict(values), "raw and labels by hand")
        return part
    part.values["weight"] = source.take("weight", 1)
    _raw(part, source.take("raw_config"), scaling)
    _ground_truth(part, source.take("gt_config"), channels)
    _mask(part, source.take("mask_config"))
    part.note_left_over(source, "dataset")
    return part


def _raw(part: Part, values: Values | None, scaling: Scaling) -> None:
    kind = (values or {}).get("__type__")
    if kind == "CropArrayConfig" and values is not None:
        part.notes.append(
            f"DaCapo cropped raw data to {values.get('roi')} (offset and shape, nm); here all of "
            "it serves as context, and roi says which labels are used"
        )
        return _raw(part, values["source_array_config"], scaling)
    if kind == "IntensitiesArrayConfig" and values is not None:
        source = Source(values)
        low, high = float(source.take("min")), float(source.take("max"))
        part.values["intensity_range"] = range_of(low, high, scaling)
        if part.values["intensity_range"] != [low, high]:
            part.notes.append(
                f"DaCapo made 0…1 of {low:g}…{high:g}, and the trainer {scaling[0]:g} times that "
                f"plus {scaling[1]:g}; intensity_range gives the network the same values"
            )
        return _raw(part, source.take("source_array_config"), scaling)
    _put(part, "raw_config", values, _zarr(values), "an array that is stored")
    if "intensity_range" not in part.values:
        # raw values themselves, whatever their type
        part.values["intensity_range"] = range_of(0, 1, scaling)
        part.notes.append(
            "DaCapo gave the network raw values as they are stored"
            + ("" if scaling == (1.0, 0.0) else f", times {scaling[0]:g} plus {scaling[1]:g}")
            + ", and so does intensity_range; without it a new run scales them to -1…1"
        )


def _ground_truth(part: Part, values: Values | None, channels: list[str]) -> None:
    kind = (values or {}).get("__type__")
    if kind == "CropArrayConfig" and values is not None:
        _crop(part, values)
        return _ground_truth(part, values["source_array_config"], channels)
    if kind == "BinarizeArrayConfig" and values is not None:
        translated = _binarize(values)
    elif kind == "ConcatArrayConfig" and values is not None:
        translated = _concat(values)
    else:
        translated = _zarr(values)
        if translated is not None:
            translated.values = {"type": "zarr", **translated.values, "channels": channels}
            translated.notes.append("DaCapo takes channels in the order of the task's; so is this")
    _put(part, "gt_config", values, translated, "binarize, concat or zarr")


def _mask(part: Part, values: Values | None) -> None:
    kind = (values or {}).get("__type__")
    if kind == "OnesArrayConfig" or (
        kind == "ConstantArrayConfig" and (values or {}).get("constant", 1)
    ):
        part.notes.append(f"DaCapo's mask was {kind}: everything is annotated, so none is needed")
    elif values is not None:
        _put(part, "mask_config", values, _zarr(values), "an array that is stored, or leave it out")


def _put(part: Part, key: str, values: Values | None, translated: Part | None, choose: str) -> None:
    kind = (values or {}).get("__type__", "")
    part.put(key, translated, f"{key} {kind}".strip(), values, choose)


def _zarr(values: Values | None) -> Part | None:
    source = Source(values or {})
    if source.kind != "ZarrArrayConfig" or source.peek("file_name") is None:
        return None
    source.take("name")
    part = Part({"file_name": str(source.take("file_name")), "dataset": source.take("dataset", "")})
    # arrays are only ever read, and their metadata is found out
    source.take("mode")
    source.take("ome_metadata")
    for key in ("snap_to_grid", "axes"):
        kept = source.take(key)
        if kept is not None:
            part.notes.append(f"no counterpart for DaCapo's array {key}: {kept}")
    part.note_left_over(source, "array")
    return part


def _binarize(values: Values) -> Part | None:
    source = Source(values)
    source.take("name")
    labels = _zarr(source.take("source_array_config"))
    if labels is None:
        return None
    groups = {name: list(ids) for name, ids in source.take("groupings", [])}
    background = source.take("background", 0)
    part = Part(
        {
            "type": "binarize",
            "source_array_config": labels,
            "groupings": groups,
            "background": [background] if any(not ids for ids in groups.values()) else "others",
        }
    )
    part.note_left_over(source, "array")
    return part


def _concat(values: Values) -> Part | None:
    source = Source(values)
    source.take("name")
    arrays = source.take("source_array_configs", {})
    channels = source.take("channels", list(arrays))
    default = source.take("default_config")
    translated = {
        channel: _zarr(arrays.get(channel, default))
        for channel in channels
        if arrays.get(channel, default) is not None
    }
    if not translated or None in translated.values():
        return None
    part = Part({"type": "concat", "source_array_configs": Part(dict(translated))})
    absent = [channel for channel in channels if channel not in translated]
    if absent:
        part.notes.append(
            f"DaCapo took {', '.join(absent)} as background, for want of an array; here they are "
            "not annotated: no loss, no score"
        )
    part.note_left_over(source, "array")
    return part


def _crop(part: Part, values: Values) -> None:
    """The box of labels, from nm to voxels where the array can be opened."""
    from dacapo_core.experiments.datasplits.datasets.arrays import ZarrArrayConfig

    offset, shape = values["roi"]
    inner = values["source_array_config"]
    while isinstance(inner, Mapping) and "source_array_config" in inner:
        inner = inner["source_array_config"]
    stored = _zarr(inner)
    try:
        if stored is None:
            raise ValueError("its array is not a zarr")
        array = ZarrArrayConfig.model_validate(stored.values).array()
    except (OSError, ValueError) as error:
        part.values["roi"] = TO_FILL_IN
        part.notes.append(
            f"DaCapo cropped labels to offset {offset} and shape {shape} in nm; roi wants voxels, "
            f"and their size is not known: {error}"
        )
        return
    begin = [
        round((o - a) / v) for o, a, v in zip(offset, array.offset, array.voxel_size, strict=True)
    ]
    size = [round(n / v) for n, v in zip(shape, array.voxel_size, strict=True)]
    part.values["roi"] = Part(
        {"begin": begin, "end": [b + n for b, n in zip(begin, size, strict=True)]}
    )
