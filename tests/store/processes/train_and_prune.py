"""A process that forks, on each line it reads, a worker that trains and prunes until it is killed.

Arguments: JSON of {"url", "options", "log"}. It prints the worker's number; the worker appends to
the log what it knows to be durable, one word and one number a line.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from datetime import timedelta
from typing import Any

import torch

from dacapo_core.store.local_weights_store import LocalWeightsStore
from dacapo_core.store.records.scores import ScoresRecord
from dacapo_core.store.retention import RetentionPolicy

POLICIES = [
    RetentionPolicy(keep_last=2, keep_best=1),
    RetentionPolicy(keep_last=3, keep_best=2, grace=timedelta(milliseconds=50)),
]


class TinyRun:
    name = "run"

    def __init__(self) -> None:
        self.model = torch.nn.Linear(4, 4)
        self.optimizer = torch.optim.Adam(self.model.parameters())


def work(url: str, options: dict[str, Any], log: int) -> None:
    store, run = LocalWeightsStore(url, options), TinyRun()
    with store.lease("run"):
        iteration = store.latest_iteration("run", verified=True) or 0
        if iteration:
            store.load_weights(run, iteration)
            store.withdraw_after("run", iteration)
        while True:
            iteration += 1
            store.store_weights(run, iteration)
            os.write(log, f"stored {iteration}\n".encode())
            if iteration % 7 == 0:
                store.pin("run", iteration)
                os.write(log, f"pinned {iteration}\n".encode())
            for dataset in ("a", "b"):
                score = (iteration * (37 if dataset == "a" else 61) % 101) / 101
                record = ScoresRecord.model_validate(
                    {
                        "iteration": iteration,
                        "dataset": dataset,
                        "criteria": {"dice": True},
                        "entries": [{"scores": {"dice": score}}],
                    }
                )
                store.store_scores("run", iteration, dataset, record)
            store.derive_best("run")
            store.prune("run", POLICIES[iteration % 2], by="the loop")
            if iteration % 3 == 0:
                store.sweep("run")


def main() -> None:
    arguments = json.loads(sys.argv[1])
    torch.set_num_threads(1)
    # what torch and others import on first use is imported before the workers are forked
    warm, run = LocalWeightsStore("memory://warm"), TinyRun()
    warm.store_weights(run, 1)
    warm.load_weights(run, 1)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    log = os.open(arguments["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for _ in sys.stdin:
        worker = os.fork()
        if worker == 0:
            try:
                work(arguments["url"], arguments["options"], log)
            except BaseException as error:
                os.write(log, f"failed {type(error).__name__}: {error}\n".encode())
            finally:
                os._exit(1)
        print(worker, flush=True)


if __name__ == "__main__":
    main()
