"""Many crops from a pattern or a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import zarr
from pydantic import ValidationError

from dacapo_core.experiments.datasplits import TrainValidateDataSplitConfig
from dacapo_core.experiments.datasplits.crop_table_config import parse_roi


def write(url: Path | str, data: np.ndarray, offset: float = 0, **options: Any) -> None:
    array = zarr.create_array(store=str(url), data=data, chunks=data.shape, **options)
    array.attrs.update({"voxel_size": [8, 8, 8], "offset": [offset] * 3})


def split(*train: Any) -> TrainValidateDataSplitConfig:
    return TrainValidateDataSplitConfig.model_validate(
        {"train_configs": list(train), "validate_configs": []}
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One large raw volume, and crops that annotate mito, or mito and er."""
    write(tmp_path / "big.zarr/em", np.zeros((32, 32, 32), np.uint8))
    for number, classes in ((2, ["mito"]), (10, ["mito", "er"])):
        ids = np.zeros((8, 8, 8), np.uint8)
        ids[:4], ids[6:] = 3, 7
        write(tmp_path / f"big.zarr/labels/crop{number}/all", ids, 8 * number)
        for each in classes:
            value = {"mito": 3, "er": 7}[each]
            path = tmp_path / f"big.zarr/labels/crop{number}/{each}"
            write(path, (ids == value).astype(np.uint8), 8 * number)
    return tmp_path


def table(folder: Path, *lines: str, **values: Any) -> dict[str, Any]:
    (folder / "crops.csv").write_text("\n".join(lines) + "\n")
    return {"table": str(folder / "crops.csv"), **values}


def test_a_table_of_crops_trains_what_each_annotates(folder: Path) -> None:
    config = split(
        table(
            folder,
            "name,raw,labels,roi,classes,weight",
            "two,big.zarr/em,big.zarr/labels/crop2/{class},,mito,2",
            "",
            f"ten,{folder}/big.zarr/em,big.zarr/labels/crop10/{{class}},0:6 :8 2:,mito er,",
        )
    )
    # expanded when it is read: what is stored does not depend on the table any more
    (folder / "crops.csv").unlink()
    assert TrainValidateDataSplitConfig.model_validate(config.model_dump(mode="json")) == config
    two, ten = config.build().train
    assert (two.name, two.weight, two.begin, two.end) == ("two", 2, (2, 2, 2), (10, 10, 10))
    assert (ten.name, ten.weight, ten.begin, ten.end) == ("ten", 1, (10, 10, 12), (16, 18, 18))
    foreground, known = two.read_labels(two.begin, two.end, ["mito", "er"])
    assert foreground.sum((1, 2, 3)).tolist() == [4 * 64, 0]
    assert known.all((1, 2, 3)).tolist() == [True, False]
    assert not known[1].any()


def test_integer_labels_of_classes_that_a_crop_does_not_annotate_are_background(
    folder: Path,
) -> None:
    config = split(
        table(
            folder,
            # as a spreadsheet writes it
            "raw;labels;classes;;",
            "big.zarr/em;big.zarr/labels/crop2/all;mito;;",
            "big.zarr/em;big.zarr/labels/crop10/all;",
            groupings={"mito": [3], "er": [7]},
        )
    )
    two, ten = config.build().train
    assert (two.name, two.channels) == ("crops_2", ["mito"])
    assert (ten.name, ten.channels) == ("crops_3", ["mito", "er"])
    foreground, known = two.read_labels(two.begin, two.end, ["mito", "er"])
    assert foreground.sum((1, 2, 3)).tolist() == [4 * 64, 0]
    assert known.all((1, 2, 3)).tolist() == [True, False]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["raw,label", "a,b"], r"the columns raw, label; wanted are raw and labels"),
        (["raw,labels"], r"crops.csv has no crops"),
        (["raw,labels", "a,b,c"], r"crops.csv, line 2: 3 values for 2 columns"),
        (["name,raw,labels,classes", "x,a,b,nucleus"], r"line 2, crop 'x': nucleus not in group"),
        (["name,raw,labels", "x,,b"], r"line 2, crop 'x': no raw"),
        (["name,raw,labels,roi", "x,a,b,0:1"], r"crop 'x': roi '0:1' is not three ranges"),
        (["name,raw,labels,roi", "x,a,b,9:1 : :"], r"crop 'x': end 1 in z is not past"),
        (["name,raw,labels,weight", "x,a,b,-1"], r"crop 'x': weight: Input should be greater"),
        (["name,raw,labels", "../x,a,b"], r"line 2, crop '../x': name: .*contains '..'"),
        (["name,raw,labels", "x/y,a,b", "x_y,a,b"], r"csv, lines 2 and 3 name a volume twice: x_y"),
    ],
)
def test_a_wrong_table_names_line_and_crop(tmp_path: Path, lines: list[str], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        split(table(tmp_path, *lines, groupings={"mito": [1]}))


def test_a_missing_table_and_a_missing_array_are_named(folder: Path) -> None:
    with pytest.raises(ValidationError, match=r"table of crops .*none.csv cannot be read"):
        split({"table": str(folder / "none.csv")})
    lines = ["name,raw,labels", "x,big.zarr/em,big.zarr/labels/crop2/er"]
    with pytest.raises(ValidationError, match="crop 'x': no classes; name them"):
        split(table(folder, *lines))
    with pytest.raises(FileNotFoundError, match=r"volume 'x': .*crop2/er"):
        split(table(folder, *lines, classes=["er"])).build()


def pattern(folder: Path, name: str, raw: str, labels: str, inside: str = "") -> dict[str, Any]:
    source = {"file_name": f"{folder}/{labels}", "dataset": inside}
    binarize = {"type": "binarize", "groupings": {"mito": [3], "er": [7]}}
    return {
        "name": name,
        "raw_config": {"file_name": f"{folder}/{raw}"},
        "gt_config": {**binarize, "source_array_config": source},
    }


def test_a_pattern_is_a_volume_a_match(folder: Path) -> None:
    config = split(pattern(folder, "c-*", "big.zarr/em", "big.zarr", "labels/crop*/all"))
    assert [each.name for each in config.train_configs] == ["c-2", "c-10"]
    assert [each.begin[0] for each in config.build().train] == [2, 10]
    # without a star in the name the matches are added
    config = split(pattern(folder, "c", "big.zarr/em", "b*.zarr", "labels/cr*2/all"))
    assert [each.name for each in config.train_configs] == ["c_ig_op"]
    # raw data and labels side by side
    for number in (1, 2):
        write(folder / f"set{number}[a].zarr/raw", np.zeros((8, 8, 8), np.uint8))
        write(folder / f"set{number}[a].zarr/gt", np.full((8, 8, 8), 3, np.uint8))
    config = split(pattern(folder, "*", "set*[a].zarr/raw", "set*[a].zarr/gt"))
    assert [each.name for each in config.train_configs] == ["1", "2"]
    assert len(config.build().train) == 2


def test_a_pattern_that_cannot_be_expanded_says_why(folder: Path) -> None:
    with pytest.raises(ValidationError, match=r"volume 'a\*': nothing matches .*none\*"):
        split(pattern(folder, "a*", "none*", "x"))
    with pytest.raises(ValidationError, match=r"volume 'v\*' has a \* in its name and none"):
        split(pattern(folder, "v*", "big.zarr/em", "big.zarr/labels/crop2/all"))
    with pytest.raises(ValidationError, match="has more \\* than the path that is matched"):
        split(pattern(folder, "*", "b*.zarr/em", "b*.zarr/labels/crop*/all"))
    with pytest.raises(ValidationError, match="one name, \\*\\* for nothing"):
        split(pattern(folder, "*", "**/em", "x"))


@pytest.mark.s3
def test_patterns_and_tables_on_an_object_store(folder: Path, s3_server: Any) -> None:
    url, options = s3_server.new_folder(), s3_server.storage_options
    line = "ten,big.zarr/em,big.zarr/labels/crop10/{class},,mito er"
    table(folder, "name,raw,labels,roi,classes", line)
    fsspec.filesystem("s3", **options).put(f"{folder}/", f"{url}/", recursive=True)
    volume = pattern(folder, "*", "", "")
    volume["raw_config"] = {"file_name": f"{url}/big.zarr/em", "storage_options": options}
    volume["gt_config"]["source_array_config"] = {
        "file_name": f"{url}/big.zarr",
        "dataset": "labels/crop*/all",
        "storage_options": options,
    }
    config = split(volume, {"table": f"{url}/crops.csv", "storage_options": options})
    assert [each.name for each in config.train_configs] == ["2", "10", "ten"]
    assert [each.begin[0] for each in config.build().train] == [2, 10, 10]


def test_ranges_of_a_table() -> None:
    assert parse_roi("[0:5, :, 7:]").model_dump() == {"begin": (0, 0, 7), "end": (5, None, None)}
