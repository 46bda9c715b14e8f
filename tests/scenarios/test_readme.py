"""README, "Send your first study", as it stands there: only ports, places and the study's UID are put in."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file

from tests.servers import ROOT, free_port, need, until

README = (ROOT / "README.md").read_text()


class Reader:
    """Somebody who types what README says, in a directory of their own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        section = README.partition("## Send your first study")[2].partition("\n## ")[0]
        lines = [line for block in re.findall(r"^```sh\n(.*?)^```", section, re.MULTILINE | re.DOTALL) for line in block.splitlines()]
        self.start, self.steps = lines[:2], lines[2:]
        dicom, web, workstation = (str(free_port()) for _ in range(3))
        self._own = {"./outpost": str(ROOT / "outpost"), "127.0.0.1:8042": f"127.0.0.1:{web}", "11112": dicom, "11113": workstation}
        self._setup_options = f" --port {dicom} --web-port {web}"

    def put_in(self, text: str, own: str) -> None:
        self._own[text] = own

    def types(self, line: str) -> subprocess.Popen[str]:
        for text, own in self._own.items():
            line = line.replace(text, own)
        if " setup " in line:
            line += self._setup_options
        environment = {**os.environ, "HOME": str(self.home), "COLUMNS": "200"}
        return subprocess.Popen(
            ["sh", "-c", f"exec {line}"], cwd=self.home, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    def sees(self, line: str) -> str:
        with self.types(line) as command:
            out, _ = command.communicate(timeout=60)
        assert command.returncode in ({0, 1} if re.search(" status | doctor ", line) else {0}), f"{line}\n{out}"
        return out


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    for program in ("echoscu", "storescu", "findscu", "movescu"):
        need(program, "dcmtk")
    need("curl", "curl")
    cd = Path(str(get_testdata_file("DICOMDIR")))
    shutil.copytree(cd.parent / "98892001", tmp_path / "study/98892001")
    shutil.copy(cd, tmp_path / "study")
    reader = Reader(tmp_path)
    setup, run = reader.start
    reader.sees(setup)
    with reader.types(run) as running:
        control = tmp_path / "outpost/edge/control"
        until(lambda: control.exists() or running.poll() is not None, "edge answers")
        yield reader
        running.send_signal(signal.SIGTERM)
        out, _ = running.communicate(timeout=60)
    assert running.returncode == 0, out


def test_the_first_study_is_sent_found_and_moved_back(reader: Reader) -> None:
    images = (path for path in sorted((reader.home / "study/98892001").rglob("*")) if path.is_file())
    sent = [dcmread(path, stop_before_pixels=True) for path in images]
    study = sent[0].StudyInstanceUID
    reader.put_in("1.2.3", study)
    output = {_name(line): reader.sees(line) for line in reader.steps}
    assert study in output["findscu"]
    assert "[ONLINE]" in output["findscu"]
    count = sum(instance.StudyInstanceUID == study for instance in sent)
    assert len(list((reader.home / "back").iterdir())) == count
    assert study in output["studies"]
    assert json.loads(output["/healthz"]) == {"catalogue": True, "edge": True}
    (found,) = json.loads(output["/studies"])
    assert found["0020000D"]["Value"] == [study]
    assert (reader.home / "study.multipart").read_bytes().count(b"Content-Type: application/dicom") == count


def _name(line: str) -> str:
    """What a line is about: the resource that curl gets, the verb of outpost, else the program."""
    program, *words = shlex.split(line, comments=True)
    if program == "curl":
        return "/" + words[-1].split("/", 3)[3].partition("?")[0]
    return words[0] if program == "./outpost" else program
