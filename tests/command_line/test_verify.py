"""dacapo-store verify, and what ls shows of it afterwards."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from dacapo_core.store.local_weights_store import LocalWeightsStore
from tests.command_line.tiny_run import TinyRun

Command = Callable[..., tuple[int, str, str]]


def test_verify_names_what_is_damaged_and_the_list_remembers(
    dacapo_store: Command, store: LocalWeightsStore
) -> None:
    assert dacapo_store("verify", "run")[0] == 0
    file = Path(store.basedir, "run/checkpoints/iterations/3000")
    whole = file.read_bytes()
    file.write_bytes(whole[:-50])
    code, out, _ = dacapo_store("verify", "run")
    assert code == 4
    assert "run/2000: whole" in out
    assert "run/3000: whole" not in out
    assert json.loads(dacapo_store("ls", "run", "--json")[1])["checkpoints"][2]["damaged"]
    code, _, err = dacapo_store("best", "run", "3000", "val", "voi")
    assert (code, "on record as damaged" in err) == (4, True)
    file.write_bytes(whole)
    assert dacapo_store("verify", "run", "3000")[0] == 0
    assert not json.loads(dacapo_store("ls", "run", "--json")[1])["checkpoints"][2]["damaged"]


def test_one_that_asks_for_code_is_refused_and_not_remembered_as_damaged(
    dacapo_store: Command, store: LocalWeightsStore
) -> None:
    file = Path(store.basedir, "run/checkpoints/iterations/3000")
    torch.save({"model": {"w": torch.ones(2)}, "optimizer": {"x": print}}, file)
    code, out, _ = dacapo_store("verify", "run")
    assert (code, "asks to run" in out) == (5, True)
    said = json.loads(dacapo_store("verify", "run", "--json")[1])
    assert (said["damaged"], list(said["unsafe"]), 3000 in said["whole"]) == ({}, ["3000"], False)
    assert not json.loads(dacapo_store("ls", "run", "--json")[1])["checkpoints"][2]["damaged"]


def test_a_newest_checkpoint_that_is_known_to_be_damaged_is_not_listed_as_the_latest(
    dacapo_store: Command, store: LocalWeightsStore
) -> None:
    def latest() -> tuple[int, list[int]]:
        (run,) = json.loads(dacapo_store("ls", "--json")[1])["runs"]
        rows = json.loads(dacapo_store("ls", "run", "--json")[1])["checkpoints"]
        return run["latest"], [row["iteration"] for row in rows if "latest" in row["reasons"]]

    assert latest() == (5000, [5000])
    file = Path(store.basedir, "run/checkpoints/iterations/5000")
    file.write_bytes(file.read_bytes()[:-50])
    assert dacapo_store("verify", "run")[0] == 4
    assert latest() == (4000, [4000])


def test_the_list_says_when_each_was_found_whole(
    dacapo_store: Command, place: tuple[str, dict[str, Any]]
) -> None:
    store = LocalWeightsStore(*place)
    for iteration in (1, 2, 3, 4):
        store.store_weights(TinyRun(), iteration)
    where = ("--store", place[0], "--storage-options", json.dumps(place[1]))

    def listed(key: str) -> dict[int, Any]:
        rows = json.loads(dacapo_store("ls", "run", "--json", *where)[1])["checkpoints"]
        return {row["iteration"]: row[key] for row in rows}

    def shown() -> dict[str, str]:
        header, *rows = dacapo_store("ls", "run", *where)[1].splitlines()[1:]
        column = slice(header.index("verified"), header.index("best for"))
        return {row.split()[0]: row[column].strip() for row in rows if row.strip()}

    assert listed("verified") == {1: None, 2: None, 3: None, 4: None}
    assert all(age >= 0 for age in listed("age_seconds").values())
    damaged = "run/checkpoints/iterations/3"
    store.filesystem.write_bytes(damaged, store.filesystem.read_bytes(damaged)[:-50])
    assert dacapo_store("verify", "run", "2", "3", "4", *where)[0] == 4
    assert listed("verified") == {1: None, 2: True, 3: False, 4: True}
    at = listed("verified_at")
    assert at[1] is None
    assert datetime.fromisoformat(at[2]) <= datetime.fromisoformat(at[3]) <= datetime.now(UTC)
    said = shown()
    assert said["2"].endswith(" ago")
    assert (said["1"], said["3"]) == ("–", "damaged")

    store.store_weights(TinyRun(), 2)
    store.store_weights(TinyRun(), 3)
    assert listed("verified") == {1: None, 2: None, 3: None, 4: True}
    store.remove("run", 4, force=True)
    assert store.filesystem.file_names("run/records/verified") == []


def test_a_note_of_a_checkpoint_that_others_deleted_is_swept(
    dacapo_store: Command, store: LocalWeightsStore
) -> None:
    assert dacapo_store("verify", "run")[0] == 0
    Path(store.basedir, "run/checkpoints/iterations/3000").unlink()
    assert dacapo_store("sweep", "run")[0] == 0
    kept = {f"{iteration}.json" for iteration in (1000, 2000, 4000, 5000)}
    assert set(store.filesystem.file_names("run/records/verified")) == kept


def test_the_store_itself_verifies_without_writing(store: LocalWeightsStore) -> None:
    before = sorted(Path(store.basedir).rglob("*"))
    store.verify("run", 3000)
    assert sorted(Path(store.basedir).rglob("*")) == before


def test_a_damaged_record_is_a_note_about_a_whole_checkpoint(
    dacapo_store: Command, store: LocalWeightsStore
) -> None:
    path = Path(store.basedir, "run/records/checkpoints/3000.json")
    record = json.loads(path.read_bytes())
    path.write_text(json.dumps({**record, "digest": "0" * 32}))
    code, out, _ = dacapo_store("verify", "run", "3000")
    assert (code, "run/3000: whole" in out) == (0, True)
    assert f"({path}) is damaged" in out.partition("Note: ")[2]
    shown = json.loads(dacapo_store("verify", "run", "3000", "--json")[1])
    assert (shown["whole"], len(shown["notes"])) == ([3000], 1)
