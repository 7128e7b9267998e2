"""What a checkpoint says about itself, inside itself, under a key that DaCapo ignores.

Two tensors, the last of the file. ``layout`` is JSON: each tensor's name, dtype, shape, stride and
storage. ``table`` has one row for the head (the bytes before the first tensor: the pickle with its
structure, numbers and names), then one for each distinct non-empty storage in the order of the
file, the layout's last: 16 bytes of digest, 8 of offset in the file (for the head, its length).
Digests and offsets are known only when the bytes have been written, so the table is filled in
while the file grows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

import torch
import xxhash
from pydantic import BaseModel, ConfigDict, field_validator

from dacapo_core.store.checkpoints.state_tree import storages_of, tensors_of

INDEX_KEY = "dacapo_core"
DIGEST_BYTES = 16
ROW_BYTES = 24
MAGIC = b'{"dacapo_core": 1, '


class CheckpointIndex(BaseModel):
    """The index of a checkpoint.

    Attributes:
        format: 1.
        nonce: drawn anew for each file; ties the record to it.
        layout: JSON as uint8.
        table: (1 + storages, 24) uint8.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="ignore")

    format: Literal[1]
    nonce: str
    layout: torch.Tensor
    table: torch.Tensor

    @field_validator("layout", "table")
    @classmethod
    def _is_bytes(cls, value: torch.Tensor) -> torch.Tensor:
        if value.dtype != torch.uint8 or not value.is_contiguous() or not value.numel():
            raise ValueError(f"it is {value.dtype} {tuple(value.shape)}")
        return value

    @property
    def rows(self) -> Table:
        return Table(self.table.numpy().tobytes())


class Table:
    """The rows of a checkpoint's table."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def __len__(self) -> int:
        return len(self._content) // ROW_BYTES

    def digest(self, row: int) -> str:
        """A digest as hexadecimal digits."""
        start = row * ROW_BYTES
        return self._content[start : start + DIGEST_BYTES].hex()

    def offset(self, row: int) -> int:
        """Where a storage begins in the file; for row 0, the length of the head."""
        start = row * ROW_BYTES
        return int.from_bytes(self._content[start + DIGEST_BYTES : start + ROW_BYTES], "little")


def new_index(state: Mapping[str, Any], nonce: str) -> dict[str, Any]:
    """The index of a state to be written, its table yet to be filled in."""
    layout = torch.frombuffer(bytearray(described(state)), dtype=torch.uint8)
    rows = 1 + len(storages_of(state)) + 1
    return {
        "format": 1,
        "nonce": nonce,
        "layout": layout,
        "table": torch.zeros(rows, ROW_BYTES, dtype=torch.uint8),
    }


def described(state: Mapping[str, Any]) -> bytes:
    """The layout of a state: what a reader needs to find its tensors in the file.

    ``tensors``: [section, path within it, dtype, shape, stride, row, offset in elements] of each.
    ``sizes``: bytes of each storage. ``plain``: sections that are dicts of tensors and no more.
    """
    storages = storages_of(state)
    rows = {storage.data_ptr(): row for row, storage in enumerate(storages, start=1)}
    tensors = [
        [
            path[0],
            "/".join(map(str, path[1:])),
            str(tensor.dtype).removeprefix("torch."),
            list(tensor.shape),
            list(tensor.stride()),
            rows.get(tensor.untyped_storage().data_ptr(), 0) if tensor.numel() else 0,
            tensor.storage_offset(),
        ]
        for path, tensor in tensors_of(state)
    ]
    content = {
        "dacapo_core": 1,
        "tensors": tensors,
        "sizes": [storage.nbytes() for storage in storages],
        "plain": {name: _metadata(part) for name, part in state.items() if _is_plain(part)},
    }
    return json.dumps(content).encode()


def _is_plain(section: Any) -> bool:
    return isinstance(section, dict) and all(
        type(name) is str and isinstance(value, torch.Tensor) for name, value in section.items()
    )


def _metadata(section: Any) -> dict[str, Any] | None:
    """The versions that ``Module.state_dict()`` hangs on its dict, if JSON can hold them."""
    metadata = getattr(section, "_metadata", None)
    try:
        copied: dict[str, Any] | None = json.loads(json.dumps(metadata))
    except (TypeError, ValueError):
        return None
    return copied


def digest(data: Any) -> str:
    """The digest of some bytes, as it stands in an index or a record."""
    return xxhash.xxh3_128_hexdigest(data)
