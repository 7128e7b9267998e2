"""Artifacts for the Prefect UI: best effort, bounded in time and in number.

Prefect's own ``create_*_artifact`` waits for its server, and a minute for one that is away. A page
is not worth that: one thread of the process sends what the others publish, and they go on. Where
the server is away it says so in one log line and asks again after a while. Of each page it keeps
the newest only; the store keeps the truth, so the next page shows all that a missed one would have.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import Context, copy_context
from dataclasses import dataclass
from urllib.parse import urlencode
from uuid import UUID

from httpx import HTTPStatusError
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.sorting import ArtifactSort
from prefect.context import SettingsContext, get_settings_context
from prefect.logging import get_logger
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, Settings
from prefect.utilities.context import get_task_and_flow_run_ids

ATTEMPT_SECONDS = 5.0
PAUSE_SECONDS = 60.0
# an attempt bounds the wait for each part of an answer, this the whole
STUCK_SECONDS = 20.0
# what the server will not take the next time either
REFUSALS = (404, 413, 422)

KEY_PATH = "/v2/artifacts/key/"
KEY_LINK = re.compile(rf"(?<=\]\(){KEY_PATH}([a-z0-9-]+)(?=\))")

_Key = tuple[UUID, str]


@dataclass(frozen=True)
class _Page:
    """What is to be sent; ``context`` is its publisher's: settings, flow run and task run."""

    artifact: ArtifactCreate
    update: bool
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
        # the thread's alone
        self._pages: dict[_Key, UUID] = {}
        self._client: SyncPrefectClient | None = None
        self._client_of: Settings | None = None
        self._settings: Settings | None = None

    def table(self, key: str, rows: Sequence[Mapping[str, str]], description: str) -> None:
        """A new version of a table under ``key``, instead of one that has not been sent yet."""
        self._publish(key, "table", json.dumps(list(rows)), description, update=False)

    def page(self, key: str, markdown: str, description: str, *, update: bool = False) -> None:
        """A markdown page under ``key``, instead of one that has not been sent yet.

        Its links to other pages by their key lead to what is shown there when it is sent: the
        UI's page of a key has no more than a list of versions.

        Args:
            update: within one flow run the page is changed in place, so that a page that is
                published often does not grow the database.
        """
        self._publish(key, "markdown", markdown, description, update=update)

    @contextmanager
    def caught_up(self) -> Iterator[None]:
        """After the block, wait until the flow run's pages are sent.

        A server that is away is asked once more; that takes seconds at most.
        """
        try:
            yield
        except Exception:
            self._catch_up()
            raise
        self._catch_up()

    def _catch_up(self) -> None:
        _, flow_run = get_task_and_flow_run_ids()

        def left() -> int:
            keys = {*self._waiting, self._sending}
            return sum(key is not None and key[0] == flow_run for key in keys)

        with self._changed:
            missed, were_missed = left(), self._away is not None
            asked = self._end_asked = self._next_attempt = time.monotonic()
            self._changed.notify_all()
            answered = True
            while answered and (before := left()) and self._failed_attempt < asked:
                answered = self._changed.wait_for(
                    lambda: left() < before or self._failed_attempt >= asked, STUCK_SECONDS
                )
            done, error = missed - left(), self._away
        if done < missed:
            get_logger(__name__).warning(
                "at the end %d of %d missed pages published; the store has what they would show: "
                "%s",
                done,
                missed,
                error or f"no answer for {STUCK_SECONDS:.0f} s",
            )
        elif missed and were_missed:
            get_logger(__name__).info("%d missed pages published at the end", done)

    def _publish(self, key: str, kind: str, data: str, description: str, *, update: bool) -> None:
        task_run, flow_run = get_task_and_flow_run_ids()
        if flow_run is None:
            return
        artifact = ArtifactCreate(
            key=key,
            type=kind,
            data=data,
            description=description,
            flow_run_id=flow_run,
            task_run_id=task_run,
        )
        with self._changed:
            self._waiting[flow_run, key] = _Page(artifact, update, copy_context())
            if self._thread.ident is None:
                self._thread.start()
            self._changed.notify_all()

    def _send_all(self) -> None:
        while True:
            key, page = self._take()
            began = time.monotonic()
            try:
                page.context.run(self._send, key, page)
            except Exception as error:
                self._failed(key, page, began, error)
            else:
                with self._changed:
                    self._sending = self._away = None
                    self._changed.notify_all()

    def _take(self) -> tuple[_Key, _Page]:
        """The page that has waited longest, once there is one and the server may be asked."""
        with self._changed:
            while True:
                pause = self._next_attempt - time.monotonic()
                if self._waiting and pause <= 0:
                    break
                self._changed.wait(pause if self._waiting else None)
            self._sending = next(iter(self._waiting))
            return self._sending, self._waiting.pop(self._sending)

    def _failed(self, key: _Key, page: _Page, began: float, error: Exception) -> None:
        refused = isinstance(error, HTTPStatusError) and error.response.status_code in REFUSALS
        with self._changed:
            known, self._sending = self._away is not None, None
            if refused:
                # it may be gone from the server: the next one is new
                self._pages.pop(key, None)
            else:
                self._waiting.setdefault(key, page)
                self._away, self._failed_attempt = error, began
                # who waits for the end of a flow run is owed an attempt that began after that
                pause = PAUSE_SECONDS if began >= self._end_asked else 0.0
                self._next_attempt = time.monotonic() + pause
            self._changed.notify_all()
        if refused:
            get_logger(__name__).warning("page %s was refused by the server: %s", key[1], error)
        elif not known:
            get_logger(__name__).warning(
                "page %s not published, next attempt in %.0f s: %s", key[1], PAUSE_SECONDS, error
            )

    def _send(self, key: _Key, page: _Page) -> None:
        known = self._pages.get(key) if page.update else None
        with self._one_attempt() as client:
            artifact = page.artifact
            if artifact.type == "markdown":
                data = self._with_direct_links(client, key[0], str(artifact.data))
                artifact = artifact.model_copy(update={"data": data})
            if known is not None:
                change = ArtifactUpdate(data=artifact.data, description=artifact.description)
                client.update_artifact(known, change)
                return
            self._pages[key] = client.create_artifact(artifact).id

    def _with_direct_links(self, client: SyncPrefectClient, flow_run: UUID, markdown: str) -> str:
        def direct(link: re.Match[str]) -> str:
            # an earlier process may have published it
            id = self._pages.get((flow_run, link[1])) or newest_artifact(client, link[1])
            return link[0] if id is None else artifact_path(id)

        return KEY_LINK.sub(direct, markdown)

    @contextmanager
    def _one_attempt(self) -> Iterator[SyncPrefectClient]:
        """A client that does not retry; settings and connection are made once, they are slow."""
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


def artifact_key(page: str, run: str) -> str:
    """The stable key of a run's page: Prefect allows lower case, digits and dashes only.

    A name that had to be changed gets a few digits of its hash, so that ``a_b`` and ``a-b`` do
    not share a page.
    """
    plain = re.sub(r"[^a-z0-9]+", "-", run.lower()).strip("-")
    if plain == run:
        return f"{page}-{plain}"
    return f"{page}-{plain}-{hashlib.sha256(run.encode()).hexdigest()[:6]}"


def newest_artifact(client: SyncPrefectClient, key: str) -> UUID | None:
    """The newest version of a page or table that the server has; None if there is none."""
    found = client.read_artifacts(
        artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key])),
        sort=ArtifactSort.CREATED_DESC,
        limit=1,
    )
    return found[0].id if found else None


def artifact_path(id: UUID) -> str:
    """Where the UI shows one version of a page, with its content."""
    return f"/v2/artifacts/artifact/{id}"


def page_path(page: str, run: str) -> str:
    """Where the UI lists all versions of a run's page."""
    return KEY_PATH + artifact_key(page, run)


def events_path(run: str) -> str:
    """Where the UI shows the events of a run alone."""
    return "/v2/events?" + urlencode({"resource": json.dumps([f"dacapo.run.{run}"])})
