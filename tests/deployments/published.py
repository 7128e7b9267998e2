"""A published COSEM network of small width on a mirror, and a run that is fine-tuned from it."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

SETUP, ITERATION = "setup28", 1440000


def architecture() -> dict[str, Any]:
    """The published depth with a twelfth of the feature maps, padded to fit small volumes."""
    from dacapo_core.experiments.starts.cosem_catalogue import cosem_architecture

    published = cosem_architecture(SETUP, num_fmaps=1).model_dump(mode="json")
    return published | {"padding": "same", "input_shape": [36, 36, 36]}


def finetuned(name: str, num_iterations: int, validation_interval: int) -> dict[str, Any]:
    """A run configuration that starts from the published network."""
    return {
        "name": name,
        "num_iterations": num_iterations,
        "validation_interval": validation_interval,
        "num_workers": 0,
        "learning_rate": 1e-3,
        "architecture_config": architecture(),
        "task_config": {"type": "one_hot", "channels": ["mito", "er"], "thresholds": [0.5]},
        "trainer_config": {"warmup_iterations": 1},
        "datasplit_config": {
            "type": "synthetic",
            "shape": [36, 36, 36],
            "label_scale": [2, 2, 2],
            "num_train": 1,
        },
        "start_config": {"type": "cosem", "run": SETUP, "criterion": str(ITERATION)},
    }


def write_published(folder: Path) -> None:
    """The checkpoint as it is published: every tensor under two names, and nothing else."""
    import torch
    from torch import nn

    from dacapo_core.experiments.architectures import CNNectomeUNetConfig
    from dacapo_core.experiments.model import Model
    from dacapo_core.experiments.starts.cosem_catalogue import CATALOGUE

    config = CNNectomeUNetConfig.model_validate(architecture())
    channels = CATALOGUE[SETUP].channels
    torch.manual_seed(5)
    head = nn.Conv3d(config.fmaps_out, len(channels), 1)
    model = Model(config.build(), head, channels)
    state = {}
    for key, value in model.state_dict().items():
        state[key] = value
        state[key.replace("architecture.", "chain.0.").replace("prediction_head.", "chain.1.")] = (
            value
        )
    (folder / SETUP).mkdir(parents=True)
    torch.save({"model": state}, folder / SETUP / str(ITERATION))


@contextmanager
def mirror(folder: Path) -> Iterator[str]:
    """Serve the checkpoint over HTTP on loopback; yields the URL for ``DACAPO_COSEM_URL``."""
    write_published(folder)

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
