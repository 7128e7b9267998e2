"""Pictures of validations, one PNG an iteration and dataset, within a budget."""

from __future__ import annotations

from collections.abc import Iterable

from dacapo_core.store import layout
from dacapo_core.store.filesystems.filesystem import StoreFilesystem
from dacapo_core.store.records.scores import BestRecord, Judged

NEWEST = 3


def iterations_worth_a_picture(pictured: Iterable[int], best: Iterable[int]) -> set[int]:
    """Of the iterations with pictures, the newest few and those that are the best of something."""
    pictured = set(pictured)
    return {*sorted(pictured)[-NEWEST:], *(pictured & set(best))}


def overall_best(best: dict[Judged, BestRecord]) -> set[int]:
    """The best iterations by criteria over all channels; each channel's own would be too many."""
    return {record.iteration for (_, criterion), record in best.items() if "__" not in criterion}


def write_picture(
    filesystem: StoreFilesystem,
    run: str,
    iteration: int,
    dataset: str,
    png: bytes,
    best: Iterable[int],
) -> None:
    """Keep a picture, and let go of those that are no longer worth their place.

    Args:
        best: iterations whose pictures stay.
    """
    layout.check_run_name(run)
    iteration = layout.check_iteration(iteration)
    folder = layout.check_dataset_name(dataset)
    pictures = list_pictures(filesystem, run)
    # a late one stays until it is known whether it is the best
    kept = {iteration} | iterations_worth_a_picture({i for i, _ in pictures} | {iteration}, best)
    filesystem.write_bytes(layout.picture_path(run, iteration, folder), png, durable=False)
    delete_pictures(filesystem, run, {i for i, _ in pictures} - kept)


def read_picture(filesystem: StoreFilesystem, run: str, iteration: int, dataset: str) -> bytes:
    """
    Raises:
        FileNotFoundError: there is none, or it had to make room.
    """
    path = layout.picture_path(
        layout.check_run_name(run),
        layout.check_iteration(iteration),
        layout.check_dataset_name(dataset),
    )
    return filesystem.read_bytes(path)


def list_pictures(filesystem: StoreFilesystem, run: str) -> list[tuple[int, str]]:
    """(iteration, dataset) of each picture there is, in order; one listing."""
    found = []
    for file in filesystem.find_files(layout.pictures_folder(layout.check_run_name(run))):
        number, _, name = file.name.partition("/")
        iteration = layout.parse_iteration(number)
        if iteration is not None and name.endswith(".png") and "/" not in name:
            found.append((iteration, name.removesuffix(".png")))
    return sorted(found)


def delete_pictures(filesystem: StoreFilesystem, run: str, iterations: Iterable[int]) -> None:
    """Forget the pictures of these iterations."""
    gone = set(iterations)
    if not gone:
        return
    paths = [
        layout.picture_path(run, iteration, dataset)
        for iteration, dataset in list_pictures(filesystem, run)
        if iteration in gone
    ]
    filesystem.delete_all(paths)


def delete_pictures_of(filesystem: StoreFilesystem, run: str, dataset: str) -> None:
    """Forget the pictures of a dataset."""
    paths = [
        layout.picture_path(run, iteration, name)
        for iteration, name in list_pictures(filesystem, run)
        if name == dataset
    ]
    filesystem.delete_all(paths)
