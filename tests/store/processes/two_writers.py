"""Two processes that work on one run at the same moment, round by round.

Arguments: JSON of {"folder", "rounds", "seed"}. Prints JSON of {"rounds", "violations"}.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import torch

from dacapo_core.store.errors import StoreError
from dacapo_core.store.local_weights_store import LocalWeightsStore
from dacapo_core.store.retention import RetentionPolicy


class TinyRun:
    name = "run"

    def __init__(self, value: float) -> None:
        self.model = torch.nn.Linear(2, 2)
        torch.nn.init.constant_(self.model.weight, value)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)


def work(folder: Path, me: int, seed: int) -> None:
    """Store the same and other iterations, move the best, pin, prune, restore and sweep."""
    store, chance = LocalWeightsStore(folder), random.Random(seed * 2 + me)
    at_once = RetentionPolicy(keep_last=2)
    marks = RetentionPolicy(keep_last=2, grace=timedelta(milliseconds=1))
    for turn in range(6):
        iteration = chance.randrange(1, 8)
        things: list[Callable[[], object]] = [
            lambda i=iteration: store.store_weights(TinyRun(i), i),
            lambda i=iteration: store.store_weights(TinyRun(i), i),
            lambda i=iteration: store.store_best("run", i, "val", "dice", score=i / 10),
            lambda i=iteration: store.pin("run", i),
            lambda: store.prune("run", at_once),
            lambda: store.prune("run", marks),
            lambda i=iteration: store.restore("run", i),
            lambda: store.sweep("run"),
        ]
        try:
            chance.choice(things)()
        except StoreError as error:
            # what the other has pruned cannot be pinned, restored or made the best
            if not isinstance(error, FileNotFoundError):
                os.write(2, f"turn {turn}: {error!r}\n".encode())
                os._exit(1)


def both(folder: Path, seed: int) -> list[int]:
    children = []
    for me in (0, 1):
        child = os.fork()
        if child == 0:
            try:
                work(folder, me, seed)
                os._exit(0)
            except BaseException as error:
                os.write(2, f"{error!r}\n".encode())
                os._exit(1)
        children.append(child)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def violations_of(folder: Path) -> list[str]:
    store, found = LocalWeightsStore(folder), list[str]()
    there = store.iterations("run")
    for iteration in there:
        store.verify("run", iteration)
        value = float(store.retrieve_weights("run", iteration).model["weight"][0, 0])
        if value != iteration:
            found.append(f"{iteration} holds {value}")
    for judged, best in store.best_records("run").items():
        if best.iteration not in there:
            found.append(f"the best of {judged}, {best.iteration}, is gone")
    for iteration in store.pins("run"):
        if iteration not in there:
            found.append(f"pinned {iteration} is gone")
    history = store.history("run")
    found += [f"damaged: {path}" for path in history.damaged_records]
    names = store.filesystem.file_names("run/records/checkpoints")
    if not {int(name[:-5]) for name in names} <= set(there):
        found.append("a record speaks of what is gone")
    if 7 not in there or 9 not in there:
        found.append(f"what nobody prunes is gone: {there}")
    return found


def main() -> None:
    said = json.loads(sys.argv[1])
    torch.set_num_threads(1)
    folder = Path(said["folder"]) / "store"
    rounds, violations = 0, list[str]()
    for turn in range(said["rounds"]):
        shutil.rmtree(folder, ignore_errors=True)
        store = LocalWeightsStore(folder)
        for iteration in (1, 2, 3, 7, 9):
            store.store_weights(TinyRun(iteration), iteration)
        store.pin("run", 7)
        ended = both(folder, said["seed"] + turn)
        rounds += 1
        if ended != [0, 0]:
            violations.append(f"round {turn}: ended with {ended}")
        try:
            violations += [f"round {turn}: {each}" for each in violations_of(folder)]
        except Exception as error:
            violations.append(f"round {turn}: {error!r}")
    print(json.dumps({"rounds": rounds, "violations": violations}))


if __name__ == "__main__":
    main()
