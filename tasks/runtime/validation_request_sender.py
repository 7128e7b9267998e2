"""Requests for the validation of stored checkpoints, repeated until the server takes them.

Prefect's server on SQLite refuses to create a flow run whenever another write is committed between
its first read and its first write, which under load is nearly always; behind a long write it keeps
a request waiting for up to a minute, and may carry it out when nobody waits any more. So a thread
makes many attempts with short pauses, where Prefect's client would pause for half a minute, and one
key tells the server that they are all the same request.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any
from uuid import UUID, uuid4

from prefect.client.orchestration import SyncPrefectClient
from prefect.context import get_settings_context
from prefect.exceptions import ObjectNotFound
from prefect.states import Scheduled

from tasks.runtime.prefect_client import brief_client

ATTEMPT_SECONDS = 20.0
FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 5.0


@dataclass(frozen=True)
class _Request:
    iterations: list[int]
    parameters: dict[str, Any]
    key: str = field(default_factory=lambda: uuid4().hex)


class ValidationRequestSender:
    """The requests of one process to a deployment of ``validate``; its caller never waits.

    A request that the server has not taken when this is closed is not lost: its iterations lack
    scores, so continuing the run asks again, and the flow ``validate`` finds them.

    Attributes:
        refusal: why the last attempt failed; None after one that did not.
    """

    def __init__(self, deployment: str) -> None:
        """
        Args:
            deployment: ``<flow>/<name>``.
        """
        self.refusal: str | None = None
        self._deployment = deployment
        self._settings = get_settings_context()
        self._asked: list[_Request] = []
        self._taken: list[tuple[UUID, _Request]] = []
        self._queue: SimpleQueue[_Request | None] = SimpleQueue()
        self._closed = threading.Event()
        # a daemon: a server that does not answer keeps no process from ending
        self._thread = threading.Thread(target=self._send_all, name="requests", daemon=True)

    def ask(self, iterations: list[int], parameters: dict[str, Any]) -> None:
        """Have a flow run created that validates `iterations`, as soon as the server does so."""
        request = _Request(iterations, parameters)
        self._asked.append(request)
        self._queue.put(request)
        if self._thread.ident is None:
            self._thread.start()

    @property
    def asked(self) -> set[int]:
        """All iterations that were asked for."""
        return {iteration for request in self._asked for iteration in request.iterations}

    @property
    def taken(self) -> dict[UUID, list[int]]:
        """The flow runs that the server has created, each with its iterations."""
        return {flow_run: request.iterations for flow_run, request in list(self._taken)}

    @property
    def waiting(self) -> list[int]:
        """Iterations that the server has not taken yet."""
        taken = {iteration for iterations in self.taken.values() for iteration in iterations}
        return sorted(self.asked - taken)

    def close(self) -> None:
        """Make no further attempt."""
        self._closed.set()
        self._queue.put(None)

    def _send_all(self) -> None:
        with brief_client(ATTEMPT_SECONDS, context=self._settings) as client:
            while (request := self._queue.get()) is not None:
                for pause in _pauses():
                    try:
                        self._taken.append((self._send(client, request), request))
                        self.refusal = None
                        break
                    except Exception as error:
                        self.refusal = self._reason(error)
                    if self._closed.wait(pause):
                        return

    def _send(self, client: SyncPrefectClient, request: _Request) -> UUID:
        deployment = client.read_deployment_by_name(self._deployment)
        created = client.create_flow_run_from_deployment(
            deployment.id,
            parameters=request.parameters,
            state=Scheduled(),
            idempotency_key=request.key,
        )
        return created.id

    def _reason(self, error: Exception) -> str:
        if isinstance(error, ObjectNotFound):
            return f"there is no deployment {self._deployment!r} any more"
        return (str(error) or type(error).__name__).splitlines()[0]


def _pauses() -> Iterator[float]:
    pause = FIRST_PAUSE_SECONDS
    while True:
        yield pause
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
