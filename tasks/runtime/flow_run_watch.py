"""What a person asks of a flow run by its state, looked up by the process that runs it.

Prefect has the worker tell its process. A worker that was killed tells nobody, one whose server
was away for half a minute has given up listening, and where there is no worker nobody tells; so
the process looks itself.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext, SettingsContext, get_settings_context
from prefect.exceptions import Abort, ObjectNotFound, Pause, TerminationSignal
from prefect.logging import get_run_logger
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES
from prefect.states import Cancelled
from prefect.utilities.context import get_task_and_flow_run_ids

LOOK_EVERY_SECONDS = 5.0
# a server that comes back has much to do first; nobody waits for the watch
WATCH_SECONDS = 20.0
# a process that ends waits for this one
LAST_LOOK_SECONDS = 5.0


def asks_to_end(state: State | None) -> bool:
    """Whether a flow run in that state is to have no process any more."""
    return state is not None and (
        state.is_cancelling() or state.is_cancelled() or state.is_paused()
    )


class FlowRunWatch:
    """Inside its block, looks every few seconds whether this flow run is to end; best effort.

    A flow run that was deleted is to end as a cancelled one. A server that is away, or that knows
    nothing of this flow either, is asked again, and nobody waits for it. At the end of a block that
    ended by `obey`, when all that it held is given back, a cancellation is reported as done. So is
    one of which a worker told by a signal, which Prefect would report as a crash.

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

    def __enter__(self) -> FlowRunWatch:
        if self._flow_run is not None:
            # a daemon: a server that does not answer keeps no process from ending
            threading.Thread(
                target=self._watch, args=(self._flow_run,), name="state-watch", daemon=True
            ).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        if self._flow_run is None or not isinstance(error, (Abort, TerminationSignal)):
            return
        if self.asked is None:
            self._look_once(self._flow_run)
        if self.asked is None:
            return
        if self.asked.is_cancelling():
            self.asked = _report_cancelled(self._flow_run)
        # again, with the state that it has now
        self.obey()

    def obey(self) -> None:
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
        with self._one_attempt(WATCH_SECONDS) as client:
            while not self._look(client, flow_run):
                if self._over.wait(LOOK_EVERY_SECONDS):
                    return

    def _look_once(self, flow_run: UUID) -> None:
        with suppress(Exception), self._one_attempt(LAST_LOOK_SECONDS) as client:
            self._look(client, flow_run)

    def _look(self, client: SyncPrefectClient, flow_run: UUID) -> bool:
        """Whether it is to end, as far as the server says; note it if so."""
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

    @contextmanager
    def _one_attempt(self, seconds: float) -> Iterator[SyncPrefectClient]:
        settings = self._settings.settings.copy_with_update(updates={PREFECT_CLIENT_MAX_RETRIES: 0})
        with (
            SettingsContext(profile=self._settings.profile, settings=settings),
            get_client(sync_client=True, httpx_settings={"timeout": seconds}) as client,
        ):
            yield client


def _report_cancelled(flow_run: UUID) -> State:
    done: State[Any] = Cancelled(message="Cancelled: it stored what it had, and ended.")
    try:
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(flow_run, done, force=True)
    except Exception as error:
        get_run_logger().warning("the flow run could not be set to Cancelled: %s", error)
    return done
