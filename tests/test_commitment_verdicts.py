"""edge.commitment: what is committed to, as a function of what is known of an instance, the policy of the peer, and the time."""

from __future__ import annotations

import pytest

from edge.commitment import Known, judge
from edge.model import UID, AETitle, Commitment, Peer

CT, MR = UID("1.2.840.10008.5.1.4.1.1.2"), UID("1.2.840.10008.5.1.4.1.1.4")
MODALITY = AETitle("CT99")
LOCAL, ARCHIVED = Peer(MODALITY), Peer(MODALITY, commitment=Commitment.ARCHIVED, report_after_seconds=3600.0)
COPIES = Peer(MODALITY, commitment=Commitment.TWO_COPIES, report_after_seconds=3600.0)
FALLS_BACK = Peer(MODALITY, commitment=Commitment.ARCHIVED, report_after_seconds=3600.0, commitment_falls_back=True)
HERE_ONLY = Known(CT, here=True, held=False, copied=False)
COPIED = Known(CT, here=True, held=False, copied=True)
HELD = Known(CT, here=False, held=True, copied=True)
LOST = Known(CT, here=False, held=False, copied=False)


@pytest.mark.parametrize(
    ("known", "aside", "peer", "waited", "verdict"),
    [
        pytest.param([HERE_ONLY], False, LOCAL, 0, 0, id="here is enough for local"),
        pytest.param([HELD], False, LOCAL, 0, 0, id="held is enough for local"),
        pytest.param([], False, LOCAL, 599, None, id="unknown is waited for"),
        pytest.param([], False, LOCAL, 600, 0x0112, id="unknown for ten minutes"),
        pytest.param([LOST], False, LOCAL, 599, None, id="lost is waited for"),
        pytest.param([LOST], False, LOCAL, 600, 0x0112, id="lost for ten minutes"),
        pytest.param([HERE_ONLY, LOST], False, LOCAL, 600, 0x0112, id="one variant of two is lost"),
        pytest.param([Known(MR, True, False, False)], False, LOCAL, 0, 0x0119, id="another class"),
        pytest.param([Known(MR, True, False, False), HERE_ONLY], False, LOCAL, 0, 0, id="the right class is among them"),
        pytest.param([Known(CT, True, False, False, rejected=True)], False, LOCAL, 0, 0x0110, id="not to be used"),
        pytest.param([HERE_ONLY], True, LOCAL, 0, 0, id="in quarantine, and sent again as it should be"),
        pytest.param([], True, LOCAL, 0, 0x0110, id="in quarantine"),
        pytest.param([HERE_ONLY], False, COPIES, 0, None, id="one copy is not two"),
        pytest.param([COPIED], False, COPIES, 0, 0, id="two copies"),
        pytest.param([HERE_ONLY], False, COPIES, 3600, 0x0213, id="one copy until the time is over"),
        pytest.param([COPIED], False, ARCHIVED, 0, None, id="copied is not archived"),
        pytest.param([HELD], False, ARCHIVED, 0, 0, id="archived"),
        pytest.param([COPIED], False, ARCHIVED, 3600, 0x0213, id="not archived until the time is over"),
        pytest.param([HERE_ONLY], False, FALLS_BACK, 3599, None, id="falls back not before the time is over"),
        pytest.param([HERE_ONLY], False, FALLS_BACK, 3600, 0, id="falls back to local"),
    ],
)
def test_each_instance_is_judged_by_what_is_known_of_it(
    known: list[Known], aside: bool, peer: Peer, waited: float, verdict: int | None
) -> None:
    assert judge(CT, known, aside, peer, waited) == verdict
