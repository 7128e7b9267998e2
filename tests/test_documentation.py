"""README and docs say what is so: their Python runs, and what they name exists."""

from __future__ import annotations

import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
import yaml

from dacapo_core.experiments.run_config import RunConfig
from dacapo_core.settings import Settings

REPOSITORY = Path(__file__).resolve().parent.parent
DOCUMENTS = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROGRAMS = {
    ".venv/bin/dacapo-store": "dacapo_core.command_line.dacapo_store",
    ".venv/bin/python -m flows": "flows.__main__",
    ".venv/bin/python -m deployments": "deployments.__main__",
}
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")


def blocks(document: Path, language: str) -> list[str]:
    return [text for name, text in BLOCK.findall(document.read_text()) if name == language]


def with_blocks(language: str) -> list[Path]:
    return [document for document in DOCUMENTS if blocks(document, language)]


def name_of(document: Path) -> str:
    return str(document.relative_to(REPOSITORY))


def commands() -> Iterator[tuple[str, list[str]]]:
    """(document, words) of every line of a console block, without comments and settings."""
    for document in DOCUMENTS:
        for text in blocks(document, "console"):
            for line in text.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                if words and words[0] != "export":
                    yield name_of(document), words


@pytest.mark.parametrize("document", with_blocks("python"), ids=name_of)
def test_python_runs_as_written(
    document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for text in blocks(document, "python"):
        exec(compile(text, str(document), "exec"), {"__name__": "__main__"})


@pytest.mark.parametrize("document", with_blocks("yaml"), ids=name_of)
def test_yaml_is_a_run_configuration(document: Path) -> None:
    for text in blocks(document, "yaml"):
        RunConfig.model_validate(yaml.safe_load(text))


def test_every_picture_is_shown() -> None:
    shown = "".join(document.read_text() for document in DOCUMENTS)
    for picture in (REPOSITORY / "docs" / "pictures").iterdir():
        assert f"pictures/{picture.name})" in shown, f"no page shows {picture.name}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_links_lead_to_files(document: Path) -> None:
    links = LINK.findall(document.read_text())
    assert [link for link in links if not (document.parent / link).exists()] == []


def test_every_page_is_in_the_navigation() -> None:
    text = (REPOSITORY / "mkdocs.yml").read_text()
    pages = {str(document.relative_to(REPOSITORY / "docs")) for document in DOCUMENTS[1:]}
    assert set(re.findall(r"[\w/-]+\.md", text)) == pages


def test_settings_are_all_in_the_table() -> None:
    table = re.findall(r"^\| `DACAPO_(\w+)` \| `(\w+)` \|", DOCUMENTS[0].read_text(), re.MULTILINE)
    assert {name for _, name in table} == set(Settings.model_fields)
    assert all(variable.lower() == name for variable, name in table)


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    named = {words[1] for _, words in commands() if words[0] == "make"}
    for document in DOCUMENTS:
        named |= set(re.findall(r"`make ([a-z-]+)", document.read_text()))
    assert {"demo", "test"} <= named
    assert named - targets == set()


def test_scripts_exist() -> None:
    text = " ".join(document.read_text() for document in DOCUMENTS)
    scripts = set(re.findall(r"\b(?:tests|docs|examples)/[\w/-]+\.(?:py|yaml)\b", text))
    assert scripts
    assert [script for script in scripts if not (REPOSITORY / script).exists()] == []


def test_deployments_exist() -> None:
    deployed = yaml.safe_load((REPOSITORY / "deployments" / "prefect.yaml").read_text())
    names = {
        f"{each['entrypoint'].rpartition('.')[2]}/{each['name']}"
        for each in deployed["deployments"]
    }
    run = [words[3] for _, words in commands() if words[1:3] == ["deployment", "run"]]
    assert run
    assert set(run) <= names


def test_the_flow_of_every_deployment_is_in_the_reference() -> None:
    deployed = yaml.safe_load((REPOSITORY / "deployments" / "prefect.yaml").read_text())
    reference = (REPOSITORY / "docs" / "reference" / "flows.md").read_text()
    flows = {each["entrypoint"] for each in deployed["deployments"]}
    assert set(re.findall(r"^::: (\S+)$", reference, re.MULTILINE)) == flows


@pytest.mark.parametrize(("program", "module"), PROGRAMS.items())
def test_commands_and_their_options_exist(program: str, module: str) -> None:
    group = typer.main.get_command(importlib.import_module(module).app)
    used = [words for _, words in commands() if shlex.join(words).startswith(program)]
    assert used
    for words in used:
        name, *arguments = words[len(program.split()) :]
        command = group.commands.get(name)  # type: ignore[attr-defined]
        assert command is not None, f"{program} has no command {name}"
        options = {option for each in (group, command) for p in each.params for option in p.opts}
        given = {word for word in arguments if word.startswith("-")}
        assert given <= options, f"{program} {name} has no {given - options}"
