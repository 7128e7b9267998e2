"""Operations on a store of five checkpoints, each in a process of its own that is really killed.

Arguments: JSON of {"folder", "operation", "how", "number", "seed"}; ``how`` is ``step`` (before
each call that changes a file, one after the other) or ``random`` (so many times, at any moment).
Prints JSON of {"kills", "violations"}.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch

from dacapo_core.store.copy_run import copy_run
from dacapo_core.store.local_weights_store import LocalWeightsStore
from dacapo_core.store.records.scores import ScoresRecord
from dacapo_core.store.retention import RetentionPolicy

CHANGES = ("open", "write", "pwrite", "fsync", "replace", "link", "symlink", "unlink", "mkdir")
MARKS = RetentionPolicy(keep_last=2, keep_best=1, grace=timedelta(days=1))
AT_ONCE = RetentionPolicy(keep_last=2, keep_best=1)
PAST = RetentionPolicy(keep_last=2, keep_best=1, grace=timedelta(microseconds=1))


class TinyRun:
    name = "run"

    def __init__(self, value: float) -> None:
        self.model = torch.nn.Linear(64, 64)
        torch.nn.init.constant_(self.model.weight, value)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)


def prepare(folder: Path, operation: str) -> None:
    store = LocalWeightsStore(folder / "store")
    for iteration in (1, 2, 3, 4, 5):
        store.store_weights(TinyRun(iteration), iteration)
        values = {"criteria": {"dice": True}, "entries": [{"scores": {"dice": -iteration}}]}
        record = ScoresRecord.model_validate({"iteration": iteration, "dataset": "val", **values})
        store.store_scores("run", iteration, "val", record)
    store.store_best("run", 1, "val", "dice")
    if operation == "restore":
        store.prune("run", MARKS)
    if operation == "sweep":
        store.prune("run", PAST)


OPERATIONS: dict[str, Callable[[LocalWeightsStore, Path], object]] = {
    "store": lambda store, _: store.store_weights(TinyRun(6), 6),
    "store again": lambda store, _: store.store_weights(TinyRun(7), 5),
    "best": lambda store, _: store.store_best("run", 4, "val", "dice", score=0.5),
    "prune": lambda store, _: store.prune("run", AT_ONCE, by="the killed one"),
    "mark": lambda store, _: store.prune("run", MARKS, by="the killed one"),
    "restore": lambda store, _: store.restore("run", 2),
    "sweep": lambda store, _: store.sweep("run", by="the killed one"),
    "copy": lambda store, folder: list(copy_run(store, LocalWeightsStore(folder / "copy"), "run")),
}


def die_before(step: int) -> None:
    """Be killed before the so manyeth call that changes a file."""
    left = step

    def dying(call: Callable[..., Any], is_change: Callable[..., bool]) -> Callable[..., Any]:
        def called(*args: Any, **options: Any) -> Any:
            nonlocal left
            if is_change(*args):
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
            return call(*args, **options)

        return called

    def opens_to_write(*args: Any) -> bool:
        return len(args) > 1 and bool(args[1] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))

    for name in CHANGES:
        is_change = opens_to_write if name == "open" else lambda *_: True
        setattr(os, name, dying(getattr(os, name), is_change))


def value_of(store: LocalWeightsStore, iteration: int) -> float:
    return float(store.retrieve_weights("run", iteration).model["weight"][0, 0])


def violations_of(folder: Path, operation: str, *, done: bool) -> list[str]:
    """What does not hold, seen by one who was not there before."""
    store = LocalWeightsStore(folder / "store")
    found: list[str] = []

    def check(holds: bool, otherwise: str) -> None:
        if not holds:
            found.append(f"{operation}: {otherwise}")

    there = set(store.iterations("run"))
    may_go = {2, 3} if operation in ("prune", "sweep") else set()
    check({1, 2, 3, 4, 5} - may_go <= there, f"only {sorted(there)} are there")
    for iteration in sorted(there):
        store.verify("run", iteration)
        wanted = {5.0, 7.0} if (operation, iteration) == ("store again", 5) else {float(iteration)}
        check(value_of(store, iteration) in wanted, f"{iteration} holds other weights")
    best = store.retrieve_best("run", "val", "dice")
    check(best in ({1, 4} if operation == "best" else {1}), f"the best is {best}")
    history = store.history("run")
    check(not history.damaged_records, f"records are damaged: {history.damaged_records}")
    for iteration in {1, 2, 3, 4, 5} - there:
        gone = history.checkpoints[iteration]
        check(bool(gone.reasons) and gone.fate == "pruned", f"{iteration} went without a word")
        check("not by this" not in gone.reasons[0], f"{iteration} is not on record")
    names = store.filesystem.file_names("run/records/checkpoints")
    check({int(name[:-5]) for name in names} <= there, "a record speaks of what is gone")
    if (folder / "copy").exists():
        copy = LocalWeightsStore(folder / "copy")
        for iteration in copy.iterations("run"):
            copy.verify("run", iteration)
    if done:
        partial = folder / "store/run/checkpoints/.partial"
        # links are swept when they are a minute old
        stay = [path.name for path in partial.iterdir() if not path.is_symlink()]
        check(not stay, f"left-overs stay: {stay}")
        check(not list(store.filesystem.file_names("run/records/pruning")), "intents stay")
        if operation == "copy":
            check(LocalWeightsStore(folder / "copy").iterations("run") == [1, 2, 3, 4, 5], "copy")
        if operation in ("prune", "sweep"):
            check(there == {1, 4, 5}, f"after doing it again {sorted(there)} are there")
        if operation == "best":
            check(best == 4, "the best did not move when it was set again")
        if operation == "restore":
            check(history.checkpoints[2].fate == "kept", "2 is not back")
    return found


def disturb(template: Path, folder: Path, operation: str, kill: Callable[[int], None]) -> bool:
    """Whether the operation was killed; ``kill`` gets 0 in the child, else the child's number."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(template, folder, symlinks=True)
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        try:
            kill(0)
            OPERATIONS[operation](LocalWeightsStore(folder / "store"), folder)
            os._exit(0)
        except BaseException as error:
            os.write(2, f"{operation}: {error!r}\n".encode())
            os._exit(1)
    kill(child)
    status = os.waitpid(child, 0)[1]
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise RuntimeError(f"{operation} failed by itself")
    return os.WIFSIGNALED(status)


def looked_at(folder: Path, operation: str) -> list[str]:
    try:
        found = violations_of(folder, operation, done=False)
        store = LocalWeightsStore(folder / "store")
        OPERATIONS[operation](store, folder)
        store.sweep("run", by="the next")
        return found + violations_of(folder, operation, done=True)
    except Exception as error:
        return [f"{operation}: {error!r}"]


def main() -> None:
    said = json.loads(sys.argv[1])
    torch.set_num_threads(1)
    folder, operation = Path(said["folder"]), said["operation"]
    template, place = folder / "template", folder / "place"
    chance = random.Random(said["seed"])
    prepare(template, operation)
    # what is imported on first use is imported before any process is forked
    shutil.copytree(template, folder / "warm", symlinks=True)
    started = time.monotonic()
    OPERATIONS[operation](LocalWeightsStore(folder / "warm/store"), folder / "warm")
    seconds = time.monotonic() - started
    kills, violations = 0, list[str]()

    def at_random(child: int) -> None:
        if child:
            time.sleep(chance.uniform(0, seconds * 1.2))
            os.kill(child, signal.SIGKILL)

    for turn in range(said["number"]):
        if said["how"] == "step":
            kill = lambda child, turn=turn: None if child else die_before(turn)  # noqa: E731
        else:
            kill = at_random
        was_killed = disturb(template, place, operation, kill)
        if not was_killed and said["how"] == "step":
            break
        kills += was_killed
        violations += [f"turn {turn}: {each}" for each in looked_at(place, operation)]
    print(json.dumps({"kills": kills, "violations": violations}))


if __name__ == "__main__":
    main()
