"""DaCapo's own CNNectomeUNet computes what ours computes."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

from dacapo_core.experiments.architectures import CNNectomeUNetConfig
from dacapo_core.experiments.model import Model
from dacapo_core.experiments.starts.loading import prepare_loading

pytestmark = [pytest.mark.slow, pytest.mark.dacapo]

BASE: dict[str, Any] = {
    "input_shape": [48, 48, 48],
    "fmaps_in": 1,
    "fmaps_out": 3,
    "num_fmaps": 2,
    "fmap_inc_factor": 2,
    "downsample_factors": [[2, 2, 2], [2, 2, 2]],
}
CASES: dict[str, dict[str, Any]] = {
    "plain": BASE,
    "upsampled": {**BASE, "upsample_factors": [[2, 2, 2]]},
    "transposed": {**BASE, "constant_upsample": False},
    "batch_norm": {**BASE, "batch_norm": True, "upsample_factors": [[1, 2, 2]]},
    "same": {**BASE, "padding": "same"},
    "anisotropic": {
        **BASE,
        "input_shape": [22, 48, 48],
        "downsample_factors": [[1, 2, 2], [1, 2, 2]],
    },
    "cosem": {
        **BASE,
        "input_shape": [108, 108, 108],
        "num_fmaps": 1,
        "fmap_inc_factor": 6,
        "fmaps_out": 6,
        "downsample_factors": [[2, 2, 2], [3, 3, 3]],
        "upsample_factors": [[2, 2, 2]],
    },
    "flat": {**BASE, "input_shape": [64, 52], "downsample_factors": [[2, 2], [2, 2]]},
}

THEIR_SIDE = """
import json, sys
import torch
from dacapo.experiments.architectures import CNNectomeUNetConfig
from dacapo.experiments.model import Model
torch.manual_seed(0)
cases, out = json.loads(sys.argv[1]), {}
for name, values in cases.items():
    values["upsample_factors"] = [tuple(f) for f in values.get("upsample_factors", [])]
    config = CNNectomeUNetConfig(name=name, **values)
    dims = len(values["input_shape"])
    convolution = {2: torch.nn.Conv2d, 3: torch.nn.Conv3d}[dims]
    model = Model(config.architecture_type(config), convolution(values["fmaps_out"], 2, 1)).eval()
    volume = torch.randn(1, 1, *values["input_shape"])
    with torch.no_grad():
        out[name] = {"model": model.state_dict(), "volume": volume, "expected": model(volume)}
torch.save(out, sys.argv[2])
"""


@pytest.fixture(scope="module")
def theirs(
    dacapo_python: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, Any]]:
    file = tmp_path_factory.mktemp("dacapo") / "theirs"
    command = [str(dacapo_python), "-c", THEIR_SIDE, json.dumps(CASES), str(file)]
    subprocess.run(command, check=True, cwd=file.parent)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("case", CASES)
def test_equal_weights_give_equal_outputs(case: str, theirs: dict[str, dict[str, Any]]) -> None:
    config = CNNectomeUNetConfig(**CASES[case])
    convolution = {2: torch.nn.Conv2d, 3: torch.nn.Conv3d}[config.dims]
    model = Model(config.build(), convolution(config.fmaps_out, 2, 1)).eval()
    report = prepare_loading(model, theirs[case]["model"], policy="strict").carry_out()
    assert report.share_loaded == 1
    assert not report.renamed

    expected = theirs[case]["expected"]
    with torch.no_grad():
        found = model(theirs[case]["volume"])
    assert float(expected.abs().max()) > 1e-3
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
