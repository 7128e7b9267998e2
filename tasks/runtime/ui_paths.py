"""Keys of pages, and paths of the Prefect UI that pages link to."""

from __future__ import annotations

import hashlib
import json
import re
from urllib.parse import urlencode
from uuid import UUID

KEY_PATH = "/v2/artifacts/key/"


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
    """Where the UI lists all versions of a run's page."""
    return KEY_PATH + artifact_key(page, run)


def artifact_path(id: UUID) -> str:
    """Where the UI shows one version of a page, with its content."""
    return f"/v2/artifacts/artifact/{id}"


def events_path(run: str) -> str:
    """Where the UI shows the events of a run alone."""
    return "/v2/events?" + urlencode({"resource": json.dumps([f"dacapo.run.{run}"])})


def flow_run_path(id: str) -> str:
    """Where the UI shows a flow run."""
    return f"/v2/runs/flow-run/{id}"
