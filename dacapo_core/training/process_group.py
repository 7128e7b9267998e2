"""How a process that torch's launcher started comes to its group."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import xxhash

import dacapo_core
from dacapo_core.data.chunk_cache import divide_cache
from dacapo_core.experiments.run_config import RunConfig
from dacapo_core.training.errors import GroupError, PeersUnreachableError
from dacapo_core.training.processes import ALONE, Processes, set_current_processes
from dacapo_core.version import __version__

# others may have to import torch and to start on a busy machine
JOIN = timedelta(minutes=5)
# a step of another process may wait that long for its data
STEP = timedelta(minutes=10)
# whoever listens is told by a connection that is lost, not by the time that passes
SILENCE = timedelta(days=30)

_CONNECT_SECONDS = 10.0
_LOOK_EVERY_SECONDS = 0.5
_BULLETIN = "dacapo/group"


def device_of_process(named: str | None) -> torch.device:
    """The device of this process: the one of its number on this machine, or the CPU.

    Args:
        named: of the settings; its kind counts. Default: GPUs where there are any.

    Raises:
        GroupError: there are fewer GPUs than processes here.
    """
    kind = torch.device(named).type if named else "cuda" if torch.cuda.is_available() else "cpu"
    if kind != "cuda":
        return torch.device(kind)
    local, here = int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"])
    if here > torch.cuda.device_count():
        raise GroupError(
            f"{here} processes on {socket.gethostname()}, which shows {torch.cuda.device_count()} "
            "GPUs; each process needs one of its own"
        )
    torch.cuda.set_device(local)
    return torch.device("cuda", local)


def join(
    device: torch.device, configuration: Mapping[str, Any], timeout: timedelta = JOIN
) -> Processes:
    """Come together with the other processes that torch's launcher started.

    Args:
        configuration: what this process was told to train; the others must have been told the same.

    Raises:
        GroupError: the others cannot be reached, named by address, or were told something else, or
            run another version of the code; it names which.
    """
    rank, size, here = (int(os.environ[n]) for n in ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    if size == 1:
        return ALONE
    divide_cache(here)
    address = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
    try:
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
            store=_store(rank, size, timeout),
            rank=rank,
            world_size=size,
            timeout=STEP,
        )
        words = dist.new_group(backend="gloo", timeout=SILENCE)
    except (dist.DistError, RuntimeError, TimeoutError) as error:
        raise PeersUnreachableError(
            f"process {rank} of {size} on {socket.gethostname()} could not reach the others by way "
            f"of {address} within {timeout.total_seconds():.0f} s: "
            f"{' '.join(str(error).split())[:200]}. Is that the address that torchrun was given as "
            "--rdzv-endpoint, and do all machines reach it?"
        ) from error
    processes = Processes(
        rank,
        size,
        here,
        words=words,
        restarts=int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0)),
        most_restarts=int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", 0)),
    )
    told = {"host": socket.gethostname(), "code": code_version(), "configuration": configuration}
    everyone = processes.gather((json.dumps(told), processes.restarts, processes.most_restarts))
    refuse_differences([json.loads(each) for each, *_ in everyone])
    # a machine whose processes outlived those of another does not count that death
    processes.restarts = max(restarts for _, restarts, _ in everyone)
    processes.most_restarts = max(most for *_, most in everyone)
    set_current_processes(processes)
    return processes


def refuse_differences(told: list[dict[str, Any]]) -> None:
    """Make sure that all processes were told the same and run the same code.

    Args:
        told: by rank, what each says of itself: ``host``, ``code``, ``configuration``.

    Raises:
        GroupError: it names the processes that differ from the first, and in what.
    """
    first = told[0]
    faults = []
    for rank, other in enumerate(told[1:], start=1):
        where = f"process {rank} on {other['host']}"
        if other["code"] != first["code"]:
            faults.append(f"{where} runs code {other['code']}, the first {first['code']}")
        if other["configuration"] != first["configuration"]:
            changed = _difference(first["configuration"], other["configuration"])
            faults.append(f"{where} was given another configuration: {changed}")
    if faults:
        raise GroupError(
            f"the {len(told)} processes do not train the same run: {'; '.join(faults)}. The first "
            f"is on {first['host']}; give all machines the same file and the same code"
        )


def check_shares(config: RunConfig, processes: Processes) -> None:
    """Make sure that each batch can be shared out evenly.

    Raises:
        GroupError: it cannot.
    """
    parts = config.trainer_config.gradient_accumulation * processes.size
    if config.batch_size % parts:
        raise GroupError(
            f"run {config.name!r}: batch_size {config.batch_size} cannot be split evenly into "
            f"trainer_config.gradient_accumulation {config.trainer_config.gradient_accumulation} × "
            f"{processes.size} processes = {parts} parts"
        )


def code_version() -> str:
    """Version and digest of this package's source, and torch's version."""
    folder = Path(dacapo_core.__file__).parent
    digest = xxhash.xxh3_64()
    for file in sorted(folder.rglob("*.py")):
        digest.update(str(file.relative_to(folder)).encode())
        digest.update(file.read_bytes())
    python = ".".join(map(str, sys.version_info[:2]))
    return f"{__version__} ({digest.hexdigest()[:8]}, torch {torch.__version__}, Python {python})"


def _difference(first: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    from dacapo_core.experiments.run_config import flatten

    ours, theirs = flatten(dict(first)), flatten(dict(other))
    return "; ".join(
        f"{field} is {theirs.get(field)!r}, for the first {ours.get(field)!r}"
        for field in sorted(ours.keys() | theirs.keys())
        if ours.get(field) != theirs.get(field)
    )


def _store(rank: int, size: int, timeout: timedelta) -> dist.Store:
    """Where the processes find each other: rank 0 keeps it, so that it ends with rank 0.

    The launcher's own store outlives its processes, and with them the addresses of dead ones.
    """
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != str(True):
        return dist.TCPStore(host, port, size, rank == 0, timeout)
    bulletin = dist.TCPStore(host, port, size, False, timeout)
    if rank == 0:
        store = dist.TCPStore(
            "0.0.0.0", 0, size, True, timeout, wait_for_workers=False, multi_tenant=False
        )
        bulletin.set(_BULLETIN, f"{_own_address(host, port)} {store.port}")
        return store
    deadline = time.monotonic() + timeout.total_seconds()
    while True:
        bulletin.wait([_BULLETIN], timeout)
        where, number = bulletin.get(_BULLETIN).decode().split()
        try:
            # that of an earlier rank 0 is refused at once
            socket.create_connection((where, int(number)), _CONNECT_SECONDS).close()
            return dist.TCPStore(where, int(number), size, False, timeout)
        except OSError as error:
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"process 0 does not answer at {where}:{number}: {error}"
                ) from error
            time.sleep(_LOOK_EVERY_SECONDS / 5)


def _own_address(host: str, port: int) -> str:
    """The address of this machine on the way to another."""
    with socket.create_connection((host, port), _CONNECT_SECONDS) as connection:
        return str(connection.getsockname()[0])
