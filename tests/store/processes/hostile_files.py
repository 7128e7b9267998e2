"""Files that somebody made to run code, to hang or to take all memory, each read in this process.

Arguments: JSON of {"folder"}. Prints JSON of {"files", "violations"}. Its memory is limited.
"""

from __future__ import annotations

import io
import json
import pickle
import resource
import signal
import struct
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from dacapo_core.store.errors import StoreError
from dacapo_core.store.local_weights_store import LocalWeightsStore

SECONDS = 20
MEMORY = 600 << 20
TRACE = "ran"


class Call:
    """Pickles as a call of anything."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.function, self.args = function, args

    def __reduce__(self) -> Any:
        return self.function, self.args


def calls(trace: str) -> dict[str, Any]:
    import builtins
    import functools
    import importlib
    import operator
    import os
    import runpy
    import shutil
    import subprocess

    code = f"open({trace!r}, 'w')"
    return {
        "os.system": Call(os.system, f"touch {trace}"),
        "os.popen": Call(os.popen, f"touch {trace}"),
        "os.open": Call(os.open, trace, os.O_CREAT),
        "os.mkdir": Call(os.mkdir, trace),
        "subprocess.run": Call(subprocess.run, ["touch", trace]),
        "subprocess.Popen": Call(subprocess.Popen, ["touch", trace]),
        "eval": Call(builtins.eval, code),
        "exec": Call(builtins.exec, code),
        "open": Call(builtins.open, trace, "w"),
        "compile": Call(builtins.compile, code, "x", "exec"),
        "__import__": Call(builtins.__import__, "antigravity"),
        "getattr": Call(builtins.getattr, "a string", "__class__"),
        "import_module": Call(importlib.import_module, "antigravity"),
        "run_path": Call(runpy.run_path, trace),
        "copyfile": Call(shutil.copyfile, "/etc/hostname", trace),
        "partial": Call(functools.partial, os.system, f"touch {trace}"),
        "methodcaller": Call(operator.methodcaller, "system", f"touch {trace}"),
        "pickle.loads": Call(pickle.loads, pickle.dumps(Call(os.system, f"touch {trace}"))),
        "torch.load": Call(torch.load, trace),
        "torch.hub.load": Call(torch.hub.load, "a/b", "c"),
        "torch.save": Call(torch.save, {}, trace),
        "Path.touch": Call(Path.touch, Path(trace)),
    }


def saved(value: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def in_zip(pickled: bytes, **others: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/byteorder", "little")
        for name, content in others.items():
            archive.writestr(f"archive/data/{name.removeprefix('n')}", content)
    return buffer.getvalue()


def tensor_pickle(size: int, shape: tuple[int, ...], stride: tuple[int, ...], offset: int) -> bytes:
    """A checkpoint's pickle with one tensor of any size, shape, strides and offset."""
    buffer = io.BytesIO()

    class Pickler(pickle.Pickler):
        def persistent_id(self, value: Any) -> Any:
            if isinstance(value, torch.storage.TypedStorage):
                return ("storage", torch.FloatStorage, "0", "cpu", size)
            return None

    class Rebuilt:
        def __reduce__(self) -> Any:
            storage = torch.storage.TypedStorage(
                wrap_storage=torch.UntypedStorage(4), dtype=torch.float32, _internal=True
            )
            args = (storage, offset, shape, stride, False, {})
            return torch._utils._rebuild_tensor_v2, args

    Pickler(buffer, 2).dump({"model": {"w": Rebuilt()}, "optimizer": {}})
    return buffer.getvalue()


def deflated(name: str, length: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open(name, "w", force_zip64=True) as entry:
            for _ in range(length >> 20):
                entry.write(bytes(1 << 20))
        if not name.endswith("data.pkl"):
            archive.writestr("archive/data.pkl", tensor_pickle(length // 4, (1,), (1,), 0))
        archive.writestr("archive/version", "3\n")
    return buffer.getvalue()


def strange() -> Iterator[tuple[str, bytes]]:
    """No code, but what hangs, overflows or takes memory where it is believed."""
    plain = saved({"model": {"w": torch.ones(4)}, "optimizer": {}})
    yield "deep lists", in_zip(b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b".")
    yield "deep dicts", in_zip(b"\x80\x02" + b"}K\x00" * 100_000 + b"N" + b"s" * 100_000 + b".")
    yield "deep tuples", in_zip(b"\x80\x02N" + b"\x85" * 300_000 + b".")
    tenfold = (b"(" + (b"h" + bytes([n])) * 10 + b"lq" + bytes([n + 1]) for n in range(40))
    laughs = b"".join(tenfold)
    yield "a billion laughs", in_zip(b"\x80\x02]q\x00" + laughs + b".")
    yield "a long string", in_zip(b"\x80\x02X" + struct.pack("<I", 0xFFFFFFF0) + b"a" * 10 + b".")
    yield "long bytes", in_zip(b"\x80\x04\x8e" + struct.pack("<Q", 1 << 50) + b"a.")
    yield "a long frame", in_zip(b"\x80\x04\x95" + struct.pack("<Q", 1 << 60) + b"N.")
    length = 50_000_000
    number = b"\x8b" + struct.pack("<i", length) + b"\x7f" * length
    yield "a huge number", in_zip(b"\x80\x02" + number + b".")
    yield "a negative number's length", in_zip(b"\x80\x02\x8b" + struct.pack("<i", -5) + b".")
    yield "a far memo", in_zip(b"\x80\x02Nr" + struct.pack("<I", 0xFFFFFFFE) + b".")
    yield "an extension", in_zip(b"\x80\x02\x82\x01.")
    yield "a storage of a terabyte", in_zip(tensor_pickle(1 << 38, (1 << 38,), (1,), 0), n0=b"abcd")
    yield "a shape beyond its storage", in_zip(tensor_pickle(1, (1 << 20,), (1,), 0), n0=b"abcd")
    yield "an offset beyond its storage", in_zip(tensor_pickle(1, (1,), (1,), 1 << 40), n0=b"abcd")
    yield "a negative offset", in_zip(tensor_pickle(1, (1,), (1,), -8), n0=b"abcd")
    yield "negative strides", in_zip(tensor_pickle(1, (4,), (-1,), 0), n0=b"abcd")
    yield "a negative shape", in_zip(tensor_pickle(1, (-4,), (1,), 0), n0=b"abcd")
    petabyte = (1 << 30, 1 << 20)
    yield "an expanded petabyte", in_zip(tensor_pickle(1, petabyte, (0, 0), 0), n0=b"abcd")
    yield "no storage at all", in_zip(tensor_pickle(1, (1,), (1,), 0))
    yield "a bomb of zeros as its pickle", deflated("archive/data.pkl", 900 << 20)
    yield "a bomb of zeros as its tensor", deflated("archive/data/0", 900 << 20)
    yield (
        "a way out of its folder",
        in_zip(tensor_pickle(1, (1,), (1,), 0), **{"n../../../../ran": b"abcd"}),
    )
    yield "an end without a zip", b"PK\x05\x06" + bytes(18)
    yield "an end that lies", plain[:-12] + struct.pack("<IIH", 1 << 31, 0, 0) + b"\x00\x00"
    yield "many entries", plain[:-14] + struct.pack("<H", 65535) + plain[-12:]
    yield "a file of zeros", bytes(64 << 20)
    yield "a pickle that stops nowhere", in_zip(b"\x80\x02" + b"(" * 2_000_000)
    yield "a pickle of marks that stops", in_zip(b"\x80\x02" + b"(N" * 2_000_000 + b".")
    yield "a plain pickle of marks", b"\x80\x02" + b"(" * (64 << 20)
    yield "plain pickles without end", b"N." * (16 << 20)
    yield "names without end", in_zip(b"\x80\x02cposix\nsystem\n" + b"N0" * 5_000_000 + b".")
    yield "a comment of pickles", plain + pickle.dumps(Call(print, "ran"))


def hostile(trace: str) -> Iterator[tuple[str, bytes]]:
    for name, call in calls(trace).items():
        state = {"model": {"w": torch.ones(1)}, "optimizer": call}
        yield f"{name} in a torch file", saved(state)
        yield f"{name} in a plain pickle", pickle.dumps(state)
        if name in ("os.system", "eval", "partial", "subprocess.Popen"):
            yield f"{name} in an old torch file", saved(state, _use_new_zipfile_serialization=False)
            for protocol in (0, 1, 3, 5):
                yield f"{name} by protocol {protocol}", in_zip(pickle.dumps(state, protocol))
    yield from strange()


def tried(read: Callable[[], object]) -> str | None:
    """What is wrong with how a read ended; None: it was refused, or what it read is harmless."""
    signal.alarm(SECONDS)
    try:
        read()
    except StoreError:
        return None
    except BaseException as error:
        return f"raw {type(error).__name__}: {str(error)[:200]}"
    finally:
        signal.alarm(0)
    return None


def peak() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))


def now() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmRSS"))


def main() -> None:
    folder = Path(json.loads(sys.argv[1])["folder"])
    trace = folder / TRACE
    store = LocalWeightsStore(folder / "store")
    file = folder / "store/run/checkpoints/iterations/7"
    file.parent.mkdir(parents=True)
    whole = saved({"model": {"w": torch.ones(4)}, "optimizer": {}})
    file.write_bytes(whole)
    store.verify("run", 7)

    def hang(*_: object) -> None:
        raise TimeoutError(f"it took more than {SECONDS} s")

    signal.signal(signal.SIGALRM, hang)
    files, violations = 0, list[str]()
    for name, content in hostile(str(trace)):
        file.write_bytes(content)
        size = len(content)
        del content
        files += 1
        for method in ("retrieve_weights", "retrieve_model", "verify"):
            Path("/proc/self/clear_refs").write_text("5")
            before, started = now(), time.monotonic()
            wrong = tried(lambda method=method: getattr(store, method)("run", 7))
            if wrong is not None:
                violations.append(f"{name}, {method}: {wrong}")
            if trace.exists():
                violations.append(f"{name}, {method}: its code was run")
                trace.unlink()
            if (grown := peak() - before) > MEMORY + size:
                violations.append(f"{name}, {method}: took {grown >> 20} MiB")
            if (seconds := time.monotonic() - started) > SECONDS:
                violations.append(f"{name}, {method}: took {seconds:.0f} s")
    print(json.dumps({"files": files, "violations": violations}))


if __name__ == "__main__":
    used = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (24 << 30, used))
    main()
