"""edge.settingfiles: what travels of a box besides its site state, and where it lies on a rebuilt one."""

from __future__ import annotations

from pathlib import Path

from edge.config import Layout, parse
from edge.settingfiles import MOST_BYTES, gather, lay_out


def test_settings_and_tls_files_are_gathered_and_laid_beside_for_their_owner_alone(tmp_path: Path) -> None:
    layout, other = Layout(tmp_path / "state"), Layout(tmp_path / "other")
    layout.edge.mkdir(parents=True)
    other.edge.mkdir(parents=True)
    files = {"certificate_file": b"certificate", "key_file": b"key", "client_ca_file": b"authority"}
    lines = []
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        lines.append(f'{name} = "{tmp_path / name}"')
    text = "[dicom]\n" + "\n".join(lines) + '\n[archive]\nkind = "folder"\npath = "/mnt/archive"\n'
    layout.config.write_text(text)
    found = gather(parse(text), layout)
    assert found == {**files, "outpost.toml": text.encode()}
    for _ in range(2):
        lay_out(found, {"outpost.toml": b"another", "key_file": b"key"}, other)
    laid = {path.name: path.read_bytes() for path in other.restored.iterdir()}
    assert laid == {name: content for name, content in found.items() if name != "key_file"}
    assert {path.stat().st_mode & 0o077 for path in (other.restored, *other.restored.iterdir())} == {0}


def test_what_is_missing_or_too_large_is_left_out(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.config.write_bytes(bytes(MOST_BYTES + 1))
    text = '[dicom]\ncertificate_file = "/nowhere/a"\nkey_file = "/nowhere/b"\n[archive]\nkind = "folder"\npath = "/mnt/archive"\n'
    assert gather(parse(text), layout) == {}
    lay_out({"key_file": b"key"}, {"key_file": b"key"}, layout)
    assert not layout.restored.exists()
