"""A page of links: where everything is in the UI, much of which no side bar shows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from urllib.parse import urlencode
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactCreate
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.sorting import ArtifactSort

from tasks.pages.wording import markdown_table
from tasks.weights_store_block import WeightsStoreBlock

KEY = "dacapo"
PATH = f"/v2/artifacts/key/{KEY}"
EVENTS = {
    "stored": "a checkpoint is durable",
    "best": "a checkpoint became the best",
    "pruned": "checkpoints were let go of, and why",
    "restored": "a marked checkpoint was brought back",
}
PAGES = {
    "report-…": "a run: progress, scores, losses, the last validation slice",
    "pruning-…": "a run: each checkpoint kept or pruned, and why; disk use",
    "pruning-table-…": "the same as a table that can be searched",
    "start-…": "what a fine-tuned run loaded from its start",
    "prune-plan-…": "what pruning would do: a dry run",
    "sweep-…": "the runs of a sweep side by side",
    "pruning-summary": "the nightly pruning, all runs",
}


def index_page(deployments: Mapping[str, UUID]) -> str:
    """The page, as markdown; ``deployments`` is ``<flow>/<deployment>`` → id."""
    forms = [
        (f"[{name}](/v2/deployments/deployment/{id}/run)", f"`prefect deployment run {name}`")
        for name, id in sorted(deployments.items())
    ]
    feeds = [
        (f"[{kind}]({_feed([f'dacapo.checkpoint.{kind}'])})", what) for kind, what in EVENTS.items()
    ]
    blocks = f"/v2/blocks/catalog/{WeightsStoreBlock.get_block_type_slug()}"
    return "\n\n".join(
        [
            "# DaCapo: where everything is",
            "## Start a run",
            markdown_table(["form", "the same at a terminal"], forms),
            "## Look at a run",
            "[All pages](/v2/artifacts): search for the run's name. A run's report links to its "
            "other pages.",
            markdown_table(
                ["page", "shows"], [(f"`{key}`", shows) for key, shows in PAGES.items()]
            ),
            "## What happened to checkpoints",
            markdown_table(["event feed", "when"], feeds),
            "## The site",
            f"[Make a weights store block]({blocks}/create), to call a store `block:<name>` and "
            "keep its credentials secret · [blocks](/v2/blocks) · [automations](/v2/automations), "
            "which crash and restart runs whose process is gone · "
            "[work pool gpu](/v2/work-pools/work-pool/gpu)",
        ]
    )


def publish_index(names: Sequence[str]) -> bool:
    """Publish the page for these deployments; False if it stands there already."""
    with get_client(sync_client=True) as client:
        page = index_page({name: client.read_deployment_by_name(name).id for name in names})
        latest = client.read_artifacts(
            artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[KEY])),
            sort=ArtifactSort.CREATED_DESC,
            limit=1,
        )
        if latest and latest[0].data == page:
            return False
        client.create_artifact(
            ArtifactCreate(key=KEY, type="markdown", data=page, description="Where everything is")
        )
    return True


def _feed(events: Sequence[str]) -> str:
    return "/v2/events?" + urlencode({"events": json.dumps(list(events), separators=(",", ":"))})
