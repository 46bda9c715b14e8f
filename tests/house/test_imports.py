"""The import law: what may know of what. The contracts stand in pyproject.toml, under sentences."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_import_contract_is_kept() -> None:
    lint = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    run = subprocess.run([sys.executable, "-c", lint], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stdout + run.stderr


def test_only_the_store_and_the_ledger_speak_sql() -> None:
    speakers = {
        module.relative_to(ROOT).parent.as_posix()
        for module in _modules()
        if {"sqlite3", "aiosqlite"} & set(_imported(ast.parse(module.read_text())))
    }
    assert speakers <= {"edge/store", "cloudsync/ledger"}


def test_the_supervisor_imports_nothing_heavy_before_it_knows_what_is_asked_of_it() -> None:
    heavy = ("numpy", "pydicom", "pynetdicom", "aiohttp", "azure", "cryptography", "jpeg_ls")
    program = f"import sys, outpost; print(*[name for name in {heavy} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == []


def _modules() -> Iterator[Path]:
    for package in ("edge", "cloudsync"):
        yield from (ROOT / package).rglob("*.py")


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]
