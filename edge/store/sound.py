"""Person names by their sound: what fuzzy semantic matching compares (PS3.4 section C.2.2.2.1.1 leaves the algorithm to the SCP).

The key of a Latin word is its consonants, with those that sound alike as one: Meier, Mayer and Maier have the same, as have Müller,
Mueller and Miller, or Schmidt and Smith. A word in any other script is its own key.
"""

from __future__ import annotations

import re

_WORD = re.compile(r"[^\s^=\\-]+")
_MARKS = str.maketrans("", "", "'.,")
_LATIN = re.compile(r"[a-zßæœøłđþ]+")
_ALIKE = (
    ("sch", "s"),
    ("tsch", "s"),
    ("ch", "k"),
    ("ck", "k"),
    ("ph", "f"),
    ("pf", "f"),
    ("th", "t"),
    ("dt", "t"),
    ("sh", "s"),
    ("sz", "s"),
    ("cz", "s"),
    ("qu", "k"),
    ("gh", "g"),
    ("ß", "s"),
    ("ł", "l"),
    ("đ", "d"),
    ("þ", "t"),
    ("x", "ks"),
)
_SINGLE = str.maketrans({"c": "k", "q": "k", "z": "s", "v": "f", "w": "f", "d": "t", "b": "p", "g": "k", "j": "y"})
_SILENT = re.compile(r"[aeiouyhæœø]")
_TWICE = re.compile(r"(.)\1+")


def words(folded: str) -> list[str]:
    """The words of a folded name, of all its component groups."""
    return _WORD.findall(folded)


def sound(word: str) -> str:
    """The key of one folded word. It is never empty: a vowel stands where there are no consonants."""
    word = word.translate(_MARKS) or word
    if not _LATIN.fullmatch(word):
        return word
    for spelling, short in _ALIKE:
        word = word.replace(spelling, short)
    vowel = "a" if _SILENT.match(word) and word[0] != "h" else ""
    return vowel + _TWICE.sub(r"\1", _SILENT.sub("", word.translate(_SINGLE))) or "a"


def sounds(folded: str) -> str:
    """The keys of all words of a folded name, each between spaces."""
    keys = dict.fromkeys(sound(word) for word in words(folded))
    return f" {' '.join(keys)} " if keys else ""
