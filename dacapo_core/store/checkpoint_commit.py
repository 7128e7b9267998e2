"""Committing a checkpoint to a store: file, record, and what was known of the one it replaces."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from dacapo_core.store import layout
from dacapo_core.store.checkpoint_files import commit_checkpoint, read_record, write_record
from dacapo_core.store.errors import StoreError, StoreUnreachableError
from dacapo_core.store.filesystems.file_info import FileInfo
from dacapo_core.store.filesystems.filesystem import StoreFilesystem
from dacapo_core.store.pruning.prune_intents import wait_for_pruners
from dacapo_core.store.records.checkpoint_flags import delete_stale_flags
from dacapo_core.store.records.checkpoint_identity import UNKNOWN, CheckpointIdentity
from dacapo_core.store.records.checkpoint_record import CheckpointRecord
from dacapo_core.store.records.present_checkpoints import identity_of
from dacapo_core.store.records.replaced_checkpoints import (
    Before,
    about_to_store,
    newest_known,
    withdraw_facts,
)

logger = logging.getLogger(__name__)


class CheckpointCommits:
    """Commits the checkpoints of a store, and remembers the files that it wrote and read."""

    def __init__(
        self, filesystem: StoreFilesystem, seen: dict[tuple[str, int], CheckpointIdentity]
    ) -> None:
        """
        Args:
            seen: (run, iteration) → the file that this process wrote or read last; scores that
                it records next are of that file.
        """
        self._filesystem = filesystem
        self._seen = seen
        self._last_written: dict[str, tuple[int, FileInfo]] = {}
        self._newest_known: dict[str, int] = {}

    def commit(
        self, run: str, iteration: int, state: dict[str, Any], check_lease: Callable[[], None]
    ) -> None:
        """Make a state of CPU tensors the checkpoint of an iteration, in place of any before it.

        Args:
            check_lease: called just before the file becomes visible; an error from it leaves
                the store as it was.
        """
        replaced = self._checkpoint_to_replace(run, iteration)
        path = layout.checkpoint_path(run, iteration)
        may_be_pruned = replaced is not None or iteration < self._newest_known.get(run, iteration)
        record = self._write(run, iteration, state, check_lease)
        is_written_again = False
        # a pruner that meant the replaced one may have deleted this file or its record, and may
        # have ended before this looks for it
        while may_be_pruned := wait_for_pruners(self._filesystem, run, iteration) or may_be_pruned:
            if not self._filesystem.exists(path):
                record = self._write(run, iteration, state, check_lease)
            elif not is_written_again and read_record(self._filesystem, run, iteration) != record:
                write_record(self._filesystem, run, record)
                is_written_again = True
            else:
                break
        # a mark for pruning was for the replaced one
        delete_stale_flags(self._filesystem, run, iteration)
        if replaced is not None:
            try:
                withdraw_facts(self._filesystem, run, iteration, replaced)
            except (StoreError, OSError) as error:
                # they name the replaced file, so readers ignore them where they are too
                logger.warning(
                    "%s/%d is stored again; what was said of the one before could not be moved to "
                    "the history: %s",
                    run,
                    iteration,
                    error,
                )

    def _write(
        self, run: str, iteration: int, state: dict[str, Any], check_lease: Callable[[], None]
    ) -> CheckpointRecord:
        record, file = commit_checkpoint(self._filesystem, run, iteration, state, check_lease)
        if file is not None:
            self._last_written[run] = iteration, file
            self._seen[run, iteration] = identity_of(file, record.nonce)
        return record

    def remember_read(self, run: str, iteration: int) -> None:
        """Remember the file that is about to be read, if it is there."""
        with suppress(FileNotFoundError):
            file = self._file_info(run, iteration)
            known = self._seen.get((run, iteration))
            if known is None or identity_of(file, known.nonce) != known:
                self._seen[run, iteration] = identity_of(file, UNKNOWN)

    def is_as_written(self, run: str, iteration: int) -> bool:
        """Whether the run's last commit here was this file, and it is unchanged since.

        False on object stores: their whole seconds are too coarse to say that nothing changed.
        """
        written = self._last_written.get(run) if self._filesystem.is_local else None
        return written == (iteration, self._file_info(run, iteration))

    def _file_info(self, run: str, iteration: int) -> FileInfo:
        return self._filesystem.file_info(layout.checkpoint_path(run, iteration))

    def _checkpoint_to_replace(self, run: str, iteration: int) -> Before | None:
        """The checkpoint of this iteration; not looked for where it is newer than all known."""
        # where nothing can be read, writing says why, or does not need to
        with suppress(StoreUnreachableError):
            if run not in self._newest_known:
                self._newest_known[run] = newest_known(self._filesystem, run)
            if iteration <= self._newest_known[run]:
                return about_to_store(self._filesystem, run, iteration)
            self._newest_known[run] = iteration
        return None
