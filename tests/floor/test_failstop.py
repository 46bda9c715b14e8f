"""edge.failstop: the first failure of the disk ends the process, and is what everybody is told from then on."""

from __future__ import annotations

import errno
import os

import pytest

from edge.errors import StoreFailed
from edge.failstop import FailStop


def test_nothing_is_refused_while_the_disk_is_well() -> None:
    FailStop(lambda: None).check()


def test_the_first_failure_stays() -> None:
    ended: list[str] = []
    fail_stop = FailStop(lambda: ended.append("end"))
    fail_stop(StoreFailed("first"))
    fail_stop(StoreFailed("second"))
    assert ended == ["end", "end"]
    for _ in range(2):
        with pytest.raises(StoreFailed, match="first"):
            fail_stop.check()


@pytest.mark.asyncio
async def test_work_that_the_disk_ends_ends_the_process_and_work_that_lacks_descriptors_is_begun_again() -> None:
    ended: list[str] = []
    fail_stop = FailStop(lambda: ended.append("end"))
    faults = [errno.EMFILE, errno.ENOMEM, errno.EIO]

    async def work() -> None:
        assert ended == []
        number = faults.pop(0)
        raise OSError(number, os.strerror(number))

    await fail_stop.guard("work", work, pause_seconds=0.0)
    assert (faults, ended) == ([], ["end"])
    assert isinstance(fail_stop.fault, StoreFailed)
