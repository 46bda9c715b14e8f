"""`outpost follow | followed | unfollow`: what a person does at the hub, with the files of a clinic."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import outpost
from cloudsync.seal import keys as seal_keys
from cloudsync.setup import setup
from edge.config import Layout
from tests.cloudsync.edge_side import settings


class Region:
    """A clinic that shares its keys with a hub on the same archive; `keys` is the file that it exported."""

    def __init__(self, place: Path) -> None:
        self.clinic, self.hub = Layout(place / "clinic"), Layout(place / "hub")
        for layout in (self.clinic, self.hub):
            setup(layout.state, settings(place / "archive"), place / f"{layout.state.name}-kit")
        self.site = seal_keys.load(self.clinic.keys).site_id
        self.trust_root = seal_keys.load(self.clinic.keys).trust_root
        self.keys, certificate = place / "clinic.keys", place / "hub.pem"
        certificate.write_text(json.loads(run(self.hub, "keys", "certificate", "--json").stdout)["certificate"])
        for command in (["share", str(certificate), "--yes"], ["export", str(certificate), "--out", str(self.keys)]):
            done = run(self.clinic, "keys", *command)
            assert done.exit_code == 0, done.output

    def follow(self, *more: str, site: str = "") -> Result:
        return run(self.hub, "follow", site or self.site, "--keys", str(self.keys), *more)


def run(layout: Layout, *arguments: str) -> Result:
    return CliRunner().invoke(outpost.app, [*arguments, "--state", str(layout.state)])


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory) -> Region:
    return Region(tmp_path_factory.mktemp("region"))


def test_a_site_is_followed_listed_and_followed_no_more(region: Region) -> None:
    assert "No other site is followed" in run(region.hub, "followed").stdout
    done = region.follow("--trust-root", region.trust_root)
    assert done.exit_code == 0, done.output
    assert f"Site {region.site} is followed once cloudsync is started again" in done.stdout
    listed = run(region.hub, "followed", "--json")
    ((one,), faults) = json.loads(listed.stdout).values()
    assert (one["site"], one["epoch"], one["trust_root"], faults) == (region.site, 1, region.trust_root, {})
    again = json.loads(region.follow("--trust-root", region.trust_root.upper(), "--json").stdout)
    assert again == {"site": region.site, "trust_root": region.trust_root, "epoch": 1}
    ((still,), _) = json.loads(run(region.hub, "followed", "--json").stdout).values()
    assert still["since"] == one["since"]
    sibling = region.hub.keys / "sibling.key"
    aside = sibling.rename(sibling.with_suffix(".aside"))
    assert f"Site {region.site} is not followed" in run(region.hub, "followed").stdout
    aside.rename(sibling)
    done = run(region.hub, "unfollow", region.site)
    assert done.exit_code == 0, done.output
    assert "outpost keys revoke" in done.stdout
    gone = run(region.hub, "unfollow", region.site)
    assert (gone.exit_code, "does not follow that site" in gone.stderr) == (77, True)
    assert "No other site is followed" in run(region.hub, "followed").stdout


@pytest.mark.parametrize(
    ("site", "more", "said"),
    [
        ("", [], "Give --trust-root, or compare it at the terminal"),
        ("", ["--trust-root", "0" * 64], "began with another certificate"),
        ("", ["--trust-root", "abc"], "--trust-root: is no SHA-256"),
        ("aaaaaaaaaa", ["--trust-root", "0" * 64], "aaaaaaaaaa/k/"),
        ("../../etc", ["--trust-root", "0" * 64], "is no id of another site"),
        ("own", ["--trust-root", "0" * 64], "is no id of another site"),
    ],
)
def test_what_was_not_compared_or_is_of_another_site_is_not_followed(region: Region, site: str, more: list[str], said: str) -> None:
    refused = region.follow(*more, site=seal_keys.load(region.hub.keys).site_id if site == "own" else site)
    assert refused.exit_code != 0
    assert said in refused.stderr, refused.stderr
    assert not list(region.hub.followed.glob("*")) if region.hub.followed.exists() else True


def test_a_keys_file_that_is_not_there_is_named(region: Region, tmp_path: Path) -> None:
    refused = run(region.hub, "follow", region.site, "--keys", str(tmp_path / "none"), "--trust-root", region.trust_root)
    assert refused.exit_code != 0
    assert "cannot be read" in refused.stderr
