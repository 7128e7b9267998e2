"""What the tests of `make campaign` count, from all their processes, as one table at the end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

# kind → at least how many
WANTED = {
    "files mutated, ours": 5000,
    "files mutated, DaCapo's": 5000,
    "records mutated": 200,
    "hostile files": 50,
    "kills at each step": 250,
    "kills at random": 250,
    "disturbances of an S3-compatible server": 100,
    "writes to a full disk": 50,
    "rounds of two writers": 25,
}


class Campaign:
    """Counts what was tried, and says what should not have been."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.violations: list[str] = []

    def count(self, kind: str, number: int = 1) -> None:
        """So many more of a kind were tried."""
        self.counts[kind] = self.counts.get(kind, 0) + number

    def check(self, holds: bool, otherwise: str) -> None:
        """What must hold; the campaign goes on where it does not, and its test fails."""
        if not holds:
            self.violations.append(otherwise)

    def add(self, other: dict[str, Any]) -> None:
        """What another process counted."""
        for kind, number in other["counts"].items():
            self.count(kind, number)
        self.violations += other["violations"]

    def as_dict(self) -> dict[str, Any]:
        return {"counts": self.counts, "violations": self.violations}


_everything = Campaign()


@pytest.fixture
def campaign() -> Iterator[Campaign]:
    """Counts for the table; the test fails where something did not hold."""
    own = Campaign()
    yield own
    _everything.add(own.as_dict())
    assert not own.violations, f"{len(own.violations)} violations: {own.violations[:5]}"


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker of several hands its figures over."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["campaign"] = _everything.as_dict()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object | None) -> None:
    """Take a worker's figures."""
    found = getattr(node, "workeroutput", {}).get("campaign")
    if found is not None:
        _everything.add(found)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """The table, where a campaign was run."""
    if terminalreporter.config.getoption("markexpr") != "campaign" or not _everything.counts:
        return
    terminalreporter.section("campaign")
    for kind, wanted in WANTED.items():
        found = _everything.counts.get(kind, 0)
        short = "" if found >= wanted else f"   fewer than the {wanted} that are meant"
        terminalreporter.line(f"{kind:<42}{found:>8}{short}")
    for kind in sorted(_everything.counts.keys() - WANTED.keys()):
        terminalreporter.line(f"{kind:<42}{_everything.counts[kind]:>8}")
    terminalreporter.line(f"{'violations':<42}{len(_everything.violations):>8}")
