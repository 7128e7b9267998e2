"""Train or continue a run in this process: ``python training_process.py run.yaml store``.

Says ``iteration <n>`` after each, and ``storing <n>`` before each checkpoint.
"""

from __future__ import annotations

import sys

import torch

from dacapo_core.experiments.run_config import RunConfig
from dacapo_core.store.local_weights_store import LocalWeightsStore
from dacapo_core.train import train_until
from dacapo_core.training.resume import resume
from dacapo_core.training.run import Run


def main(config_file: str, basedir: str) -> None:
    torch.set_num_threads(1)
    config = RunConfig.from_file(config_file)
    store = LocalWeightsStore(basedir)
    run = Run(config)
    print(f"resumed {resume(run, store).iteration}", flush=True)
    for until in config.validation_iterations():
        if until <= run.iteration:
            continue
        before = run.iteration
        train_until(
            run, until, on_iteration=lambda stats: print(f"iteration {stats.iteration}", flush=True)
        )
        # before the checkpoint: what is past a resumed one is withdrawn, what is missing stays so
        record = run.training_stats.after(before).record()
        store.store_training_stats(run.name, until, record)
        print(f"storing {until}", flush=True)
        store.store_weights(run, until)
    store.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
