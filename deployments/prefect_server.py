"""Prefect's server in this process, on SQLite with writers that wait for each other.

In Prefect most transactions read first and write then. SQLite refuses the write at once, whatever
time it may wait, if another one has written in between: "database is locked", which a form shows
as "Unknown error while creating flow run". A transaction that asks for the right to write when it
begins waits for it instead. Prefect does so itself where it has seen the failure.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession, AsyncSessionTransaction


def serve(port: int) -> None:
    """Start Prefect's server on loopback, and stay."""
    # a shell starts background processes deaf to Ctrl-C, and Prefect's server then to SIGTERM too
    signal.signal(signal.SIGINT, signal.default_int_handler)
    let_writers_wait()
    from prefect.cli import app

    sys.argv = ["prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    app()


def let_writers_wait() -> None:
    """Have all transactions of this process on SQLite begin as ``BEGIN IMMEDIATE``."""
    from prefect.server.database.configurations import AioSqliteConfiguration

    begin = AioSqliteConfiguration.begin_transaction

    @asynccontextmanager
    async def begin_to_write(
        self: AioSqliteConfiguration, session: AsyncSession, with_for_update: bool = True
    ) -> AsyncGenerator[AsyncSessionTransaction, None]:
        async with begin(self, session, with_for_update=True) as transaction:
            yield transaction

    AioSqliteConfiguration.begin_transaction = begin_to_write  # type: ignore[method-assign]
