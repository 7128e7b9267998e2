"""What a checkpoint says about itself, inside itself, under a key that DaCapo ignores.

Names, shapes and dtypes stand in the index; digests stand in one more tensor, the last of the
file, because they are known only when all other bytes are written. Its first row is of the
head, the bytes before the first tensor (the pickle: structure, numbers, names); then comes one
row for each distinct non-empty storage, in the order of the file; the last row is the length of
the head.
"""

from __future__ import annotations

import json
from typing import Any, Literal

import torch
import xxhash
from pydantic import BaseModel, ConfigDict, field_validator

from dacapo_core.store.state_tree import tensors_of

INDEX_KEY = "dacapo_core"
DIGEST_NAME = "xxh3_128"
DIGEST_BYTES = 16


class CheckpointIndex(BaseModel):
    """The index of a checkpoint.

    Attributes:
        format: 1.
        nonce: drawn anew for each file; ties the record to it.
        tensors: JSON of [key path joined with ``/``, dtype, shape] of each tensor, in order. One
            string, because torch's pickler is slow on many small objects.
        digests: (storages + 2, 16) uint8.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="ignore")

    format: Literal[1]
    nonce: str
    tensors: str
    digests: torch.Tensor

    @field_validator("digests")
    @classmethod
    def _rows(cls, digests: torch.Tensor) -> torch.Tensor:
        if (
            digests.dtype != torch.uint8
            or digests.ndim != 2
            or digests.shape[1] != DIGEST_BYTES
            or len(digests) < 2
        ):
            raise ValueError(f"digests are {digests.dtype} {tuple(digests.shape)}")
        return digests

    @property
    def storages(self) -> int:
        return len(self.digests) - 2

    @property
    def head_length(self) -> int:
        return int.from_bytes(bytes(self.digests[-1].tolist()), "little")

    def row(self, number: int) -> str:
        """A digest as hexadecimal digits."""
        return bytes(self.digests[number].tolist()).hex()


def new_index(state: dict[str, Any], storages: int, nonce: str) -> dict[str, Any]:
    """The index of a state to be written, its digests yet to be filled in."""
    return {
        "format": 1,
        "nonce": nonce,
        "tensors": described(state),
        "digests": torch.zeros(storages + 2, DIGEST_BYTES, dtype=torch.uint8),
    }


def described(state: Any) -> str:
    """JSON of [key path, dtype, shape] of each tensor of a state."""
    return json.dumps(
        [
            ["/".join(map(str, path)), str(tensor.dtype).removeprefix("torch."), [*tensor.shape]]
            for path, tensor in tensors_of(state)
        ]
    )


def digest(data: Any) -> str:
    """The digest of some bytes, as it stands in an index or a record."""
    return xxhash.xxh3_128_hexdigest(data)
