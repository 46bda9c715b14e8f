"""A process at its limits."""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Iterator

import pytest

_FD_SETSIZE = 1024
_ENOUGH = 2048


@contextlib.contextmanager
def beyond_select() -> Iterator[None]:
    """Within, whatever is opened gets a descriptor that select(2) cannot take: FD_SETSIZE is 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < _ENOUGH:
        pytest.skip("this process may not have so many descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, _ENOUGH), hard))
    taken: list[int] = []
    try:
        while not taken or taken[-1] < _FD_SETSIZE:
            taken.append(os.dup(2))
        yield
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextlib.contextmanager
def no_descriptors(but: int = 0) -> Iterator[None]:
    """Within, this process can open nothing, or so many: EMFILE."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 2, hard))
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.dup(2))
        for _ in range(but):
            os.close(taken.pop())
        yield
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
