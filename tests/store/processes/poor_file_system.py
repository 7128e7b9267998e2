"""A folder seen through FUSE, without what many file servers and container volumes lack.

Arguments: the folder, the mount point, the errno that refused calls answer with.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import Any

import mfusepy

source, mount_point, refusal = sys.argv[1], sys.argv[2], int(sys.argv[3])


class PoorFileSystem(mfusepy.Operations):
    """No symbolic links, no hard links, no sync of folders; the rest is the folder's."""

    use_ns = True

    def symlink(self, target: str, source: str) -> int:
        raise mfusepy.FuseOSError(refusal)

    def link(self, target: str, source: str) -> int:
        raise mfusepy.FuseOSError(refusal)

    def fsyncdir(self, path: str, datasync: int, fh: int) -> int:
        raise mfusepy.FuseOSError(refusal)

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        status = os.lstat(source + path)
        return {
            "st_mode": status.st_mode,
            "st_size": status.st_size,
            "st_nlink": status.st_nlink,
            "st_uid": status.st_uid,
            "st_gid": status.st_gid,
            "st_mtime": status.st_mtime_ns,
            "st_atime": status.st_atime_ns,
            "st_ctime": status.st_ctime_ns,
        }

    def readdir(self, path: str, fh: int) -> Any:
        return [".", "..", *os.listdir(source + path)]

    def mkdir(self, path: str, mode: int) -> int:
        os.mkdir(source + path, mode)
        return 0

    def rmdir(self, path: str) -> int:
        os.rmdir(source + path)
        return 0

    def unlink(self, path: str) -> int:
        os.unlink(source + path)
        return 0

    def rename(self, old: str, new: str) -> int:
        os.rename(source + old, source + new)
        return 0

    def truncate(self, path: str, length: int, fh: int | None = None) -> int:
        os.truncate(source + path, length)
        return 0

    def create(self, path: str, mode: int, fi: Any = None) -> int:
        return os.open(source + path, os.O_RDWR | os.O_CREAT, mode)

    def open(self, path: str, flags: int) -> int:
        return os.open(source + path, flags)

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        return os.pread(fh, size, offset)

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        return os.pwrite(fh, data, offset)

    def flush(self, path: str, fh: int) -> int:
        return 0

    def fsync(self, path: str, datasync: int, fh: int) -> int:
        os.fsync(fh)
        return 0

    def release(self, path: str, fh: int) -> int:
        os.close(fh)
        return 0


if refusal == errno.ENOSYS:
    # to the kernel this means that a folder's sync succeeds
    sys.exit("ENOSYS is no refusal of FUSE")
mfusepy.FUSE(PoorFileSystem(), mount_point, foreground=True, nothreads=True)
