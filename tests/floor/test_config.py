"""edge.config: a setting is right, or the error names its key and the cure."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge.config import Config, Layout, load, parse
from edge.errors import ConfigError


def test_an_empty_file_means_the_defaults() -> None:
    assert parse("") == Config()


def test_what_is_set_is_set_and_the_rest_is_default() -> None:
    config = parse('[site]\nname = "Klinik Süd"\n[cache]\nquiet_seconds = 2\n')
    assert config.site.name == "Klinik Süd"
    assert config.cache.quiet_seconds == 2.0
    assert config.dicom == Config().dicom


@pytest.mark.parametrize(
    ("text", "key", "fault"),
    [
        ("colour = 1", "colour", "no such setting"),
        ("[sites]", "sites", "no such setting"),
        ("[dicom]\nprot = 104", "dicom.prot", "no such setting"),
        ("[dicom]\nport = '104'", "dicom.port", "expected `int`, got `str`"),
        ("[dicom]\nport = 104.5", "dicom.port", "expected `int`, got `float`"),
        ("[dicom]\nport = true", "dicom.port", "expected `int`, got `bool`"),
        ("dicom = 104", "dicom", "expected `object`, got `int`"),
        ("[site]\nname = 1", "site.name", "expected `str`, got `int`"),
        ("[cache]\nquiet_seconds = 2000-01-01", "cache.quiet_seconds", "expected `float`"),
        ("[dicom]\nport = 65536", "dicom.port", "65536"),
        ("[web]\nport = -1", "web.port", "-1"),
        ("[dicom]\ntls_port = 65536", "dicom.tls_port", "65536"),
        ("[dicom]\ntls_port = 2762", "dicom.certificate_file", "tls_port is set"),
        ("[dicom]\ntls_port = 11112\ncertificate_file = 'a'\nkey_file = 'b'", "dicom.tls_port", "same"),
        ("[dicom]\ncertificate_file = 'a'", "dicom.key_file", "is missing"),
        ("[dicom]\nkey_file = 'a'", "dicom.certificate_file", "is missing"),
        ("[dicom]\nmax_pdu_bytes = 0", "dicom.max_pdu_bytes", "out of range"),
        ("[dicom]\nmax_pdu_bytes = 2000000", "dicom.max_pdu_bytes", "out of range"),
        ("[dicom]\nmax_associations = 0", "dicom.max_associations", "out of range"),
        ("[dicom]\nidle_seconds = -1", "dicom.idle_seconds", "out of range"),
        ("[dicom]\npdu_seconds = inf", "dicom.pdu_seconds", "out of range"),
        ("[link]\npoll_seconds = nan", "link.poll_seconds", "out of range"),
        ("[link]\npoll_seconds = 0", "link.poll_seconds", "out of range"),
        ("[link]\nparallel_parts = 0", "link.parallel_parts", "out of range"),
        ("[link]\npart_bytes = 131071", "link.part_bytes", "out of range"),
        ("[link]\npart_bytes = 1048577", "link.part_bytes", "out of range"),
        ("[cache]\npack_max_members = 0", "cache.pack_max_members", "out of range"),
        ("[cache]\nreserve_bytes = -1", "cache.reserve_bytes", "out of range"),
        ("[cache]\nlow_water_percent = 90", "cache.low_water_percent", "below"),
        ("[cache]\nlow_water_percent = 0", "cache.low_water_percent", "below"),
        ("[cache]\nhigh_water_percent = 101", "cache.low_water_percent", "below"),
        ("[archive]\nkind = 'tape'", "archive.kind", "'tape'"),
        ("[archive]\nkind = 'dicomweb'", "archive.plaintext_archive", "not encrypted"),
        ("[archive]\nkind = 'dicomweb'\nplaintext_archive = false", "archive.plaintext_archive", "not encrypted"),
        ("[archive]\nkind = 'dicomweb'\nplaintext_archive = 1", "archive.plaintext_archive", "expected `bool`"),
        ("[archive]\nplaintext_archive = true", "archive.plaintext_archive", "always sealed"),
        ("[archive]\nheld_read_percent = 101", "archive.held_read_percent", "out of range"),
        ("[archive]\nrequest_max_seconds = 0", "archive.request_max_seconds", "out of range"),
        ("[site]\nae_title = ''", "site.ae_title", "no AE title"),
        ("[site]\nae_title = 'SEVENTEEN_LETTERS'", "site.ae_title", "no AE title"),
        ("[site]\nae_title = 'A\\B'", "site.ae_title", "no AE title"),
        ("[site]\nae_title = 'OUTPOST '", "site.ae_title", "no AE title"),
        ("[site]\nstat_ae_title = 'OUTPOST'", "site.stat_ae_title", "same"),
        ("[site", "outpost.toml", "is not TOML"),
        ("a = 1\na = 2", "outpost.toml", "is not TOML"),
    ],
)
def test_an_error_names_the_key_the_fault_and_a_cure(text: str, key: str, fault: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert caught.value.key == key
    message = str(caught.value)
    assert message.startswith(f"{key}: ")
    assert fault in message
    cure = message.rpartition(". ")[2]
    assert cure.split()[0] in {"Use", "Compare", "Give", "Mend"}, message
    assert cure.endswith("."), message


@pytest.mark.parametrize("key", ["quiet_seconds", "minimum_age_seconds", "reserve_bytes", "quarantine_max_bytes"])
def test_zero_is_allowed_where_it_means_something(key: str) -> None:
    assert getattr(parse(f"[cache]\n{key} = 0").cache, key) == 0


def test_a_file_that_is_not_there_names_the_cure(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"outpost\.toml: there is no such file\. Run `outpost setup`"):
        load(tmp_path / "outpost.toml")


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be read \(Is a directory\)"):
        load(tmp_path)


def test_a_file_that_is_not_utf_8_is_refused_not_guessed(tmp_path: Path) -> None:
    path = tmp_path / "outpost.toml"
    path.write_bytes('[site]\nname = "Hôpital"\n'.encode("latin-1"))
    with pytest.raises(ConfigError, match=r"is not UTF-8 text \(byte 16\)\. Save it as UTF-8\."):
        load(path)
    path.write_bytes('[site]\nname = "Hôpital"\n'.encode())
    assert load(path).site.name == "Hôpital"


def test_what_each_side_writes_lies_in_its_own_directory(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "a" / "..")
    assert layout.state == tmp_path.resolve()
    for name, path in vars(layout).items():
        inside = [root for root in (layout.edge, layout.cloudsync) if path.is_relative_to(root)]
        assert len(inside) == 1 or name in {"state", "config", "drilled"}, name
    assert layout.cached("ab" * 13) == layout.cache / "ab" / f"{'ab' * 13}.tar"
    assert layout.head("ab" * 13) == layout.heads / "ab" / f"{'ab' * 13}.tar.zst"
    assert not os.listdir(tmp_path)
