"""Many crops as the lines of a table."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any, Literal

import fsspec
from pydantic import Field, ValidationError, model_validator

from dacapo_core.experiments.configuration import Configuration
from dacapo_core.experiments.datasplits.datasets.arrays import (
    BinarizeArrayConfig,
    ConcatArrayConfig,
    GroundTruthConfig,
    ZarrArrayConfig,
)
from dacapo_core.experiments.datasplits.datasets.raw_gt_dataset_config import (
    RawGTDatasetConfig,
    RoiConfig,
)

REQUIRED = ("raw", "labels")
COLUMNS = ("name", *REQUIRED, "roi", "classes", "mask", "weight")
PLACEHOLDER = "{class}"

Row = dict[str, str]


class CropTableConfig(Configuration):
    """A CSV file with a line for each crop, read when the configuration is.

    Its columns are `raw` and `labels` (path or URL of an array; relative paths begin where the
    table is), and if wanted `name`, `roi` (`0:100 0:200 50:250`, z y x in voxels of the labels),
    `classes` (those that the crop annotates, such as `mito er`), `mask` and `weight`. Labels are
    integers if `groupings` are given, one array a class if their path holds `{class}`, else one
    array with a channel for each class.
    """

    table: str = Field(description="The CSV file: a path or any fsspec URL.")
    storage_options: dict[str, Any] = Field(
        default_factory=dict, description="Options of the file system, for table and arrays."
    )
    classes: list[str] | None = Field(
        None, description="What crops annotate whose line names no classes. Default: all groupings."
    )
    groupings: dict[str, list[int]] | None = Field(
        None, description="Of integer labels: class → its label values, see BinarizeArrayConfig."
    )
    background: list[int] | Literal["others"] = Field(
        [0], description="Label values of no class, see BinarizeArrayConfig."
    )
    unlabelled: list[int] = Field([], description="Label values that mean 'not annotated'.")
    intensity_range: tuple[float, float] | None = Field(
        None, description="As in RawGTDatasetConfig, for all crops."
    )

    @model_validator(mode="after")
    def _classes_are_grouped(self) -> CropTableConfig:
        if self.groupings is not None:
            _check_known(self.classes or [], self.groupings)
        return self

    def crops(self) -> list[RawGTDatasetConfig]:
        """One volume a line.

        Raises:
            ValueError: the table cannot be read or a line is wrong; it names the line and the crop.
        """
        found = []
        lines: dict[str, int] = {}
        for line, row in self._rows():
            name = row.get("name") or f"{PurePosixPath(self.table).stem}_{line}"
            # both are one folder of the store
            first = lines.setdefault(name.replace("/", "_"), line)
            if first != line:
                raise ValueError(
                    f"{self.table}, lines {first} and {line} name a volume twice: {name}"
                )
            try:
                found.append(self._crop(name, row))
            except ValidationError as error:
                said = "; ".join(
                    ": ".join([*map(str, each["loc"]), each["msg"].removeprefix("Value error, ")])
                    for each in error.errors()
                )
                raise ValueError(f"{self.table}, line {line}, crop {name!r}: {said}") from None
            except ValueError as error:
                raise ValueError(f"{self.table}, line {line}, crop {name!r}: {error}") from None
        if not found:
            raise ValueError(f"{self.table} has no crops: a header and no line below it")
        return found

    def _rows(self) -> Iterator[tuple[int, Row]]:
        try:
            with fsspec.open(
                self.table, "rt", encoding="utf-8-sig", **self.storage_options
            ) as file:
                text = file.read()
        except UnicodeDecodeError as error:
            raise ValueError(
                f"the table of crops {self.table} cannot be read: {error}; save it as UTF-8"
            ) from error
        except (OSError, ImportError) as error:
            raise ValueError(f"the table of crops {self.table} cannot be read: {error}") from error
        header = text.partition("\n")[0]
        delimiter = max(",;\t", key=header.count)
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        columns = _without_blank_end([each.strip().lower() for each in next(rows, [])])
        unknown = [column for column in columns if column not in COLUMNS]
        missing = [column for column in REQUIRED if column not in columns]
        if unknown or missing or len(set(columns)) < len(columns):
            raise ValueError(
                f"the first line of {self.table} names the columns {', '.join(columns) or 'none'}; "
                "wanted are raw and labels, and any of "
                f"{', '.join(each for each in COLUMNS if each not in REQUIRED)}, each once"
            )
        for values in rows:
            if not any(value.strip() for value in values):
                continue
            values = [*values[: len(columns)], *_without_blank_end(values[len(columns) :])]
            if len(values) != len(columns):
                raise ValueError(
                    f"{self.table}, line {rows.line_num}: {len(values)} values for "
                    f"{len(columns)} columns"
                )
            yield (
                rows.line_num,
                {k: v.strip() for k, v in zip(columns, values, strict=True)},
            )

    def _crop(self, name: str, row: Row) -> RawGTDatasetConfig:
        for column in REQUIRED:
            if not row[column]:
                raise ValueError(f"no {column}")
        classes = re.split(r"[\s,;|]+", row["classes"]) if row.get("classes") else self.classes
        values: dict[str, Any] = {
            "name": name,
            "raw_config": self._array(row["raw"]),
            "gt_config": self._labels(row["labels"], classes),
            "intensity_range": self.intensity_range,
        }
        if row.get("mask"):
            values["mask_config"] = self._array(row["mask"])
        if row.get("weight"):
            values["weight"] = row["weight"]
        if row.get("roi"):
            values["roi"] = parse_roi(row["roi"])
        return RawGTDatasetConfig(**values)

    def _labels(self, path: str, classes: list[str] | None) -> GroundTruthConfig:
        if self.groupings is not None:
            return self._grouped(path, list(self.groupings) if classes is None else classes)
        if classes is None:
            raise ValueError("no classes; name them in its line, or in classes of the table")
        if PLACEHOLDER in path:
            arrays = {each: self._array(path.replace(PLACEHOLDER, each)) for each in classes}
            return ConcatArrayConfig(source_array_configs=arrays)
        return self._array(path, classes)

    def _grouped(self, path: str, classes: list[str]) -> BinarizeArrayConfig:
        groupings = self.groupings or {}
        _check_known(classes, groupings)
        chosen = {each: groupings[each] for each in classes}
        background = self.background
        if background != "others":
            # of the classes that this crop does not annotate
            foreground = {value for values in chosen.values() for value in values}
            others = {value for values in groupings.values() for value in values}
            background = sorted({*background, *others} - foreground - {*self.unlabelled})
        return BinarizeArrayConfig(
            source_array_config=self._array(path),
            groupings=chosen,
            background=background,
            unlabelled=self.unlabelled,
        )

    def _array(self, path: str, channels: list[str] | None = None) -> ZarrArrayConfig:
        if "://" not in path and not path.startswith("/"):
            folder = self.table.rpartition("/")[0]
            path = f"{folder}/{path}" if folder else path
        options = self.storage_options if "://" in path else {}
        return ZarrArrayConfig(file_name=path, storage_options=options, channels=channels)


def _without_blank_end(values: list[str]) -> list[str]:
    """Spreadsheets write more columns than they show."""
    while values and not values[-1].strip():
        values = values[:-1]
    return values


def parse_roi(text: str) -> RoiConfig:
    """``0:100 0:200 50:`` as a box.

    Raises:
        ValueError: it is not three ranges.
    """
    ranges = re.split(r"[\s,;]+", text.strip("[]() "))
    bounds = [re.fullmatch(r"(\d*):(\d*)", each) for each in ranges]
    if len(bounds) != 3 or not all(bounds):
        raise ValueError(f"roi {text!r} is not three ranges such as 0:100 0:200 50:250 (z y x)")
    begin, end = zip(*(each.groups() for each in bounds if each is not None), strict=True)
    return RoiConfig.model_validate(
        {"begin": [int(b or 0) for b in begin], "end": [int(e) if e else None for e in end]}
    )


def _check_known(classes: list[str], groupings: dict[str, list[int]]) -> None:
    unknown = [each for each in classes if each not in groupings]
    if unknown:
        raise ValueError(
            f"{', '.join(unknown)} not in groupings, which have {', '.join(groupings)}"
        )
