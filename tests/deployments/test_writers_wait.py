"""Two who read and then write at once, on Prefect's SQLite: neither is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

# in a process of its own: what it changes in Prefect's server stays
AT_ONCE = """
import asyncio, sys
from sqlalchemy import text
from prefect.server.database.configurations import AioSqliteConfiguration
from deployments.prefect_server import let_writers_wait

async def add(database, engine, first, other):
    async with await database.session(engine) as session:
        async with database.begin_transaction(session):
            (before,) = (await session.execute(text("select count(*) from runs"))).one()
            first.set()
            # the other has read too, if it does not wait
            await asyncio.wait([asyncio.ensure_future(other.wait())], timeout=0.5)
            await session.execute(text("insert into runs values (:n)"), {"n": before})

async def main():
    database = AioSqliteConfiguration(f"sqlite+aiosqlite:///{sys.argv[1]}")
    engine = await database.engine()
    async with engine.begin() as connection:
        await connection.execute(text("create table runs (n integer)"))
    one, two = asyncio.Event(), asyncio.Event()
    await asyncio.gather(add(database, engine, one, two), add(database, engine, two, one))
    async with engine.connect() as connection:
        print(sorted(n for (n,) in await connection.execute(text("select n from runs"))))
    await engine.dispose()

if sys.argv[2] == "waiting":
    let_writers_wait()
asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("how", "said"), [("waiting", "[0, 1]"), ("as prefect does", "database is locked")]
)
def test_who_reads_and_then_writes_waits_for_the_other(tmp_path: Path, how: str, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", AT_ONCE, str(tmp_path / "runs.db"), how],
        env=os.environ | {"PREFECT_HOME": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert said in done.stdout
