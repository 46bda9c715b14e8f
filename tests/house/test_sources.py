"""What is true of every file of the repository."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Written in halves, so that this file does not hold what it looks for.
REGISTRIES = ("pypi" + r"\.org", "pythonhosted" + r"\.org", "npmjs" + r"\.(org|com)", "deb" + r"\.debian\.org", "yarnpkg" + r"\.com")
MACHINE_PATHS = ("/ho" + r"me/\w", "/Us" + r"ers/\w", r"(?<![\w./-])/ro" + "ot/", r"(?<![\w./<-])/wo" + "rk/")
FORBIDDEN = re.compile("|".join((*REGISTRIES, *MACHINE_PATHS)))
UNFINISHED = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK")) + r")\b")


def test_no_tracked_file_names_a_registry_host_or_a_path_of_somebodys_machine() -> None:
    assert [f"{path}: {found[0]}" for path in _tracked() if (found := FORBIDDEN.search(_text(path)))] == []


def test_no_source_says_that_it_is_unfinished() -> None:
    sources = [path for path in _tracked() if path.suffix in {".py", ".sql", ".sh"}]
    assert [f"{path}: {found[0]}" for path in sources if (found := UNFINISHED.search(_text(path)))] == []


def test_no_module_is_longer_than_400_lines() -> None:
    long = {str(path): lines for path in _tracked() if path.suffix == ".py" and (lines := _text(path).count("\n")) > 400}
    assert long == {}


def test_every_module_of_the_product_says_what_it_is() -> None:
    silent = [
        str(path)
        for path in _tracked()
        if path.suffix == ".py" and path.parts[0] in {"edge", "cloudsync"} and (text := _text(path)) and not text.startswith('"""')
    ]
    assert silent == []


BUILT = "--no-binary deid-data\n"
"""PyPI has no wheel of it: what is built runs code of the package while it is installed, so no other may be."""


@pytest.mark.parametrize("name", ["requirements.lock", "tests/requirements.lock"])
def test_each_locked_requirement_has_an_exact_version_and_hashes_and_no_address(name: str) -> None:
    text = (ROOT / name).read_text()
    assert "://" not in text
    if name == "tests/requirements.lock":
        assert text.startswith(BUILT)
        text = text.removeprefix(BUILT)
    assert set(re.findall(r"--[a-z-]+", re.sub(r"#.*", "", text))) == {"--hash"}
    requirements = [line for line in re.sub(r"\\\n", " ", text).splitlines() if line.strip() and not line.lstrip().startswith("#")]
    assert requirements
    for requirement in requirements:
        assert re.match(r"[A-Za-z0-9._-]+==[\w.!+]+ ", requirement), requirement
        assert "--hash=sha256:" in requirement, requirement


def test_every_dependency_is_locked() -> None:
    project = _pyproject()
    _assert_locked(project["project"]["dependencies"], "requirements.lock")
    _assert_locked(project["dependency-groups"]["test"], "tests/requirements.lock")


def test_pyproject_lists_every_package() -> None:
    found = {path.parent.name for path in ROOT.glob("*/__init__.py") if path.parent.name != "tests"}
    assert found == set(_pyproject()["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
    bare = [
        str(folder.relative_to(ROOT))
        for package in found
        for folder in (ROOT / package).rglob("*")
        if folder.is_dir() and any(folder.glob("*.py")) and not (folder / "__init__.py").exists()
    ]
    assert bare == []


def test_ci_calls_the_test_command_and_nothing_else() -> None:
    lines = [line for line in (ROOT / ".ci/run").read_text().splitlines() if line and not line.startswith("#")]
    assert lines == ["set -e", 'cd "$(dirname "$0")/.."', "exec ./test"]


def test_the_licence_is_apache_2() -> None:
    assert (ROOT / "LICENSE").read_text().split()[:3] == ["Apache", "License", "Version"]
    assert _pyproject()["project"]["license"] == "Apache-2.0"


def _tracked() -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    return [path for name in listing.decode().split("\0") if name and (ROOT / (path := Path(name))).is_file()]


def _text(path: Path) -> str:
    return (ROOT / path).read_bytes().decode("utf-8", "replace")


def _pyproject() -> dict[str, dict]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def _assert_locked(requirements: list[str], lockfile: str) -> None:
    locked = {name.lower() for name in re.findall(r"^([A-Za-z0-9._-]+)==", (ROOT / lockfile).read_text(), re.MULTILINE)}
    assert {re.split(r"[<>=!~\[; ]", requirement)[0].lower() for requirement in requirements} <= locked
