"""A throw-away site with its keys, and the tools that are not ours."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from cloudsync.seal import keys
from cloudsync.seal.keys import Keys, RecoveryKey

NOW = 1_767_225_600.0


@dataclass(frozen=True, slots=True)
class Site:
    keys: Keys
    recovery: RecoveryKey
    directory: Path
    """Where the keys lie."""


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    directory = tmp_path_factory.mktemp("site") / "keys"
    made, recovery = keys.make(directory, now=NOW)
    return Site(made, recovery, directory)


@pytest.fixture(scope="session")
def other_site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    directory = tmp_path_factory.mktemp("other") / "keys"
    made, recovery = keys.make(directory, now=NOW)
    return Site(made, recovery, directory)


@pytest.fixture(scope="session")
def tool() -> Callable[[str], str]:
    """The path of a program of this machine; without it the test skips, or fails where CI says that everything must run."""

    def find(name: str) -> str:
        found = shutil.which(name)
        if found is None:
            (pytest.fail if os.environ.get("CI") else pytest.skip)(f"the program {name} is not installed")
        return str(found)

    return find
