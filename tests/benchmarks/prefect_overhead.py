"""What Prefect costs: seconds that the flow takes more than the same steps called by hand.

``python -m tests.benchmarks.prefect_overhead``. Both train, store, validate, derive the best and
prune the same small run, in turns, the flow on a server that runs already. The cost does not depend
on how long an iteration takes, only on the number of validation intervals; it is given as a share
of a ten-minute run with as many. Target: 1 %.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dacapo_core.experiments.run_config import RunConfig
from dacapo_core.store.local_weights_store import LocalWeightsStore
from dacapo_core.store.retention import RetentionPolicy
from dacapo_core.train import train_until
from dacapo_core.training.checks import check_run
from dacapo_core.training.resume import resume
from dacapo_core.training.run import Run
from dacapo_core.validation.pictures import slice_picture
from dacapo_core.validation.scoring import predict_and_score
from flows.train import train
from tests.prefect_server import prefect_server
from tests.small_run import small_run

INTERVALS = 20
ROUNDS = 3
RUN_SECONDS = 600.0
RETENTION = RetentionPolicy(keep_last=2)
CONFIG = RunConfig.model_validate(small_run("run", INTERVALS * 2, 2))


def by_hand(config: RunConfig, folder: Path) -> None:
    """The same steps without a flow."""
    store = LocalWeightsStore(folder)
    with store.lease(config.name, owner="benchmark"):
        run = Run(config, None)
        resume(run, store)
        check_run(run)
        store.store_run_config(config.name, config.model_dump(mode="json"))
        for stop in config.validation_iterations():
            before = run.iteration
            train_until(run, stop)
            store.store_weights(run, stop, wait=False)
            stats = run.training_stats.after(before).record()
            store.store_training_stats(config.name, stop, stats)
            for dataset in run.validation_datasets:
                prediction, scores = predict_and_score(run, dataset)
                picture = slice_picture(dataset, run.task.channels, prediction)
                store.store_scores(config.name, stop, dataset.name, scores)
                store.store_picture(config.name, stop, dataset.name, picture)
            store.wait()
            store.derive_best(config.name)
            store.prune(config.name, RETENTION)


def as_flow(config: RunConfig, folder: Path) -> None:
    """The flow."""
    train(config, str(folder), RETENTION)


@dataclass(frozen=True)
class Cost:
    """Seconds by the clock, and of this process's own CPU."""

    wall: float
    cpu: float

    def __sub__(self, other: Cost) -> Cost:
        return Cost(self.wall - other.wall, self.cpu - other.cpu)


def cost(steps: Callable[[RunConfig, Path], None], config: RunConfig, folder: Path) -> Cost:
    """What the steps take."""
    wall, cpu = time.perf_counter(), time.process_time()
    steps(config, folder)
    return Cost(time.perf_counter() - wall, time.process_time() - cpu)


def main() -> None:
    taken: list[tuple[Cost, Cost]] = []
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with prefect_server(folder / "prefect"):
            for turn in range(ROUNDS + 1):
                config = CONFIG.model_copy(update={"name": f"run-{turn}"})
                taken.append(
                    (cost(as_flow, config, folder / "flow"), cost(by_hand, config, folder / "hand"))
                )
    # the first round imports and compiles
    more = [flow - hand for flow, hand in taken[1:]]
    wall, cpu = (
        statistics.median(column) for column in ([m.wall for m in more], [m.cpu for m in more])
    )
    flow, hand = (
        statistics.median(each.wall for each in column) for column in zip(*taken[1:], strict=True)
    )
    print(
        f"{INTERVALS} intervals, load {load:.1f} before: flow {flow:.2f} s, by hand {hand:.2f} s; "
        f"Prefect costs {wall:.2f} s = {wall / INTERVALS * 1000:.0f} ms an interval, "
        f"{cpu / INTERVALS * 1000:.0f} ms of it CPU time of this process; of a ten-minute run with "
        f"as many intervals {wall / RUN_SECONDS:.2%}, CPU time alone {cpu / RUN_SECONDS:.2%}"
    )


if __name__ == "__main__":
    sys.exit(main())
