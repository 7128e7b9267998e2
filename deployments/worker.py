"""One of Prefect's workers in this process; asked to stop, it asks its runs first.

Prefect's own command kills its runs within three seconds of a SIGTERM, and at once when its
terminal is gone: what they had trained since their last checkpoint would be lost.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from typing import Any

from deployments.closed_terminal import survive_closed_terminal
from deployments.marked_processes import marked, signal_group
from deployments.supervisor import RUNS_STOP_SECONDS
from deployments.worker_places import MARK, WORK_POOL, WorkerPlace
from tasks.runtime.stop_signals import catchable

TIDY_EVERY_SECONDS = 60.0


class MissingWorkerTypeError(RuntimeError):
    """Nothing here serves the type of the work pool."""


def serve(place: WorkerPlace, *, supervised: bool) -> None:
    """Take runs until asked to stop by a signal; then let them store what they have, and return.

    Args:
        supervised: the end of the standard input asks to stop, too: the supervisor is gone.
    """
    os.environ |= place.environment
    from deployments.worker_log import correct_worker_log

    correct_worker_log()
    asyncio.run(_serve(place, supervised))


async def _serve(place: WorkerPlace, supervised: bool) -> None:
    loop, asked = asyncio.get_running_loop(), asyncio.Event()
    for number in catchable():
        loop.add_signal_handler(number, asked.set)
    if supervised:
        threading.Thread(
            target=_await_end_of_input, args=(loop, asked), name="supervisor-watch", daemon=True
        ).start()
    serving = asyncio.create_task(_take_runs(place, asked))
    # a daemon: a server that does not answer keeps no worker from ending
    threading.Thread(target=_end_dead_tasks, name="dead-tasks", daemon=True).start()
    waiting = asyncio.create_task(asked.wait())
    await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
    if asked.is_set():
        await _end_runs()
        serving.cancel()
    try:
        await serving
    except asyncio.CancelledError:
        pass
    except MissingWorkerTypeError as error:
        raise SystemExit(str(error)) from None


async def _take_runs(place: WorkerPlace, asked: asyncio.Event) -> None:
    worker = (await _worker_class())(
        WORK_POOL,
        work_queues=[place.queue],
        name=place.name,
        limit=place.limit,
    )
    poll = worker.get_and_submit_flow_runs

    async def poll_unless_asked() -> Any:
        return [] if asked.is_set() else await poll()

    worker.get_and_submit_flow_runs = poll_unless_asked
    await worker.start(printer=_say)


def _end_dead_tasks() -> None:
    """Now and then, for all our runs on the server: cheap, and any worker may do it."""
    from tasks.runtime.dead_attempts import end_tasks_of_ended_runs

    while True:
        time.sleep(TIDY_EVERY_SECONDS)
        end_tasks_of_ended_runs()


async def _worker_class() -> Any:
    """The one for the pool's type: a site's pool may be of another than processes."""
    from prefect.client.orchestration import get_client
    from prefect.workers.base import BaseWorker

    async with get_client() as client:
        kind = (await client.read_work_pool(WORK_POOL)).type
    found = BaseWorker.get_worker_class_from_type(kind)
    if found is None:
        raise MissingWorkerTypeError(
            f"the work pool {WORK_POOL!r} is of type {kind!r}: "
            f"`pip install prefect-{kind}` brings its worker"
        )
    return found


async def _end_runs() -> None:
    """Ask the runs of this process to stop, and give them time."""
    runs = _runs()
    for run in runs:
        signal_group(run, signal.SIGTERM)
    deadline = asyncio.get_running_loop().time() + RUNS_STOP_SECONDS
    while asyncio.get_running_loop().time() < deadline and set(runs) & set(_runs()):
        await asyncio.sleep(0.1)


def _runs() -> list[int]:
    found = marked(MARK, os.environ[MARK])
    return [pid for pid, parent in found.items() if parent == os.getpid()]


def _await_end_of_input(loop: asyncio.AbstractEventLoop, asked: asyncio.Event) -> None:
    while os.read(0, 1):
        pass
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(asked.set)


def _say(text: str, **style: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    # before prefect is there, which writes its log to what is there then
    survive_closed_terminal()
    name, queue, limit = sys.argv[1:]
    serve(WorkerPlace(name, queue, int(limit), os.environ["CUDA_VISIBLE_DEVICES"]), supervised=True)
