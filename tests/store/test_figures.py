"""What is counted of studies and of everything: at any time what counting would say, whatever happened before."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from edge.model import UID, Correction, Json, Level, PackId, Urgency
from edge.store.catalogue import Catalogue
from edge.store.instances import Admission
from tests.store.rows import admission, ask, close, hear, hold, pack_id, values

STUDIES = ["1.1", "1.2", "1.3"]
MODALITIES = ["CT", "MR", ""]
FIGURES = ("modalities", "series", "instances", "away")


class History:
    """A random life of a catalogue: each step is something that Outpost does, in an order in which it may."""

    def __init__(self, path: Path, seed: int) -> None:
        self.path = path
        self.catalogue = Catalogue(path)
        self._draw = random.Random(seed)
        self._packs: dict[str, str] = {}
        """Letter of each pack that is known: its study."""
        self._admitted: dict[str, list[Admission]] = {}
        self._letters = iter("abcdefghijklmnopqrstuvwxyz")
        self._upto = 0

    def steps(self, count: int) -> list[str]:
        """What was done; no two steps need to be of different kinds."""
        kinds = [self.receive] * 6 + [
            self.close,
            self.hold,
            self.evict,
            self.recall,
            self.lose,
            self.hear,
            self.learn,
            self.correct,
            self.choose,
        ]
        done = []
        for _ in range(count):
            kind = self._draw.choice(kinds)
            kind()
            done.append(kind.__name__)
        return done

    def receive(self) -> None:
        study = self._draw.choice(STUDIES)
        letter = next((one for one, of in self._packs.items() if of == study and self._state(one) == "open"), None) or next(
            self._letters, None
        )
        if letter is None:
            return
        place = len(self._admitted.get(letter, []))
        one = self._admission(letter, place * 4096, study, here=True)
        if letter in self._packs:
            if self.catalogue.admit(one):
                self._admitted[letter].append(one)
        else:
            self._packs[letter], self._admitted[letter] = study, [one]
            self.catalogue.open_pack(pack_id(letter), Urgency.ROUTINE, one)

    def close(self) -> None:
        if letter := self._one("open"):
            close(self.catalogue, letter, size=self._draw.randrange(1000, 9000))

    def hold(self) -> None:
        if letter := self._one("closed"):
            self._upto += 1
            hold(self.catalogue, letter, self._upto)

    def evict(self) -> None:
        if letter := self._one("held"):
            self.catalogue.evict(pack_id(letter))

    def recall(self) -> None:
        if not (letter := self._one("held")):
            return
        pack = pack_id(letter)
        self.catalogue.begin_recall(pack)
        offsets = [one.member.dataset_offset for one in self._admitted.get(letter, [])]
        self.catalogue.recalled(pack, offsets[: self._draw.randrange(4)])
        if self._draw.random() < 0.5 and offsets:
            self.catalogue.recalled(pack, offsets)
            self.catalogue.set_whole(pack)

    def lose(self) -> None:
        letter = self._draw.choice(["", *self._admitted])
        for one in self._admitted.get(letter, [])[:1]:
            self.catalogue.lose(one.pack, [one.member.header_offset])

    def hear(self) -> None:
        study = self._draw.choice(STUDIES)
        if letter := next(self._letters, None):
            series = [{"0020000E": {"vr": "UI", "Value": [f"{study}.9"]}, "00080060": {"vr": "CS", "Value": ["SR"]}}]
            hear(self.catalogue, letter, {"0020000D": {"vr": "UI", "Value": [study]}}, series, self._draw.randrange(1, 9))
            self._packs[letter] = study

    def learn(self) -> None:
        """The head of a pack that was only heard of."""
        letter = self._draw.choice(["", *self._packs])
        if letter and letter not in self._admitted:
            heads = [self._admission(letter, place * 4096, self._packs[letter], here=False) for place in range(self._draw.randrange(1, 4))]
            self.catalogue.learn_head(heads, pack_id(letter), 9000, 3)
            self._admitted[letter] = heads

    def correct(self) -> None:
        attributes = {"00100020": {"vr": "LO", "Value": [f"P{self._draw.randrange(3)}"]}}
        study = UID(self._draw.choice(STUDIES))
        self.catalogue.remember([Correction(study, attributes, 5.0, rejected=self._draw.random() < 0.5)])

    def choose(self) -> None:
        """What became of a variant: it is hidden, or it takes the place of another one."""
        unclassed = self.catalogue.rows("unclassed", most=5)
        if unclassed:
            rows = self.catalogue.rows("variants_of", *self._draw.choice(unclassed))
            shown = self._draw.choice([None, *rows])
            with self.catalogue.change():
                for row in rows:
                    self.catalogue.rows("class_variant", 0, "decided", None, row[0])
                if shown is not None:
                    self.catalogue.rows("class_variant", 1, None, None, shown[0])

    def _admission(self, letter: str, offset: int, study: str, here: bool) -> Admission:
        series, number = self._draw.randrange(3), self._draw.randrange(4)
        more = {
            0x00080060: ("CS", MODALITIES[series]),
            0x00100020: ("LO", self._draw.choice(["P1", "P1", "P2"])),
            0x00081030: ("LO", self._draw.choice(["FIRST", "AGAIN"])),
        }
        uid = f"{study}.{series}"
        return admission(letter, offset, study=study, series=uid, instance=f"{uid}.{number}", number=number, more=more, here=here)

    def _state(self, letter: str) -> str:
        state = self.catalogue.pack(PackId(letter * 26))
        assert state is not None
        return "open" if state.closed_at is None else "held" if state.held else "closed"

    def _one(self, state: str) -> str | None:
        found = [letter for letter in self._packs if self._state(letter) == state]
        return self._draw.choice(found) if found else None


@pytest.mark.parametrize("seed", range(40))
def test_figures_are_what_counting_says_after_every_step_of_a_random_life(tmp_path: Path, seed: int) -> None:
    history = History(tmp_path / "catalogue.db", seed)
    with closing(sqlite3.connect(f"file:{tmp_path / 'catalogue.db'}?mode=ro", uri=True)) as beside:
        for number in range(40):
            (done,) = history.steps(1)
            wrong = " OR ".join(f"figures.{figure} IS NOT study_count.{figure}" for figure in FIGURES)
            assert (
                beside.execute(f"SELECT * FROM figures JOIN study_count USING (study) WHERE counted = 1 AND ({wrong})").fetchall() == []
            ), (number, done)
            assert beside.execute("SELECT * FROM total").fetchall() == beside.execute(TOTAL).fetchall(), (number, done)
            assert beside.execute(f"SELECT pack FROM ({LATE}) EXCEPT SELECT pack FROM waiting").fetchall() == []
            assert beside.execute(f"SELECT pack FROM waiting EXCEPT SELECT pack FROM ({LATE})").fetchall() == []
    history.catalogue.close()


TOTAL = """SELECT 1, (SELECT count(*) FROM study),
    (SELECT coalesce(sum(study_count.instances), 0) FROM study_count JOIN figures USING (study) WHERE counted = 1),
    (SELECT coalesce(sum(bytes), 0) FROM pack WHERE here != 'no'), (SELECT max(held_at) FROM holding)"""
LATE = "SELECT pack FROM pack WHERE NOT EXISTS (SELECT 1 FROM holding WHERE holding.pack = pack.pack)"


@pytest.mark.parametrize("seed", range(40))
def test_answers_about_studies_agree_with_those_about_what_is_in_them(tmp_path: Path, seed: int) -> None:
    """Counted a second way, from what is answered of each instance; packs whose heads are not here hide theirs."""
    history = History(tmp_path / "catalogue.db", seed)
    history.steps(60)
    catalogue = history.catalogue
    for study in ask(catalogue, Level.STUDY):
        uid = study["0020000D"]["Value"][0]
        series = ask(catalogue, Level.SERIES, {"0020000D": uid})
        images = ask(catalogue, Level.IMAGE, {"0020000D": uid})
        headless = [catalogue.pack(pack) for (pack,) in catalogue.rows("headless", study=uid)]
        unseen = sum(pack.instances for pack in headless if pack is not None)
        assert study["00201206"]["Value"] == [len(series)]
        assert study["00201208"]["Value"] == [len(images) + unseen]
        assert study["00080061"]["Value"] == sorted({str(one) for one in values(series, "00080060") if one})
        away = ["ONLINE", "NEARLINE", "UNAVAILABLE"]
        furthest = max([away.index(str(one)) for one in values(images, "00080056")] + [int(bool(headless))])
        assert study["00080056"]["Value"] == [away[furthest]]
    catalogue.close()


@pytest.mark.parametrize("seed", range(10))
def test_the_figures_of_patients_are_the_sums_of_their_studies(tmp_path: Path, seed: int) -> None:
    history = History(tmp_path / "catalogue.db", seed)
    history.steps(50)
    for patient_id in ("P0", "P1", "P2"):
        patients, studies = (ask(history.catalogue, level, {"00100020": patient_id}) for level in (Level.PATIENT, Level.STUDY))
        for of_patient, of_study in (("00201202", "00201206"), ("00201204", "00201208")):
            assert _sum(patients, of_patient) == _sum(studies, of_study)
        assert _sum(patients, "00201200") == len(studies)
    history.catalogue.close()


def _sum(answers: list[Json], tag: str) -> int:
    return sum(int(str(one)) for one in values(answers, tag))


def test_what_rests_is_counted_and_what_is_being_received_is_not(tmp_path: Path) -> None:
    history = History(tmp_path / "catalogue.db", 1)
    history.catalogue.open_pack(pack_id("a"), Urgency.ROUTINE, admission("a", study="1.1"))
    history.catalogue.open_pack(pack_id("b"), Urgency.ROUTINE, admission("b", study="1.2", series="1.2.1", instance="1.2.1.1"))
    close(history.catalogue, "a")
    with closing(sqlite3.connect(f"file:{tmp_path / 'catalogue.db'}?mode=ro", uri=True)) as beside:
        assert beside.execute("SELECT uid, counted FROM figures JOIN study USING (study) ORDER BY uid").fetchall() == [
            ("1.1", 1),
            ("1.2", 0),
        ]
    assert history.catalogue.rows("counts")[0][0] == 2
    assert history.catalogue.rows("counts")[0][4] == 2
    history.catalogue.close()


def test_what_is_catalogued_late_of_a_study_at_rest_counts(catalogue: Catalogue) -> None:
    first = admission("a", study="1.1", series="1.1.1", instance="1.1.1.1")
    catalogue.open_pack(pack_id("a"), Urgency.ROUTINE, first)
    close(catalogue, "a")
    assert catalogue.admit(admission("a", 4096, study="1.1", series="1.1.1", instance="1.1.1.2"))
    (study,) = ask(catalogue, Level.STUDY)
    assert study["00201208"]["Value"] == [2]


def test_a_series_that_is_told_again_with_others_counts(catalogue: Catalogue) -> None:
    study = {"0020000D": {"vr": "UI", "Value": ["1.1"]}}
    series = [
        {"0020000E": {"vr": "UI", "Value": [f"1.1.{number}"]}, "00080060": {"vr": "CS", "Value": [modality]}}
        for number, modality in enumerate(("CT", "SR"))
    ]
    hear(catalogue, "a", study, series[:1], 5)
    hear(catalogue, "a", study, series, 5)
    (found,) = ask(catalogue, Level.STUDY)
    assert (found["00201206"]["Value"], found["00080061"]["Value"]) == ([2], ["CT", "SR"])
