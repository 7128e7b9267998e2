"""Iterations to a mean Dice of 0.80: from scratch, and from starts whose heads differ.

``python tests/benchmarks/finetune.py``; more seeds by naming them. For each seed a source learns
[mito, mito_mem, er, pm] in six generated volumes. Then [ves, pm, mito] is learnt in one other,
noisier volume, and judged on a held-out one: the mean Dice of the three channels at threshold 0.5.
All starts have the same settings; "copied by position" gives the source's rows the labels of the
rows that they would fall on, as loaders do that know no labels. Iterations are those of the first
validation, one every ten iterations, that reaches 0.80. About ten minutes a seed on one core.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from dataclasses import dataclass

from dacapo_core.experiments.datasplits import SyntheticDataSplitConfig
from dacapo_core.experiments.run_config import RunConfig
from dacapo_core.experiments.starts import Start, StartConfig
from dacapo_core.experiments.tasks import OneHotTaskConfig
from dacapo_core.experiments.trainers import TrainerConfig
from dacapo_core.store.local_weights_store import LocalWeightsStore
from dacapo_core.train import train_until
from dacapo_core.training.run import Run
from dacapo_core.validation.scoring import validate_iteration

SOURCE = ["mito", "mito_mem", "er", "pm"]
TARGET = ["ves", "pm", "mito"]
GOAL = 0.80
EVERY = 10
# the source's rows: as they are, as if they were others, as if they were the target's
HEADS = {
    "head matched by name": SOURCE,
    "new head": ["row 0", "row 1", "row 2", "row 3"],
    "head copied by position": [*TARGET, "row 3"],
}
SCRATCH = "scratch"


@dataclass(frozen=True)
class Outcome:
    """Dice of each channel before the first step, and when the goal was reached, if ever."""

    before: dict[str, float]
    reached: int | None
    seconds: float


def source_config(seed: int) -> RunConfig:
    return RunConfig(
        name=f"source_{seed}",
        seed=seed,
        num_iterations=400,
        task_config=OneHotTaskConfig(channels=SOURCE, thresholds=[0.5]),
        datasplit_config=SyntheticDataSplitConfig(seed=seed),
    )


def target_config(seed: int, channels: list[str] | None) -> RunConfig:
    """From scratch where the labels of the source's head are None."""
    start = StartConfig(
        f"source_{seed}", "latest", channels=channels, backbone_learning_rate_factor=0.25
    )
    return RunConfig(
        seed=seed,
        num_iterations=300,
        learning_rate=8e-3,
        task_config=OneHotTaskConfig(channels=TARGET, thresholds=[0.5]),
        trainer_config=TrainerConfig(warmup_iterations=5),
        datasplit_config=SyntheticDataSplitConfig(seed=100 + seed, num_train=1, noise=0.2),
        start_config=start if channels is not None else None,
    )


def dice(run: Run) -> dict[str, float]:
    """Of each channel, and their mean under ``""``."""
    (entry,) = validate_iteration(run, run.validation_datasets[0]).entries
    named = {"": "dice", **{channel: f"{channel}__dice" for channel in run.task.channels}}
    return {channel: entry.scores[name] or 0.0 for channel, name in named.items()}


def measure(config: RunConfig, store: LocalWeightsStore) -> Outcome:
    run = Run(config)
    if config.start_config is not None:
        Start(config.start_config, store).initialize_weights(run.model)
    before = found = dice(run)
    while found[""] < GOAL and run.iteration < config.num_iterations:
        train_until(run, run.iteration + EVERY)
        found = dice(run)
    seconds = sum(stats.time for stats in run.training_stats.iteration_stats)
    return Outcome(before, run.iteration if found[""] >= GOAL else None, seconds)


def measure_seed(seed: int, store: LocalWeightsStore) -> dict[str, Outcome]:
    source = Run(source_config(seed))
    train_until(source, source.config.num_iterations)
    store.store_weights(source, source.iteration)
    outcomes = {}
    for name, channels in {SCRATCH: None, **HEADS}.items():
        outcomes[name] = measure(target_config(seed, channels), store)
        print(f"seed {seed}, {name}: {outcomes[name]}", file=sys.stderr, flush=True)
    return outcomes


def table(outcomes: dict[int, dict[str, Outcome]]) -> str:
    limit = target_config(0, None).num_iterations
    seeds = " / ".join(str(seed) for seed in outcomes)
    lines = [
        f"| start | iterations to Dice {GOAL:.2f}, seeds {seeds} | seconds of training | "
        + " | ".join(f"{channel} at 0" for channel in TARGET)
        + " |",
        "|---" * (3 + len(TARGET)) + "|",
    ]
    for name in (SCRATCH, *HEADS):
        row = [of_seed[name] for of_seed in outcomes.values()]
        reached = " / ".join(
            f">{limit}" if each.reached is None else str(each.reached) for each in row
        )
        seconds = " / ".join(f"{each.seconds:.0f}" for each in row)
        before = [
            f"{statistics.mean(each.before[channel] for each in row):.2f}" for channel in TARGET
        ]
        lines.append(f"| {name} | {reached} | {seconds} | {' | '.join(before)} |")
    return "\n".join(lines)


def main() -> None:
    seeds = [int(seed) for seed in sys.argv[1:]] or [0, 1, 2]
    with tempfile.TemporaryDirectory() as folder:
        store = LocalWeightsStore(folder)
        print(table({seed: measure_seed(seed, store) for seed in seeds}))


if __name__ == "__main__":
    sys.exit(main())
