"""dacapo-store from-dacapo."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dacapo_core.store.local_weights_store import LocalWeightsStore

Command = Callable[..., tuple[int, str, str]]

STORED = """
name: theirs
num_iterations: 10
task_config: {__type__: HotDistanceTaskConfig, name: t, channels: [mito]}
architecture_config: {__type__: CNNectomeUNetConfig, name: u, fmaps_out: 4}
"""


def test_a_run_is_written_as_yaml_and_what_is_missing_is_named(
    dacapo_store: Command, store: LocalWeightsStore, tmp_path: Path
) -> None:
    runs = Path(store.basedir) / "configs/runs"
    runs.mkdir(parents=True)
    (runs / "theirs.yaml").write_text(STORED)
    file = tmp_path / "theirs.yaml"
    code, out, err = dacapo_store("from-dacapo", "theirs", str(file))
    assert (code, out.strip()) == (0, f"{file} is written")
    assert "task_config has no counterpart: fill it in" in err
    assert "HotDistanceTaskConfig has no counterpart; choose one_hot or distance" in (
        file.read_text()
    )
    # printed without a file, from any folder
    code, out, _ = dacapo_store("from-dacapo", "theirs", "--configs", str(runs.parent))
    assert (code, out) == (0, file.read_text())
    assert "criterion: latest" in dacapo_store("from-dacapo", "theirs", "--as", "ours")[1]
    for name, said in (("theirs", "is the run itself"), ("a/b", "contains a slash")):
        code, out, err = dacapo_store("from-dacapo", "theirs", "--as", name)
        assert (code, out) == (2, "")
        assert said in err
    code, _, err = dacapo_store("from-dacapo", "theirs", str(file))
    assert (code, "it is not overwritten" in err) == (1, True)
    code, _, err = dacapo_store("from-dacapo", "other")
    assert (code, "there are theirs" in err) == (3, True)
