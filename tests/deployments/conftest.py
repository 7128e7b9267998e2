"""One site for all tests of deployments."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.deployments.published import mirror
from tests.deployments.site import Site, running_site


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Server, deployments and a mirror of the published networks; no worker yet."""
    folder = tmp_path_factory.mktemp("site")
    with (
        mirror(folder / "mirror") as url,
        running_site(folder / "elsewhere", DACAPO_COSEM_URL=url) as site,
    ):
        yield site


@pytest.fixture(autouse=True)
def nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """No worker and no run of a test, one that failed above all, is there for the next."""
    if "site" not in request.fixturenames:
        yield
        return
    with request.getfixturevalue("site").left_as_it_was():
        yield
