"""Files of a store on any fsspec file system: this folder alone talks to fsspec and os.

On every backend a file is seen under its name whole or not at all, a write is durable when it
returns, a listing is never stale, and names are never globbed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from dacapo_core.store.errors import NotAFileError, StoreUnreachableError
from dacapo_core.store.filesystems import local_listing
from dacapo_core.store.filesystems.capabilities import limits
from dacapo_core.store.filesystems.deletion import delete_local, delete_objects
from dacapo_core.store.filesystems.file_cache import FileCache
from dacapo_core.store.filesystems.file_info import FileInfo, info_of_file, version_of
from dacapo_core.store.filesystems.listing import Listing
from dacapo_core.store.filesystems.object_writing import (
    abort_stale_uploads,
    creates_exclusively,
    is_s3,
    put_object,
    require_bucket,
)
from dacapo_core.store.filesystems.partial_files import PartialFile, replace_link, sweep
from dacapo_core.store.filesystems.regular_files import open_to_read, read
from dacapo_core.store.filesystems.temporary_file import SparseCopy, TemporaryFile
from dacapo_core.store.filesystems.translated_errors import (
    reading,
    writing,
    writing_temporary_file,
)
from dacapo_core.store.filesystems.unbuffered_files import write_all
from dacapo_core.store.layout import partial_folder

FETCHES = 3
"""How often an object is fetched that is replaced meanwhile, or that did not come whole."""


class StoreFilesystem(Listing):
    """The files below one base directory.

    All paths are relative to ``basedir`` and joined with ``/``.

    Attributes:
        exclusive_create: whether ``create_bytes`` is safe in a race on this backend.
    """

    def __init__(self, basedir: str | Path, storage_options: dict[str, Any] | None = None) -> None:
        super().__init__(basedir, storage_options)
        self.exclusive_create: bool = creates_exclusively(self._fs)
        # else s3fs asks for the size first, to read large objects in parts
        self._in_one_request = {"max_concurrency": 1} if is_s3(self._fs) else {}
        self._bucket_was_seen = False
        self._file_cache = FileCache()

    def __repr__(self) -> str:
        return f"StoreFilesystem({self.basedir!r})"

    def local_path(self, path: str) -> str:
        """The absolute path of a local store's file."""
        return self._full(path)

    def limits(self, folder: str) -> list[str]:
        """What the file system of a local store cannot do, for people."""
        with reading(self.url(folder)):
            return limits(self._full(folder)) if self.is_local else []

    # one file

    def exists(self, path: str) -> bool:
        """Whether a file (or, locally, a folder, or a link to anything) is there."""
        with reading(self.url(path)):
            if self.is_local:
                return os.path.lexists(self._full(path))
            return bool(self._fs.exists(self._full(path)))

    def is_file(self, path: str) -> bool:
        """Whether a file that can be read is there."""
        try:
            return self.file_info(path).problem is None
        except FileNotFoundError:
            return False

    def file_info(self, path: str) -> FileInfo:
        """
        Raises:
            FileNotFoundError: no such file.
        """
        with reading(self.url(path)):
            if self.is_local:
                return local_listing.file_info(self._full(path), self._root)
            return info_of_file(self._fs.info(self._full(path)))

    # reading

    def read_bytes(self, path: str) -> bytes:
        """
        Raises:
            FileNotFoundError: no such file.
            NotAFileError: what is there is no file of the store that can be read.
        """
        with reading(self.url(path)):
            if self.is_local:
                return read(self._full(path), self._root)
            return bytes(self._fs.cat_file(self._full(path), **self._in_one_request))

    def read_many(self, paths: Iterable[str]) -> dict[str, bytes]:
        """Contents by path, read concurrently on object stores; missing files are left out.

        Whatever is not a readable file counts as empty: the reader of a record finds it damaged.
        """
        wanted = list(paths)
        found: dict[str, bytes] = {}
        if self.is_local:
            for path in wanted:
                full = self._full(path)
                try:
                    found[path] = read(full, self._root)
                except FileNotFoundError:
                    continue
                except NotAFileError:
                    found[path] = b""
                except OSError:
                    # again, for an error that says what and where
                    found[path] = self.read_bytes(path)
            return found
        # not fs.cat: it expands globs in names
        results = self._fs.cat_ranges(
            [self._full(path) for path in wanted],
            None,
            None,
            on_error="return",
            **self._in_one_request,
        )
        for path, result in zip(wanted, results, strict=True):
            if isinstance(result, FileNotFoundError):
                continue
            with reading(self.url(path)):
                if isinstance(result, BaseException):
                    raise result
            found[path] = bytes(result)
        return found

    def read_listed(
        self, folder: str, files: Iterable[FileInfo], wanted: Container[str] | None = None
    ) -> dict[str, bytes]:
        """Contents by path of the files that a folder was just listed with.

        A file that is unchanged since the last call, by the listing, is not read again.

        Args:
            files: all that the listing has.
            wanted: names of those to read; default all.
        """
        return self._file_cache.read(folder, files, self.read_many, wanted)

    @contextmanager
    def local_copy(self, path: str) -> Iterator[str]:
        """A local path of the file's bytes, which stay the same even if the file is replaced.

        The path is gone after the block; what is mapped from it stays valid.

        Raises:
            FileNotFoundError: no such file.
            NotAFileError: what is there is no file of the store that can be read.
            StoreUnreachableError: it cannot be read, or was replaced at each try.
            StoreNotWritableError: no temporary file for an object's bytes can be had.
        """
        if self.is_local:
            with reading(self.url(path)):
                descriptor = open_to_read(self._full(path), self._root)
            try:
                yield f"/dev/fd/{descriptor}"
            finally:
                os.close(descriptor)
            return
        with TemporaryFile() as temporary:
            self._fetch(path, temporary.path)
            yield temporary.path

    def _fetch(self, path: str, to: str) -> None:
        """Bring all bytes of one version of an object here.

        Some file systems fetch a large object in parts, which may be of two versions of it.
        """
        full = self._full(path)
        for _ in range(FETCHES):
            with reading(self.url(path)):
                before = self._fs.info(full)
                self._fs.get_file(full, to)
                fetched, after = os.stat(to).st_size, self._fs.info(full)
            if version_of(before) == version_of(after) and after.get("size") in (fetched, None):
                return
        raise StoreUnreachableError(
            f"cannot read {self.url(path)}: {fetched} bytes came of {after.get('size')}, or it was "
            f"replaced meanwhile, {FETCHES} times: try again"
        )

    @contextmanager
    def sparse_copy(self, path: str) -> Iterator[SparseCopy]:
        """A local copy of an object, in which only the bytes that are fetched are filled in.

        For object stores only. What is mapped from it stays valid after the block.

        Raises:
            FileNotFoundError: no such file.
            StoreUnreachableError: it cannot be read, or has become shorter.
            StoreNotWritableError: no temporary file for its bytes can be had.
        """
        full = self._full(path)

        def read(start: int, stop: int) -> bytes:
            with reading(self.url(path)):
                content = bytes(self._fs.cat_file(full, start=start, end=stop))
            if len(content) != stop - start:
                raise StoreUnreachableError(
                    f"cannot read {self.url(path)}: {len(content)} bytes came where "
                    f"{stop - start} were asked for; it may just have been replaced: try again"
                )
            return content

        def version() -> str:
            with reading(self.url(path)):
                return str(self._fs.ukey(full))

        size = self.file_info(path).size
        with TemporaryFile() as temporary:
            yield SparseCopy(temporary, size, read, version)

    # writing

    def write_bytes(self, path: str, data: bytes, *, durable: bool = True) -> None:
        """Write a file, atomically, in place of any of this name.

        Args:
            durable: False: do not wait for a local disk; after a power failure the file may be
                missing or empty. For files that can be done without.
        """
        with self.replacing(path, durable=durable) as file:
            write_all(file, data)

    def create_bytes(self, path: str, data: bytes) -> None:
        """Write a file that must not be there yet, atomically and durably.

        In a race exactly one caller wins where ``exclusive_create`` is true.

        Raises:
            FileExistsError: it is there.
        """
        full = self._full(path)
        with writing(self.url(path)):
            if self.is_local:
                with PartialFile(full, self._partial_folder(path)) as partial:
                    write_all(partial.file, data)
                    partial.make_durable()
                    partial.commit_new()
                return
            if not self.exclusive_create:
                if self._fs.exists(full):
                    raise FileExistsError(self.url(path))
                self._put(data, path)
                return
            self._require_bucket()
            self._fs.pipe_file(full, data, mode="create")

    @contextmanager
    def replacing(
        self,
        path: str,
        before_commit: Callable[[], None] | None = None,
        *,
        durable: bool = True,
    ) -> Iterator[BinaryIO]:
        """A file to write, seen under ``path`` only when the block has ended without an error.

        Args:
            before_commit: called when all bytes are durable (local) or in a temporary file,
                just before they become visible; an error from it leaves the store as it was.
        """
        check = before_commit or (lambda: None)
        if self.is_local:
            with (
                writing(self.url(path)),
                PartialFile(self._full(path), self._partial_folder(path)) as partial,
            ):
                yield partial.file
                if durable:
                    partial.make_durable()
                check()
                partial.commit(durable=durable)
            return
        with TemporaryFile() as temporary:
            with writing_temporary_file():
                yield temporary.file
            check()
            self._put(temporary, path)

    def replace_link(self, path: str, target: str) -> None:
        """Make ``path`` a relative symbolic link to ``target``; on local stores only.

        Where the file system has no links, that is said once, and is no error.
        """
        with writing(self.url(path)):
            replace_link(self._full(path), self._full(target), self._partial_folder(path))

    def delete(self, paths: Iterable[str]) -> dict[str, Exception]:
        """Delete files, in batches; what could not be deleted, with why.

        A file that is not there is no error.
        """
        full = {self._full(path): path for path in paths}
        failed = delete_local(list(full)) if self.is_local else delete_objects(self._fs, list(full))
        return {full[name]: error for name, error in failed.items()}

    def delete_all(self, paths: Iterable[str]) -> None:
        """Delete files; one that is not there is no error.

        Raises:
            StoreNotWritableError: one could not be deleted.
        """
        for path, error in self.delete(paths).items():
            with writing(self.url(path)):
                raise error

    def sweep_partials(self, folder: str) -> list[str]:
        """Remove the partial files of dead writers from a folder; the paths removed.

        On S3, abort the uploads into the folder's parent that began over a day ago.
        """
        with writing(self.url(folder)):
            if self.is_local:
                return [f"{folder}/{name}" for name in sweep(self._full(folder))]
            parent = self._full(folder).rpartition("/")[0]
            return abort_stale_uploads(self._fs, parent)

    def _partial_folder(self, path: str) -> str:
        return self._full(partial_folder(path.partition("/")[0]))

    def _put(self, content: bytes | TemporaryFile, path: str) -> None:
        partial_path = f"{self._partial_folder(path)}/{os.urandom(8).hex()}"
        with writing(self.url(path)):
            self._require_bucket()
            put_object(self._fs, content, self._full(path), partial_path)

    def _require_bucket(self) -> None:
        if not self._bucket_was_seen:
            require_bucket(self._fs, self._root)
            self._bucket_was_seen = True
