"""Small models and checkpoints in every layout."""

from __future__ import annotations

import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from dacapo_core.experiments.architectures import CNNectomeUNetConfig
from dacapo_core.experiments.model import Model

State = dict[str, Tensor]
MakeModel = Callable[..., Model]


@pytest.fixture
def make_model() -> MakeModel:
    """A model of a few thousand parameters; another seed, other values."""

    def make(channels: Sequence[str] = ("mito", "er"), seed: int = 0, **values: object) -> Model:
        torch.manual_seed(seed)
        settings: dict[str, object] = {
            "input_shape": (20, 20, 20),
            "num_fmaps": 2,
            "fmaps_out": 4,
            "downsample_factors": [(2, 2, 2)],
            "upsample_factors": [(2, 2, 2)],
        }
        config = CNNectomeUNetConfig(**{**settings, **values})  # type: ignore[arg-type]
        head = (nn.Conv2d if config.dims == 2 else nn.Conv3d)(config.fmaps_out, len(channels), 1)
        return Model(config.build(), head, channels)

    return make


@pytest.fixture
def layouts() -> dict[str, Callable[[State], State]]:
    """Our state dict in each of the layouts that a checkpoint may have."""
    return {
        "ours": dict,
        "dacapo-0.3.5": lambda state: state | {second(key): state[key] for key in state},
        "dacapo-main": lambda state: (
            {
                (second(key).replace("chain.0.unet.", "chain.0.")): value
                for key, value in state.items()
            }
            | {key: value for key, value in state.items() if key.startswith("prediction_head")}
        ),
        "cellmap-models": lambda state: {
            key.replace("architecture.unet.", "backbone."): value for key, value in state.items()
        },
        "parallel": lambda state: {f"module.{key}": value for key, value in state.items()},
        "compiled": lambda state: {f"_orig_mod.{key}": value for key, value in state.items()},
        "both": lambda state: {f"module._orig_mod.{key}": value for key, value in state.items()},
        "compiled inside": lambda state: {
            key.replace("architecture.", "architecture._orig_mod."): value
            for key, value in state.items()
        },
        "wrapped at every level": lambda state: {
            "_orig_mod." + key.replace(".", "._orig_mod.module."): value
            for key, value in state.items()
        },
    }


def second(key: str) -> str:
    """DaCapo's second name of a tensor."""
    return key.replace("architecture.", "chain.0.").replace("prediction_head.", "chain.1.")


@pytest.fixture
def dacapo_stores(shared: Path) -> Path:
    """Stores written by the real DaCapo 0.3.5."""
    folder = shared / "stores" / "dacapo-0.3.5"
    if not folder.is_dir():
        pytest.skip("shared/stores/dacapo-0.3.5 is not here")
    return folder


def copy_of(model: nn.Module) -> State:
    """The model's values as they are now."""
    return {key: value.clone() for key, value in model.state_dict().items()}


@pytest.fixture
def unchanged() -> Callable[[nn.Module], Callable[[], bool]]:
    """Remembers a model's values, and says later whether they are still the same, bit for bit."""

    def remember(model: nn.Module) -> Callable[[], bool]:
        before = copy_of(model)
        return lambda: all(
            torch.equal(before[key], value) for key, value in model.state_dict().items()
        )

    return remember


class Mirror:
    """A real HTTP server on loopback that serves files and, when told to, serves them badly.

    `faults` holds what the next GETs suffer, one each; `always` what all of them do. A fault is
    (kind, number): "cut" and "reset" end the answer after that many bytes, "stall" stops there,
    "status" answers with it, "announce" gives it as length, "unannounced" ends after that many
    without having said a length, "html" sends a page.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.etag = '"first"'
        self.ranges = True
        self.faults: list[tuple[str, int]] = []
        self.always: tuple[str, int] | None = None
        self.seconds_per_chunk = 0.0
        self.gets: list[tuple[str, str | None]] = []
        self.closing = threading.Event()
        mirror = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                mirror.answer(self, body=False)

            def do_GET(self) -> None:
                mirror.gets.append((self.path, self.headers.get("Range")))
                mirror.answer(self, body=True)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()

    def answer(self, request: BaseHTTPRequestHandler, body: bool) -> None:
        kind, number = self.always or ("", 0)
        if body and self.faults:
            kind, number = self.faults.pop(0)
        content = self.files.get(request.path)
        if content is None or kind == "status":
            request.send_response(404 if content is None else number)
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        start = 0
        if kind == "html":
            content = b"<!DOCTYPE html><html><body>Please log in</body></html>"
        wanted = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range") or "")
        same = request.headers.get("If-Range") in (None, self.etag)
        if wanted and self.ranges and same and kind != "html":
            start = int(wanted[1])
            request.send_response(206)
            request.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            request.send_response(200)
        length = number if kind == "announce" and body else len(content) - start
        if kind != "unannounced" or not body:
            request.send_header("Content-Length", str(length))
        request.send_header("ETag", self.etag)
        if kind == "html" and number:
            request.send_header("Content-Type", "text/html; charset=utf-8")
        request.end_headers()
        if body:
            self.send(request, content[start:], kind, number)

    def send(self, request: BaseHTTPRequestHandler, content: bytes, kind: str, most: int) -> None:
        if kind in ("cut", "reset", "stall", "announce", "unannounced"):
            content = content[:most]
        try:
            for begin in range(0, len(content), 1 << 16):
                request.wfile.write(content[begin : begin + (1 << 16)])
                self.closing.wait(self.seconds_per_chunk)
        except ConnectionError:
            return
        if kind == "stall":
            self.closing.wait(30)
        if kind == "reset":
            linger = struct.pack("ii", 1, 0)
            request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        if kind in ("cut", "reset", "stall", "announce", "unannounced"):
            request.close_connection = True
            request.connection.close()


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    """A mirror of the published checkpoints on loopback."""
    server = Mirror()
    yield server
    server.close()
