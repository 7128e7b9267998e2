"""One run trained by several processes, each with its share of every batch.

The process that owns the run leads: it starts the others, gives them its state before each stretch
of training, and alone stores and validates. After each backward pass the gradients are averaged,
so that all processes take the same step. On one machine only; gloo on CPUs, NCCL on GPUs.
"""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn

import torch
import torch.distributed as dist
from torch import Tensor

from dacapo_core.data.chunk_cache import divide_cache
from dacapo_core.experiments.trainers.errors import MemberDiedError

if TYPE_CHECKING:
    from dacapo_core.experiments.run import Run
    from dacapo_core.experiments.run_config import RunConfig

HOST = "127.0.0.1"
# a member may have to import torch and open its data before it answers
TIMEOUT = timedelta(minutes=5)


class Team:
    """The processes that train a run; one object in each of them, rank 0 in the leader's."""

    def __init__(self, config: RunConfig, rank: int, store: dist.TCPStore, device: str) -> None:
        self.name = config.name
        self.rank = rank
        self.processes = config.trainer_config.processes
        self.members: list[subprocess.Popen[bytes]] = []
        if dist.is_initialized():
            raise RuntimeError(
                f"run {config.name!r} wants {self.processes} processes, and this process already "
                "shares the training of another run; train them in processes of their own"
            )
        divide_cache(self.processes)
        dist.init_process_group(
            "gloo" if device == "cpu" else "cpu:gloo,cuda:nccl",
            store=store,
            rank=rank,
            world_size=self.processes,
            timeout=TIMEOUT,
        )

    def average(self, loss: Tensor, parameters: Sequence[Tensor]) -> Tensor:
        """Replace each gradient by its mean over the processes; the mean loss is returned."""
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = torch.cat([loss.reshape(1), *(gradient.reshape(-1) for gradient in gradients)])
        try:
            dist.all_reduce(flat)
        except RuntimeError as error:
            self.explain(error)
        flat /= self.processes
        mean, *averaged = flat.split([1, *(gradient.numel() for gradient in gradients)])
        for gradient, values in zip(gradients, averaged, strict=True):
            gradient.copy_(values.view_as(gradient))
        return mean[0]

    def tell(self, message: Any) -> None:
        """As the leader, send `message` to every member."""
        try:
            dist.broadcast_object_list([message], src=0, device=torch.device("cpu"))
        except RuntimeError as error:
            self.explain(error)

    def hear(self) -> Any:
        """As a member, wait for what the leader tells."""
        box = [None]
        dist.broadcast_object_list(box, src=0, device=torch.device("cpu"))
        return box[0]

    def share_state(self, run: Run) -> None:
        """Make every member's run equal to the leader's."""
        state: dict[str, Any] = {}
        if self.rank == 0:
            # the leader looks at the data, once for all
            run.intensities  # noqa: B018
            state = {"optimizer": run.optimizer.state_dict(), "extra": run.extra_state()}
            self.tell(state)
        else:
            state = self.hear()
        try:
            for tensor in run.model.state_dict().values():
                dist.broadcast(tensor, src=0)
        except RuntimeError as error:
            self.explain(error)
        if self.rank > 0:
            run.optimizer.load_state_dict(state["optimizer"])
            run.load_extra_state(state["extra"])

    def explain(self, error: RuntimeError) -> NoReturn:
        """Raise `error` as what caused it, where a member has died."""
        for rank, member in enumerate(self.members, start=1):
            try:
                code = member.wait(timeout=5)
            except subprocess.TimeoutExpired:
                continue
            raise MemberDiedError(
                f"process {rank} of the {self.processes} that train run {self.name!r} ended "
                f"({f'signal {-code}' if code < 0 else f'code {code}'}); its own output says why. "
                "Start the run again: it resumes from its newest checkpoint"
            ) from error
        raise error

    def close(self) -> None:
        """End the members. A closed team cannot be used again."""
        atexit.unregister(self.close)
        for member in self.members:
            # a member ends when nobody holds its input any more
            if member.stdin is not None:
                member.stdin.close()
        for member in self.members:
            try:
                member.wait(timeout=10)
            except subprocess.TimeoutExpired:
                member.kill()
                member.wait()
        if dist.is_initialized():
            dist.destroy_process_group()


def lead(config: RunConfig, device: torch.device) -> Team:
    """Start the other processes of a run and be rank 0.

    Members end when this process does, however it ends.
    """
    processes = config.trainer_config.processes
    store = dist.TCPStore(
        HOST, 0, processes, is_master=True, timeout=TIMEOUT, wait_for_workers=False
    )
    # processes that share cores must not each take all of them, as torchrun knows too
    threads = str(max(1, torch.get_num_threads() // processes))
    environment = {**os.environ, "OMP_NUM_THREADS": threads}
    members = [
        subprocess.Popen(
            [
                sys.executable,
                "-m",
                "dacapo_core.data_parallel_member",
                str(store.port),
                str(rank),
                device.type,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env=environment,
        )
        for rank in range(1, processes)
    ]
    for member in members:
        assert member.stdin is not None
        member.stdin.write(config.model_dump_json().encode() + b"\n")
        member.stdin.flush()
    try:
        team = Team(config, 0, store, device.type)
    except BaseException:
        for member in members:
            member.kill()
            member.wait()
        raise
    team.members = members
    atexit.register(team.close)
    return team


def end_with_the_leader() -> None:
    """End this member as soon as the leader closes its input or dies."""

    def watch() -> None:
        sys.stdin.buffer.read()
        os._exit(0)

    threading.Thread(target=watch, name="leader", daemon=True).start()
