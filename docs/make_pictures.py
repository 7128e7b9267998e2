"""The pictures of the README, from the store that a finished run has left.

    .venv/bin/python docs/make_pictures.py demo/runs demo docs/pictures

draws ``curves.png`` (training loss and held-out F1 score, which is the Dice score) and
``slice.png`` (raw data, truth and the best checkpoint's prediction).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from dacapo_core.experiments.run_config import RunConfig
from dacapo_core.store.local_weights_store import LocalWeightsStore
from dacapo_core.store.records.scores import best_scores
from dacapo_core.training.run import Run
from dacapo_core.validation.pictures import curves_picture, slice_picture
from dacapo_core.validation.scoring import predict

CRITERION = "f1_score"


def curves(store: LocalWeightsStore, run: str) -> bytes:
    """Loss and the F1 score of each channel, the best of each marked."""
    losses = [
        (iteration, loss)
        for stretch in store.training_stats(run)
        for iteration, loss in zip(stretch["iteration"], stretch["loss"], strict=True)
        if loss is not None
    ]
    points: dict[str, list[tuple[int, float]]] = {}
    for iteration, scores in sorted(best_scores(store.scores(run)).items()):
        for name, score in scores.items():
            if name.endswith(CRITERION):
                points.setdefault(name, []).append((iteration, score))
    best = {
        f"{dataset}/{c}": record.iteration
        for (dataset, c), record in store.best_records(run).items()
    }
    shown = {name: label(name) for name in points}
    return curves_picture(
        losses,
        {shown[name]: points[name] for name in points},
        {shown[name]: best[name] for name in points if name in best},
    )


def label(name: str) -> str:
    """``held_out_0/mito__f1_score`` as ``mito Dice``, ``held_out_0/f1_score`` as ``mean Dice``."""
    channel = name.rpartition("/")[2].removesuffix(CRITERION).removesuffix("__")
    return f"{channel or 'mean'} Dice"


def held_out_slice(store: LocalWeightsStore, name: str) -> bytes:
    """A slice of the first volume that was held out, predicted by the best checkpoint of it."""
    config = store.run_config(name)
    if config is None:
        raise SystemExit(f"run {name!r} in {store.basedir} has no configuration on record")
    run = Run(RunConfig.model_validate(config), "cpu")
    dataset = run.validation_datasets[0]
    weights = store.load_best(run, dataset, CRITERION)
    run.load_extra_state(weights.extra)
    return slice_picture(dataset, run.task.channels, predict(run, dataset))


def main() -> None:
    """Draw both and say where they are."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("store", help="path or URL of the store")
    parser.add_argument("run", help="name of the run")
    parser.add_argument("folder", type=Path, help="where the pictures go")
    arguments = parser.parse_args()
    store = LocalWeightsStore(arguments.store)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name, picture in (
        ("curves.png", curves(store, arguments.run)),
        ("slice.png", held_out_slice(store, arguments.run)),
    ):
        file = arguments.folder / name
        file.write_bytes(picture)
        print(f"{file}: {len(picture) / 1000:.0f} kB")


if __name__ == "__main__":
    main()
