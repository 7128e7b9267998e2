"""Which tests run in one process where several share the work."""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling

# each has a Prefect server of its own for all its tests
TOGETHER = ("tests/deployments/", "tests/flows/")


class ByServer(LoadScopeScheduling):
    """The tests that share a Prefect server stay together, all others by module."""

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.partition("::")[0]
        return next((folder for folder in TOGETHER if module.startswith(folder)), module)
