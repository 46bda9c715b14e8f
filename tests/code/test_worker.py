"""edge.code.worker: the coding process, its limits, its death, and its errors by name."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import msgspec
import pytest

from edge.code.coder import code
from edge.code.jobs import DecodeJob, FinishJob
from edge.code.manifest import read_head
from edge.code.worker import Coder, JobTimeout, WorkerDied
from edge.errors import Corrupt, Permanent
from tests.code.packs import close_pack, phantom

pytestmark = pytest.mark.asyncio


def process_of(coder: Coder) -> int:
    assert coder._process
    return coder._process.pid


async def test_jobs_go_to_one_quiet_process_and_come_back_typed(tmp_path: Path) -> None:
    job = close_pack(tmp_path, phantom(3, size=64))
    coder = Coder()
    pack = await coder.code(job)
    pid = process_of(coder)
    assert os.getpriority(os.PRIO_PROCESS, pid) == 19
    limits = Path(f"/proc/{pid}/limits").read_text()
    assert str(2 << 30) in limits
    head = Path(job.target_dir) / "000000"
    target = tmp_path / "back.tar"
    parts = {part.number: str(Path(job.target_dir) / f"{part.number:06d}") for part in pack.parts[1:]}
    restored = await coder.restore(DecodeJob(pack=job.pack, head_path=str(head), parts=parts, target_path=str(target)))
    assert [member.digest_ok for member in restored] == [True] * 3
    assert await coder.finish(FinishJob(pack=job.pack, head_path=str(head), target_path=str(target)))
    assert target.read_bytes() == Path(job.pack_path).read_bytes()
    assert process_of(coder) == pid
    await coder.close()
    assert not Path(f"/proc/{pid}").exists()
    await coder.close()


async def test_the_worker_makes_the_bytes_that_the_coder_makes(tmp_path: Path) -> None:
    job = close_pack(tmp_path, phantom(2, size=64))
    coder = Coder()
    assert await coder.code(job) == code(job)
    assert read_head((Path(job.target_dir) / "000000").read_bytes()).manifest.pack == job.pack
    await coder.close()


async def test_a_failure_keeps_its_type_and_the_worker_serves_on(tmp_path: Path) -> None:
    job = close_pack(tmp_path, phantom(1, size=64))
    coder = Coder()
    with pytest.raises(Corrupt, match=job.pack):
        await coder.code(msgspec.structs.replace(job, sha256="0" * 64))
    with pytest.raises(Permanent, match=r"No such file.*nowhere"):
        await coder.code(msgspec.structs.replace(job, pack_path=str(tmp_path / "nowhere")))
    assert (await coder.code(job)).members
    await coder.close()


async def test_a_killed_worker_is_named_with_its_job_and_started_again(tmp_path: Path) -> None:
    job = close_pack(tmp_path, phantom(24, size=256))
    coder = Coder()
    await coder.code(job)
    pid = process_of(coder)
    running = asyncio.create_task(coder.code(job))
    while not running.done() and "000000" in os.listdir(job.target_dir):
        await asyncio.sleep(0)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(WorkerDied, match=f"{job.pack}.*coding"):
        await running
    assert (await coder.code(job)).members
    os.kill(process_of(coder), signal.SIGKILL)
    with pytest.raises(WorkerDied):
        await coder.code(job)
    await coder.close()


async def test_a_job_over_its_time_is_ended(tmp_path: Path) -> None:
    job = close_pack(tmp_path, phantom(24, size=256))
    coder = Coder(job_seconds=0.01)
    with pytest.raises(JobTimeout, match=job.pack):
        await coder.code(job)
    await coder.close()


async def test_a_job_over_its_memory_fails_and_the_worker_serves_on(tmp_path: Path) -> None:
    job = close_pack(tmp_path, [phantom(1, size=4096)[0]])
    coder = Coder(memory_bytes=300 << 20)
    with pytest.raises((Permanent, WorkerDied), match="memory"):
        await coder.code(job)
    small = close_pack(tmp_path, phantom(1, size=64), pack="b" * 26)
    assert (await coder.code(small)).members
    await coder.close()


async def test_a_job_over_its_cpu_time_is_ended(tmp_path: Path) -> None:
    job = close_pack(tmp_path, phantom(24, size=1024))
    coder = Coder(cpu_seconds=0)
    with pytest.raises(WorkerDied, match=f"with -{int(signal.SIGXCPU)}"):
        await coder.code(job)
    await coder.close()


async def test_a_cancelled_job_leaves_no_process_behind(tmp_path: Path) -> None:
    job = close_pack(tmp_path, phantom(24, size=256))
    coder = Coder()
    running = asyncio.create_task(coder.code(job))
    while coder._process is None:
        await asyncio.sleep(0)
    pid = process_of(coder)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not Path(f"/proc/{pid}").exists()
    assert (await coder.code(job)).members
    await coder.close()


async def test_an_idle_worker_ends_and_the_next_job_starts_another(tmp_path: Path) -> None:
    job = close_pack(tmp_path, phantom(1, size=64))
    coder = Coder(idle_seconds=0.0)
    await coder.code(job)
    process = coder._process
    if process:
        await process.wait()
    assert repr(coder) == "<Coder idle>"
    assert (await coder.code(job)).members
    await coder.close()
