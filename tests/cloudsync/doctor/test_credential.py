"""What a credential says of itself, and what follows from it; and the age of the test of the kit."""

from __future__ import annotations

import pytest

from cloudsync.doctor import credential, kit
from cloudsync.doctor.credential import Credential, read
from cloudsync.seal import tested
from edge.clock import utc
from edge.finding import Finding

NOW = 1_767_225_600.0  # 2026-01-01T00:00:00Z
DAY = 86_400.0
PLACE = "https://account.blob.core.windows.net/outpost"


def sas(rights: str = "rcl", days: float = 100, more: str = "") -> str:
    return f"{PLACE}?sp={rights}&st=2025-01-01T00:00:00Z&se={utc(NOW + days * DAY)}&spr=https&sv=2023-11-03&sr=c&sig=c2VjcmV0%3D{more}"


def found(text: str) -> dict[str, Finding]:
    findings = {finding.check: finding for finding in credential.look(read(text), NOW)}
    assert all("c2VjcmV0" not in finding.sentence + finding.cure for finding in findings.values())
    assert all(finding.cure for finding in findings.values() if finding.level in {"warning", "fault"})
    return findings


def levels(text: str) -> tuple[str, str]:
    findings = found(text)
    return findings["credential.rights"].level, findings["credential.expiry"].level


def test_a_sas_of_create_read_list_that_lasts_has_nothing_to_do() -> None:
    assert levels(sas()) == ("good", "good")


@pytest.mark.parametrize(
    ("text", "expected", "says"),
    [
        (sas("rcwl"), ("fault", "good"), "may do more than Outpost needs: write (w)"),
        (sas("rcdl"), ("fault", "good"), "may do more than Outpost needs: delete (d)"),
        (sas("rl"), ("fault", "good"), "lacks create (c)"),
        (sas(days=-2), ("good", "fault"), "The SAS expired 2 days ago (2025-12-30T00:00:00Z)"),
        (sas(days=12), ("good", "warning"), "The SAS expires in 12 days (2026-01-13T00:00:00Z)"),
        (sas().replace("st=2025", "st=2027"), ("good", "fault"), "is valid only from 2027-01-01T00:00:00Z on"),
        (f"{PLACE}?si=box&sv=2023-11-03&sr=c&sig=c2VjcmV0%3D", ("unknown", "unknown"), "its stored access policy does"),
        ("DefaultEndpointsProtocol=https;AccountName=a;AccountKey=c2VjcmV0;", ("fault", "good"), "whoever takes it can delete the archive"),
        (
            f"BlobEndpoint=https://account.blob.core.windows.net/;SharedAccessSignature={sas('rwdlac').partition('?')[2]}",
            ("fault", "good"),
            "write (w), delete (d), add (a)",
        ),
    ],
)
def test_what_is_wrong_with_a_credential_is_said_without_its_secret(text: str, expected: tuple[str, str], says: str) -> None:
    assert levels(text) == expected
    assert says in " ".join(finding.sentence for finding in found(text).values())


def test_a_day_without_a_time_is_taken_as_azure_takes_it() -> None:
    assert read(f"{PLACE}?sp=rcl&se=2026-02-01&sig=x").ends_at == NOW + 31 * DAY
    assert read(f"{PLACE}?sp=rcl&se=soon&sig=x") == Credential("SAS", "rcl")


@pytest.mark.parametrize(("days", "level"), [(10, "good"), (400, "warning")])
def test_the_test_of_the_kit_ages(days: int, level: str) -> None:
    finding = kit.look(tested.Tested(utc(NOW - days * DAY), "sheet", "00"), NOW)
    assert (finding.level, finding.figures) == (level, {"days": float(days)})


def test_a_kit_that_was_never_tested_is_a_warning() -> None:
    assert kit.look(None, NOW).level == "warning"
