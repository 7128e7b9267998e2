"""What pruning costs, as ratios to ``os.scandir`` and unlink of the same files in the same run.

``python tests/benchmarks/prune.py [--folder FOLDER] [--checkpoints N] [--repeats N]`` prints a
Markdown table: N checkpoints, each with its record, down to 5. All ways take turns, in another
order in each repeat; what is shown is the median. DaCapo's own ``remove`` is measured where
``DACAPO_PEER_PYTHON`` names a Python that has dacapo-ml, Lightning's deletion where Lightning is
installed; both delete the checkpoints alone, because they keep no records.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from dacapo_core.store.local_weights_store import LocalWeightsStore
from dacapo_core.store.retention import RetentionPolicy

KEPT = 5
POLICY = RetentionPolicy(keep_last=KEPT)
DACAPO = """
import logging, sys, time
from dacapo.store.local_weights_store import LocalWeightsStore
logging.disable(logging.CRITICAL)
store, count = LocalWeightsStore(sys.argv[1]), int(sys.argv[2])
started = time.perf_counter()
for iteration in range(count):
    store.remove("run", iteration)
print(time.perf_counter() - started)
"""


class TinyRun:
    name = "run"

    def __init__(self) -> None:
        self.model = torch.nn.Linear(2, 2)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)


def fill(folder: Path, checkpoints: int) -> None:
    """A run of so many checkpoints: one stored, its file and record copied."""
    store = LocalWeightsStore(folder)
    store.store_weights(TinyRun(), 0)
    content = (folder / "run/checkpoints/iterations/0").read_bytes()
    record = (folder / "run/records/checkpoints/0.json").read_bytes()
    for iteration in range(1, checkpoints):
        (folder / f"run/checkpoints/iterations/{iteration}").write_bytes(content)
        (folder / f"run/records/checkpoints/{iteration}.json").write_bytes(record)
    os.sync()


def scandir_and_unlink(folder: Path) -> None:
    for part in ("records/checkpoints", "checkpoints/iterations"):
        with os.scandir(folder / "run" / part) as entries:
            found = sorted((int(entry.name.partition(".")[0]), entry.path) for entry in entries)
        for _, path in found[:-KEPT]:
            os.unlink(path)


def plan(folder: Path) -> None:
    LocalWeightsStore(folder).prune("run", POLICY, dry_run=True)


def prune(folder: Path) -> None:
    LocalWeightsStore(folder).prune("run", POLICY)


def remove_with_lightning(folder: Path) -> None:
    from lightning.fabric.plugins.io import TorchCheckpointIO

    checkpoint_io = TorchCheckpointIO()
    for iteration in range(len(os.listdir(folder / "run/checkpoints/iterations")) - KEPT):
        checkpoint_io.remove_checkpoint(folder / f"run/checkpoints/iterations/{iteration}")


def timed(way: Callable[[Path], None], folder: Path) -> float:
    started = time.perf_counter()
    way(folder)
    return time.perf_counter() - started


def dacapo(python: str, folder: Path, checkpoints: int) -> float:
    arguments = [python, "-W", "ignore", "-c", DACAPO, str(folder), str(checkpoints - KEPT)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", default=None, help="on the disk that is asked about")
    parser.add_argument("--checkpoints", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    peer = os.environ.get("DACAPO_PEER_PYTHON")

    ways: dict[str, Callable[[Path], float]] = {
        "os.scandir + unlink, checkpoints and records": lambda f: timed(scandir_and_unlink, f),
        "plan alone (dry run)": lambda f: timed(plan, f),
        "prune, with re-check, verification and record": lambda f: timed(prune, f),
    }
    if importlib.util.find_spec("lightning") is not None:
        name = "Lightning's remove_checkpoint, checkpoints alone"
        ways[name] = lambda f: timed(remove_with_lightning, f)
    if peer:
        count = arguments.checkpoints
        ways["DaCapo's remove, checkpoints alone"] = lambda f: dacapo(peer, f, count)

    times: dict[str, list[float]] = {name: [] for name in ways}
    for repeat in range(arguments.repeats):
        names = list(ways)
        for name in names[repeat % len(names) :] + names[: repeat % len(names)]:
            folder = Path(tempfile.mkdtemp(dir=arguments.folder))
            try:
                fill(folder, arguments.checkpoints)
                times[name].append(ways[name](folder))
            finally:
                shutil.rmtree(folder)
    reference = next(iter(times.values()))
    print(f"{arguments.checkpoints} checkpoints to {KEPT}, median of {arguments.repeats}\n")
    print("| | s | ÷ scandir + unlink | fastest ÷ fastest |\n|---|---|---|---|")
    for name, seconds in times.items():
        ratio = statistics.median(a / b for a, b in zip(seconds, reference, strict=True))
        print(
            f"| {name} | {statistics.median(seconds):.2f} | {ratio:.2f} "
            f"| {min(seconds) / min(reference):.2f} |"
        )


if __name__ == "__main__":
    main()
