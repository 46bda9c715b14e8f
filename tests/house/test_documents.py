"""The documents are true where a machine can tell: links, commands, kinds of journal lines, the shape of a decision record."""

from __future__ import annotations

import importlib
import re
import shlex
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from edge import journal

ROOT = Path(__file__).parents[2]
RECORDS = sorted((ROOT / "docs/decisions").glob("*.md"))
DOCUMENTS = (ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md")))
SHELL_BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_to_a_file_leads_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text())
    dangling = [target for target in targets if not re.match(r"\w+:", target) and not (document.parent / target).exists()]
    assert dangling == []


def test_every_outpost_command_of_the_documents_exists_with_its_options() -> None:
    outpost = importlib.import_module("outpost")

    commands = list(_commands("outpost"))
    assert len(commands) > 5
    root = typer.main.get_command(outpost.app)
    for command in commands:
        place: Any = root
        words = list(command)
        while words and words[0] in getattr(place, "commands", {}):
            place = place.commands[words.pop(0)]
        verb_missing = getattr(place, "commands", {}) and not place.invoke_without_command
        assert not verb_missing or "--help" in words, f"outpost {' '.join(command)}: no such command"
        known = {option for parameter in place.params for option in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}
        used = {word for word in words if word.startswith("--")}
        assert used <= known, f"outpost {' '.join(command)}: {used - known}"


def test_a_block_of_outpost_commands_says_that_it_is_one() -> None:
    """Else nobody looks at them."""
    for document in DOCUMENTS:
        blocks = re.findall(r"^```(\w*)\n(.*?)^```$", document.read_text(), re.MULTILINE | re.DOTALL)
        assert not [text for kind, text in blocks if not kind and re.search(r"^(\./)?outpost ", text, re.MULTILINE)], document.name


def test_a_cure_that_names_a_command_names_one_that_exists() -> None:
    outpost = importlib.import_module("outpost")
    commands = set(getattr(typer.main.get_command(outpost.app), "commands", {}))
    sources = [ROOT / "outpost.py", *(ROOT / "edge").rglob("*.py"), *(ROOT / "cloudsync").rglob("*.py")]
    named = {(path.name, verb) for path in sources for verb in re.findall(r"`(?:\./)?outpost ([a-z][a-z-]*)", path.read_text())}
    assert len(named) > 5
    assert {(name, verb) for name, verb in named if verb not in commands} == set()


def test_every_part_of_the_test_command_that_the_documents_name_exists() -> None:
    parts = {command[0] for command in _commands("test") if command and not command[0].startswith("-")}
    offered = re.search(r"^    ([a-z |]+)\)$", (ROOT / "test").read_text(), re.MULTILINE)
    assert offered
    assert parts <= set(offered[1].split(" | "))


def test_the_formats_page_names_every_kind_of_journal_line() -> None:
    page = (ROOT / "docs/formats.md").read_text()
    kinds = {kind.__struct_config__.tag for kind in typing.get_args(journal.Entry)}
    assert {kind for kind in kinds if f"| `{kind}` |" not in page} == set()


@pytest.mark.parametrize("record", RECORDS, ids=lambda path: path.name)
def test_each_decision_record_has_a_number_context_decision_and_consequences(record: Path) -> None:
    text = record.read_text()
    assert text.startswith(f"# {int(record.name[:4])}. ")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == ["Context", "Decision", "Consequences"]


def test_no_two_decision_records_have_one_number() -> None:
    numbers = [record.name[:4] for record in RECORDS]
    assert sorted(set(numbers)) == sorted(numbers)


def _commands(name: str) -> Iterator[list[str]]:
    """The arguments of each call of `./NAME` in a shell block or between backticks."""
    for document in DOCUMENTS:
        text = document.read_text()
        lines = [line for block in SHELL_BLOCK.findall(text) for line in block.splitlines()] + re.findall(r"`([^`\n]+)`", text)
        for line in lines:
            called = re.match(rf"(?:\S*/)?{name}\s+(.*)", line) if "./" in line else re.match(rf"{name}\s+([a-z].*)", line)
            if called and (name != "test" or line.startswith("./")):
                yield shlex.split(re.split(r"\s&&|;", called[1])[0], comments=True)
