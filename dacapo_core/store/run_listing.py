"""The runs of a store, and what stands among them that is none and is not followed."""

from __future__ import annotations

from dacapo_core.store import layout
from dacapo_core.store.errors import StoreUnreachableError
from dacapo_core.store.filesystems.filesystem import StoreFilesystem


def list_runs(filesystem: StoreFilesystem) -> tuple[list[str], dict[str, str]]:
    """Names of the runs, and name → what is wrong with what only stands where a run could.

    A run is a folder with ``checkpoints/iterations``. A link that leads to itself, to nowhere or
    out of the store, and a folder that this user may not look into, are named and left alone.
    """
    astray = {
        name: what for name, what in filesystem.bad_links().items() if layout.is_run_name(name)
    }
    runs = []
    for name in sorted(filesystem.list_folders()):
        if name in astray or not layout.is_run_name(name):
            continue
        try:
            if "iterations" in filesystem.list_folders(layout.checkpoints_folder(name)):
                runs.append(name)
        except StoreUnreachableError as error:
            if not isinstance(error.__cause__, PermissionError):
                raise
            astray[name] = "a folder that this user may not look into"
    return runs, astray
