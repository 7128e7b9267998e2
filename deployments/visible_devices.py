"""The GPUs of this machine that workers are started for, one each."""

from __future__ import annotations

import os
import shutil
import subprocess


def visible_devices() -> list[str]:
    """The GPUs that ``CUDA_VISIBLE_DEVICES`` lists, if it is set; else all that the driver lists.

    Returns:
        Indices in the order of ``nvidia-smi``; what is listed as a UUID (a MIG slice, too) as that.
    """
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is not None:
        return [device.strip() for device in listed.split(",") if device.strip() not in ("", "-1")]
    return _listed_by_the_driver() if shutil.which("nvidia-smi") else _listed_by_torch()


def _listed_by_the_driver() -> list[str]:
    asked = subprocess.run(
        ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"],
        capture_output=True,
        text=True,
        check=False,
    )
    return asked.stdout.split() if asked.returncode == 0 else []


def _listed_by_torch() -> list[str]:
    import torch

    return [str(index) for index in range(torch.cuda.device_count())]
