"""What a weights store promises, on every backend."""

from __future__ import annotations

import io
import json
import math
import threading
from collections import Counter, OrderedDict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import xxhash

from dacapo_core.store.errors import (
    InvalidNameError,
    LeaseLostError,
    ProtectedCheckpointError,
    UnsavableStateError,
)

FILE = "run/checkpoints/iterations/7"
RECORD = "run/records/checkpoints/7.json"


class TestStoring:
    def test_what_was_stored_comes_back(self, store: Any, make_run: Any, same: Any) -> None:
        run = make_run()
        model, optimizer = run.copy_of_state()
        store.store_weights(run, 7)
        weights = store.retrieve_weights("run", 7)
        assert same(weights.model, model)
        assert same(weights.optimizer, optimizer)
        assert weights.extra == {}
        assert weights.model._metadata == run.model.state_dict()._metadata
        assert same(store.retrieve_model("run", 7), model)

    def test_another_process_sees_it(self, store: Any, backend: Any, make_run: Any) -> None:
        store.store_weights(make_run(), 7)
        assert backend.open().latest_iteration("run") == 7

    def test_the_files_are_where_the_layout_says(
        self, store: Any, backend: Any, make_run: Any
    ) -> None:
        store.store_weights(make_run(), 7)
        assert backend.files() == {FILE, RECORD}

    def test_the_state_is_the_one_at_the_call(self, store: Any, make_run: Any, same: Any) -> None:
        run = make_run(width=32)
        for iteration in (1, 2, 3):
            model, optimizer = run.copy_of_state()
            store.store_weights(run, iteration, wait=False)
            run.step()
            with torch.no_grad():
                for parameter in run.model.parameters():
                    parameter.fill_(-1)
            weights = store.retrieve_weights("run", iteration)
            assert same(weights.model, model)
            assert same(weights.optimizer, optimizer)

    def test_a_process_reads_its_own_writes(self, store: Any, make_run: Any) -> None:
        run = make_run()
        store.store_weights(run, 7, wait=False)
        assert store.latest_iteration("run") == 7
        store.store_weights(run, 8, wait=False)
        assert store.iterations("run") == [7, 8]
        store.store_weights(run, 9, wait=False)
        store.remove("run", 9, force=True)
        assert store.iterations("run") == [7, 8]

    def test_storing_again_replaces(self, store: Any, make_run: Any, same: Any) -> None:
        run = make_run()
        store.store_weights(run, 7)
        run.step()
        store.store_weights(run, 7)
        assert same(store.retrieve_weights("run", 7).model, run.model.state_dict())
        assert store.verify("run", 7).record

    @pytest.mark.parametrize("wait", [True, False])
    def test_every_kind_of_tensor_comes_back(
        self, store: Any, backend: Any, make_state_run: Any, same: Any, wait: bool
    ) -> None:
        big = torch.arange(1000.0)
        array = np.arange(6.0)
        state = {
            "bfloat16": torch.randn(3).bfloat16(),
            "half": torch.randn(3).half(),
            "bool": torch.tensor([True, False]),
            "int64": torch.tensor(7),
            "complex": torch.randn(2, dtype=torch.complex64).conj(),
            "float8": torch.tensor([0.5, 2.0]).to(torch.float8_e4m3fn),
            "uint16": torch.tensor([1, 65535], dtype=torch.uint16),
            "empty": torch.empty(0, 3),
            "empty_half": torch.empty(2, 0, dtype=torch.half),
            "part": big[10:20],
            "strided": big.view(10, 100)[::2, ::5],
            "transposed": torch.randn(3, 4).t(),
            "channels_last": torch.randn(1, 2, 3, 4, 5).to(memory_format=torch.channels_last_3d),
            "expanded": torch.tensor(2.0).expand(5),
            "two_dtypes": big.view(torch.int32),
            "parameter": torch.nn.Parameter(torch.randn(2)),
            "array": torch.from_numpy(array),
            "part_of_array": torch.from_numpy(array[:3]),
        }
        store.store_weights(make_state_run(state), 7, wait=wait)
        stored = {key: value.detach() for key, value in state.items()}
        for found in (
            store.retrieve_model("run", 7),
            store.retrieve_weights("run", 7).model,
            torch.load(io.BytesIO(backend.read(FILE)), weights_only=True)["model"],
        ):
            assert same(found, stored)
            assert found["channels_last"].stride() == state["channels_last"].stride()

    def test_a_part_of_a_large_tensor_is_stored_alone(
        self, store: Any, backend: Any, make_state_run: Any
    ) -> None:
        store.store_weights(make_state_run({"w": torch.zeros(1_000_000)[:10]}), 7, wait=False)
        store.wait()
        assert len(backend.read(FILE)) < 10_000

    @pytest.mark.parametrize("wait", [True, False])
    def test_the_default_device_does_not_matter(
        self, store: Any, make_state_run: Any, same: Any, wait: bool
    ) -> None:
        state = {"w": torch.randn(3), "empty": torch.empty(0, 3)}
        with torch.device("meta"):
            store.store_weights(make_state_run(state), 7, wait=wait)
            assert same(store.retrieve_model("run", 7), state)
            assert same(store.retrieve_weights("run", 7).model, state)
            assert store.latest_iteration("run", verified=True) == 7

    def test_inference_mode_does_not_matter(
        self, store: Any, make_state_run: Any, same: Any
    ) -> None:
        run = make_state_run({"w": torch.randn(3)})
        with torch.inference_mode():
            store.store_weights(run, 6, wait=False)
        store.store_weights(run, 7, wait=False)
        assert same(store.retrieve_model("run", 7), run.model.state_dict())

    @pytest.mark.parametrize("wait", [True, False])
    def test_tied_tensors_stay_tied_and_are_stored_once(
        self, store: Any, backend: Any, make_state_run: Any, wait: bool
    ) -> None:
        tied = torch.randn(10_000)
        for iteration in (6, 7):
            run = make_state_run({"a": tied, "b": tied, "c": tied[:5]})
            store.store_weights(run, iteration, wait=wait)
        model = store.retrieve_model("run", 7)
        model["a"][0] = 42
        assert model["b"][0] == model["c"][0] == 42
        assert len(backend.read(FILE)) < 50_000

    def test_extra_state_comes_back(
        self, store: Any, backend: Any, make_run: Any, same: Any
    ) -> None:
        run = make_run()
        extra = {
            "random": torch.get_rng_state(),
            "scaler": {"scale": 65536.0, "growth": 2000},
            "seen": [1, (2, "x"), None, True],
            "name": "ema",
            "raw": b"\x00\xff",
            "bytes": bytearray(b"\xfe"),
            "infinite": [float("inf"), -0.0, 5e-324, 2**70],
            "complex": 1 - 2j,
            "set": {1, "x"},
            "ordered": OrderedDict([("b", 1), ("a", {3: torch.ones(1), None: ()})]),
            "counted": Counter("aab"),
            ("a", 1): [torch.float16, torch.device("cpu"), torch.Size([2, 3])],
        }
        run.extra_state = lambda: extra
        store.store_weights(run, 7)
        for found in (
            store.retrieve_weights("run", 7).extra,
            torch.load(io.BytesIO(backend.read(FILE)), weights_only=True)["extra"],
        ):
            assert same(found, extra)
            assert list(map(type, found.values())) == list(map(type, extra.values()))

    def test_not_a_number_comes_back(self, store: Any, make_run: Any) -> None:
        run = make_run()
        run.extra_state = lambda: {"loss": float("nan")}
        store.store_weights(run, 7)
        assert math.isnan(store.retrieve_weights("run", 7).extra["loss"])

    @pytest.mark.parametrize(
        "value",
        [
            np.float64(0.5),
            np.arange(3),
            Path("data"),
            lambda x: x,
            np.random.RandomState(0).get_state(),
            torch.ones(2, device="meta"),
            torch.eye(3).to_sparse(),
            torch.nested.as_nested_tensor([torch.ones(2), torch.ones(3)]),
            torch.ones(4, dtype=torch.uint8).view(torch.quint8),
            2**2100,
            b"",
        ],
        ids=[
            "np.float64",
            "array",
            "Path",
            "lambda",
            "numpy_rng",
            "meta",
            "sparse",
            "nested",
            "quantised",
            "long_int",
            "no_bytes",
        ],
    )
    def test_what_would_not_load_back_is_refused_by_key(
        self, store: Any, backend: Any, make_run: Any, value: Any
    ) -> None:
        run = make_run()
        store.store_weights(run, 6)
        run.extra_state = lambda: {"outer": [0, {"inner": value}]}
        with pytest.raises(UnsavableStateError, match=r"\['extra'\]\['outer'\]\[1\]\['inner'\]"):
            store.store_weights(run, 7)
        del run.extra_state
        assert store.latest_iteration("run") == 6
        store.store_weights(run, 7)
        assert store.latest_iteration("run", verified=True) == 7
        assert not [file for file in backend.files() if ".partial" in file]

    @pytest.mark.parametrize("said", [[1, 2], torch.ones(2)], ids=["list", "tensor"])
    @pytest.mark.parametrize("part", ["model", "optimizer", "extra_state"])
    def test_a_state_that_is_no_dict_is_refused(
        self, store: Any, make_run: Any, part: str, said: Any
    ) -> None:
        run = make_run()
        if part == "extra_state":
            run.extra_state = lambda: said
        else:
            setattr(run, part, SimpleNamespace(state_dict=lambda: said))
        with pytest.raises(UnsavableStateError, match=part):
            store.store_weights(run, 7)
        assert store.latest_iteration("run") is None

    @pytest.mark.parametrize("part", ["model", "optimizer", "extra_state"])
    def test_what_has_no_state_is_refused(self, store: Any, make_run: Any, part: str) -> None:
        run = make_run()
        setattr(run, part, {"a": 1})
        with pytest.raises(UnsavableStateError, match=f"{part}.*no method|no method {part}"):
            store.store_weights(run, 7)

    def test_no_extra_state_is_an_empty_one(self, store: Any, make_run: Any) -> None:
        run = make_run()
        run.extra_state = lambda: None
        store.store_weights(run, 7)
        assert store.retrieve_weights("run", 7).extra == {}

    def test_a_model_on_meta_is_refused(self, store: Any, make_run: Any) -> None:
        run = make_run()
        run.model = torch.nn.Linear(2, 2, device="meta")
        with pytest.raises(UnsavableStateError, match=r"'weight'.*meta"):
            store.store_weights(run, 7)

    def test_not_a_run_is_refused(self, store: Any) -> None:
        with pytest.raises(TypeError, match="no name"):
            store.store_weights({"model": {}}, 7)

    def test_a_checkpoint_that_may_not_be_committed_is_never_seen(
        self, store: Any, backend: Any, make_run: Any
    ) -> None:
        run = make_run()
        with store.lease("run") as lease:
            store.store_weights(run, 6)
            files = backend.files()
            # another process took the run over
            taken = backend.read(f"run/records/lease/{lease.epoch}.json")
            backend.write(f"run/records/lease/{lease.epoch + 1}.json", taken)
            with pytest.raises(LeaseLostError):
                store.store_weights(run, 7)
            assert {f for f in backend.files() if "lease" not in f} == {
                f for f in files if "lease" not in f
            }

    def test_two_threads_store_and_read(self, store: Any, make_run: Any, same: Any) -> None:
        problems: list[BaseException] = []

        def train(name: str) -> None:
            try:
                run = make_run(name, seed=len(name))
                for iteration in range(4):
                    model, _ = run.copy_of_state()
                    store.store_weights(run, iteration, wait=bool(iteration % 2))
                    run.step()
                    assert same(store.retrieve_weights(name, iteration).model, model)
            except BaseException as problem:
                problems.append(problem)

        threads = [threading.Thread(target=train, args=(name,)) for name in ("a", "bb")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not problems
        assert store.iterations("a") == store.iterations("bb") == [0, 1, 2, 3]


class TestFinding:
    def test_a_missing_run_has_no_latest(self, store: Any) -> None:
        assert store.latest_iteration("run") is None
        assert store.latest_iteration("run", verified=True) is None
        assert store.iterations("run") == []
        assert store.runs() == []

    def test_what_is_missing_is_file_not_found(self, store: Any, make_run: Any) -> None:
        for method in (store.retrieve_weights, store.retrieve_model, store.verify, store.remove):
            with pytest.raises(FileNotFoundError, match="7"):
                method("run", 7)
        store.store_weights(make_run(), 5)
        with pytest.raises(FileNotFoundError, match="latest 5"):
            store.retrieve_weights("run", 7)
        with pytest.raises(FileNotFoundError):
            store.load_weights(make_run(), 7)
        with pytest.raises(FileNotFoundError):
            store.load_best(make_run(), "val", "dice")

    def test_only_canonical_decimals_are_iterations(
        self, store: Any, backend: Any, make_run: Any
    ) -> None:
        run = make_run()
        for iteration in (0, 5, 10):
            store.store_weights(run, iteration)
        for name in (
            "5.tmp",
            ".DS_Store",
            "007",
            "1_000",
            "٣",
            "tmpab12",
            "99 ",
            "20/x",
            "-3",
            "9" * 19,
        ):
            backend.write(f"run/checkpoints/iterations/{name}", b"")
        assert store.iterations("run") == [0, 5, 10]
        assert store.latest_iteration("run") == 10

    @pytest.mark.parametrize("name", ["../evil", "/etc", "", ".", ".hidden", "a/b", "a\\b", "x\n"])
    def test_a_name_that_leaves_its_folder_is_refused(
        self, store: Any, backend: Any, make_run: Any, name: str
    ) -> None:
        with pytest.raises(InvalidNameError):
            store.store_weights(make_run(name), 7)
        for method in (store.retrieve_weights, store.verify, store.remove):
            with pytest.raises(InvalidNameError):
                method(name, 7)
        with pytest.raises(InvalidNameError):
            store.latest_iteration(name)
        assert backend.files() == set()

    @pytest.mark.parametrize("iteration", [-1, True, "7", 7.0, None, "../8", 10**18, 10**300])
    def test_an_iteration_that_is_none_is_refused(
        self, store: Any, backend: Any, make_run: Any, iteration: Any
    ) -> None:
        with pytest.raises(InvalidNameError, match="iteration"):
            store.store_weights(make_run(), iteration)
        with pytest.raises(InvalidNameError, match="iteration"):
            store.retrieve_weights("run", iteration)
        assert backend.files() == set()

    def test_names_are_never_globbed(self, store: Any, make_run: Any) -> None:
        store.store_weights(make_run("a[1]*"), 7)
        store.store_weights(make_run("a1"), 8)
        assert store.runs() == ["a1", "a[1]*"]
        assert store.iterations("a[1]*") == [7]
        store.remove("a[1]*", 7, force=True)
        assert store.iterations("a[1]*") == []
        assert store.iterations("a1") == [8]

    def test_loading_into_a_run(self, store: Any, make_run: Any, same: Any) -> None:
        trained, other = make_run(seed=1), make_run(seed=2)
        store.store_weights(trained, 7)
        store.load_weights(other, 7)
        assert same(other.model.state_dict(), trained.model.state_dict())
        assert same(other.optimizer.state_dict(), trained.optimizer.state_dict())
        store.store_best("run", 7, "val", "dice")
        third = make_run(seed=3)
        store.load_best(third, "val", "dice")
        assert same(third.model.state_dict(), trained.model.state_dict())

    def test_removing(self, store: Any, backend: Any, make_run: Any) -> None:
        run = make_run()
        for iteration in (6, 7, 8):
            store.store_weights(run, iteration)
        store.store_best("run", 7, "val", "dice")
        store.remove("run", 6)
        with pytest.raises(ProtectedCheckpointError, match="val"):
            store.remove("run", 7)
        assert store.iterations("run") == [7, 8]
        store.remove("run", 7, force=True)
        assert store.iterations("run") == [8]
        with pytest.raises(FileNotFoundError):
            store.retrieve_best("run", "val", "dice")
        assert RECORD not in backend.files()


class TestRecord:
    def test_says_what_was_stored(self, store: Any, backend: Any, make_run: Any) -> None:

        run = make_run()
        store.store_weights(run, 7)
        record = json.loads(backend.read(RECORD))
        data = backend.read(FILE)
        assert record["iteration"] == 7
        assert record["bytes"] == len(data)
        assert record["digest"] == xxhash.xxh3_128_hexdigest(data)
        assert record["torch"] == torch.__version__
        assert record["by"]
        run.optimizer.zero_grad()
        run.optimizer.step()
        store.store_weights(run, 8)
        later = json.loads(backend.read("run/records/checkpoints/8.json"))
        assert later["parts"].keys() == {"model", "optimizer"}
        assert later["nonce"] != record["nonce"]

    def test_equal_weights_have_equal_digests(
        self, store: Any, backend: Any, make_run: Any
    ) -> None:
        run = make_run()
        for iteration in (7, 8):
            store.store_weights(run, iteration)
        first, second = (
            json.loads(backend.read(f"run/records/checkpoints/{i}.json")) for i in (7, 8)
        )
        assert first["parts"] == second["parts"]
        assert first["digest"] != second["digest"]
