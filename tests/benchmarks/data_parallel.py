"""Several processes against one, in ratios: ``python -m tests.benchmarks.data_parallel``.

Two processes of one thread each, over gloo, against one process of one thread on the same batches;
beside both a bare loop (``DistributedDataParallel`` where there are two) that takes the same
batches from the same data path and does nothing but forward, backward and update; and what a save
adds, for a network whose state is large. Each process has one core of its own, for its batches and
the writing of its checkpoints too. They take turns, one group at a time, so that other load hits
all alike: figures are medians over rounds, with the quartiles. Where other load was there, CPU time
says more than the clock: it is printed beside it. With several GPUs at hand, as many processes as
there are GPUs against one, each with its own share of a larger batch.

A share is of two patches at least: torch 2.13 computes a single small one on one thread with slower
kernels than two (2.7 times, at 32³ voxels), which says nothing of processes.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from copy import deepcopy
from multiprocessing.connection import Client, Connection, Listener
from typing import Any, NamedTuple

ROUNDS, STEPS = 6, 2
# a save is written within these steps of the wide network
SAVE_ROUNDS, STEPS_AFTER_SAVE = 8, 5
SECRET = b"benchmark"


class Seconds(NamedTuple):
    """Of a stretch: by the clock, and of the CPU of all processes."""

    wall: float
    cpu: float


def configuration(name: str, batch_size: int) -> dict[str, Any]:
    """A step that users run (``steps``), or a small step of a large state (``saves``)."""
    saves = name == "saves"
    return {
        "name": name,
        "num_iterations": 10_000,
        "batch_size": batch_size,
        "num_workers": 1,
        "architecture_config": {
            "type": "cnnectome_unet",
            "input_shape": [16] * 3 if saves else [48] * 3,
            "num_fmaps": 8 if saves else 12,
            "fmap_inc_factor": 8 if saves else 2,
            "fmaps_out": 12,
            "downsample_factors": [[2, 2, 2], [2, 2, 2]],
            "padding": "same",
            "normalisation": "instance",
        },
        "task_config": {"type": "one_hot", "channels": ["mito", "pm"]},
        "trainer_config": {"mixed_precision": "off"},
        "datasplit_config": {"type": "synthetic", "shape": [96, 96, 96], "num_train": 1},
    }


class Bare:
    """A loop as torch's tutorial has it, on a copy of a run's network and the run's batches."""

    def __init__(self, run: Any) -> None:
        import torch
        from torch.nn.parallel import DistributedDataParallel

        model = deepcopy(run.model).train()
        self._model = DistributedDataParallel(model) if run.processes.several else model
        self._optimizer = torch.optim.AdamW(model.parameters(), run.config.learning_rate)
        self._run = run
        self._iteration = 0

    def __call__(self, steps: int) -> None:
        from dacapo_core.data.loader import load_batches

        run, begin = self._run, self._iteration
        self._iteration += steps
        source, workers = run.batch_source, run.num_workers
        with load_batches(source, run.device, begin, begin + steps, workers) as batches:
            for loaded in batches:
                (batch,) = loaded.parts
                prediction = self._model(batch.raw)
                loss = run.task.loss(prediction, batch.target.float(), batch.weight.float())
                loss.backward()
                self._optimizer.step()
                self._optimizer.zero_grad(set_to_none=True)
                loss.item()
                loaded.release()


def follow(processes: Any, device: Any) -> None:
    """As `dacapo_core.training.follower_ranks`, and what this benchmark asks for beside."""
    from dacapo_core.experiments.run_config import RunConfig
    from dacapo_core.training.follower_ranks import build_run
    from dacapo_core.training.loop import follow_training

    runs: list[Any] = []
    chosen: Any = None
    bare: Bare | None = None
    while (told := processes.hear()) is not None:
        what, value = told
        if what == "build":
            runs.append(build_run(RunConfig.model_validate_json(value), device, processes))
        elif what == "train":
            follow_training(chosen, *value)
        elif what == "choose":
            chosen = runs[value]
        elif what == "cpu":
            processes.gather(time.process_time())
        else:
            bare = bare or Bare(runs[0])
            bare(value)


class Leader:
    """Rank 0: does what the main process asks for, and says how long it took."""

    def __init__(self, processes: Any, device: Any, batch_size: int) -> None:
        from dacapo_core.experiments.run_config import RunConfig
        from dacapo_core.store.create_store import create_weights_store
        from dacapo_core.training.follower_ranks import build_run

        self._processes = processes
        self._runs = [
            build_run(RunConfig.model_validate(configuration(name, batch_size)), device, processes)
            for name in ("steps", "saves")
        ]
        self._store = create_weights_store()
        self._bare: Bare | None = None

    def train(self, which: int = 0, steps: int = STEPS) -> None:
        from dacapo_core.train import train_until

        self._tell("choose", which)
        run = self._runs[which]
        train_until(run, run.iteration + steps)

    def bare(self) -> None:
        self._tell("bare", STEPS)
        self._bare = self._bare or Bare(self._runs[0])
        self._bare(STEPS)

    def without_save(self) -> None:
        self.train(1, STEPS_AFTER_SAVE)

    def with_save(self) -> None:
        self._store.store_weights(self._runs[1], self._runs[1].iteration, wait=False)
        self.train(1, STEPS_AFTER_SAVE)
        self._store.wait()

    def timed(self, work: str) -> Seconds:
        cpu, began = self._cpu(), time.perf_counter()
        getattr(self, work)()
        wall = time.perf_counter() - began
        return Seconds(wall, self._cpu() - cpu)

    def _cpu(self) -> float:
        self._tell("cpu", None)
        return float(sum(self._processes.gather(time.process_time())))

    def _tell(self, *message: Any) -> None:
        if self._processes.leads:
            self._processes.tell(message)


def member(port: int, batch_size: int) -> None:
    import torch

    from dacapo_core.training.launch import end_with_the_parent, is_first
    from dacapo_core.training.process_group import device_of_process, join

    gpu = torch.cuda.is_available()
    if not gpu:
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[int(os.environ["LOCAL_RANK"]) % len(cores)]})
    torch.set_num_threads(1)
    end_with_the_parent()
    device = device_of_process("cuda" if gpu else "cpu")
    processes = join(device, {})
    try:
        if not is_first():
            follow(processes, device)
            return
        leader = Leader(processes, device, batch_size)
        with Client(("127.0.0.1", port), authkey=SECRET) as asked:
            while (work := asked.recv()) is not None:
                asked.send(leader.timed(work))
    finally:
        processes.leave()


class Group:
    """Processes that wait to be asked for work."""

    def __init__(self, stack: ExitStack, processes: int, batch_size: int) -> None:
        self.batch_size = batch_size
        listener = stack.enter_context(Listener(("127.0.0.1", 0), authkey=SECRET))
        launcher = [sys.executable, "-m", "dacapo_core.training.launcher", "--standalone"]
        program = [f"--nproc-per-node={processes}", "-m", "tests.benchmarks.data_parallel"]
        folder = stack.enter_context(_temporary_folder())
        environment = {"DACAPO_RUNS_BASE_DIR": folder, "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(
            [*launcher, *program, str(listener.address[1]), str(batch_size)],
            env={**os.environ, **environment},
        )
        stack.callback(process.wait)
        self._connection: Connection = stack.enter_context(listener.accept())
        stack.callback(self._connection.send, None)

    def seconds(self, work: str) -> Seconds:
        self._connection.send(work)
        return self._connection.recv()  # type: ignore[no-any-return]


def _temporary_folder() -> Any:
    from tempfile import TemporaryDirectory

    return TemporaryDirectory(prefix="dacapo-benchmark-")


def in_turn(groups: list[Group], works: list[str], rounds: int) -> list[dict[Any, Seconds]]:
    """By round: what each work took in each group; the first round, which warms up, is left out."""
    found = []
    for number in range(rounds + 1):
        order = [(group, work) for work in works for group in groups]
        if number % 2:
            order.reverse()
        found.append({(group, work): group.seconds(work) for group, work in order})
    return found[1:]


def line(what: str, rounds: list[Any], ratio: Callable[[Any, int], float]) -> None:
    """Print a ratio: its median and quartiles by the clock, and its median by CPU time."""
    wall, cpu = ([ratio(each, of) for each in rounds] for of in (0, 1))
    low, middle, high = statistics.quantiles(wall, n=4)
    of_cpu = statistics.median(cpu)
    print(f"{what}: {middle:.3f} ({low:.3f} to {high:.3f}; by CPU time {of_cpu:.3f})", flush=True)


def main() -> None:
    import torch

    gpus = torch.cuda.device_count()
    if gpus == 1:
        sys.exit("one GPU: what several bring is open; without GPUs two processes on CPUs stand in")
    several = gpus or 2
    with ExitStack() as stack:
        # on CPUs the same batch in two halves; GPUs each have their own share of a larger one
        one = Group(stack, 1, 2 if gpus else 4)
        two = Group(stack, several, 2 * several)
        steps = in_turn([one, two], ["train", "bare"], ROUNDS)
        saves = in_turn([one, two], ["without_save", "with_save"], SAVE_ROUNDS)

    larger = two.batch_size / one.batch_size

    def speed(work: str, times: Any, of: int) -> float:
        # of CPU time all have used: what it would come to on cores that nobody else uses
        scale = larger if of == 0 else larger * several
        return float(scale * times[one, work][of] / times[two, work][of])

    names = f"{several} processes ÷ 1, samples per second"
    line(f"{names}, ours", steps, lambda times, of: speed("train", times, of))
    line(f"{names}, bare DistributedDataParallel", steps, lambda t, of: speed("bare", t, of))
    for group, who in ((one, "1 process"), (two, f"{several} processes")):
        line(
            f"ours ÷ bare, samples per second, {who}",
            steps,
            lambda times, of, group=group: times[group, "bare"][of] / times[group, "train"][of],
        )
    for group, who in ((one, "1 process"), (two, f"{several} processes")):
        line(
            f"{STEPS_AFTER_SAVE} steps with a save ÷ without, seconds, {who}",
            saves,
            lambda t, of, group=group: t[group, "with_save"][of] / t[group, "without_save"][of],
        )
        added = [t[group, "with_save"].wall - t[group, "without_save"].wall for t in saves]
        print(f"a save adds, {who}: {1000 * statistics.median(added):.0f} ms")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        member(int(sys.argv[1]), int(sys.argv[2]))
    else:
        main()
