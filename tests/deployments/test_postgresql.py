"""Prefect's server on PostgreSQL, by the recipe's own commands."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.deployments.site import running_site
from tests.small_run import small_run

pytestmark = [pytest.mark.slow, pytest.mark.prefect]

RECIPE = Path(__file__).resolve().parents[2] / "deployments" / "recipes" / "postgresql.md"
RECIPES_PORT = "5433"


@dataclass(frozen=True)
class Database:
    """A PostgreSQL cluster of the test's own."""

    connection_url: str
    port: int
    programs: Path

    def ask(self, query: str) -> str:
        """What psql answers."""
        return subprocess.run(
            [
                *(self.programs / "psql", "--host", "127.0.0.1", "--port", str(self.port)),
                *("--username", "prefect", "--tuples-only", "--no-align", "--command", query),
            ],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()


def programs() -> Path:
    """The folder of PostgreSQL's programs; Debian keeps them off the path."""
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not folders:
        pytest.skip("PostgreSQL is not installed: make postgresql")
    return folders[-1].parent


def blocks() -> list[str]:
    """The recipe's commands, block by block."""
    return re.findall(r"^```\n(.*?)^```$", RECIPE.read_text(), re.DOTALL | re.MULTILINE)


@pytest.fixture
def database() -> Iterator[Database]:
    """The recipe's cluster of one's own, on a free port; root hands it to PostgreSQL's user."""
    folder = programs()
    cluster, server = (
        next(block for block in blocks() if word in block)
        for word in ("initdb", "CONNECTION_URL=postgresql")
    )
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    url = re.search(r"CONNECTION_URL=(\S+)", server)
    assert url is not None
    with tempfile.TemporaryDirectory() as home:
        as_user: list[str] = []
        if os.geteuid() == 0:
            try:
                pwd.getpwnam("postgres")
            except KeyError:
                pytest.skip("PostgreSQL refuses root, and there is no user postgres here")
            shutil.chown(home, "postgres")
            as_user = ["runuser", "-u", "postgres", "--"]

        def typed(commands: str) -> None:
            done = subprocess.run(
                [
                    *(*as_user, "env", f"HOME={home}", f"PATH={folder}:{os.defpath}"),
                    *("bash", "-ec", commands.replace(RECIPES_PORT, str(port))),
                ],
                cwd=home,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=120,
                check=False,
            )
            assert done.returncode == 0, done.stdout

        typed(cluster)
        try:
            yield Database(url[1].replace(RECIPES_PORT, str(port)), port, folder)
        finally:
            typed('pg_ctl --pgdata "$HOME/prefect-db" --mode immediate stop')


def test_a_run_is_recorded_in_postgresql_and_nothing_in_sqlite(
    database: Database, tmp_path: Path
) -> None:
    with running_site(
        tmp_path, PREFECT_API_DATABASE_CONNECTION_URL=database.connection_url
    ) as site:
        site.start("deployments", "worker", "--device", "")
        id = site.deployment_run("train/default", run=small_run("recorded", 2, 1))
        done = site.ended(id)
        assert done["state_type"] == "COMPLETED", done["state"]["message"]
        assert database.ask(f"select state_type from flow_run where id = '{id}'") == "COMPLETED"
        assert int(database.ask("select count(*) from deployment")) >= 6
        assert not list((tmp_path / "prefect").glob("*.db"))
