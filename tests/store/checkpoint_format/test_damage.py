"""What a weights store makes of bytes that are not those that it wrote, on every backend."""

from __future__ import annotations

import io
import itertools
import pickle
import pickletools
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
import xxhash

from dacapo_core.store.errors import (
    DamagedCheckpointError,
    NewerFormatError,
    NotACheckpointError,
    UnsafeCheckpointError,
)
from dacapo_core.store.retention import RetentionPolicy

FILE = "run/checkpoints/iterations/7"
RECORD = "run/records/checkpoints/7.json"


class TestDamage:
    """Bytes that are not those that were written."""

    @pytest.fixture
    def written(self, store: Any, backend: Any, make_run: Any) -> bytes:
        run = make_run(width=16)
        store.store_weights(run, 6)
        store.store_weights(run, 7)
        return backend.read(FILE)

    @pytest.mark.parametrize(
        "damage",
        ["truncated", "cut_short", "empty", "noise", "model", "optimizer", "structure", "zeroed"],
    )
    def test_is_named_and_passed_over(
        self, store: Any, backend: Any, written: bytes, damage: str
    ) -> None:
        bad = bytearray(written)
        model, optimizer = tensor_offsets(written, 0), tensor_offsets(written, -8)
        if damage == "truncated":
            bad = bad[: len(bad) // 2]
        elif damage == "cut_short":
            bad = bad[:-1]
        elif damage == "empty":
            bad = bytearray()
        elif damage == "noise":
            bad = bytearray(b"not a zip" * 1000)
        elif damage == "model":
            bad[model] ^= 1
        elif damage == "optimizer":
            bad[optimizer] ^= 1
        elif damage == "structure":
            at = bytes(bad).index(struct.pack(">d", 0.01))  # the learning rate in the pickle
            bad[at + 4] ^= 1
        elif damage == "zeroed":
            bad[model : model + 4096] = bytes(min(4096, len(bad) - model))
        backend.write(FILE, bytes(bad))
        for method in (store.retrieve_weights, store.verify):
            with pytest.raises(DamagedCheckpointError) as caught:
                method("run", 7)
            assert (caught.value.run, caught.value.iteration) == ("run", 7)
            assert str(caught.value.path).endswith(FILE)
            assert caught.value.expected != caught.value.found
            for part in ("'run'", "checkpoint 7", caught.value.expected, caught.value.found):
                assert str(part) in str(caught.value)
        assert store.latest_iteration("run") == 7
        assert store.latest_iteration("run", verified=True) == 6
        assert backend.read(FILE) == bytes(bad)

    def test_of_the_optimizer_leaves_the_model_usable(
        self, store: Any, backend: Any, written: bytes, same: Any
    ) -> None:
        model = store.retrieve_model("run", 6)
        bad = bytearray(written)
        bad[tensor_offsets(written, -8)] ^= 1
        bad[bytes(bad).index(struct.pack(">d", 0.01)) + 4] ^= 1  # the learning rate
        backend.write(FILE, bytes(bad))
        assert same(store.retrieve_model("run", 7), model)
        bad[tensor_offsets(written, 0)] ^= 1
        backend.write(FILE, bytes(bad))
        with pytest.raises(DamagedCheckpointError):
            store.retrieve_model("run", 7)

    def test_is_not_looked_for_when_told_so(self, store: Any, backend: Any, written: bytes) -> None:
        bad = bytearray(written)
        bad[tensor_offsets(written, 0)] ^= 1
        backend.write(FILE, bytes(bad))
        assert store.retrieve_weights("run", 7, verify=False).model
        assert store.retrieve_model("run", 7, verify=False)

    @pytest.mark.parametrize("writer", ["ours", "dacapo"])
    def test_of_a_name_in_the_pickle_is_no_bomb(
        self, store: Any, backend: Any, written: bytes, writer: str
    ) -> None:
        state = {"model": {"w": torch.ones(1)}, "optimizer": {}}
        bad = bytearray(written if writer == "ours" else saved(state))
        bad[bytes(bad).index(b"torch._utils") + 1] ^= 1
        backend.write(FILE, bytes(bad))
        for method in (store.retrieve_weights, store.verify):
            with pytest.raises(DamagedCheckpointError, match=r"pickle|checksum"):
                method("run", 7)

    def test_of_the_pickle_is_found_before_its_values_are_used(
        self, store: Any, backend: Any, written: bytes
    ) -> None:
        with zipfile.ZipFile(io.BytesIO(written)) as archive:
            pickled = archive.read("archive/data.pkl")
        start = written.index(pickled)
        operations = [(code.name, at) for code, _, at in pickletools.genops(pickled)]
        # another of the values met so far, such as a storage's class, where a first key was
        first_keys = [
            at
            for (before, _), (name, at) in itertools.pairwise(operations)
            if (before, name) == ("MARK", "BINGET")
        ]
        for at in first_keys:
            bad = bytearray(written)
            bad[start + at + 1] ^= 2
            backend.write(FILE, bytes(bad))
            with pytest.raises(DamagedCheckpointError):
                store.verify("run", 7)

    def test_outside_the_tensors_is_found_by_verify(
        self, store: Any, backend: Any, written: bytes
    ) -> None:
        bad = bytearray(written)
        bad[bytes(bad).rindex(b"PK\x01\x02") + 14] ^= 1  # the date of an entry
        backend.write(FILE, bytes(bad))
        with pytest.raises(DamagedCheckpointError):
            store.verify("run", 7)

    @pytest.mark.parametrize(
        ("said", "made_up"),
        [
            (b'"float32"', b'"package"'),
            (b'"tensor",0]', b'"tensor",-]'),
            (b'["dict"', b'["eval"'),
            (b",0,0],", b",9,0],"),
            (b",0,0],", b",0,9],"),
            (b",0,0],", b",-9,0],"),
            (b'{"structure"', b"[" * 12),
            (b'{"structure"', b'{"structur!"'),
        ],
    )
    def test_a_layout_that_somebody_made_up(
        self, store: Any, backend: Any, written: bytes, said: bytes, made_up: bytes
    ) -> None:
        bad = bytearray(written)
        start, stop, _, end = (int(w, 16) for w in bad[-110:].split()[2:6])
        layout = bytes(bad[start:stop])
        assert said in layout
        layout = layout.replace(said, made_up, 1)[: len(layout)].ljust(len(layout))
        bad[start:stop] = layout
        bad[end - 24 : end - 8] = xxhash.xxh3_128_digest(layout)
        backend.write(FILE, bytes(bad))
        for method in (store.retrieve_weights, store.retrieve_model, store.verify):
            with pytest.raises(DamagedCheckpointError):
                method("run", 7)

    def test_of_a_place_is_found(self, store: Any, backend: Any, written: bytes) -> None:
        bad = bytearray(written)
        table = int(bad[-110:].split()[4], 16)
        bad[table + 16] ^= 0x40  # where the first tensor begins
        backend.write(FILE, bytes(bad))
        for method in (store.retrieve_weights, store.retrieve_model, store.verify):
            with pytest.raises(DamagedCheckpointError, match="table"):
                method("run", 7)

    def test_of_any_byte_of_dacapos_is_told_or_harmless(self, store: Any, backend: Any) -> None:
        content = saved({"model": {"w": torch.arange(9.0)}, "optimizer": {}})
        for at in range(0, len(content), 7):
            bad = bytearray(content)
            bad[at] ^= 0x80
            backend.write(FILE, bytes(bad))
            try:
                model = store.retrieve_weights("run", 7).model
            except (DamagedCheckpointError, UnsafeCheckpointError):
                continue
            assert torch.equal(model["w"], torch.arange(9.0)), at

    def test_a_later_format_is_no_damage(self, store: Any, backend: Any, written: bytes) -> None:
        later = bytearray(written)
        later[-102] = ord("2")
        at = later.index(b"format") + 6
        later[later.index(b"K\x01", at) + 1] = 2
        backend.write(FILE, bytes(later))
        for method in (store.retrieve_weights, store.retrieve_model, store.verify):
            with pytest.raises(NewerFormatError, match=r"format 2.*upgrade"):
                method("run", 7)
        with pytest.raises(NewerFormatError):
            store.prune("run", RetentionPolicy(keep_last=1))
        assert store.iterations("run") == [6, 7]

    def test_a_record_of_another_file_is_not_held_against_it(
        self, store: Any, backend: Any, written: bytes
    ) -> None:
        backend.write(FILE, backend.read("run/checkpoints/iterations/6"))
        assert not store.verify("run", 7).record
        backend.write(RECORD, b"{")
        assert not store.verify("run", 7).record
        assert store.verify("run", 6).record

    @pytest.mark.parametrize(
        "tensor",
        [torch.ones(3, device="meta"), torch.eye(3).to_sparse()],
        ids=["meta", "sparse"],
    )
    def test_tensors_without_bytes_are_no_checkpoint(
        self, store: Any, backend: Any, tensor: torch.Tensor
    ) -> None:
        backend.write(FILE, saved({"model": {"w": tensor}, "optimizer": {}}))
        with pytest.raises(NotACheckpointError, match="model/w"):
            store.retrieve_weights("run", 7)

    @pytest.mark.parametrize("content", ["a list", "no optimizer", "a tensor", "other zip"])
    def test_a_zip_that_is_no_checkpoint(self, store: Any, backend: Any, content: str) -> None:
        objects = {
            "a list": [1, 2],
            "no optimizer": {"model": {"w": torch.ones(2)}},
            "a tensor": torch.ones(2),
        }
        if content == "other zip":
            buffer = io.BytesIO()
            with zipfile.ZipFile(buffer, "w") as archive:
                archive.writestr("readme.txt", "hello")
            data = buffer.getvalue()
        else:
            data = saved(objects[content])
        backend.write(FILE, data)
        error = DamagedCheckpointError if content == "other zip" else NotACheckpointError
        with pytest.raises(error, match="checkpoint 7"):
            store.retrieve_weights("run", 7)

    def test_a_compressed_entry_is_refused_before_it_is_unpacked(
        self, store: Any, backend: Any
    ) -> None:
        plain = io.BytesIO(saved({"model": {"w": torch.ones(1)}, "optimizer": {}}))
        packed = io.BytesIO()
        with zipfile.ZipFile(plain) as whole, zipfile.ZipFile(packed, "w", 8) as archive:
            for name in whole.namelist():
                archive.writestr(name, whole.read(name))
        backend.write(FILE, packed.getvalue())
        for method in (store.retrieve_weights, store.retrieve_model, store.verify):
            with pytest.raises(DamagedCheckpointError, match="compressed from"):
                method("run", 7)

    def test_without_digests_the_zip_is_asked(self, store: Any, backend: Any) -> None:
        state = {"model": {"w": torch.randn(1000)}, "optimizer": {"m": torch.randn(1000)}}
        whole = saved(state)
        backend.write(FILE, whole)
        assert store.verify("run", 7).against == "zip checksums"
        bad = bytearray(whole)
        bad[tensor_offsets(whole, 1)] ^= 1
        backend.write(FILE, bytes(bad))
        assert store.retrieve_model("run", 7)
        with pytest.raises(DamagedCheckpointError):
            store.retrieve_weights("run", 7)
        bad[bytes(bad).index(b"optimizer")] ^= 1
        backend.write(FILE, bytes(bad))
        with pytest.raises(DamagedCheckpointError):
            store.retrieve_model("run", 7)


class TestSafety:
    def test_code_is_refused_by_its_name_and_not_run(
        self, store: Any, backend: Any, tmp_path: Path
    ) -> None:
        trace = tmp_path / "ran"

        class Bomb:
            def __reduce__(self) -> Any:
                import os

                return os.system, (f"touch {trace}",)

        backend.write(FILE, saved({"model": {"w": torch.ones(1)}, "optimizer": Bomb()}))
        for method in (store.retrieve_weights, store.retrieve_model, store.verify):
            with pytest.raises(UnsafeCheckpointError, match=r"(posix|os|nt)\.system") as caught:
                method("run", 7)
            assert len(caught.value.globals) == 1
        with pytest.raises(UnsafeCheckpointError):
            store.latest_iteration("run", verified=True)
        assert not trace.exists()

    def test_the_environment_cannot_switch_it_off(
        self, store: Any, backend: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
        backend.write(FILE, saved({"model": {"w": print}, "optimizer": {}}))
        with pytest.raises(UnsafeCheckpointError, match="print"):
            store.retrieve_weights("run", 7)

    @pytest.mark.parametrize("form", ["pickle", "old pickle", "old torch file", "new pickle"])
    def test_code_in_other_than_a_torch_zip_file_is_refused_by_its_name(
        self, store: Any, backend: Any, form: str
    ) -> None:
        state = {"model": {"w": torch.ones(1)}, "optimizer": {"x": print}}
        buffer = io.BytesIO()
        if form == "old torch file":
            torch.save(state, buffer, _use_new_zipfile_serialization=False)
        elif form == "new pickle":
            with zipfile.ZipFile(buffer, "w") as archive:
                archive.writestr("archive/data.pkl", pickle.dumps({"f": [print, print]}, 4))
                archive.writestr("archive/version", "3")
        else:
            buffer.write(pickle.dumps({"f": print}, 0 if form == "old pickle" else 4))
        backend.write(FILE, buffer.getvalue())
        for method in (store.retrieve_weights, store.retrieve_model, store.verify):
            with pytest.raises(UnsafeCheckpointError) as caught:
                method("run", 7)
            assert [name.rpartition(".")[2] for name in caught.value.globals] == ["print"]

    @pytest.mark.parametrize(
        ("content", "found"),
        [
            (b"", "an empty file"),
            (b"hello", "5 bytes that are no zip file"),
            (pickle.dumps({"model": {}, "optimizer": {}}), "bytes that are no zip file"),
        ],
        ids=["empty", "text", "pickle"],
    )
    def test_what_is_no_zip_file_is_called_so(
        self, store: Any, backend: Any, content: bytes, found: str
    ) -> None:
        backend.write(FILE, content)
        for method in (store.retrieve_weights, store.retrieve_model, store.verify):
            with pytest.raises(DamagedCheckpointError, match=found):
                method("run", 7)


def saved(obj: Any) -> bytes:
    """As torch.save writes it, checksums and all: DaCapo's way."""
    buffer = io.BytesIO()
    torch.save(obj, buffer)
    return buffer.getvalue()


def tensor_offsets(data: bytes, number: int) -> int:
    """Where the bytes of one of a checkpoint's tensors begin."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = [info for info in archive.infolist() if "/data/" in info.filename]
    header = entries[number].header_offset
    name, extra = struct.unpack("<HH", data[header + 26 : header + 30])
    return header + 30 + name + extra
