"""The model of a checkpoint of ours, mapped without unpickling anything.

Reads the end of the file (the zip's directory, the index's layout and table) and the model's own
bytes, and no others. torch's unpickler would go through the optimizer too, in Python.
"""

from __future__ import annotations

import json
import math
import struct
import zipfile
from collections import OrderedDict
from typing import Any, BinaryIO

import torch

from dacapo_core.store.checkpoints.checkpoint_index import MAGIC, ROW_BYTES, Table, digest
from dacapo_core.store.checkpoints.checkpoint_place import CheckpointPlace
from dacapo_core.store.checkpoints.verification import bytes_of, compare_digests

_LOCAL_HEADER = 30
_LENGTHS_IN_HEADER = 26


def map_model(path: str, place: CheckpointPlace, *, verify: bool) -> dict[str, Any] | None:
    """The model's state dict; None when it must be read with torch.load.

    That is: DaCapo wrote the file, the state holds more than tensors, or the file's end is
    damaged, which torch.load and the verification will name.

    Args:
        verify: compare each storage with its digest.

    Raises:
        DamagedCheckpointError: a storage's bytes are not those that were written.
    """
    found = _layout_and_table(path)
    if found is None:
        return None
    layout, table = found
    if "model" not in layout["plain"]:
        return None
    try:
        return _mapped(path, place, layout, table, verify=verify)
    except (RuntimeError, IndexError, KeyError, TypeError, ValueError, AttributeError):
        return None


def _layout_and_table(path: str) -> tuple[dict[str, Any], Table] | None:
    try:
        with open(path, "rb") as file:
            entries = zipfile.ZipFile(file).infolist()
            last = [entry for entry in entries[-6:] if "/data/" in entry.filename][-2:]
            if len(last) < 2:
                return None
            content = _read(file, last[0])
            if not content.startswith(MAGIC):
                return None
            layout: dict[str, Any] = json.loads(content)
            table = Table(_read(file, last[1]))
            rows = len(layout["sizes"]) + 2
            if last[1].file_size != rows * ROW_BYTES or table.digest(rows - 1) != digest(content):
                return None
            return layout, table
    except (zipfile.BadZipFile, struct.error, KeyError, ValueError, OSError):
        return None


def _read(file: BinaryIO, entry: zipfile.ZipInfo) -> bytes:
    """An entry's bytes; not by zipfile, which takes an unwritten checksum for a wrong one."""
    file.seek(entry.header_offset)
    header = file.read(_LOCAL_HEADER)
    name, extra = struct.unpack_from("<HH", header, _LENGTHS_IN_HEADER)
    file.seek(entry.header_offset + _LOCAL_HEADER + name + extra)
    return file.read(entry.file_size)


def _mapped(
    path: str, place: CheckpointPlace, layout: dict[str, Any], table: Table, *, verify: bool
) -> dict[str, Any]:
    with open(path, "rb") as file:
        size = file.seek(0, 2)
    whole = torch.UntypedStorage.from_file(path, False, size)
    storages: dict[int, torch.UntypedStorage] = {}
    model: OrderedDict[str, torch.Tensor] = OrderedDict()
    for section, name, dtype, shape, stride, row, offset in layout["tensors"]:
        if section != "model":
            continue
        kind = getattr(torch, dtype)
        if row == 0:
            model[name] = torch.empty(shape, dtype=kind)
            continue
        if row not in storages:
            start, length = table.offset(row), layout["sizes"][row - 1]
            if start + length > size:
                raise ValueError("a storage ends behind the file")
            storages[row] = whole[start : start + length]
            if verify:
                found = digest(bytes_of(storages[row]))
                compare_digests(place, f"tensor {name}", table.digest(row), found)
        last = offset + sum((n - 1) * step for n, step in zip(shape, stride, strict=True))
        if math.prod(shape) and (last + 1) * kind.itemsize > storages[row].nbytes():
            raise ValueError("a tensor ends behind its storage")
        model[name] = torch.empty(0, dtype=kind).set_(storages[row], offset, shape, stride)
    metadata = layout["plain"]["model"]
    if metadata is not None:
        model._metadata = metadata  # type: ignore[attr-defined]
    return model
