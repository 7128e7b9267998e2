"""What can be wrong with a run, found before its first training step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dacapo_core.training.run import Run

if TYPE_CHECKING:
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
    error = None
    try:
        _check(run, store)
    except Exception as found:
        error = found
    run.processes.agree(error=error)


def _check(run: Run, store: MetadataStore | None) -> None:
    if store is not None:
        store.check_writable(run.name)
    _check_architecture(run)
    _check_volumes(run, run.datasplit.train)
    _check_volumes(run, run.datasplit.validate)
    _check_validation(run)
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
    from dacapo_core.data.foreground_points import find_foreground
    from dacapo_core.data.patch_sampler import check_labels_some, check_voxel_sizes

    if run.datasplit.validate:
        check_voxel_sizes([*run.datasplit.train, *run.datasplit.validate], run.sampler.grid)
    block = [max(1, size // 2) for size in run.sampler.grid.output_shape]
    for dataset in run.datasplit.validate:
        check_labels_some(dataset, run.task.channels)
        # values that cannot be used are met now, and not after hours of training
        find_foreground(dataset, run.task.channels, block)
