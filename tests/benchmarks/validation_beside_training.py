"""What a training loop loses to validation: in place, and handed to another worker.

``python tests/benchmarks/validation_beside_training.py``. The default run is trained by the real
flow on a real server, once validated in place and once handed over to a deployment. Lost is the
time from a stored checkpoint until training can go on: validate, wait for the checkpoint to be
durable, move the best; or wait, hand over, move the best. Nobody serves the deployment, so the two
runs have the machine alike. Target: 1 % of training time when handed over.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

from dacapo_core.experiments.run_config import RunConfig
from flows import training_loop
from flows.embedded_server import embedded_server, wait_until_ready
from flows.private_prefect import send_what_is_queued
from flows.train import train
from flows.validate import validate
from tasks import hand_over

INTERVALS = 4
JUDGING = ("validate", "settle", "hand_over", "store_best")


def timed(step: Callable[..., Any], seconds: list[float]) -> Callable[..., Any]:
    """The step, noting how long each call takes."""

    def call(*arguments: Any, **named: Any) -> Any:
        began = time.perf_counter()
        try:
            return step(*arguments, **named)
        finally:
            seconds.append(time.perf_counter() - began)

    return call


def measure(folder: Path, deployment: str | None) -> None:
    """Train once and print what each interval spent on what."""
    config = RunConfig(num_iterations=32 * INTERVALS)
    seconds: dict[str, list[float]] = defaultdict(list)
    steps = {name: getattr(training_loop, name) for name in ("train_until", *JUDGING)}
    for name, step in steps.items():
        setattr(training_loop, name, timed(step, seconds[name]))
    try:
        train(config, str(folder), validation_deployment=deployment)
    finally:
        for name, step in steps.items():
            setattr(training_loop, name, step)
    # the first interval imports and compiles
    median = {name: statistics.median(each[1:INTERVALS]) for name, each in seconds.items() if each}
    training = median.pop("train_until")
    lost = sum(median.values())
    parts = ", ".join(f"{name} {1000 * each:.0f} ms" for name, each in median.items())
    print(
        f"{'in place' if deployment is None else 'handed over'}: of an interval of "
        f"{training:.1f} s the loop loses {1000 * lost:.0f} ms = {lost / training:.2%} ({parts}); "
        f"1 % of intervals of {100 * lost:.0f} s"
    )


def main() -> None:
    hand_over.START_WITHIN_SECONDS = 1.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with embedded_server(folder / "prefect") as url:
            wait_until_ready(url)
            with temporary_settings({PREFECT_API_URL: url, PREFECT_HOME: folder / "prefect"}):
                validate.to_deployment("nobody").apply()  # type: ignore[union-attr]
                measure(folder / "in_place", None)
                measure(folder / "handed_over", "validate/nobody")
                send_what_is_queued()


if __name__ == "__main__":
    sys.exit(main())
