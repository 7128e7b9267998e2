"""What a form shows, and what is refused when a run is asked for."""

from __future__ import annotations

from collections.abc import Sequence

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import DeploymentUpdate

from deployments.parameter_forms import form


def shape_forms(deployments: Sequence[str]) -> None:
    """Put what a person sets first and fold the rest; have the server refuse what is misspelt.

    Prefect's own schemas let a parameter that the flow does not have fail in the run.

    Args:
        deployments: ``<flow>/<name>``.
    """
    with get_client(sync_client=True) as client:
        for name in deployments:
            deployment = client.read_deployment_by_name(name)
            schema = form(deployment.parameter_openapi_schema or {})
            schema["additionalProperties"] = False
            client.update_deployment(
                deployment.id, DeploymentUpdate(parameter_openapi_schema=schema)
            )
