"""What can be wrong with a run, found before its first training step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dacapo_core.training.run import Run

if TYPE_CHECKING:
    from dacapo_core.data.foreground_points import Foreground
    from dacapo_core.experiments.datasplits.datasets.raw_gt_dataset import RawGTDataset
    from dacapo_core.store.metadata_store import MetadataStore


def check_run(run: Run, store: MetadataStore | None = None) -> None:
    """Open the data, fit it to network and task, draw the first batch, and try the store.

    As rank 0 of several processes, the others do so too, each with its share of the batch.

    Args:
        store: where the run's checkpoints will go.

    Raises:
        StoreNotWritableError: nothing can be stored there.
        FileNotFoundError: an array is not there.
        ValueError: something does not fit; the message names what and says how to make it fit.
    """
    if run.processes.leads:
        # rank 0 looks at the data, once for all
        run.processes.tell(("check", (run.iteration, run.intensities.to_json())))
    processes = run.processes
    mine = processes.agreed(lambda: _look(run, store))
    found = {volume: points for each in processes.gather(mine) for volume, points in each.items()}
    processes.agreed(lambda: _draw(run, found))


def _look(run: Run, store: MetadataStore | None) -> dict[int, Foreground]:
    """Check all but the values, and look at those of this process's share of the volumes.

    Returns:
        Training volume, by its number → where in it there is something to learn.
    """
    from dacapo_core.data.foreground_points import find_foreground

    if store is not None:
        store.check_writable(run.name)
    _check_architecture(run)
    _check_volumes(run, run.datasplit.train)
    _check_volumes(run, run.datasplit.validate)
    _check_validation(run)
    # what is kept is read once
    run.batches  # noqa: B018
    sampler = run.sampler
    rank, size = run.processes.rank, run.processes.size
    volumes = [*sampler.datasets, *run.datasplit.validate]
    # values of held-out volumes that cannot be used are met now, and not after hours of training
    looked_at = {
        volume: find_foreground(volumes[volume], sampler.channels, sampler.search_block)
        for volume in range(rank, len(volumes), size)
    }
    return {volume: each for volume, each in looked_at.items() if volume < len(sampler.datasets)}


def _draw(run: Run, found: dict[int, Foreground]) -> None:
    """Draw this process's share of the first batch."""
    run.sampler.take_foreground([each for _, each in sorted(found.items())])
    for part in run.batch_source.batch(run.iteration):
        if part.fault is not None and part.fault:
            run.explain_fault(run.iteration)


def _check_architecture(run: Run) -> None:
    architecture = run.config.architecture_config
    if architecture.fmaps_in != 1:
        raise ValueError(
            f"architecture_config.fmaps_in is {architecture.fmaps_in}, and raw data has 1 channel"
        )


def _check_volumes(run: Run, datasets: Sequence[RawGTDataset]) -> None:
    wanted = run.config.architecture_config.input_shape
    for dataset in datasets:
        shape = dataset.raw.shape[-len(wanted) :]
        if any(size < needed for size, needed in zip(shape, wanted, strict=True)):
            raise ValueError(
                f"volume {dataset.name!r}: raw data {dataset.raw.name} of shape "
                f"{dataset.raw.shape} is smaller than architecture_config.input_shape {wanted}; "
                "choose a smaller input_shape, or leave the volume out"
            )


def _check_validation(run: Run) -> None:
    from dacapo_core.data.patch_sampler import check_labels_some, check_voxel_sizes

    if run.datasplit.validate:
        check_voxel_sizes([*run.datasplit.train, *run.datasplit.validate], run.sampler.grid)
    for dataset in run.datasplit.validate:
        check_labels_some(dataset, run.task.channels)
