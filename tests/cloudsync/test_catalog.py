"""The catalog chain: what was appended is followed, by the box and by the kit; every fault is named."""

from __future__ import annotations

import dataclasses
import os
import random
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from cloudsync import segment
from cloudsync.catalog import (
    BadSignature,
    BrokenChain,
    CatalogChain,
    ChainState,
    Entry,
    Held,
    NewerFormat,
    SiteStateEntry,
    epoch_entry,
    restore_keys,
)
from cloudsync.seal import keys, signed
from cloudsync.seal.certificates import fingerprint, signing_certificate, to_der
from cloudsync.seal.keys import Keys, RecoveryKey, private_pem
from cloudsync.seal.part import Kek, NotOurs, WrongKey
from cloudsync.segment import Header
from edge.model import Digest, Json, new_pack_id

NOW = 1_767_225_600.0


@dataclass(frozen=True, slots=True)
class Site:
    keys: Keys
    recovery: RecoveryKey

    @property
    def chain(self) -> CatalogChain:
        return CatalogChain(self.keys.site_id, self.keys.trust_root, self.keys.open)

    @property
    def chain_of_the_kit(self) -> CatalogChain:
        return CatalogChain(self.keys.site_id, self.keys.trust_root, self.recovery.open)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(*keys.make(tmp_path_factory.mktemp("site"), now=NOW))


@pytest.fixture(scope="module")
def other_site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(*keys.make(tmp_path_factory.mktemp("other"), now=NOW))


def held(number: int) -> Held:
    """A generated study as a CT sends it: three series, identifiers of the usual length."""
    dice = random.Random(number)

    def uid() -> str:
        return f"1.2.826.0.1.3680043.8.498.{dice.getrandbits(120)}"

    def digest() -> str:
        return f"{dice.getrandbits(256):064x}"

    study: Json = {
        "00080020": {"vr": "DA", "Value": [f"2026{dice.randint(1, 12):02d}{dice.randint(1, 28):02d}"]},
        "00080030": {"vr": "TM", "Value": [f"{dice.randrange(240_000):06d}"]},
        "00080050": {"vr": "SH", "Value": [f"A{dice.randrange(10**8)}"]},
        "00080090": {"vr": "PN", "Value": [{"Alphabetic": f"REFERRER^{dice.randrange(50)}"}]},
        "00081030": {"vr": "LO", "Value": [dice.choice(["CT ABDOMEN", "CT CHEST", "CT HEAD"])]},
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": f"GENERATED^{dice.getrandbits(32):08X}"}]},
        "00100020": {"vr": "LO", "Value": [f"{dice.randrange(10**8):08d}"]},
        "00100030": {"vr": "DA", "Value": [f"19{dice.randint(20, 99)}{dice.randint(1, 12):02d}{dice.randint(1, 28):02d}"]},
        "00100040": {"vr": "CS", "Value": [dice.choice("MF")]},
        "0020000D": {"vr": "UI", "Value": [uid()]},
        "00200010": {"vr": "SH", "Value": [str(dice.randrange(10**5))]},
    }
    series: list[Json] = [
        {
            "00080060": {"vr": "CS", "Value": ["CT"]},
            "0008103E": {"vr": "LO", "Value": [description]},
            "0020000E": {"vr": "UI", "Value": [uid()]},
            "00200011": {"vr": "IS", "Value": [index]},
        }
        for index, description in enumerate(["SCOUT", "AXIAL 5.0", "CORONAL"], 1)
    ]
    return Held(
        pack=new_pack_id(),
        held_at=NOW + number,
        instances=dice.randrange(1, 500),
        raw_bytes=dice.randrange(10**9),
        sealed_bytes=dice.randrange(10**9),
        sha256=digest(),
        study=study,
        series=series,
        objects=dice.randrange(2, 300),
        head="000000",
        head_digest=digest(),
        sums_digest=digest(),
    )


STATE = SiteStateEntry(number=1, at=NOW, bytes=1000, digest="1" * 64, sealed_bytes=1400, sealed_digest="2" * 64)


def written(site: Site, *segments: list[Entry]) -> list[bytes]:
    """A chain whose first segment begins with the epoch."""
    chain, sealed = site.chain, []
    for number, entries in enumerate(segments):
        made = chain.append(site.keys, [epoch_entry(site.keys, NOW), *entries] if number == 0 else entries)
        assert made.name == chain.next_name == f"{site.keys.site_id}/c/0/{number + 1:012d}"
        chain = chain.at(made.state)
        sealed.append(made.sealed)
    return sealed


def followed(chain: CatalogChain, sealed: list[bytes]) -> tuple[list[Entry], CatalogChain]:
    entries: list[Entry] = []
    for each in sealed:
        found = chain.follow(each)
        entries += found.entries
        chain = chain.at(found.state)
    return entries, chain


def test_what_was_appended_is_followed_by_the_box_and_by_the_kit(site: Site) -> None:
    entries: list[Entry] = [held(1), held(2), STATE]
    sealed = written(site, entries[:1], entries[1:2], entries[2:])
    for chain in (site.chain, site.chain_of_the_kit):
        found, end = followed(chain, sealed)
        assert found[1:] == entries
        assert end.state.sequence == 3


def test_a_held_entry_costs_at_most_400_bytes(site: Site) -> None:
    first = site.chain.append(site.keys, [epoch_entry(site.keys, NOW)])
    made = site.chain.at(first.state).append(site.keys, [held(number) for number in range(150)])
    assert len(made.sealed) / 150 <= 400
    assert len(made.sealed) <= 64 << 10


def test_the_chain_goes_on_after_a_restart(site: Site) -> None:
    sealed = written(site, [held(1)], [held(2)])
    _, end = followed(site.chain, sealed)
    again = dataclasses.replace(site.chain, state=ChainState(end.state.sequence, end.state.tip, end.state.signer))
    made = again.append(site.keys, [held(3)])
    assert followed(site.chain, [*sealed, made.sealed])[1].state == made.state


def test_the_kit_alone_brings_back_the_keys_and_the_rebuilt_box_goes_on(site: Site, tmp_path: Path) -> None:
    sealed = written(site, [held(1)], [held(2)])
    entries, end = followed(site.chain_of_the_kit, sealed)
    rebuilt = restore_keys(site.keys.site_id, site.recovery, entries)
    keys.save(tmp_path / "keys", rebuilt)
    rebuilt = keys.load(tmp_path / "keys")
    assert (rebuilt.site_id, rebuilt.keks, rebuilt.trust_root) == (site.keys.site_id, site.keys.keks, site.keys.trust_root)
    made = dataclasses.replace(end, opener=rebuilt.open).append(rebuilt, [held(3)])
    assert followed(site.chain, [*sealed, made.sealed])[0][-1].pack  # type: ignore[union-attr]
    assert followed(site.chain_of_the_kit, [*sealed, made.sealed])[1].state == made.state


def test_a_new_epoch_and_a_new_signing_key_count_because_the_old_one_signed_them(site: Site, tmp_path: Path) -> None:
    """The kit still carries the first certificate, and restores the newest keys."""
    sealed = written(site, [held(1)])
    _, chain = followed(site.chain, sealed)
    key = keys.ec.generate_private_key(keys.ec.SECP256R1())
    second = dataclasses.replace(
        site.keys,
        epoch=2,
        keks={**site.keys.keks, 2: Kek(2, bytes(32))},
        signing_key=key,
        signing=signing_certificate(site.keys.site_id, key, NOW),
    )
    turn = chain.append(site.keys, [epoch_entry(second, NOW + 1)])
    chain = dataclasses.replace(chain, state=turn.state, opener=second.open)
    after = chain.append(second, [held(2)])
    with pytest.raises(ValueError, match="do not sign"):
        chain.append(site.keys, [held(3)])
    entries, end = followed(site.chain_of_the_kit, [*sealed, turn.sealed, after.sealed])
    assert end.state == after.state
    rebuilt = restore_keys(site.keys.site_id, site.recovery, entries)
    assert (rebuilt.epoch, rebuilt.keks, rebuilt.signing, rebuilt.trust_root) == (2, second.keks, second.signing, site.keys.trust_root)
    keys.save(tmp_path / "keys", rebuilt)
    assert keys.load(tmp_path / "keys").kek == second.kek


def test_the_first_segment_has_to_bring_the_keys(site: Site) -> None:
    with pytest.raises(ValueError, match="do not sign"):
        site.chain.append(site.keys, [held(1)])


def test_keys_of_another_site_do_not_append(site: Site, other_site: Site) -> None:
    with pytest.raises(ValueError, match="do not sign"):
        site.chain.append(other_site.keys, [epoch_entry(other_site.keys, NOW)])


def test_a_repeated_skipped_or_swapped_segment_is_not_ours_at_that_place(site: Site) -> None:
    sealed = written(site, [held(1)], [held(2)], [held(3)])
    _, second = followed(site.chain, sealed[:1])
    for wrong in (sealed[0], sealed[2]):
        with pytest.raises(NotOurs, match="another place"):
            second.follow(wrong)


def test_a_segment_of_a_chain_that_forked_does_not_follow(site: Site) -> None:
    """A rolled-back copy of the box went on by itself, under the same keys."""
    sealed = written(site, [held(1)], [held(2)], [held(3)])
    fork = written(site, [held(1)], [held(4)], [held(5)])
    _, chain = followed(site.chain, sealed[:2])
    with pytest.raises(BrokenChain, match="another box writes this site"):
        chain.follow(fork[2])


def test_a_segment_that_says_another_place_than_it_lies_at_is_broken(site: Site) -> None:
    first = site.chain.append(site.keys, [epoch_entry(site.keys, NOW)])
    chain = site.chain.at(first.state)
    for header in (
        Header(1, site.keys.site_id, 0, 3, first.state.tip),
        Header(1, site.keys.site_id, 1, 2, first.state.tip),
        Header(1, "a" * 10, 0, 2, first.state.tip),
    ):
        content = segment.write(header, [held(1)])
        with pytest.raises(BrokenChain, match="says that it is"):
            chain.follow(sealed_content(site, chain, content))


@pytest.mark.parametrize("line", [b'{"kind": "d\xe9j\xe0"}', b'{"kind": "held", "study": {"00081140": ' + b"[" * 100_000])
def test_a_line_that_is_no_json_is_named_whoever_signed_it(site: Site, line: bytes) -> None:
    first = site.chain.append(site.keys, [epoch_entry(site.keys, NOW)])
    chain = site.chain.at(first.state)
    content = segment.write_lines(Header(1, site.keys.site_id, 0, 2, first.state.tip), [line])
    with pytest.raises(NotOurs, match="000000000002 line 2"):
        chain.follow(sealed_content(site, chain, content))


def test_a_segment_signed_by_another_key_is_refused(site: Site, other_site: Site) -> None:
    first = site.chain.append(site.keys, [epoch_entry(site.keys, NOW)])
    chain = site.chain.at(first.state)
    content = segment.write(Header(1, site.keys.site_id, 0, 2, first.state.tip), [held(1)])
    forged = site.keys.seal(chain.next_name, signed.sign(content, other_site.keys.signing_key, site.keys.signing))
    with pytest.raises(BadSignature):
        chain.follow(forged)


def test_a_chain_from_another_root_is_refused_though_anyone_may_seal_for_the_certificate(site: Site, other_site: Site) -> None:
    """Whoever knows the recovery certificate can seal; the trust root of the kit decides."""
    forger = dataclasses.replace(other_site.keys, site_id=site.keys.site_id, recovery=site.keys.recovery)
    chain = CatalogChain(site.keys.site_id, forger.trust_root, forger.open)
    forged = chain.append(forger, [epoch_entry(forger, NOW), held(1)])
    with pytest.raises(BadSignature, match="recovery kit names"):
        site.chain_of_the_kit.follow(forged.sealed)


def test_a_first_segment_that_borrows_the_right_certificate_is_refused(site: Site, other_site: Site) -> None:
    content = segment.write(Header(1, site.keys.site_id, 0, 1, ChainState().tip), [epoch_entry(site.keys, NOW), held(1)])
    forged = site.keys.seal(site.chain.next_name, signed.sign(content, other_site.keys.signing_key, site.keys.signing))
    with pytest.raises(BadSignature):
        site.chain_of_the_kit.follow(forged)


def test_another_sites_keys_say_that_they_are_the_wrong_ones(site: Site, other_site: Site) -> None:
    sealed = written(site, [held(1)])[0]
    for opener in (other_site.keys.open, other_site.recovery.open):
        with pytest.raises(WrongKey):
            CatalogChain(site.keys.site_id, site.keys.trust_root, opener).follow(sealed)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{}\n",
        b'{"format":1}\n',
        b"%HEADER%",
        b'%HEADER%\n{"kind":"held"}\n',
        b'%HEADER%\n{"kind":"unheard-of"}\n',
        b"%HEADER%\n[]\n",
        b"%HEADER%\n\xff\n",
        b'{"format":5,"site":"%SITE%","level":0,"first":2,"previous":"%PREVIOUS%","tip":"%PREVIOUS%"}\n',
    ],
)
def test_signed_content_that_is_no_segment_is_not_ours(site: Site, text: bytes) -> None:
    first = site.chain.append(site.keys, [epoch_entry(site.keys, NOW)])
    chain = site.chain.at(first.state)
    header = segment.msgspec.json.encode(Header(1, site.keys.site_id, 0, 2, first.state.tip))
    text = text.replace(b"%SITE%", site.keys.site_id.encode()).replace(b"%PREVIOUS%", first.state.tip.encode())
    content = segment.zstandard.compress(text.replace(b"%HEADER%", header))
    with pytest.raises(NotOurs):
        chain.follow(sealed_content(site, chain, content))


@pytest.mark.parametrize("content", [b"", b"no zstd", b"\x28\xb5\x2f\xfd", segment.zstandard.compress(b"x" * 100)[:-3]])
def test_signed_content_that_is_not_compressed_is_not_ours(site: Site, content: bytes) -> None:
    first = site.chain.append(site.keys, [epoch_entry(site.keys, NOW)])
    chain = site.chain.at(first.state)
    for at in (chain, site.chain):
        with pytest.raises(NotOurs):
            at.follow(sealed_content(site, at, content))


def test_a_bomb_is_not_inflated(site: Site) -> None:
    bomb = segment.zstandard.compress(bytes(segment.MAX_TEXT_BYTES + 1))
    first = site.chain.append(site.keys, [epoch_entry(site.keys, NOW)])
    chain = site.chain.at(first.state)
    for at in (chain, site.chain):
        with pytest.raises(NotOurs):
            at.follow(sealed_content(site, at, bomb))


def test_a_newer_format_asks_for_an_upgrade(site: Site) -> None:
    first = site.chain.append(site.keys, [epoch_entry(site.keys, NOW)])
    chain = site.chain.at(first.state)
    content = segment.zstandard.compress(b'{"format":6,"site":"k7q2abcdef","more":1}\n{"kind":"unheard-of"}\n')
    with pytest.raises(NewerFormat, match="Upgrade"):
        chain.follow(sealed_content(site, chain, content))


def test_a_listing_tells_what_to_follow_from_what_is_stray(site: Site) -> None:
    name = site.chain.next_name[:-12]
    names = [f"{name}{number:012d}" for number in (1, 2, 3, 5)] + [f"{name}000", f"{site.keys.site_id}/c/1/000000000001"]
    random.Random(1).shuffle(names)
    found = site.chain.listing(names)
    assert found.names == tuple(f"{name}{number:012d}" for number in (1, 2, 3))
    assert set(found.stray) == {f"{name}000000000005", f"{name}000", f"{site.keys.site_id}/c/1/000000000001"}
    later = site.chain.at(ChainState(2)).listing(names)
    assert later.names == (f"{name}000000000003",)


@pytest.mark.parametrize("fault", ["none", "gap", "another recovery key", "another signing key"])
def test_epochs_that_do_not_bring_the_keys_are_named(site: Site, other_site: Site, fault: str) -> None:
    entry = epoch_entry(site.keys, NOW)
    match fault:
        case "none":
            with pytest.raises(NotOurs, match="every epoch"):
                restore_keys(site.keys.site_id, site.recovery, [held(1)])
        case "gap":
            with pytest.raises(NotOurs, match="every epoch"):
                restore_keys(site.keys.site_id, site.recovery, [segment.msgspec.structs.replace(entry, epoch=2)])
        case "another recovery key":
            with pytest.raises(WrongKey):
                restore_keys(site.keys.site_id, other_site.recovery, [entry])
        case _:
            swapped = segment.msgspec.structs.replace(entry, signing=to_der(other_site.keys.signing))
            with pytest.raises(NotOurs, match="belong together"):
                restore_keys(site.keys.site_id, site.recovery, [swapped])


def test_none_of_thousands_of_mutations_is_followed(site: Site) -> None:
    """Flips behind the seal as well: the signature and the chain do not rest on the sealing key."""
    sealed = written(site, [held(1)], [held(2)])
    _, chain = followed(site.chain, sealed[:1])
    opened = site.keys.open(sealed[1], chain.next_name)
    dice = random.Random(1)
    for number in range(3_000):
        original = sealed[1] if number % 2 else opened
        mutated = bytearray(original)
        mutated[dice.randrange(len(mutated))] ^= 1 << dice.randrange(8)
        if number % 5 == 0:
            del mutated[dice.randrange(len(mutated)) :]
        with pytest.raises(NotOurs):
            chain.follow(bytes(mutated) if number % 2 else site.keys.seal(chain.next_name, bytes(mutated)))


def test_openssl_and_zstd_read_a_segment(site: Site, tmp_path: Path) -> None:
    for program in ("openssl", "zstd"):
        if shutil.which(program) is None:
            (pytest.fail if os.environ.get("CI") else pytest.skip)(f"the program {program} is not installed")
    sealed = written(site, [held(1)], [held(2)])
    (tmp_path / "segment").write_bytes(sealed[1])
    (tmp_path / "recovery.key").write_bytes(private_pem(site.recovery.private))
    (tmp_path / "recovery.pem").write_bytes(site.keys.recovery.public_bytes(Encoding.PEM))
    (tmp_path / "signing.pem").write_bytes(site.keys.signing.public_bytes(Encoding.PEM))
    for command in (
        "openssl cms -decrypt -inform DER -in segment -inkey recovery.key -recip recovery.pem -binary -out signed",
        "openssl cms -verify -inform DER -in signed -certfile signing.pem -nointern -noverify -binary -out lines.zst",
        "zstd -dq lines.zst",
    ):
        subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True)
    header, line = (tmp_path / "lines").read_bytes().splitlines()
    assert f'"site":"{site.keys.site_id}"'.encode() in header
    assert segment.msgspec.json.decode(line, type=Held).instances == held(2).instances


def test_the_digest_in_the_kit_is_that_of_the_first_certificate(site: Site) -> None:
    found = site.chain_of_the_kit.follow(written(site, [held(1)])[0])
    assert Digest(fingerprint(site.keys.signing)) == site.keys.trust_root
    assert found.state.signer == to_der(site.keys.signing)


def sealed_content(site: Site, chain: CatalogChain, content: bytes) -> bytes:
    return site.keys.seal(chain.next_name, signed.sign(content, site.keys.signing_key, site.keys.signing))
