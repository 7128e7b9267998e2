"""Pages and events reach the server, and a server that is away never holds a run up."""

from __future__ import annotations

import logging
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from prefect import flow, task
from prefect.artifacts import Artifact as NewestArtifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterKey,
)
from prefect.client.schemas.objects import Artifact
from prefect.client.schemas.sorting import ArtifactSort
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.utilities.context import get_task_and_flow_run_ids

from flows.embedded_prefect import send_what_is_queued
from tasks.runtime import artifacts
from tasks.runtime.artifacts import ATTEMPT_SECONDS, Publisher
from tasks.runtime.events import emit_checkpoint_event
from tasks.runtime.open_stores import open_store
from tasks.runtime.ui_paths import artifact_key
from tests.deployments.site import wait_for


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


@contextmanager
def passed_on(address: tuple[str, int], server: tuple[str, int]) -> Iterator[None]:
    """Whoever connects to an address is connected to a server."""

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)

    def accept() -> None:
        with suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection(server)
                for ends in ((near, far), (far, near)):
                    threading.Thread(target=pump, args=ends, daemon=True).start()

    with socket.create_server(address) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield


def test_two_runs_never_share_a_key() -> None:
    assert artifact_key("pruning", "my-run-3") == "pruning-my-run-3"
    keys = {artifact_key("pruning", name) for name in ("a-b", "a_b", "A-b", "a b", "a.b")}
    assert len(keys) == 5
    assert all(set(key) <= set("abcdefghijklmnopqrstuvwxyz0123456789-") for key in keys)


def published(key: str) -> list[Artifact]:
    """All versions of a page that the server has."""
    wanted = ArtifactFilter(key=ArtifactFilterKey(any_=[key]))
    with get_client(sync_client=True) as client:
        return client.read_artifacts(artifact_filter=wanted)


def texts(key: str) -> list[str]:
    """What the versions of a page say, without as of when."""
    return sorted(re.sub(r"\n\nAs of .* UTC\.", "", str(each.data)) for each in published(key))


@pytest.mark.slow
@pytest.mark.prefect
def test_a_flow_run_has_one_card_a_page_the_one_that_leads_first_and_makes_no_events(
    prefect_server: str,
) -> None:
    cards: list[Artifact] = []

    @flow
    def publish_twice() -> None:
        _, flow_run = get_task_and_flow_run_ids()
        for number in ("1", "2"):
            # another process, as after a crash
            publisher = Publisher()
            with publisher.caught_up():
                publisher.table("history", [{"iteration": number}], "a table")
                for key in ("checkpoints", "start"):
                    publisher.page(key, f"page {number}", "a page")
                publisher.page("report", f"page {number}", "a page", leads=True)
        wanted = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run]))
        with get_client(sync_client=True) as client:
            # the order of the tab Artifacts
            cards.extend(client.read_artifacts(artifact_filter=wanted, sort=ArtifactSort.ID_DESC))

    publish_twice()
    assert cards[0].key == "report"
    assert sorted(str(card.key) for card in cards) == ["checkpoints", "history", "report", "start"]
    assert texts("history") == ['[{"iteration": "2"}]']
    assert texts("report") == ["page 2"]
    latest = NewestArtifact.get("report")
    assert latest is not None
    assert str(latest.data).startswith("page 2")
    send_what_is_queued()
    with get_client(sync_client=True) as client:
        found = client.request(
            "POST", "/events/filter", json={"filter": {"event": {"prefix": ["prefect.artifact."]}}}
        )
    assert found.json()["events"] == []


@pytest.mark.slow
@pytest.mark.prefect
def test_a_page_links_to_the_one_of_a_later_flow_run_and_the_one_that_is_shown_last_to_none(
    prefect_server: str,
) -> None:
    @flow
    def publish_later(publisher: Publisher) -> None:
        with publisher.caught_up():
            publisher.page("ageing", "# later\n\ntext", "a page")

    @flow
    def publish() -> None:
        publisher = Publisher()
        with publisher.caught_up():
            publisher.page("ageing", "# first\n\ntext", "a page")
        publish_later(publisher)
        (first,) = (page for page in published("ageing") if "# first" in str(page.data))
        (later,) = (page for page in published("ageing") if "# later" in str(page.data))
        link = "**Replaced** since by [a later page](/v2/artifacts/artifact/{})"
        assert link.format(later.id) in str(first.data)
        assert "Replaced" not in str(later.data)
        assert re.search(r"As of \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", str(first.data))
        with publisher.caught_up():
            publisher.page("ageing", "# first, again\n\ntext", "a page")
            publisher.page("links", "[page](/v2/artifacts/key/ageing)", "a page")
        by_id = {page.id: str(page.data) for page in published("ageing")}
        assert len(by_id) == 2
        assert link.format(first.id) in by_id[later.id]
        assert "Replaced" not in by_id[first.id]
        assert str(first.id) in texts("links")[0]

    publish()


@pytest.mark.slow
@pytest.mark.prefect
def test_links_to_other_pages_lead_to_their_content(prefect_server: str) -> None:
    publisher = Publisher()
    link = "[more](/v2/artifacts/key/linked)"

    @flow
    def publish() -> None:
        with publisher.caught_up():
            publisher.page("linked", "page", "a page")
            publisher.page("linking", f"{link} [none](/v2/artifacts/key/nothing)", "a page")

    @flow
    def publish_in_another_process() -> None:
        another = Publisher()
        with another.caught_up():
            another.page("linking-later", link, "a page")

    publish()
    (linked,) = published("linked")
    direct = f"[more](/v2/artifacts/artifact/{linked.id})"
    assert texts("linking") == [f"{direct} [none](/v2/artifacts/key/nothing)"]
    publish_in_another_process()
    assert texts("linking-later") == [direct]


@pytest.mark.slow
@pytest.mark.prefect
def test_a_page_belongs_to_the_flow_run_and_the_task_run_that_published_it(
    prefect_server: str,
) -> None:
    publisher = Publisher()
    runs: dict[str, tuple[object, object]] = {}

    @task
    def publish(key: str) -> None:
        publisher.page(key, "page", "a page")
        task_run, flow_run = get_task_and_flow_run_ids()
        runs[key] = (flow_run, task_run)

    @flow
    def publish_both() -> None:
        with publisher.caught_up():
            publish("first-owner")
            publish("second-owner")

    publish_both()
    assert None not in runs["first-owner"]
    assert runs["first-owner"][1] != runs["second-owner"][1]
    for key, owners in runs.items():
        (page,) = published(key)
        assert (page.flow_run_id, page.task_run_id) == owners


@pytest.mark.slow
@pytest.mark.prefect
@pytest.mark.parametrize("away", ["silent_server", "absent_server"])
def test_a_server_that_is_away_costs_its_callers_nothing_and_one_log_line(
    prefect_server: str,
    away: str,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = open_store(str(tmp_path))
    url = request.getfixturevalue(away)
    monkeypatch.setattr(artifacts, "ATTEMPT_SECONDS", 0.5)
    monkeypatch.setattr(artifacts, "PAUSE_SECONDS", 0.2)

    def said() -> list[str]:
        lines = [record.getMessage() for record in caplog.records]
        return [line for line in lines if "not published" in line]

    @flow
    def publish_to_nobody() -> float:
        publisher = Publisher()
        began = time.monotonic()
        with temporary_settings({PREFECT_API_URL: url}):
            for _ in range(3):
                publisher.page("report", "page", "a page")
                emit_checkpoint_event("stored", "run", store, iteration=1)
        waited = time.monotonic() - began
        deadline = began + 30
        while not said() and time.monotonic() < deadline:
            time.sleep(0.05)
        # time for more attempts than one
        time.sleep(2)
        return waited

    with caplog.at_level(logging.WARNING):
        assert publish_to_nobody() < 0.4
    assert len(said()) == 1


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
            with publisher.caught_up():
                publisher.page(key, "page 1", "a page")
            with temporary_settings({PREFECT_API_URL: absent_server}):
                publisher.page(key, "page 2", "a page")
            wait_for("the attempt", 30, lambda: "not published" in caplog.text)
            # back, and not asked again for a minute
            publisher.page(key, "page 3", "a page")
            for row in "12":
                publisher.table(f"{key}-table", [{"row": row}], "a table")
            if fails:
                raise ValueError("for another reason")

    with caplog.at_level(logging.INFO):
        if fails:
            with pytest.raises(ValueError, match="for another reason"):
                outlive_an_outage()
        else:
            outlive_an_outage()
    assert texts(key) == ["page 3"]
    assert texts(f"{key}-table") == ['[{"row": "2"}]'], "the newer instead of the one not sent yet"
    assert caplog.text.count("2 missed pages published at the end") == 1


@pytest.mark.slow
@pytest.mark.prefect
def test_a_server_that_is_back_is_asked_again_during_the_run(
    prefect_server: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(artifacts, "PAUSE_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = probe.getsockname()
    server = urlsplit(prefect_server)

    @flow
    def outlive_an_outage() -> None:
        with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{address[1]}/api"}):
            Publisher().page("back-again", "page", "a page")
        wait_for("the attempt", 30, lambda: "not published" in caplog.text)
        with passed_on(address, (str(server.hostname), int(server.port or 0))):
            wait_for("the page", 30, lambda: texts("back-again") == ["page"])

    with caplog.at_level(logging.WARNING):
        outlive_an_outage()


@pytest.mark.slow
@pytest.mark.prefect
def test_a_page_that_cannot_be_made_holds_no_other_up(
    prefect_server: str, caplog: pytest.LogCaptureFixture
) -> None:
    def unreadable() -> str:
        raise FileNotFoundError("no run 'x'")

    @flow
    def publish_another() -> None:
        publisher = Publisher()
        with publisher.caught_up():
            publisher.page("unreadable", unreadable, "a page")
            publisher.page("another", lambda: "page", "a page")

    with caplog.at_level(logging.WARNING):
        publish_another()
    assert texts("another") == ["page"]
    assert "page unreadable not made: FileNotFoundError: no run 'x'" in caplog.text


@pytest.mark.slow
@pytest.mark.prefect
def test_a_page_that_a_person_deleted_comes_back(prefect_server: str) -> None:
    @flow
    def publish() -> None:
        publisher = Publisher()
        with publisher.caught_up():
            publisher.page("gone", "page 1", "a page")
        with get_client(sync_client=True) as client:
            client.delete_artifact(published("gone")[0].id)
        with publisher.caught_up():
            publisher.page("gone", "page 2", "a page")

    publish()
    assert texts("gone") == ["page 2"]


@pytest.mark.slow
@pytest.mark.prefect
def test_a_page_that_changes_often_is_sent_every_few_seconds(
    prefect_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []

    @flow
    def publish_often() -> None:
        publisher = Publisher()
        with publisher.caught_up():
            publisher.page("often", "page", "a page")
            wait_for("the first", 30, lambda: texts("often"))
            for number in range(100):
                publisher.page("often", lambda number=number: f"{made.append(number)}", "a page")  # type: ignore[misc]
            time.sleep(0.3)
            assert made == []
        assert made == [99]

    publish_often()


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
                    publisher.page(page, "page", "a page")
                wait_for("the attempt", 30, lambda: "not published" in caplog.text)
                began = time.monotonic()
            seconds.append(time.monotonic() - began)

    with caplog.at_level(logging.WARNING):
        end_in_an_outage()
    assert seconds[0] < ATTEMPT_SECONDS + 3
    assert caplog.text.count("0 of 3 missed pages published") == 1
