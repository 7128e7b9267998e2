"""dacapo-store, as a person or a script types it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dacapo_core.store.local_weights_store import LocalWeightsStore

Command = Callable[..., tuple[int, str, str]]


def test_the_question_at_two_in_the_morning(dacapo_store: Command) -> None:
    """Why is iteration 4000 gone, and can I have it back?"""
    dacapo_store("prune", "run", "--keep-last", "1", "--keep-best", "2", "--grace", "7d")
    code, out, _ = dacapo_store("why", "run", "4000")
    assert code == 0
    assert "was pruned on" in out
    assert "not among the last 1; not among the best 2 by Dice on val (place 3, 0.6)" in out
    assert "It can be brought back: dacapo-store restore run 4000" in out
    code, out, _ = dacapo_store("restore", "run", "4000")
    assert code == 0
    assert "run/4000 is back, and pinned" in out
    assert "dacapo-store unpin run 4000" in out
    assert dacapo_store("prune", "run", "--keep-last", "1")[0] == 0
    out = dacapo_store("why", "run", "4000")[1]
    assert "is in the store: pinned: restored by hand" in out
    assert "kept until it is unpinned: dacapo-store unpin run 4000" in out

    assert dacapo_store("unpin", "run", "4000")[0] == 0
    assert dacapo_store("prune", "run", "--keep-last", "1")[0] == 0
    code, out, _ = dacapo_store("why", "run", "4000")
    assert code == 0
    assert "was deleted on" in out
    assert "It cannot be brought back." in out
    code, _, err = dacapo_store("restore", "run", "4000")
    assert code == 3
    assert "deleted (prune) on" in err
    code, _, err = dacapo_store("why", "run", "4001")
    assert code == 3
    assert "none is on record" in err


def test_a_dry_run_shows_the_table_and_changes_nothing(
    dacapo_store: Command, store: LocalWeightsStore
) -> None:
    arguments = ("prune", "run", "--keep-best", "1", "--keep-every", "3000")
    code, out, _ = dacapo_store(*arguments, "--dry-run")
    assert code == 0
    title = out.splitlines()[0]
    assert title.startswith("run: would keep 3 (")
    assert "prune 2 (" in title
    assert title.rstrip().endswith("; nothing was touched")
    for word in ("iteration", "kept or pruned", "reasons", "scores", "size", "age"):
        assert word in out
    (row,) = [line for line in out.splitlines() if line.strip().startswith("4000")]
    assert "would be pruned" in row
    assert "no multiple of 3000; not among the best 1 by Dice on val (place 3, 0.6)" in row
    assert "Dice 0.6 on val" in row
    assert store.iterations("run") == [1000, 2000, 3000, 4000, 5000]

    plan = json.loads(dacapo_store(*arguments, "--dry-run", "--json")[1])["plans"][0]
    done = json.loads(dacapo_store(*arguments, "--json")[1])["plans"][0]
    for key in ("bytes_kept", "bytes_freed"):
        assert plan[key] == done[key]
    decided = [(row["iteration"], row["decision"], row["reasons"]) for row in plan["checkpoints"]]
    assert decided == [
        (row["iteration"], row["decision"], row["reasons"]) for row in done["checkpoints"]
    ]
    kept = {iteration for iteration, decision, _ in decided if decision == "kept"}
    assert kept == set(store.iterations("run")) == {2000, 3000, 5000}


def test_listing(dacapo_store: Command) -> None:
    code, out, _ = dacapo_store("ls")
    assert code == 0
    assert "1 run " in out
    code, out, _ = dacapo_store("ls", "run")
    (row,) = [line for line in out.splitlines() if line.strip().startswith("2000")]
    assert "Dice 0.8 on val" in row
    assert "Dice on val" in row
    listed = json.loads(dacapo_store("ls", "run", "--json")[1])
    assert [c["iteration"] for c in listed["checkpoints"]] == [1000, 2000, 3000, 4000, 5000]


def test_show_lists_keys_shapes_and_the_record(dacapo_store: Command) -> None:
    _, out, _ = dacapo_store("show", "run", "1000")
    assert "model/weight" in out
    assert "2 × 2" in out
    assert "xxh3" in out
    shown = json.loads(dacapo_store("show", "run", "1000", "--json")[1])
    assert {"key": "model/bias", "dtype": "float32", "shape": [2]} in shown["tensors"]
    assert shown["record"]["iteration"] == 1000


def test_best_is_listed_and_set(dacapo_store: Command, store: LocalWeightsStore) -> None:
    assert dacapo_store("best", "run", "4000", "val", "voi")[0] == 0
    assert store.retrieve_best("run", "val", "voi") == 4000
    best = json.loads(dacapo_store("best", "run", "--json")[1])["best"]
    assert [(b["criterion"], b["iteration"], b["score"]) for b in best] == [
        ("dice", 2000, 0.8),
        ("voi", 4000, None),
    ]
    code, _, err = dacapo_store("best", "run", "9", "val", "voi")
    assert code == 3
    assert "no checkpoint of iteration 9" in err
    assert dacapo_store("best", "run", "4000")[0] == 2


def test_pins(dacapo_store: Command, store: LocalWeightsStore) -> None:
    assert dacapo_store("pin", "run", "1000", "--why", "figure 3")[0] == 0
    assert "pinned: figure 3" in dacapo_store("pins", "run")[1]
    dacapo_store("prune", "run", "--keep-last", "1")
    assert store.iterations("run") == [1000, 2000, 5000]
    assert dacapo_store("unpin", "run", "1000")[0] == 0
    code, _, err = dacapo_store("unpin", "run", "1000")
    assert (code, "not pinned" in err) == (3, True)


def test_remove_and_sweep(dacapo_store: Command, store: LocalWeightsStore) -> None:
    code, _, err = dacapo_store("remove", "run", "2000")
    assert code == 5
    assert "best by Dice on val" in err
    assert dacapo_store("remove", "run", "2000", "--force")[0] == 0
    assert dacapo_store("remove", "run", "2000")[0] == 3
    dacapo_store("prune", "run", "--keep-last", "1", "--grace", "1s")
    assert "3 within their grace period" in dacapo_store("sweep")[1]
    subprocess.run(["sleep", "1.1"], check=True)
    code, out, _ = dacapo_store("sweep", "run")
    assert code == 0
    assert "3 checkpoints deleted" in out
    assert store.iterations("run") == [5000]
    gone = json.loads(dacapo_store("history", "run", "--json")[1])["checkpoints"]
    assert [(c["iteration"], c["fate"]) for c in gone] == [
        (1000, "pruned"),
        (2000, "pruned"),
        (3000, "pruned"),
        (4000, "pruned"),
        (5000, "kept"),
    ]


@pytest.fixture
def three_runs(store: LocalWeightsStore) -> None:
    """``a``, ``run`` and ``z``; of ``a`` the best record is damaged."""
    for name in ("a", "z"):
        shutil.copytree(Path(store.basedir, "run"), Path(store.basedir, name), symlinks=True)
    store.filesystem.write_bytes("a/val/dice.json", b"{")


@pytest.mark.usefixtures("three_runs")
def test_a_run_that_cannot_be_pruned_is_said_and_does_not_stop_the_others(
    dacapo_store: Command, store: LocalWeightsStore
) -> None:
    code, out, _ = dacapo_store("prune", "--all", "--keep-last", "2", "--dry-run", "--json")
    assert code == 4
    plans = json.loads(out)["plans"]
    assert {plan["run"]: "error" in plan for plan in plans} == {"run": False, "z": False, "a": True}
    code, out, err = dacapo_store("prune", "a", "run", "no", "z", "--keep-last", "2")
    assert code == 4, "of 3 and 4 the highest"
    assert "a/val/dice.json is not a best record" in err
    assert "no run 'no'" in err
    assert "run: kept 3" in out
    assert "z: kept 3" in out
    kept = [store.iterations(name) for name in ("a", "run", "z")]
    assert kept == [[1000, 2000, 3000, 4000, 5000], [2000, 4000, 5000], [2000, 4000, 5000]]
    assert dacapo_store("history", "a")[0] == 0
    code, out, _ = dacapo_store("why", "a", "1000")
    assert code == 0
    assert "cannot be read: " in out


@pytest.mark.usefixtures("three_runs")
def test_a_run_that_cannot_be_swept_is_said_and_does_not_stop_the_others(
    dacapo_store: Command,
) -> None:
    code, out, err = dacapo_store("sweep")
    assert code == 4
    assert "a/val/dice.json" in err
    assert [line.partition(":")[0] for line in out.splitlines()] == ["run", "z"]
    swept = json.loads(dacapo_store("sweep", "--json")[1])
    assert "dice.json" in swept["a"]["error"]
    assert swept["z"]["reclaimed"] == {}


@pytest.mark.usefixtures("three_runs")
def test_a_pattern_means_here_what_it_means_to_the_flow(
    dacapo_store: Command, store: LocalWeightsStore
) -> None:
    code, out, _ = dacapo_store("prune", "r*", "[y-z]", "--keep-last", "1", "--grace", "1d")
    assert code == 0
    assert [line.partition(":")[0] for line in out.splitlines() if ": kept" in line] == ["run", "z"]
    assert [len(store.iterations(name)) for name in ("a", "run", "z")] == [5, 5, 5]
    code, out, _ = dacapo_store("sweep", "?", "--json")
    assert code == 4, "the best record of a is damaged"
    assert len(json.loads(out)["z"]["waiting"]) == 3
    listed = json.loads(dacapo_store("ls", "*n", "--json")[1])["runs"]
    assert [row["run"] for row in listed] == ["run"]


COMMANDS: list[tuple[str, ...]] = [
    ("ls",),
    ("ls", "run"),
    ("ls", "r*"),
    ("prune", "--all", "--keep-last", "1"),
    ("prune", "run", "--keep-last", "1"),
    ("prune", "r*", "--keep-last", "1", "--dry-run"),
    ("sweep",),
    ("sweep", "run"),
    ("verify", "run"),
    ("best", "run"),
    ("best", "run", "--derive"),
    ("history", "run"),
    ("why", "run", "5"),
    ("pin", "run", "5"),
    ("restore", "run", "5"),
    ("remove", "run", "5", "--force"),
    ("cp", "run", "elsewhere"),
]


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_no_such_store_is_an_error_and_nothing_is_written(
    dacapo_store: Command, tmp_path: Path, arguments: tuple[str, ...], monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    (tmp_path / "store" / "a file").write_text("no store")
    for place in (tmp_path / "mistyped", tmp_path / "not" / "mounted", tmp_path / "store/a file"):
        code, out, err = dacapo_store("--store", str(place), *arguments)
        assert (code, out) == (3, "")
        assert f"there is no store at {place}" in err
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("arguments", [COMMANDS[0], COMMANDS[3], COMMANDS[6]], ids=" ".join)
def test_an_empty_store_is_said_to_be_empty(
    dacapo_store: Command, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    code, out, _ = dacapo_store("--store", str(empty), *arguments)
    assert (code, out) == (0, f"{empty} is empty: it has no runs.\n")
    assert json.loads(dacapo_store("--store", str(empty), *arguments, "--json")[1]) in (
        {"store": str(empty), "runs": [], "damaged_runs": {}},
        {"store": str(empty), "plans": []},
        {},
    )
    assert list(empty.iterdir()) == []
    inside = tmp_path / "store" / "run"
    code, out, _ = dacapo_store("--store", str(inside), *arguments)
    assert (code, "it is a run; its store is" in out) == (0, True)


def test_what_was_marked_before_is_not_counted_as_pruned_again(dacapo_store: Command) -> None:
    arguments = ("prune", "run", "--keep-last", "1", "--grace", "7d")
    rehearsed = dacapo_store(*arguments, "--dry-run")[1]
    assert "mark 3 (" in rehearsed
    assert "Marked ones could be restored for 7 days; then `dacapo-store sweep` would" in rehearsed
    done = dacapo_store(*arguments)[1]
    assert "kept 2 (" in done
    assert "marked 3 (" in done
    assert "Marked ones can be restored for 7 days" in done
    out = dacapo_store(*arguments)[1]
    assert "pruned 0 (0 B), 3 marked before (" in out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("ls", "missing"), 3, "no run 'missing'"),
        (("prune", "missing", "--keep-last", "1"), 3, "no run 'missing'"),
        (("ls", "a/../evil"), 2, "slash"),
        (("prune", "run"), 2, "would keep nothing"),
        (("prune", "--keep-last", "1"), 2, "name the runs, or give --all"),
        (("prune", "run", "--keep-last", "0"), 2, "keep_last"),
        (("prune", "run", "--keep-last", "1", "--grace", "soon"), 2, "grace"),
        (("prune", "run", "--keep-last", "1", "--criterion", "dice"), 2, "without keep_best"),
        (("prune", "run", "--keep-best", "1", "--criterion", "dise"), 5, "'dise'"),
        (("best", "missing"), 3, "no run 'missing'"),
        (("best", "missing", "--derive"), 3, "no run 'missing'"),
        (("prune", "run", "--keep-last", "1", "--grace", "9999999d"), 2, "100 years"),
        (("prune", "run", "--keep-last", "1", "--max-total-size", "200"), 5, "unit missing"),
        (("prune", "run", "--keep", "7"), 5, "nothing of run 'run' was pruned"),
        (("sweep", "missing"), 3, "no run 'missing'"),
        (("pins", "missing"), 3, "no run 'missing'"),
        (("restore", "missing", "5"), 3, "no run 'missing'"),
        (("show", "run", "7"), 3, "7"),
        (("verify", "run", "7"), 3, "7"),
        (("ls", "--storage-options", "{"), 2, "not JSON"),
        (("prune", "nope-*", "--keep-last", "1"), 3, "no run 'nope-*'"),
        (("sweep", "nope-*"), 3, "no run 'nope-*'"),
        (("ls", "nope-*"), 3, "no run 'nope-*'"),
        (("frobnicate",), 2, "frobnicate"),
        (("ls", "--store", "s4://bucket/x"), 1, "s4"),
    ],
)
def test_errors_say_what_and_exit_with_their_kind(
    dacapo_store: Command, store: LocalWeightsStore, arguments: Any, code: int, message: str
) -> None:
    found, out, err = dacapo_store(*arguments)
    assert found == code, err
    assert message in err
    assert "Traceback" not in err
    assert out == ""
    assert store.iterations("run") == [1000, 2000, 3000, 4000, 5000]


def test_a_dataset_is_forgotten(dacapo_store: Command, store: LocalWeightsStore) -> None:
    code, out, _ = dacapo_store("forget", "run", "--dataset", "val")
    assert (code, out) == (0, "run: forgotten Dice on val\n")
    assert json.loads(dacapo_store("--json", "best", "run", "--derive")[1])["best"] == []
    assert "forgotten by" in dacapo_store("history", "run")[1]
    assert "scores forgotten by hand" in dacapo_store("why", "run", "2000")[1]
    assert dacapo_store("forget", "run", "--criterion", "dice")[0] == 3
    assert dacapo_store("forget", "run")[0] == 2


def test_what_is_dacapos_or_gone_is_said_with_the_way_to_drop_it(
    dacapo_store: Command, store: LocalWeightsStore
) -> None:
    for name, iteration in (("theirs", 1000), ("gone", 7)):
        record = Path(store.basedir, f"run/checkpoints/{name}/voi.json")
        record.parent.mkdir()
        record.write_text(json.dumps({"iteration": iteration}))
    out = dacapo_store("best", "run")[1]
    drop = "`dacapo-store forget run --dataset {} --criterion voi` drops it"
    assert "1000 (DaCapo's)" in out
    assert (
        f"Only DaCapo's record says what is best by VOI on theirs; {drop.format('theirs')}" in out
    )
    assert f"The checkpoint that is best by VOI on gone is gone; {drop.format('gone')}" in out
    rows = json.loads(dacapo_store("--json", "best", "run")[1])["best"]
    assert {row["dataset"]: row["by_dacapo"] for row in rows} == {
        "theirs": True,
        "gone": True,
        "val": False,
    }
    for name in ("theirs", "gone"):
        assert dacapo_store("forget", "run", "--dataset", name)[0] == 0
    assert [
        row["dataset"] for row in json.loads(dacapo_store("--json", "best", "run")[1])["best"]
    ] == ["val"]


def test_json_is_strict(dacapo_store: Command, store: LocalWeightsStore) -> None:
    """Also of a store in which an earlier version wrote NaN."""
    store.filesystem.write_bytes(
        "run/val/dice.json",
        b'{"iteration": 2000, "score": NaN, "parameters": {"limit": Infinity, "t": 0.5}}',
    )
    for command in (
        ("ls",),
        ("ls", "run"),
        ("best", "run"),
        ("history", "run"),
        ("why", "run", "5000"),
        ("show", "run", "1000"),
        ("prune", "run", "--keep-best", "2", "--dry-run"),
        ("pins", "run"),
        ("sweep",),
        ("verify", "run", "1000"),
    ):
        code, out, err = dacapo_store("--json", *command)
        assert code == 0, err
        json.loads(out, parse_constant=pytest.fail)
    (row,) = json.loads(dacapo_store("--json", "best", "run")[1])["best"]
    assert row["score"] is None


def test_the_installed_command_starts_without_torch(store: LocalWeightsStore) -> None:
    script = (
        "import sys; sys.argv = ['dacapo-store', 'ls', 'run', '--store', sys.argv[1]]\n"
        "from dacapo_core.command_line.dacapo_store import main\n"
        "try: main()\n"
        "finally: print(sorted({'torch', 'prefect', 's3fs'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, store.basedir], capture_output=True, text=True, check=True
    )
    assert "5 checkpoints" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"
    installed = Path(sys.executable).with_name("dacapo-store")
    helped = subprocess.run([installed, "--help"], capture_output=True, text=True, check=True)
    assert "Exit codes" in helped.stdout
