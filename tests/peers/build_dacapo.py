"""Build an environment with the real dacapo-ml 0.3.5: ``python build_dacapo.py FOLDER``.

It pins pydantic 1, numpy 1 and zarr 2, so it can share no environment with this project. A plain
``pip install`` backtracks for many minutes through CUDA wheels; uv with an override does not.
Package sources are those that pip is configured with.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

TORCH = "torch==2.13.0"
REQUIREMENTS = [TORCH, "universal-pathlib<0.3", "dacapo-ml==0.3.5", "cellmap-models==0.2.4"]
# cellmap-models asks for torchvision and imports it nowhere
OVERRIDE = "torchvision; python_version < '3'\n"
SYSTEM_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
DONE = "dacapo-0.3.5"


def build(folder: Path) -> None:
    """Build into ``folder``, unless it is built already."""
    if (folder / DONE).exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    run([python, "-m", "pip", "install", "--quiet", TORCH, "uv"])
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as override:
        override.write(OVERRIDE)
        override.flush()
        command = [folder / "bin" / "uv", "pip", "install", "--quiet", "--python", python]
        run([*command, "--override", override.name, *sources(python), *REQUIREMENTS])
    run([python, "-c", "import dacapo.store.local_weights_store"])
    (folder / DONE).touch()


def sources(python: Path) -> list[str]:
    """pip's configured package sources as options of uv, which does not read pip's settings."""
    listed = subprocess.run(
        [python, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    options = set()
    for line in listed.splitlines():
        name, _, value = line.partition("=")
        option = name.rpartition(".")[2]
        # not extra-index-url: uv would take what another index has of the same name for all
        if option in ("find-links", "index-url"):
            options |= {(f"--{option}", part) for part in value.strip("'\"").split()}
    return [word for pair in sorted(options) for word in pair]


def run(command: list[object]) -> None:
    environment = dict(os.environ)
    if SYSTEM_CERTIFICATES.exists():
        environment.setdefault("SSL_CERT_FILE", str(SYSTEM_CERTIFICATES))
    subprocess.run([str(word) for word in command], check=True, env=environment)


if __name__ == "__main__":
    build(Path(sys.argv[1]))
