"""Whether a flow run was cancelled, suspended or deleted, looked up by its own process.

Prefect leaves it to the worker to tell the process. A worker that was killed tells nobody, one
whose server was away for half a minute has given up listening, and some flows have no worker.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext, get_settings_context
from prefect.exceptions import Abort, ObjectNotFound, Pause, TerminationSignal
from prefect.logging import get_run_logger
from prefect.states import Cancelled
from prefect.utilities.context import get_task_and_flow_run_ids

from tasks.runtime.prefect_client import brief_client

LOOK_EVERY_SECONDS = 5.0
# long: a server that comes back has much to do first, and nobody waits for the watch
WATCH_SECONDS = 20.0


def asks_to_end(state: State | None) -> bool:
    """Whether the process of a flow run in that state is to end."""
    return state is not None and (
        state.is_cancelling() or state.is_cancelled() or state.is_paused()
    )


class FlowRunWatch:
    """While `watching`, looks every few seconds whether this flow run is to end; best effort.

    A flow run that was deleted is to end as a cancelled one. A server that is away, or whose
    database does not have this flow either, is asked again, and nobody waits for it.

    A flow run that is being cancelled is set to Cancelled at the end of the block, when all that
    was opened inside it is closed. That is also so where a worker passed the cancellation on as a
    signal, which Prefect would report as a crash.

    Attributes:
        asked: the state that asks to end; None while there is none.
    """

    def __init__(self) -> None:
        self.asked: State | None = None
        context = FlowRunContext.get()
        self._flow = context.flow_run.flow_id if context and context.flow_run else None
        _, self._flow_run = get_task_and_flow_run_ids()
        self._settings = get_settings_context()
        self._over = threading.Event()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Look until the block ends, and report a cancellation that ended it; see the class."""
        if self._flow_run is None:
            yield
            return
        # a daemon: a server that does not answer keeps no process from ending
        threading.Thread(
            target=self._watch, args=(self._flow_run,), name="flow-run-watch", daemon=True
        ).start()
        try:
            yield
        except (Abort, TerminationSignal):
            self._over.set()
            if self.asked is None:
                with suppress(Exception), brief_client(context=self._settings) as client:
                    self._look(client, self._flow_run)
            if self.asked is not None and self.asked.is_cancelling():
                self.asked = _report_cancelled(self._flow_run)
            # raise with the state that it has now, or else the same again
            self.end_if_asked()
            raise
        finally:
            self._over.set()

    def end_if_asked(self) -> None:
        """End the flow here if its state asks for that.

        Raises:
            Pause: it is suspended.
            Abort: it is cancelled.
        """
        if self.asked is None:
            return
        if self.asked.is_paused():
            raise Pause(state=self.asked)
        ended = Abort(f"the flow run is {self.asked.name}")
        if self.asked.is_cancelled():
            # Prefect's last line of the log says it
            ended.state = self.asked  # type: ignore[attr-defined]
        raise ended

    def _watch(self, flow_run: UUID) -> None:
        if self._over.wait(LOOK_EVERY_SECONDS):
            return
        with brief_client(WATCH_SECONDS, context=self._settings) as client:
            while not self._look(client, flow_run):
                if self._over.wait(LOOK_EVERY_SECONDS):
                    return

    def _look(self, client: SyncPrefectClient, flow_run: UUID) -> bool:
        """Ask the server once; True once the flow run is to end."""
        with suppress(Exception):
            try:
                state = client.read_flow_run(flow_run).state
            except ObjectNotFound:
                if self._flow is None:
                    raise
                # raises where the database is another one: nobody deleted the run there
                client.read_flow(self._flow)
                state = Cancelled(name="Deleted", message="The flow run was deleted.")
            if asks_to_end(state):
                self.asked = state
        return self.asked is not None


def _report_cancelled(flow_run: UUID) -> State:
    done: State[Any] = Cancelled(message="Cancelled: it stored what it had, and ended.")
    try:
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(flow_run, done, force=True)
    except Exception as error:
        get_run_logger().warning("the flow run could not be set to Cancelled: %s", error)
    return done
