"""The identity of a checkpoint's file, which scores, pins and best records name. Pure.

A checkpoint of ours carries a nonce, drawn anew for each file: a record that names another nonce is
about other bytes. Size, time and version, which every listing gives, tell most of the time that
nothing has changed, so that no nonce has to be read.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

UNKNOWN = "unknown"
"""The nonce of a file that was gone before it was asked for; equal to no file's."""
AWAITED = "awaited"
"""The nonce of a checkpoint that was judged before it was stored; what is stored next is it."""


class CheckpointIdentity(BaseModel):
    """The file of a checkpoint, as it was when a record about it was written.

    Attributes:
        nonce: of its index; None for one that DaCapo wrote.
        size, modified, version: as a listing gave them.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    nonce: str | None = None
    size: int
    modified: float
    version: int | str | None = None

    def is_file(self, size: int, stored: datetime, version: int | str | None) -> bool:
        """Whether a listing shows this very file."""
        return is_same_file(
            (self.size, datetime.fromtimestamp(self.modified, UTC), self.version),
            (size, stored, version),
        )


class SaidOfBytes(BaseModel):
    """A record about the bytes of a checkpoint.

    Two of the same content are equal, whichever file they are about.

    Attributes:
        of: the file; None: known by its iteration alone, as DaCapo and earlier versions write.
    """

    of: CheckpointIdentity | None = Field(default=None, repr=False)

    def __eq__(self, other: Any) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._said() == other._said()

    def _said(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "of"}


def is_same_file(
    one: tuple[int, datetime, int | str | None], other: tuple[int, datetime, int | str | None]
) -> bool:
    """Whether (size, time, version) of two listings are of one file that nobody replaced."""
    (size, time, version), (other_size, other_time, other_version) = one, other
    if size != other_size:
        return False
    if isinstance(version, str) and isinstance(other_version, str):
        # an object store's; some tell times to the second in a listing alone
        return version == other_version
    if version is not None and other_version is not None and version != other_version:
        return False
    return time == other_time
