"""Judging a model on a held-out volume."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from dacapo_core.data.patch_sampler import check_labels_some, check_voxel_sizes
from dacapo_core.experiments.datasplits.datasets.raw_gt_dataset import RawGTDataset
from dacapo_core.experiments.tasks.evaluators import higher_is_better, store_best
from dacapo_core.experiments.tasks.evaluators.binary_segmentation_evaluator import (
    BinarySegmentationEvaluator,
)
from dacapo_core.store.records.scores import ScoreEntry, ScoresRecord
from dacapo_core.training.data_parallel import share_buffers, share_state
from dacapo_core.training.processes import ALONE, Processes
from dacapo_core.validation.counts import Counts
from dacapo_core.validation.ground_truth import ChannelTruth, read_truth
from dacapo_core.validation.prediction import own_tiles, predict_volume
from dacapo_core.validation.tile_counts import TileCounts
from dacapo_core.validation.tiling import evaluation_grid, tiles

if TYPE_CHECKING:
    from dacapo_core.training.run import Run

ChannelCounts = dict[str, list[Counts]]
"""Channel → for each threshold the voxels that are right and wrong."""


def validate_iteration(
    run: Run, dataset: RawGTDataset, prediction: Tensor | None = None
) -> ScoresRecord:
    """Score `run` as it is on `dataset`, under every set of post-processing parameters.

    Each channel has its criteria, ``mito__f1_score``; ``f1_score`` alone is the mean over the
    channels that the volume holds, and has no value if one of theirs has none.

    Args:
        prediction: what `predict` gave, if there is one already.

    Raises:
        ArrayError: the volume does not fit the run; the message names it.
    """
    if prediction is None:
        return predict_and_score(run, dataset)[1]
    check_labels_some(dataset, run.task.channels)
    return _score(run, dataset, prediction, read_truth(dataset, run.task.channels))


def predict_and_score(run: Run, dataset: RawGTDataset) -> tuple[Tensor, ScoresRecord]:
    """What `predict` and `validate_iteration` give; the truth is read while the network predicts.

    Raises:
        ArrayError: the volume does not fit the run; the message names it.
    """
    check_labels_some(dataset, run.task.channels)
    with ThreadPoolExecutor(1) as pool:
        truth = pool.submit(read_truth, dataset, run.task.channels)
        prediction, counts = _predict_together(run, dataset, count=True)
        return prediction, _score(run, dataset, prediction, truth.result(), counts)


def predict(run: Run, dataset: RawGTDataset) -> Tensor:
    """The evaluation-mode prediction ``(channels, z, y, x)`` of the volume's labelled box.

    float32, on the run's device if there is room to judge it there, else in host memory. As rank 0
    of several processes, the others predict their share of a volume that is held out.

    Raises:
        ArrayError: the volume does not fit the run.
    """
    return _predict_together(run, dataset, count=False)[0]


def _predict_together(
    run: Run, dataset: RawGTDataset, *, count: bool
) -> tuple[Tensor, ChannelCounts | None]:
    """As `predict`, and where several processes do so what each has counted, summed."""
    check_labels_some(dataset, run.task.channels)
    held_out = [each is dataset for each in run.validation_datasets]
    processes = run.processes if any(held_out) else ALONE
    if run.processes.several and run.config.trainer_config.sharded and not any(held_out):
        raise ValueError(
            f"volume {dataset.name!r} is not held out by run {run.name!r}, which is sharded: its "
            "processes predict the run's own validation volumes only. Load a checkpoint into a "
            "run of one process for others"
        )
    if processes.leads:
        processes.tell(("predict", (held_out.index(True), not run.is_shared, count)))
        _share(run, not run.is_shared)
    prediction, counts = _predict(run, dataset, processes, count=count)
    assert prediction is not None
    return prediction, counts


def predict_share(run: Run, index: int, share: bool, count: bool) -> None:
    """As a process other than rank 0, predict along with it.

    Args:
        index: of the volume, among those that are held out.
        count: compare what it predicts with the ground truth, too.
    """
    _share(run, share)
    _predict(run, run.validation_datasets[index], run.processes, count=count)


def _share(run: Run, share: bool) -> None:
    """Make what the processes judge equal."""
    if share:
        share_state(run)
    share_buffers(run)


def _predict(
    run: Run, dataset: RawGTDataset, processes: Processes, *, count: bool
) -> tuple[Tensor | None, ChannelCounts | None]:
    config = run.config.architecture_config
    model = run.eval_model
    extent = [e - b for b, e in zip(dataset.begin, dataset.end, strict=True)]
    grid, margin = evaluation_grid(config, extent)
    check_voxel_sizes([dataset], grid)
    sections = config.dims == 2

    def predict_tile(raw: Tensor) -> Tensor:
        batch = raw[None] if sections else raw[None, None]
        batch = batch.to(memory_format=run.memory_format)
        with torch.autocast(run.device.type, run.dtype, enabled=run.dtype != torch.float32):
            output = model(batch)[0].float()
        return output[:, None] if sections else output

    was_training = model.training
    model.eval()
    try:
        # what is gathered of a sharded model is used for training too
        with (
            processes.together(),
            torch.no_grad() if run.is_sharded else torch.inference_mode(),
        ):
            given = dataset, grid, margin, predict_tile, run.device, processes
            if not (count and processes.several):
                return predict_volume(*given, at_once=run.is_sharded), None
            own = own_tiles(tiles(grid, margin, dataset.begin, dataset.end), processes)
            with closing(
                TileCounts(dataset, own, run.task.channels, _thresholds(run), run.device)
            ) as counts:
                prediction = predict_volume(*given, at_once=run.is_sharded, on_tile=counts.add)
                return prediction, counts.total(processes)
    finally:
        model.train(was_training)


def _thresholds(run: Run) -> list[float]:
    return [parameters["threshold"] for parameters in run.task.parameters]


def _score(
    run: Run,
    dataset: RawGTDataset,
    prediction: Tensor,
    truth: dict[str, ChannelTruth],
    counts: ChannelCounts | None = None,
) -> ScoresRecord:
    settings = run.task.config
    thresholds = _thresholds(run)
    judged: list[str] = []
    by_channel: dict[str, list[dict[str, float]]] = {}
    # one channel at a time: distances take more memory than predictions
    for channel, known in truth.items():
        evaluator = BinarySegmentationEvaluator(
            known.foreground,
            dataset.label_voxel_size,
            known=known.known,
            clip_distance=settings.clip_distance,
            tol_distance=settings.tol_distance,
            instances=known.instances,
            device=prediction.device,
        )
        if evaluator.has_foreground:
            judged.append(channel)
        of_channel = prediction[run.task.channels.index(channel)]
        by_channel[channel] = evaluator.evaluate_above(
            of_channel, thresholds, None if counts is None else counts[channel]
        )
    entries = []
    for index, parameters in enumerate(run.task.parameters):
        scores = {
            f"{channel}__{name}": score
            for channel, found in by_channel.items()
            for name, score in found[index].items()
        }
        mean = mean_scores([by_channel[channel][index] for channel in judged])
        entries.append(ScoreEntry(parameters=parameters, scores={**mean, **scores}))
    names = dict.fromkeys(name for entry in entries for name in entry.scores)
    return ScoresRecord(
        iteration=run.iteration,
        dataset=dataset.name,
        criteria={name: higher_is_better(name) for name in names if store_best(name)},
        entries=entries,
        extended=[extension.at for extension in run.extensions],
    )


def mean_scores(channels: list[dict[str, float]]) -> dict[str, float]:
    """The mean of each criterion over channels, NaN where one of them has no value."""
    names = dict.fromkeys(name for scores in channels for name in scores)
    return {
        name: float(np.mean([scores[name] for scores in channels if name in scores]))
        for name in names
    }


def score_rows(records: list[ScoresRecord]) -> list[dict[str, Any]]:
    """Scores as rows for ``pandas.DataFrame(score_rows(store.scores(run)))``.

    One row an iteration, dataset, set of parameters and criterion; the parameters are columns.
    ``extended`` counts how often the run had been given more iterations by then.
    From there ``.set_index([...])["score"].to_xarray()`` is an xarray array.
    """
    return [
        {
            "iteration": record.iteration,
            "dataset": record.dataset,
            **entry.parameters,
            "criterion": criterion,
            "extended": len(record.extended),
            "score": float("nan") if score is None else score,
        }
        for record in records
        for entry in record.entries
        for criterion, score in entry.scores.items()
    ]
