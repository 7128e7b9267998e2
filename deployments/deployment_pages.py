"""What the page of a deployment shows, and which parameters the server refuses."""

from __future__ import annotations

import re
from collections.abc import Sequence

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import DeploymentUpdate

from deployments.parameter_forms import form

SECTION = re.compile(r"\n\n(Args|Returns|Yields|Raises):\n")


def shape_pages(deployments: Sequence[str]) -> None:
    """Describe each deployment in prose, give it a form to fill in, and refuse what is misspelt.

    Prefect describes a deployment without a description with the docstring of its flow, whole:
    the page would run the arguments, which the form describes, together into one paragraph. Its
    own schemas let a parameter that the flow does not have fail in the run.

    Args:
        deployments: ``<flow>/<name>``.
    """
    with get_client(sync_client=True) as client:
        for name in deployments:
            deployment = client.read_deployment_by_name(name)
            schema = form(deployment.parameter_openapi_schema or {})
            change = DeploymentUpdate(
                description=SECTION.split(deployment.description or "")[0].strip(),
                parameter_openapi_schema=schema | {"additionalProperties": False},
            )
            client.update_deployment(deployment.id, change)
