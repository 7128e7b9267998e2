"""Settings from the environment and from dacapo.yaml."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from dacapo_core.settings import COSEM_URL, get_settings


@pytest.fixture(autouse=True)
def empty_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path


def test_defaults_are_dacapos(tmp_path: Path) -> None:
    settings = get_settings()
    assert settings.runs_base_dir == str(tmp_path / "home" / "dacapo")
    assert settings.cosem_url == COSEM_URL
    assert settings.device is None


def test_the_environment_wins_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dacapo.yaml").write_text("runs_base_dir: /from/file\ndevice: cpu\ntype: files\n")
    monkeypatch.setenv("DACAPO_RUNS_BASE_DIR", "s3://from-environment")
    monkeypatch.setenv("DACAPO_STORAGE_OPTIONS", '{"anon": true}')
    settings = get_settings()
    assert settings.runs_base_dir == "s3://from-environment"
    assert settings.storage_options == {"anon": True}
    assert settings.device == "cpu"


@pytest.mark.parametrize("place", ["dacapo.yaml", "home/.config/dacapo/dacapo.yaml"])
def test_the_file_is_found_where_dacapo_looks(tmp_path: Path, place: str) -> None:
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / place).write_text("runs_base_dir: /from/file\n")
    assert get_settings().runs_base_dir == "/from/file"


def test_a_named_file_that_is_missing_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DACAPO_OPTIONS_FILE", "nowhere.yaml")
    with pytest.raises(FileNotFoundError, match=r"DACAPO_OPTIONS_FILE names 'nowhere.yaml'"):
        get_settings()


def test_a_value_of_the_wrong_type_is_named(tmp_path: Path) -> None:
    (tmp_path / "dacapo.yaml").write_text("storage_options: [1]\n")
    with pytest.raises(ValidationError, match="storage_options"):
        get_settings()


def test_options_that_are_no_json_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DACAPO_STORAGE_OPTIONS", "{key")
    with pytest.raises(ValueError, match="DACAPO_STORAGE_OPTIONS must be a JSON object"):
        get_settings()


def test_options_are_for_one_kind_of_file_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DACAPO_RUNS_BASE_DIR", "s3://bucket/runs")
    monkeypatch.setenv("DACAPO_STORAGE_OPTIONS", '{"key": "k"}')
    settings = get_settings()
    assert settings.options_for("s3://mirror") == {"key": "k"}
    assert settings.options_for("https://mirror") == settings.options_for("/mirror") == {}


@pytest.mark.parametrize("content", ["runs_base_dir: [a", "- a\n- b\n", "5", "a word"])
def test_a_file_that_holds_no_settings_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "dacapo.yaml").write_text(content)
    with pytest.raises(ValueError, match=rf"{tmp_path}/dacapo.yaml holds no settings"):
        get_settings()
