"""A page of links: where everything is in the UI, much of which no side bar shows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from urllib.parse import urlencode
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate

from tasks.pages.formatting import markdown_table
from tasks.runtime.artifact_versions import newest_version
from tasks.runtime.weights_store_block import WeightsStoreBlock

KEY = "dacapo"
EVENTS = {
    "stored": "a checkpoint is durable",
    "best": "a checkpoint became the best",
    "pruned": "checkpoints were let go of, and why",
    "restored": "a marked checkpoint was brought back",
    "rehearsed": "what a dry run would have let go of; nothing was touched",
}
PAGES = {
    "store": "all runs: where each is, what needs attention, disk use",
    "report-": "a run: progress, scores, losses, the last validation slice",
    "pruning-": "a run: each checkpoint kept or pruned, and why; disk use",
    "start-": "what a fine-tuned run loaded from its start",
    "prune-plan-": "rehearsals: what pruning would do to a run; nothing was touched",
    "sweep-": "the runs of a sweep side by side",
    "pruning-summary": "the nightly pruning, all runs",
}


def index_page(deployments: Mapping[str, UUID]) -> str:
    """The page, as markdown; ``deployments`` is ``<flow>/<deployment>`` → id."""
    forms = [
        (f"[{name}](/v2/deployments/deployment/{id}/run)", f"`prefect deployment run {name}`")
        for name, id in sorted(deployments.items())
    ]
    # of a key that nothing has been published under the UI has no page; a search always has one
    pages = [(f"[{key}](/v2/artifacts?name={key})", shows) for key, shows in PAGES.items()]
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
            "[Runs](/v2/runs), one of them, its tab Artifacts: its pages. A run's report links to "
            "the others. Or all runs' pages of a kind:",
            markdown_table(["pages", "show"], pages),
            "## What happened to checkpoints",
            markdown_table(["event feed", "when"], feeds),
            "## The site",
            f"[Make a weights store block]({blocks}/create), to call a store `block:<name>` and "
            "keep its credentials secret · [blocks](/v2/blocks) · [automations](/v2/automations), "
            "which crash and restart runs whose process is gone · "
            "[work pool gpu](/v2/work-pools/work-pool/gpu)",
        ]
    )


def publish_index(names: Sequence[str]) -> UUID:
    """Publish the page for these deployments, in the place of the one that stands there.

    Returns:
        The artifact's id. It stays, and so does the page's address.
    """
    with get_client(sync_client=True) as client:
        page = index_page({name: client.read_deployment_by_name(name).id for name in names})
        if (known := newest_version(client, KEY)) is not None:
            client.update_artifact(known.id, ArtifactUpdate(data=page))
            return known.id
        created = client.create_artifact(
            ArtifactCreate(key=KEY, type="markdown", data=page, description="Where everything is")
        )
    return created.id


def _feed(events: Sequence[str]) -> str:
    return "/v2/events?" + urlencode({"events": json.dumps(list(events), separators=(",", ":"))})
