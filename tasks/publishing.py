"""Artifacts for the Prefect UI: best effort, bounded in time and in number.

Prefect's own ``create_*_artifact`` waits a minute for a server that is away, then raises. A page
is not worth that: one attempt of a few seconds, one log line, and no further attempt for a while.
The store keeps the truth, so the next page shows all that a missed one would have; the last of each
that was missed is tried once more at the flow's end.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from urllib.parse import urlencode
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.context import SettingsContext, get_settings_context
from prefect.logging import get_logger
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, Settings
from prefect.utilities.context import get_task_and_flow_run_ids

ATTEMPT_SECONDS = 5.0
PAUSE_SECONDS = 60.0


class Publisher:
    """Publishes artifacts; remembers a server that is away and the pages it may update."""

    def __init__(self) -> None:
        self._away_until = 0.0
        self._pages: dict[tuple[UUID, str], UUID] = {}
        self._missed: dict[tuple[UUID, str], tuple[ArtifactCreate, bool]] = {}
        self._client: SyncPrefectClient | None = None
        self._client_of: Settings | None = None
        self._settings: Settings | None = None

    def table(self, key: str, rows: Sequence[Mapping[str, str]], description: str) -> bool:
        """A new version of a table under ``key``; False if it could not be published."""
        return self._publish(key, "table", json.dumps(list(rows)), description, update=False)

    def page(self, key: str, markdown: str, description: str, *, update: bool = False) -> bool:
        """A markdown page under ``key``; False if it could not be published.

        Args:
            update: within one flow run the page is changed in place, so that a page that is
                published often does not grow the database.
        """
        return self._publish(key, "markdown", markdown, description, update=update)

    @contextmanager
    def caught_up(self) -> Iterator[None]:
        """After the block, try once more what the flow run has missed, for seconds at most."""
        try:
            yield
        except Exception:
            self._catch_up()
            raise
        self._catch_up()

    def _catch_up(self) -> None:
        _, flow_run = get_task_and_flow_run_ids()
        missed = [key for key in self._missed if key[0] == flow_run]
        artifacts = [self._missed.pop(key) for key in missed]
        done = 0
        try:
            for (of, key), (artifact, update) in zip(missed, artifacts, strict=True):
                self._send(of, key, artifact, update)
                done += 1
        except Exception as error:
            get_logger(__name__).warning(
                "at the end %d of %d missed pages published; the store has what they would show: "
                "%s",
                done,
                len(missed),
                error,
            )
        else:
            if missed:
                get_logger(__name__).info("%d missed pages published at the end", done)

    def _publish(self, key: str, kind: str, data: str, description: str, *, update: bool) -> bool:
        task_run, flow_run = get_task_and_flow_run_ids()
        if flow_run is None:
            return False
        artifact = ArtifactCreate(
            key=key,
            type=kind,
            data=data,
            description=description,
            flow_run_id=flow_run,
            task_run_id=task_run,
        )
        self._missed[flow_run, key] = (artifact, update)
        if time.monotonic() < self._away_until:
            return False
        try:
            self._send(flow_run, key, artifact, update)
        except Exception as error:
            self._away_until = time.monotonic() + PAUSE_SECONDS
            get_logger(__name__).warning(
                "page %s not published, next attempt in %.0f s: %s", key, PAUSE_SECONDS, error
            )
            return False
        del self._missed[flow_run, key]
        return True

    def _send(self, flow_run: UUID, key: str, artifact: ArtifactCreate, update: bool) -> None:
        page = self._pages.get((flow_run, key)) if update else None
        with self._one_attempt() as client:
            if page is not None:
                change = ArtifactUpdate(data=artifact.data, description=artifact.description)
                client.update_artifact(page, change)
                return
            created = client.create_artifact(artifact)
            if update:
                self._pages[flow_run, key] = created.id

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


def page_path(page: str, run: str) -> str:
    """Where the UI shows all versions of a run's page."""
    return f"/v2/artifacts/key/{artifact_key(page, run)}"


def events_path(run: str) -> str:
    """Where the UI shows the events of a run alone."""
    return "/v2/events?" + urlencode({"resource": json.dumps([f"dacapo.run.{run}"])})
