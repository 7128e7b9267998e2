"""Judging a model on a held-out volume."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dacapo_core.data.patch_sampler import check_labels_some, check_voxel_sizes
from dacapo_core.experiments.datasplits.datasets.raw_gt_dataset import RawGTDataset
from dacapo_core.experiments.datasplits.tiling import evaluation_grid, predict_volume
from dacapo_core.experiments.tasks.evaluators import higher_is_better, store_best
from dacapo_core.experiments.tasks.evaluators.binary_segmentation_evaluator import (
    BinarySegmentationEvaluator,
)
from dacapo_core.store.records.scores import ScoreEntry, ScoresRecord

if TYPE_CHECKING:
    from dacapo_core.experiments.run import Run


def validate_iteration(
    run: Run, dataset: RawGTDataset, prediction: NDArray[Any] | None = None
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
        prediction = predict(run, dataset)
    evaluators = _evaluators(run, dataset)
    entries = []
    for parameters in run.task.parameters:
        segmentation = run.task.post_process(prediction, parameters)
        by_channel = {
            channel: evaluator.evaluate(segmentation[run.task.channels.index(channel)])
            for channel, evaluator in evaluators.items()
        }
        judged = [c for c, evaluator in evaluators.items() if evaluator.has_foreground]
        scores = {
            f"{channel}__{name}": score
            for channel, found in by_channel.items()
            for name, score in found.items()
        }
        entries.append(
            ScoreEntry(
                parameters=parameters,
                scores={**mean_scores([by_channel[c] for c in judged]), **scores},
            )
        )
    names = dict.fromkeys(name for entry in entries for name in entry.scores)
    return ScoresRecord(
        iteration=run.iteration,
        dataset=dataset.name,
        criteria={name: higher_is_better(name) for name in names if store_best(name)},
        entries=entries,
    )


def predict(run: Run, dataset: RawGTDataset) -> NDArray[np.float32]:
    """The evaluation-mode prediction ``(channels, z, y, x)`` of the volume's labelled box.

    Raises:
        ArrayError: the volume does not fit the run.
    """
    import torch

    config = run.config.architecture_config
    model = run.eval_model
    check_labels_some(dataset, run.task.channels)
    extent = [e - b for b, e in zip(dataset.begin, dataset.end, strict=True)]
    grid, margin = evaluation_grid(config, extent)
    check_voxel_sizes([dataset], grid)
    sections = config.dims == 2

    def predict_tile(raw: NDArray[np.float32]) -> NDArray[np.float32]:
        batch = torch.from_numpy(raw[None, None] if not sections else raw[None])
        batch = batch.to(run.device).to(memory_format=run.memory_format)
        with torch.autocast(run.device.type, run.dtype, enabled=run.dtype != torch.float32):
            output = model(batch)[0]
        tile = output.float().cpu().numpy()
        return tile[:, None] if sections else tile

    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            return np.asarray(predict_volume(dataset, grid, margin, predict_tile), np.float32)
    finally:
        model.train(was_training)


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
    From there ``.set_index([...])["score"].to_xarray()`` is an xarray array.
    """
    return [
        {
            "iteration": record.iteration,
            "dataset": record.dataset,
            **entry.parameters,
            "criterion": criterion,
            "score": float("nan") if score is None else score,
        }
        for record in records
        for entry in record.entries
        for criterion, score in entry.scores.items()
    ]


def _evaluators(run: Run, dataset: RawGTDataset) -> dict[str, BinarySegmentationEvaluator]:
    """One for each channel of the task that the volume labels."""
    task = run.task
    check_labels_some(dataset, task.channels)
    truth, known = dataset.read_labels(dataset.begin, dataset.end, task.channels)
    return {
        channel: BinarySegmentationEvaluator(
            truth[index],
            dataset.label_voxel_size,
            known=known[index],
            clip_distance=task.config.clip_distance,
            tol_distance=task.config.tol_distance,
            instances=dataset.read_instances(channel, dataset.begin, dataset.end),
        )
        for index, channel in enumerate(task.channels)
        if channel in dataset.channels
    }
