"""Where several processes run the tests, all that want one server are run by one process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

# a server and its deployments take half a minute to stand
WITH_A_SERVER = ("tests/deployments/", "tests/flows/")


class ByServer(LoadFileScheduling):
    """As ``--dist loadfile``, with each of these folders as one file."""

    def _split_scope(self, nodeid: str) -> str:
        inside: Iterator[str] = (each for each in WITH_A_SERVER if nodeid.startswith(each))
        return next(inside, super()._split_scope(nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByServer | None:
    return ByServer(config, log) if config.getvalue("dist") == "loadfile" else None
