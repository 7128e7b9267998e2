"""What a deployment says about itself: the prose of its flow's docstring."""

from __future__ import annotations

import re
from collections.abc import Sequence

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import DeploymentUpdate

SECTION = re.compile(r"\n\n(Args|Returns|Yields|Raises):\n")


def describe(names: Sequence[str]) -> None:
    """Shorten the descriptions of these deployments to their prose.

    Prefect describes a deployment without a description with the docstring of its flow, whole:
    the page would run the arguments, which the form describes, together into one paragraph.
    """
    with get_client(sync_client=True) as client:
        for name in names:
            deployment = client.read_deployment_by_name(name)
            if deployment.description is not None:
                change = DeploymentUpdate(description=prose(deployment.description))
                client.update_deployment(deployment.id, change)


def prose(docstring: str) -> str:
    """The docstring without its sections."""
    return SECTION.split(docstring)[0].strip()
