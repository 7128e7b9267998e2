"""What a training loop loses to validation: in place, and handed to another worker.

``python -m tests.benchmarks.validation_beside_training``. The real flow trains on a real server; of
one run's intervals, every other is validated and those between are not, so that both see the same
load. The cost of a validation is what the loop takes longer from a checkpoint that was handed to
the writer until the next one: waiting for it to be durable, validating or asking for it, moving the
best, and whatever the thread that asks takes from the training steps. Nobody serves the deployment,
so the two runs have the machine alike. Target: 1 % of training time when handed over.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from dacapo_core.experiments.run_config import RunConfig
from flows import training_loop
from flows.train import train
from flows.validate import validate
from tasks import request_validation
from tests.prefect_server import prefect_server

PAIRS = 8
ITERATIONS = 32


class Spent(NamedTuple):
    """Seconds of the process on the wall and of all its threads on CPUs."""

    wall: float
    cpu: float

    @classmethod
    def until_now(cls) -> Spent:
        return cls(time.perf_counter(), time.process_time())

    def since(self, before: Spent) -> Spent:
        return Spent(self.wall - before.wall, self.cpu - before.cpu)


def measure(folder: Path, deployment: str | None) -> None:
    """Train once, validate every other checkpoint, and print what that costs."""
    # the first pair imports and compiles; after the last checkpoint nothing is trained
    intervals = 2 * PAIRS + 3
    judge, train_until = training_loop._judge, training_loop.train_until
    judged: list[bool] = []
    judging: list[Spent] = []
    training: list[Spent] = []

    def every_other(*arguments: object, **named: object) -> None:
        before = Spent.until_now()
        judged.append(len(judged) % 2 == 1)
        if judged[-1]:
            judge(*arguments, **named)  # type: ignore[arg-type]
        judging.append(Spent.until_now().since(before))

    def timed(name: str, stop: int) -> int:
        before = Spent.until_now()
        reached = train_until(name, stop)
        training.append(Spent.until_now().since(before))
        return reached

    config = RunConfig(num_iterations=ITERATIONS * intervals, validation_interval=ITERATIONS)
    training_loop._judge, training_loop.train_until = every_other, timed  # type: ignore[assignment]
    try:
        train(config, str(folder), validation_deployment=deployment)
    finally:
        training_loop._judge, training_loop.train_until = judge, train_until
    # a validation and the training that follows it
    spans = [
        Spent(*(sum(each) for each in zip(asked, trained, strict=True)))
        for asked, trained in zip(judging, training[1:], strict=False)
    ]
    pairs = list(zip(spans[2::2], spans[3::2], strict=False))
    assert judged[3], "the second of a pair is validated"
    name = "in place" if deployment is None else "handed over"
    for field in ("wall", "cpu"):
        without = [getattr(plain, field) for plain, _ in pairs]
        lost = [getattr(other, field) - getattr(plain, field) for plain, other in pairs]
        said = [getattr(each, field) for each in judging[3::2]]
        print(
            f"{name}, {field} time, {len(pairs)} pairs: an interval of "
            f"{statistics.median(without):.2f} s without validation takes "
            f"{1000 * statistics.median(lost):+.0f} ms with it, "
            f"{statistics.median(lost) / statistics.median(without):+.2%} (quartiles "
            f"{' to '.join(f'{1000 * each:+.0f}' for each in quartiles(lost))} ms); "
            f"{1000 * statistics.median(said):.0f} ms of it before training goes on, "
            f"{statistics.median(said) / statistics.median(without):.2%}"
        )


def quartiles(values: list[float]) -> tuple[float, float]:
    first, _, third = statistics.quantiles(values, n=4)
    return first, third


def main() -> None:
    request_validation.START_WITHIN_SECONDS = 1.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with prefect_server(folder / "prefect"):
            validate.to_deployment("nobody").apply()  # type: ignore[union-attr]
            print(f"load average at the start: {os.getloadavg()[0]:.1f}")
            measure(folder / "handed_over", "validate/nobody")
            measure(folder / "in_place", None)
            print(f"load average at the end: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    sys.exit(main())
