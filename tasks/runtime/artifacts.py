"""Artifacts for the Prefect UI: best effort, bounded in time and in number.

Prefect's own ``create_*_artifact`` waits for its server, and a minute for one that is away. Here
one thread of the process makes and sends what the others publish, and they go on. Where the server
is away it says so in one log line and tries again after a while. It keeps only the newest of each
page, and sends it every few seconds at most; the store has everything, so the next page shows all
that a missed one would have.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import Context, copy_context
from dataclasses import dataclass
from uuid import UUID

from httpx import HTTPStatusError
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import ArtifactCreate
from prefect.context import SettingsContext, get_settings_context
from prefect.logging import get_logger
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, Settings
from prefect.utilities.context import get_task_and_flow_run_ids

from tasks.runtime.artifact_versions import put
from tasks.runtime.ui_paths import artifact_path

ATTEMPT_SECONDS = 5.0
PAUSE_SECONDS = 60.0
# after the answer that the server is busy, as with SQLite
BUSY_SECONDS = 2.0
# between two versions of a page: each is a write to the server's database
SPACING_SECONDS = 10.0
# how long the end of a flow run waits for one page; less where it was asked to stop
STUCK_SECONDS = 20.0
HURRIED_SECONDS = 2.0
# answers to what the server would not take the next time either
REFUSALS = (413, 422)

_Key = tuple[UUID, str]


class _NotMadeError(RuntimeError):
    """The content of a page could not be made."""


@dataclass(frozen=True)
class _Page:
    """A page to send, with the context (settings, flow run, task run) that it was published in."""

    artifact: ArtifactCreate
    content: Callable[[], str]
    leads: bool
    context: Context


class Publisher:
    """Publishes artifacts from a thread of its own; no caller waits, except for a run's end."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: dict[_Key, _Page] = {}
        self._sending: _Key | None = None
        self._away: Exception | None = None
        self._next_attempt = -math.inf
        self._end_asked = -math.inf
        self._failed_attempt = -math.inf
        # a daemon: a server that does not answer keeps no process from ending
        self._thread = threading.Thread(target=self._send_all, name="publisher", daemon=True)
        self._sent: dict[_Key, float] = {}
        self._ending: UUID | None = None
        self._addresses: dict[str, UUID] = {}
        # used by the thread alone
        self._client: SyncPrefectClient | None = None
        self._client_of: Settings | None = None
        self._settings: Settings | None = None

    def table(self, key: str, rows: Sequence[Mapping[str, str]], description: str) -> None:
        """Publish a table under ``key``, as `page` does a page."""
        self._publish(key, "table", lambda: json.dumps(list(rows)), description)

    def page(
        self,
        key: str,
        content: str | Callable[[], str],
        description: str,
        *,
        leads: bool = False,
        shared: bool = False,
    ) -> None:
        """Publish a markdown page under ``key``, in the place of the flow run's earlier one.

        Links to other pages by their key become links to the versions that are newest when this
        page is sent: the UI's page of a key is no more than a list of versions.

        Args:
            content: the page, or what makes it when it is sent, in a thread of its own.
            leads: it is the first of the flow run's pages in the UI.
            shared: one page for all flow runs; its links stay as they are.
        """
        made = (lambda: content) if isinstance(content, str) else content
        self._publish(key, "markdown", made, description, leads=leads, shared=shared)

    def address(self, key: str) -> str | None:
        """Where the UI shows a page that this process has sent; None before that."""
        id = self._addresses.get(key)
        return None if id is None else artifact_path(id)

    @contextmanager
    def caught_up(self) -> Iterator[None]:
        """After the block, wait until the flow run's pages are sent.

        A server that is away is asked once more; that takes seconds at most.
        """
        try:
            yield
        except Exception:
            self._catch_up(STUCK_SECONDS)
            raise
        except BaseException:
            # asked to stop, it has little time
            self._catch_up(HURRIED_SECONDS)
            raise
        self._catch_up(STUCK_SECONDS)

    def _catch_up(self, seconds: float) -> None:
        _, flow_run = get_task_and_flow_run_ids()

        def left() -> int:
            keys = {*self._waiting, self._sending}
            return sum(key is not None and key[0] == flow_run for key in keys)

        with self._changed:
            missed, were_missed = left(), self._away is not None
            asked = self._end_asked = self._next_attempt = time.monotonic()
            self._ending = flow_run
            self._changed.notify_all()
            answered = True
            while answered and (before := left()) and self._failed_attempt < asked:
                answered = self._changed.wait_for(
                    lambda: left() < before or self._failed_attempt >= asked, seconds
                )
            done, error = missed - left(), self._away
            self._ending = None
        if done < missed:
            get_logger(__name__).warning(
                "at the end %d of %d missed pages published; the store has what they would show: "
                "%s",
                done,
                missed,
                error or f"no answer for {seconds:.0f} s",
            )
        elif missed and were_missed:
            get_logger(__name__).info("%d missed pages published at the end", done)

    def _publish(
        self,
        key: str,
        kind: str,
        content: Callable[[], str],
        description: str,
        *,
        leads: bool = False,
        shared: bool = False,
    ) -> None:
        task_run, flow_run = get_task_and_flow_run_ids()
        if flow_run is None:
            return
        artifact = ArtifactCreate(
            key=key,
            type=kind,
            description=description,
            flow_run_id=None if shared else flow_run,
            task_run_id=None if shared else task_run,
        )
        with self._changed:
            self._waiting[flow_run, key] = _Page(artifact, content, leads, copy_context())
            if self._thread.ident is None:
                self._thread.start()
            self._changed.notify_all()

    def _send_all(self) -> None:
        while True:
            key, page = self._take()
            began = time.monotonic()
            try:
                page.context.run(self._send, page)
            except Exception as error:
                self._failed(key, page, began, error)
            else:
                with self._changed:
                    self._sending = self._away = None
                    self._changed.notify_all()

    def _take(self) -> tuple[_Key, _Page]:
        """Wait until a page is due, and take the first."""
        with self._changed:
            while True:
                due = {key: self._due(key) for key in self._waiting}
                first = min(due, key=lambda key: due[key], default=None)
                pause = None if first is None else due[first] - time.monotonic()
                if first is not None and pause is not None and pause <= 0:
                    self._sending, self._sent[first] = first, time.monotonic()
                    return first, self._waiting.pop(first)
                self._changed.wait(pause)

    def _due(self, key: _Key) -> float:
        """When a page may be sent, by ``time.monotonic``; unspaced where its flow run is ending."""
        spaced = self._sent.get(key, -math.inf) + SPACING_SECONDS
        return max(self._next_attempt, -math.inf if key[0] == self._ending else spaced)

    def _failed(self, key: _Key, page: _Page, began: float, error: Exception) -> None:
        refused = isinstance(error, _NotMadeError) or (
            isinstance(error, HTTPStatusError) and error.response.status_code in REFUSALS
        )
        with self._changed:
            known, self._sending = self._away is not None, None
            if not refused:
                self._waiting.setdefault(key, page)
                self._away = error
                if not _is_busy(error):
                    self._failed_attempt = began
                # the end of a flow run waits for an attempt that began after it
                pause = _pause_after(error) if began >= self._end_asked else 0.0
                self._next_attempt = time.monotonic() + pause
            self._changed.notify_all()
        if isinstance(error, _NotMadeError):
            get_logger(__name__).warning("page %s not made: %s", key[1], error)
        elif refused:
            get_logger(__name__).warning("page %s was refused by the server: %s", key[1], error)
        elif not known:
            get_logger(__name__).warning(
                "page %s not published, next attempt in %.0f s: %s",
                key[1],
                _pause_after(error),
                error,
            )

    def _send(self, page: _Page) -> None:
        try:
            data = page.content()
        except Exception as error:
            raise _NotMadeError(f"{type(error).__name__}: {error}") from error
        made = page.artifact.model_copy(update={"data": data})
        with self._one_attempt() as client:
            self._addresses[str(made.key)] = put(client, made, leads=page.leads)

    @contextmanager
    def _one_attempt(self) -> Iterator[SyncPrefectClient]:
        """A client that does not retry; it and its settings are kept, as they are slow to make."""
        context = get_settings_context()
        if self._client is None or self._client_of is not context.settings:
            self._client = get_client(sync_client=True, httpx_settings={"timeout": ATTEMPT_SECONDS})
            self._client_of = context.settings
            self._settings = context.settings.copy_with_update(
                updates={PREFECT_CLIENT_MAX_RETRIES: 0}
            )
        assert self._settings is not None
        with SettingsContext(profile=context.profile, settings=self._settings):
            yield self._client


publisher = Publisher()


def _pause_after(error: Exception) -> float:
    return BUSY_SECONDS if _is_busy(error) else PAUSE_SECONDS


def _is_busy(error: Exception) -> bool:
    return isinstance(error, HTTPStatusError) and error.response.status_code == 503
