"""Site state that is damaged is named with its cure, and comes back from a copy in the outbox, or one that was brought."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

import pytest

from edge.config import Layout
from edge.control import asking
from edge.control.peers import ListPeers, PeerRow
from edge.sitecopies import newest
from edge.store import site
from tests.scenarios.test_run import outpost
from tests.servers import edge_alone, until


def peers(layout: Layout) -> list[str]:
    return [row.ae_title for row in asking.ask(layout.control, ListPeers()) if isinstance(row, PeerRow)]


def known(path: Path) -> list[str]:
    with closing(site.SiteState(path)) as state:
        return [peer.ae_title for peer in state.peers()]


def copied(layout: Layout, scratch: Path) -> bool:
    """Whether the newest copy knows a peer."""
    copy = newest(layout)
    if copy is None:
        return False
    site.restore(scratch, copy.data)
    return bool(known(scratch))


def test_damaged_site_state_is_named_with_its_cure_and_comes_back_from_a_copy(tmp_path: Path) -> None:
    state = tmp_path / "state"
    layout = Layout(state)
    with edge_alone(state, peers=("CT1",)):
        until(lambda: copied(layout, tmp_path / "scratch.db"), "the peer is copied")
    whole = layout.site.read_bytes()
    layout.site.write_bytes(whole[:4096] + bytes(4096) + whole[8192:])
    with pytest.raises(AssertionError, match="outpost site restore"), edge_alone(state):
        pass
    done = outpost("site", "restore", "--state", str(state))
    assert done.returncode == 0, done.stderr
    assert f"{layout.site}.old" in done.stdout
    assert known(layout.site) == ["CT1"]
    layout.site.unlink()
    with edge_alone(state, peers=()):
        assert peers(layout) == ["CT1"]
    copy = newest(layout)
    assert copy is not None
    (tmp_path / "brought").write_bytes(copy.data)
    shutil.rmtree(layout.outbox / "site")
    nothing = outpost("site", "restore", "--state", str(state))
    assert nothing.returncode == 66
    assert "outpost restore" in nothing.stderr
    assert known(layout.site) == ["CT1"]
    layout.site.unlink()
    brought = outpost("site", "restore", "--state", str(state), "--from", str(tmp_path / "brought"))
    assert brought.returncode == 0, brought.stderr
    assert known(layout.site) == ["CT1"]
