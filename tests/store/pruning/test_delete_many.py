"""Many files are deleted several at once; each that could not be is named."""

from __future__ import annotations

from pathlib import Path

from dacapo_core.store.filesystems.filesystem import StoreFilesystem


def test_of_many_files_exactly_those_that_cannot_be_deleted_are_reported(tmp_path: Path) -> None:
    paths = [f"folder/{number}" for number in range(2000)]
    in_the_way = {"folder/3", "folder/700", "folder/1999"}
    for path in paths:
        file = tmp_path / path
        if path in in_the_way:
            file.mkdir(parents=True)  # no unlink deletes a folder
        else:
            file.parent.mkdir(exist_ok=True)
            file.touch()
    failed = StoreFilesystem(tmp_path).delete([*paths, "folder/missing"])
    assert failed.keys() == in_the_way
    assert all(isinstance(error, OSError) for error in failed.values())
    assert {f"folder/{file.name}" for file in (tmp_path / "folder").iterdir()} == in_the_way
