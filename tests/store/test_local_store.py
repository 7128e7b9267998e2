"""What a store on this machine's file system promises beyond the others."""

from __future__ import annotations

import os
import random
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from dacapo_core.store.errors import StoreFullError, StoreNotWritableError
from dacapo_core.store.local_weights_store import LocalWeightsStore

TRAINER = """
import sys
from types import SimpleNamespace
import torch
from dacapo_core.store.local_weights_store import LocalWeightsStore

store = LocalWeightsStore(sys.argv[1])
megabytes, wait = int(sys.argv[2]), sys.argv[3] == "wait"
weights = torch.zeros(megabytes * 250_000)
run = SimpleNamespace(
    name="run",
    model=SimpleNamespace(state_dict=lambda: {"w": weights}),
    optimizer=SimpleNamespace(state_dict=lambda: {}),
)
"""


def start(code: str, *arguments: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", TRAINER + code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


STORE_FOR_EVER = """
iteration = store.latest_iteration("run") or 0
print("ready", flush=True)
while True:
    iteration += 1
    weights.fill_(iteration)
    store.store_weights(run, iteration, wait=wait)
    if wait:
        print(iteration, flush=True)
"""


def kill_at_random(basedir: Path, seed: int, mode: str) -> list[int]:
    """Store in another process until it is killed; the iterations it said were durable.

    Half of them are killed at or after their first checkpoint, the others maybe before it.
    """
    process = start(STORE_FOR_EVER, basedir, 20, mode)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    begun = "run/checkpoints/iterations/*" if seed % 4 < 2 else "run"
    deadline = time.monotonic() + 60
    while not any(basedir.glob(begun)) and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(random.Random(seed).uniform(0, 0.6))
    process.send_signal(signal.SIGKILL)
    output, _ = process.communicate()
    return [int(line) for line in output.split()]


def check_after_kill(basedir: Path, durable: list[int]) -> int:
    """Returns how many checkpoints there are."""
    store = LocalWeightsStore(basedir)
    there = store.iterations("run")
    assert set(durable) <= set(there)
    for iteration in there:
        assert store.verify("run", iteration).against == "digests"
        weights = store.retrieve_model("run", iteration)["w"]
        assert len(weights)
        assert torch.all(weights == iteration)
    store.sweep("run")
    partial = basedir / "run/checkpoints/.partial"
    assert not partial.exists() or not list(partial.iterdir())
    return len(there)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["wait", "background"])
def test_a_kill_at_any_moment_leaves_whole_checkpoints(tmp_path: Path, mode: str) -> None:
    there = [check_after_kill(tmp_path, kill_at_random(tmp_path, s, mode)) for s in range(3)]
    assert there == sorted(there), "what one stored, the next did not lose"
    assert there[-1] > 0


@pytest.mark.slow
@pytest.mark.campaign
@pytest.mark.timeout(3600)
def test_fifty_kills_leave_whole_checkpoints(tmp_path: Path) -> None:
    stored = 0
    for seed in range(50):
        mode = "wait" if seed % 2 else "background"
        durable = kill_at_random(tmp_path / str(seed), seed, mode)
        stored += check_after_kill(tmp_path / str(seed), durable) > 0
    assert stored >= 25


@pytest.mark.slow
def test_what_a_dead_writer_left_is_swept_and_a_living_ones_is_not(
    local_store: LocalWeightsStore, make_run: Any
) -> None:
    local_store.store_weights(make_run(), 7)
    partial = Path(local_store.basedir) / "run/checkpoints/.partial"
    writing = start(
        """
with store.filesystem.replacing("run/checkpoints/iterations/8") as file:
    file.write(b"half")
    print("writing", flush=True)
    sys.stdin.read()
""",
        local_store.basedir,
        0,
        "wait",
    )
    try:
        assert writing.stdout is not None
        assert writing.stdout.readline() == "writing\n"
        local_store.sweep("run")
        assert len(list(partial.iterdir())) == 1
        assert local_store.iterations("run") == [7]
    finally:
        writing.kill()
        writing.communicate()
    local_store.sweep("run")
    assert list(partial.iterdir()) == []


@pytest.mark.slow
def test_a_loss_at_the_interpreters_exit_is_said(tmp_path: Path) -> None:
    in_the_way = tmp_path / "run/checkpoints/iterations/3"
    in_the_way.mkdir(parents=True)
    process = start("store.store_weights(run, 3, wait=False)", tmp_path, 1, "background")
    _, errors = process.communicate()
    assert "a checkpoint was lost" in errors
    assert str(in_the_way) in errors


def test_an_error_in_the_background_comes_with_the_next_call(
    local_store: LocalWeightsStore, make_run: Any
) -> None:
    run = make_run()
    in_the_way = Path(local_store.basedir) / "run/checkpoints/iterations/7"
    in_the_way.mkdir(parents=True)
    local_store.store_weights(run, 7, wait=False)
    with pytest.raises(StoreNotWritableError, match="iterations/7"):
        local_store.store_weights(run, 8)
    local_store.store_weights(run, 7, wait=False)
    with pytest.raises(StoreNotWritableError):
        local_store.wait()
    local_store.wait()
    local_store.store_weights(run, 9)
    assert local_store.iterations("run") == [9]
    assert local_store.latest_iteration("run") == 9


def test_files_have_the_umasks_mode(local_store: LocalWeightsStore, make_run: Any) -> None:
    before = os.umask(0o002)
    try:
        local_store.store_weights(make_run(), 7)
    finally:
        os.umask(before)
    for path in Path(local_store.basedir).rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o775 if path.is_dir() else 0o664), path


def test_a_relative_basedir_stays_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_run: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    store = LocalWeightsStore("runs")
    monkeypatch.chdir("/")
    store.store_weights(make_run(), 7)
    assert (tmp_path / "runs/run/checkpoints/iterations/7").is_file()


def test_a_folder_named_like_an_iteration_is_none(
    local_store: LocalWeightsStore, make_run: Any
) -> None:
    local_store.store_weights(make_run(), 7)
    (Path(local_store.basedir) / "run/checkpoints/iterations/9").mkdir()
    assert local_store.latest_iteration("run") == 7
    assert local_store.iterations("run") == [7]


def test_changing_what_was_retrieved_changes_no_file(
    local_store: LocalWeightsStore, make_run: Any
) -> None:
    local_store.store_weights(make_run(), 7)
    for tensor in local_store.retrieve_model("run", 7).values():
        tensor.zero_()
    local_store.verify("run", 7)


def test_retrieved_tensors_outlive_their_checkpoint(
    local_store: LocalWeightsStore, make_run: Any, same: Any
) -> None:
    run = make_run()
    model, _ = run.copy_of_state()
    local_store.store_weights(run, 7)
    retrieved = local_store.retrieve_model("run", 7)
    run.step()
    local_store.store_weights(run, 7)
    local_store.remove("run", 7, force=True)
    assert same(retrieved, model)


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="needs Linux's /proc")
def test_the_model_alone_leaves_the_optimizers_pages_alone(
    local_store: LocalWeightsStore, make_state_run: Any
) -> None:
    model, optimizer = torch.randn(1_000_000), torch.randn(8_000_000)
    local_store.store_weights(make_state_run({"w": model}, {"m": optimizer}), 7)
    retrieved = local_store.retrieve_model("run", 7)
    path = local_store.filesystem.local_path("run/checkpoints/iterations/7")
    assert model.nbytes <= resident(path) < model.nbytes + 1_000_000
    assert torch.equal(retrieved["w"], model)
    whole = local_store.retrieve_weights("run", 7)
    assert resident(path) >= optimizer.nbytes
    del whole


def resident(path: str) -> int:
    """Bytes of a file's mappings that this process has touched."""
    total = 0
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split(" ")[0]:
            inside = line.endswith(path)
        elif inside and line.startswith("Rss:"):
            total += int(line.split()[1]) * 1024
    return total


@pytest.fixture
def small_disk(mount_small: Callable[..., Path]) -> Path:
    return mount_small(4 << 20)


@pytest.mark.parametrize("wait", [True, False])
def test_a_full_disk_loses_nothing(small_disk: Path, make_state_run: Any, wait: bool) -> None:
    store = LocalWeightsStore(small_disk)
    store.store_weights(make_state_run({"w": torch.ones(500_000)}), 6)

    def store_and_wait(count: int, iteration: int) -> None:
        store.store_weights(make_state_run({"w": torch.ones(count)}), iteration, wait=wait)
        store.wait()

    with pytest.raises(StoreFullError, match="no space"):
        store_and_wait(900_000, 7)
    assert store.iterations("run") == [6]
    assert store.latest_iteration("run", verified=True) == 6
    store_and_wait(100_000, 8)
    assert store.latest_iteration("run", verified=True) == 8


def test_a_checkpoint_stands_without_its_record(
    mount_small: Callable[..., Path], make_run: Any, caplog: pytest.LogCaptureFixture
) -> None:
    folder = mount_small(4 << 20, files=100)
    store = LocalWeightsStore(folder)
    store.store_weights(make_run(), 6)
    for number in range(os.statvfs(folder).f_ffree - 1):
        (folder / f"other {number}").touch()
    # the last file that there is room for is the checkpoint itself
    store.store_weights(make_run(), 7)
    assert "checkpoint 7 of run 'run' is stored, its record is not" in caplog.text
    assert store.latest_iteration("run", verified=True) == 7
    assert not store.verify("run", 7).record


def test_a_file_where_a_folder_must_be(tmp_path: Path, make_run: Any) -> None:
    (tmp_path / "run").write_text("mine")
    with pytest.raises(StoreNotWritableError, match="run"):
        LocalWeightsStore(tmp_path).store_weights(make_run(), 7)
    assert (tmp_path / "run").read_text() == "mine"


@pytest.mark.slow
def test_a_folder_without_permission_is_named(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(0o500)
    code = """
import os
if os.geteuid() == 0:
    os.setuid(65534)
try:
    store.store_weights(run, 3)
except OSError as error:
    print(type(error).__name__, error)
"""
    for folder in (*tmp_path.parents, tmp_path):
        if folder.stat().st_uid == os.geteuid() and folder.name.startswith("pytest-"):
            folder.chmod(0o755)
    tmp_path.chmod(0o755)
    process = start(code, closed, 1, "wait")
    output, errors = process.communicate()
    assert output.startswith("StoreNotWritableError cannot write"), errors
    assert str(closed) in output
    assert "permission" in output.lower()
    assert list(closed.iterdir()) == []


def test_what_is_read_is_one_file_while_others_take_its_name(
    local_store: LocalWeightsStore, tmp_path: Path, make_state_run: Any
) -> None:
    run = make_state_run({"w": torch.zeros(100_000), "more": torch.zeros(20, 20)})
    local_store.store_weights(run, 7)
    done = threading.Event()

    def store_again() -> None:
        other = LocalWeightsStore(tmp_path / "store")
        for value in range(1, 60):
            state = {"w": torch.full((100_000,), float(value)), "more": torch.zeros(20, value)}
            other.store_weights(make_state_run(state), 7)
        done.set()

    thread = threading.Thread(target=store_again)
    thread.start()
    while not done.is_set():
        for verify in (True, False):
            model = local_store.retrieve_model("run", 7, verify=verify)
            assert len(model["w"].unique()) == 1
        assert local_store.latest_iteration("run", verified=True) == 7
    thread.join()


@pytest.mark.parametrize("seed", ["1", "2"])
def test_a_set_verifies_in_another_process(
    local_store: LocalWeightsStore, tmp_path: Path, make_run: Any, seed: str
) -> None:
    run = make_run()
    run.extra_state = lambda: {"seen": {"alpha", "beta", "gamma", "delta"}}
    local_store.store_weights(run, 7)
    code = "import sys; from dacapo_core.store.local_weights_store import LocalWeightsStore as S;"
    code += "S(sys.argv[1]).verify('run', 7)"
    # strings have another order in a set of each process
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    command = [sys.executable, "-c", code, str(tmp_path / "store")]
    subprocess.run(command, check=True, env=environment)


def test_a_state_of_many_writes_arrives_whole(tmp_path: Path) -> None:
    # tensors of more than one write, of less, and more of them than one write takes
    sizes = [1_500_000, 3, 2_600_000, *[5] * 1200, 700_000]
    state = {str(n): torch.rand(size) for n, size in enumerate(sizes)}
    run = SimpleNamespace(
        name="run",
        model=SimpleNamespace(state_dict=lambda: state),
        optimizer=SimpleNamespace(state_dict=dict),
    )
    store = LocalWeightsStore(tmp_path)
    store.store_weights(run, 1)
    store.verify("run", 1)
    read = torch.load(tmp_path / "run/checkpoints/iterations/1", weights_only=True)["model"]
    assert all(torch.equal(read[name], tensor) for name, tensor in state.items())
