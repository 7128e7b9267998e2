"""torch's zip file: entries stored uncompressed, tensors at multiples of 64 bytes.

All sizes are known beforehand, so all offsets are, too: the file is a list of pieces that refer to
the tensors' own memory, to be written in one go.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Any

_FOLDER = "archive"
_ALIGNMENT = 64
LOCAL_HEADER = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR_64 = struct.Struct("<4sLQL")
_VERSION, _VERSION_64 = 20, 45
_UTF_8 = 0x0800
_1980 = 0x21  # 1 January, the first day that zip knows
_MAX_16, _MAX_32 = 0xFFFF, 0xFFFFFFFF


@dataclass(frozen=True)
class Entry:
    """One file of the zip, and where its bytes will be.

    Attributes:
        content: a buffer.
        header: the bytes before the content.
        offset: of the content in the zip file.
    """

    name: str
    content: Any
    header: bytes
    offset: int
    checksum: int

    @property
    def start(self) -> int:
        return self.offset - len(self.header)

    @property
    def stop(self) -> int:
        return self.offset + len(self.content)


def entry_at(start: int, name: str, content: Any) -> Entry:
    """The entry of a content whose header begins at ``start``.

    A tensor's checksum is zero, which says unchecked: torch checks none, and they are slow.
    """
    full = f"{_FOLDER}/{name}".encode()
    size = len(content)
    large = struct.pack("<2H2Q", 1, 16, size, size) if size >= _MAX_32 else b""
    before_padding = start + LOCAL_HEADER.size + len(full) + len(large) + 4
    padding = -before_padding % _ALIGNMENT
    extra = large + struct.pack("<2sH", b"FB", padding) + b"Z" * padding
    crc = 0 if name.startswith("data/") else zlib.crc32(content)
    shown = _MAX_32 if large else size
    version = _VERSION_64 if large else _VERSION
    header = LOCAL_HEADER.pack(
        b"PK\x03\x04", version, _UTF_8, 0, 0, _1980, crc, shown, shown, len(full), len(extra)
    )
    header += full + extra
    return Entry(name, content, header, start + len(header), crc)


def content_offset(start: int, header: bytes | memoryview) -> int:
    """Where the content of an entry begins whose header, at least its fixed part, is at `start`."""
    *_, name_length, extra_length = LOCAL_HEADER.unpack(header[: LOCAL_HEADER.size])
    return start + LOCAL_HEADER.size + name_length + extra_length


def directory(entries: list[Entry], comment: bytes) -> bytes:
    """The zip's central directory and its end, which follow the last entry."""
    start = entries[-1].stop
    central = b"".join(map(_central, entries))
    count, size = len(entries), len(central)
    end_64 = b""
    if start + size >= _MAX_32 or count >= _MAX_16:
        end_64 = _END_64.pack(
            b"PK\x06\x06", 44, _VERSION_64, _VERSION_64, 0, 0, count, count, size, start
        )
        end_64 += _LOCATOR_64.pack(b"PK\x06\x07", 0, start + size, 1)
    end = _END.pack(
        b"PK\x05\x06",
        0,
        0,
        min(count, _MAX_16),
        min(count, _MAX_16),
        min(size, _MAX_32),
        min(start, _MAX_32),
        len(comment),
    )
    return central + end_64 + end + comment


def _central(entry: Entry) -> bytes:
    full = f"{_FOLDER}/{entry.name}".encode()
    size = len(entry.content)
    large = [value for value in (size, size, entry.start) if value >= _MAX_32]
    extra = struct.pack(f"<2H{len(large)}Q", 1, 8 * len(large), *large) if large else b""
    shown = min(size, _MAX_32)
    version = _VERSION_64 if large else _VERSION
    return (
        _CENTRAL.pack(
            b"PK\x01\x02",
            version,
            version,
            _UTF_8,
            0,
            0,
            _1980,
            entry.checksum,
            shown,
            shown,
            len(full),
            len(extra),
            0,
            0,
            0,
            0,
            min(entry.start, _MAX_32),
        )
        + full
        + extra
    )
