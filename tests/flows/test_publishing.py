"""Pages and events reach the server, and a server that is away never holds a run up."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Iterator

import pytest
from prefect import flow
from prefect.artifacts import Artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.settings import PREFECT_API_URL, temporary_settings

from tasks.events import emit_checkpoint_event
from tasks.publishing import ATTEMPT_SECONDS, Publisher, artifact_key


@pytest.fixture
def silent_server() -> Iterator[str]:
    """Accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/api"


@pytest.fixture
def absent_server() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    return f"http://127.0.0.1:{port}/api"


def test_two_runs_never_share_a_key() -> None:
    assert artifact_key("pruning", "my-run-3") == "pruning-my-run-3"
    keys = {artifact_key("pruning", name) for name in ("a-b", "a_b", "A-b", "a b", "a.b")}
    assert len(keys) == 5
    assert all(set(key) <= set("abcdefghijklmnopqrstuvwxyz0123456789-") for key in keys)


@pytest.mark.slow
@pytest.mark.prefect
def test_versions_of_a_table_are_kept_and_a_page_is_changed_in_place(prefect_server: str) -> None:
    @flow
    def publish_twice() -> None:
        publisher = Publisher()
        for number in ("1", "2"):
            assert publisher.table("history", [{"iteration": number}], "a table")
            assert publisher.page("report", f"page {number}", "a page", update=True)

    publish_twice()
    with get_client(sync_client=True) as client:

        def versions(key: str) -> list[object]:
            wanted = ArtifactFilter(key=ArtifactFilterKey(any_=[key]))
            return [each.data for each in client.read_artifacts(artifact_filter=wanted)]

        assert sorted(map(str, versions("history"))) == [
            '[{"iteration": "1"}]',
            '[{"iteration": "2"}]',
        ]
        assert versions("report") == ["page 2"]
    latest = Artifact.get("report")
    assert latest is not None
    assert latest.data == "page 2"


@pytest.mark.slow
@pytest.mark.prefect
@pytest.mark.parametrize("away", ["silent_server", "absent_server"])
def test_a_server_that_is_away_costs_seconds_once_and_one_log_line(
    prefect_server: str,
    away: str,
    request: pytest.FixtureRequest,
    caplog: pytest.LogCaptureFixture,
) -> None:
    url = request.getfixturevalue(away)
    seconds: list[float] = []

    @flow
    def publish_to_nobody() -> None:
        publisher = Publisher()
        with temporary_settings({PREFECT_API_URL: url}):
            for _ in range(3):
                start = time.monotonic()
                assert not publisher.page("report", "page", "a page")
                emit_checkpoint_event("stored", "run", iteration=1)
                seconds.append(time.monotonic() - start)

    with caplog.at_level(logging.WARNING):
        publish_to_nobody()
    assert seconds[0] < ATTEMPT_SECONDS + 3
    assert sum(seconds[1:]) < 0.5
    said = [record for record in caplog.records if "not published" in record.getMessage()]
    assert len(said) == 1


@pytest.mark.slow
@pytest.mark.prefect
@pytest.mark.parametrize("fails", [False, True])
def test_what_was_missed_while_the_server_was_away_is_published_at_the_end(
    prefect_server: str, absent_server: str, fails: bool, caplog: pytest.LogCaptureFixture
) -> None:
    key = f"missed-{fails}".lower()

    @flow
    def outlive_an_outage() -> None:
        publisher = Publisher()
        with publisher.caught_up():
            assert publisher.page(key, "page 1", "a page", update=True)
            with temporary_settings({PREFECT_API_URL: absent_server}):
                assert not publisher.page(key, "page 2", "a page", update=True)
            # back, and not asked again for a minute
            assert not publisher.page(key, "page 3", "a page", update=True)
            assert not publisher.table(f"{key}-table", [{"row": "1"}], "a table")
            if fails:
                raise ValueError("for another reason")

    with caplog.at_level(logging.INFO):
        if fails:
            with pytest.raises(ValueError, match="for another reason"):
                outlive_an_outage()
        else:
            outlive_an_outage()
    for name, data in ((key, "page 3"), (f"{key}-table", '[{"row": "1"}]')):
        wanted = ArtifactFilter(key=ArtifactFilterKey(any_=[name]))
        with get_client(sync_client=True) as client:
            assert [each.data for each in client.read_artifacts(artifact_filter=wanted)] == [data]
    assert caplog.text.count("2 missed pages published at the end") == 1


@pytest.mark.slow
@pytest.mark.prefect
def test_a_server_that_is_still_away_at_the_end_costs_seconds_and_one_more_line(
    prefect_server: str, silent_server: str, caplog: pytest.LogCaptureFixture
) -> None:
    seconds: list[float] = []

    @flow
    def end_in_an_outage() -> None:
        publisher = Publisher()
        with temporary_settings({PREFECT_API_URL: silent_server}):
            with publisher.caught_up():
                for page in ("a", "b", "c"):
                    assert not publisher.page(page, "page", "a page")
                began = time.monotonic()
            seconds.append(time.monotonic() - began)

    with caplog.at_level(logging.WARNING):
        end_in_an_outage()
    assert seconds[0] < ATTEMPT_SECONDS + 3
    assert caplog.text.count("0 of 3 missed pages published") == 1
