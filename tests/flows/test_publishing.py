"""Pages and events reach the server, and a server that is away never holds a run up."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

import pytest
from prefect import flow, task
from prefect.artifacts import Artifact as NewestArtifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.objects import Artifact
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.utilities.context import get_task_and_flow_run_ids

from tasks import publishing
from tasks.events import emit_checkpoint_event
from tasks.publishing import ATTEMPT_SECONDS, Publisher, artifact_key
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


def texts(key: str) -> list[object]:
    return sorted(each.data for each in published(key))


@pytest.mark.slow
@pytest.mark.prefect
def test_versions_of_a_table_are_kept_and_a_page_is_changed_in_place(prefect_server: str) -> None:
    @flow
    def publish_twice() -> None:
        publisher = Publisher()
        for number in ("1", "2"):
            with publisher.caught_up():
                publisher.table("history", [{"iteration": number}], "a table")
                publisher.page("report", f"page {number}", "a page", update=True)

    publish_twice()
    assert texts("history") == ['[{"iteration": "1"}]', '[{"iteration": "2"}]']
    assert texts("report") == ["page 2"]
    latest = NewestArtifact.get("report")
    assert latest is not None
    assert latest.data == "page 2"


@pytest.mark.slow
@pytest.mark.prefect
def test_links_to_other_pages_lead_to_their_content(prefect_server: str) -> None:
    publisher = Publisher()
    link = "[more](/v2/artifacts/key/linked)"

    @flow
    def publish() -> None:
        with publisher.caught_up():
            publisher.page("linked", "page", "a page", update=True)
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
    request: pytest.FixtureRequest,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = request.getfixturevalue(away)
    monkeypatch.setattr(publishing, "ATTEMPT_SECONDS", 0.5)
    monkeypatch.setattr(publishing, "PAUSE_SECONDS", 0.2)

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
                emit_checkpoint_event("stored", "run", iteration=1)
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
                publisher.page(key, "page 1", "a page", update=True)
            with temporary_settings({PREFECT_API_URL: absent_server}):
                publisher.page(key, "page 2", "a page", update=True)
            wait_for("the attempt", 30, lambda: "not published" in caplog.text)
            # back, and not asked again for a minute
            publisher.page(key, "page 3", "a page", update=True)
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
    monkeypatch.setattr(publishing, "PAUSE_SECONDS", 0.5)
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
def test_a_page_that_is_refused_holds_no_other_up(
    prefect_server: str, caplog: pytest.LogCaptureFixture
) -> None:
    @flow
    def publish_one_that_is_gone() -> None:
        publisher = Publisher()
        with publisher.caught_up():
            publisher.page("gone", "page 1", "a page", update=True)
        with get_client(sync_client=True) as client:
            client.delete_artifact(published("gone")[0].id)
        with publisher.caught_up():
            publisher.page("gone", "page 2", "a page", update=True)
            publisher.page("another", "page", "a page", update=True)
        assert texts("another") == ["page"]
        with publisher.caught_up():
            publisher.page("gone", "page 3", "a page", update=True)
        assert texts("gone") == ["page 3"]

    with caplog.at_level(logging.WARNING):
        publish_one_that_is_gone()
    assert caplog.text.count("page gone was refused") == 1


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
