"""Parameters that a flow does not have are refused when its run is asked for."""

from __future__ import annotations

from collections.abc import Sequence

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import DeploymentUpdate


def refuse_unknown(deployments: Sequence[str]) -> None:
    """Have the server refuse what is misspelt, which Prefect's own schemas let fail in the run.

    Args:
        deployments: ``<flow>/<name>``.
    """
    with get_client(sync_client=True) as client:
        for name in deployments:
            deployment = client.read_deployment_by_name(name)
            schema = (deployment.parameter_openapi_schema or {}) | {"additionalProperties": False}
            client.update_deployment(
                deployment.id, DeploymentUpdate(parameter_openapi_schema=schema)
            )
