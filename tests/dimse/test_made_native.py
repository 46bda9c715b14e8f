"""What goes out decoded: to a destination that takes less than what is stored, while others wait for it, and when it cannot be had."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace
from io import BytesIO

import pydicom
import pytest

from edge.dimse.ports import Ready
from edge.errors import Corrupt
from edge.model import UID, Correction
from tests.dimse.fakes import CT, JPEG_LOSSY, MR, MR_JPEGLS, MR_RLE, MadeAtOnce, box
from tests.dimse.test_find import identifier
from tests.dimse.test_retrieve import MOVE, STUDY_GET, STUDY_MOVE, accepts, counts, destination, get, getting, move, same_study
from tests.dimse.test_storage import EXPLICIT, IMPLICIT, associated
from tests.servers import until

STUDY = identifier("STUDY", StudyInstanceUID="1.2.3.4")


@dataclass
class Waiting:
    """A making that begins to be waited for, and is over when the test says so."""

    begun: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)
    dropped: threading.Event = field(default_factory=threading.Event)
    fault: Corrupt | None = None

    def __call__(self, ready: Ready) -> Waiting:
        self.made = MadeAtOnce(ready)
        self.begun.set()
        return self

    def wait(self, seconds: float) -> bool:
        return self.over.wait(seconds)

    def take(self) -> Ready:
        if self.fault:
            raise self.fault
        return self.made.take()

    def drop(self) -> None:
        self.dropped.set()


def pixels(data: bytes, syntax: str) -> bytes:
    return bytes(pydicom.filereader.read_dataset(BytesIO(data), syntax == IMPLICIT, True).PixelData)


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
def test_a_destination_without_compression_gets_the_same_pixels(syntax: str) -> None:
    held, (plain,) = [*same_study(CT), *same_study(MR_JPEGLS)], same_study(MR)
    with box(held) as served, destination(served, *accepts(held, syntax)) as there, associated(served, MOVE) as association:
        *_, (final, _) = move(association)
        assert (final.Status, counts(final)) == (0x0000, (2, 0, 0))
    sent = there.received[held[1].located.sop_instance]
    assert (sent[0], pixels(*reversed(sent))) == (syntax, pixels(plain.dataset, EXPLICIT))


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
def test_what_is_decoded_is_corrected_too(syntax: str) -> None:
    right = Correction(UID("1.2.3.4"), {"00100010": {"vr": "PN", "Value": [{"Alphabetic": "Right^Name"}]}}, 1_700_000_000)
    (one,) = same_study(JPEG_LOSSY)
    held = [replace(one, located=replace(one.located, correction=right))]
    with box(held) as served, destination(served, *accepts(held, syntax)) as there, associated(served, MOVE) as association:
        *_, (final, _) = move(association)
        assert (final.Status, counts(final)) == (0x0000, (1, 0, 0))
    ((_, data),) = there.received.values()
    found = pydicom.filereader.read_dataset(BytesIO(data), syntax == IMPLICIT, True)
    assert (str(found.PatientName), found.PhotometricInterpretation, found.LossyImageCompression) == ("Right^Name", "RGB", "01")
    assert len(found.PixelData) == found.Rows * found.Columns * 3
    assert len(found.OriginalAttributesSequence) == 1


def test_one_that_does_not_decode_is_counted_and_named_and_the_others_go() -> None:
    held = same_study(CT, MR_RLE)
    with box(held) as served, destination(served, *accepts(held, EXPLICIT)) as there, associated(served, MOVE) as association:
        served.retrieve.making = making = Waiting(fault=Corrupt("no such pixels"))
        making.over.set()
        *_, (final, listed) = move(association)
        assert (final.Status, counts(final)) == (0xB000, (1, 1, 0))
        assert listed is not None
        assert listed.FailedSOPInstanceUIDList == held[1].located.sop_instance
        assert list(there.received) == [held[0].located.sop_instance]


def test_a_move_tells_pending_while_one_is_decoded_and_can_be_cancelled() -> None:
    held = same_study(MR_RLE)
    with box(held) as served, destination(served, *accepts(held, EXPLICIT)), associated(served, MOVE) as association:
        served.retrieve.making = making = Waiting()
        answers = association.send_c_move(STUDY, "DEST", STUDY_MOVE, msg_id=9)
        status, _ = next(answers)
        assert (status.Status, status.NumberOfRemainingSuboperations) == (0xFF00, 1)
        assert making.begun.is_set()
        began = time.monotonic()
        association.send_c_cancel(9, query_model=STUDY_MOVE)
        *_, (final, _) = answers
        assert time.monotonic() - began < 10  # the decoding itself never ends
        assert (final.Status, counts(final), final.NumberOfRemainingSuboperations) == (0xFE00, (0, 0, 0), 1)
        until(making.dropped.is_set, "the decoding is given up")


def test_a_get_tells_pending_while_one_is_decoded_and_can_be_cancelled() -> None:
    held = same_study(MR_RLE)
    received: dict[str, bytes] = {}
    with box(held) as served, getting(served, received, accepts(held, EXPLICIT)) as association:
        served.retrieve.making = making = Waiting()
        answers = association.send_c_get(STUDY, STUDY_GET, msg_id=3)
        status, _ = next(answers)
        assert (status.Status, status.NumberOfRemainingSuboperations) == (0xFF00, 1)
        association.send_c_cancel(3, query_model=STUDY_GET)
        *_, (final, _) = answers
        assert (final.Status, final.NumberOfRemainingSuboperations, received) == (0xFE00, 1, {})
        assert making.dropped.is_set()


def test_a_get_that_is_not_to_take_longer_does_not_wait_for_a_decoding() -> None:
    held = same_study(MR_RLE)
    with box(held) as served:
        served.peers.peers["TEST"] = replace(served.peers.peers["TEST"], retrieve_limit_seconds=0.5)
        served.retrieve.making = making = Waiting()
        with getting(served, {}, accepts(held, EXPLICIT)) as association:
            *_, (final, listed) = get(association)
        assert (final.Status, counts(final)) == (0xA702, (0, 1, 0))
        assert "ask again" in final.ErrorComment
        assert listed is not None
        assert listed.FailedSOPInstanceUIDList == held[0].located.sop_instance
        assert making.dropped.is_set()


def test_a_destination_that_is_slow_to_be_served_keeps_no_other_waiting() -> None:
    held = same_study(MR_RLE)
    with box(held) as served, destination(served, *accepts(held, EXPLICIT)), associated(served, MOVE) as slow:
        served.retrieve.making = making = Waiting()
        answers = slow.send_c_move(STUDY, "DEST", STUDY_MOVE, msg_id=9)
        assert next(answers)[0].Status == 0xFF00
        received: dict[str, bytes] = {}
        with getting(served, received, accepts(held)) as other:
            *_, (final, _) = get(other)
        assert (final.Status, received) == (0x0000, {held[0].located.sop_instance: held[0].dataset})
        making.over.set()
        *_, (final, _) = answers
        assert (final.Status, counts(final)) == (0x0000, (1, 0, 0))
