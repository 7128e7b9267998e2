"""Whether a store is there, and the sentence for one that holds no run."""

from __future__ import annotations

from dacapo_core.store import layout
from dacapo_core.store.errors import MissingStoreError
from dacapo_core.store.filesystems.filesystem import StoreFilesystem


def require_store(filesystem: StoreFilesystem) -> None:
    """
    Raises:
        MissingStoreError: there is none: mistyped, not mounted, or nothing was ever stored.
    """
    if not filesystem.is_there():
        raise MissingStoreError(
            f"there is no store at {filesystem.basedir}: correct the path or mount it; "
            "the first checkpoint that is stored makes a new one"
        )


def why_no_runs(filesystem: StoreFilesystem) -> str:
    """Of a store without a run, one sentence for people."""
    folders = filesystem.list_folders()
    if "checkpoints" in folders and "iterations" in filesystem.list_folders("checkpoints"):
        parent, _, run = filesystem.basedir.rpartition("/")
        return (
            f"{filesystem.basedir} has no runs: it is a run; its store is {parent}, its name {run}"
        )
    others = [name for name in folders if layout.is_run_name(name)]
    if others:
        return (
            f"{filesystem.basedir} has no runs: none of its {len(others)} folders holds "
            "checkpoints/iterations"
        )
    return f"{filesystem.basedir} is empty: it has no runs"
