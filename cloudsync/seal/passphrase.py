"""Eight words that can be spoken, written down and typed anywhere.

A word is consonant, vowel, consonant, vowel, of 20 consonants and 5 vowels: 10,000 words, so eight of them are 106 bits. No list, no
language, no accent; every word has four letters.
"""

from __future__ import annotations

import secrets

_CONSONANTS, _VOWELS, _WORDS = "bcdfghjklmnprstvwxyz", "aeiou", 8


def generate() -> str:
    """Eight random words, one space between."""
    return " ".join("".join(map(secrets.choice, (_CONSONANTS, _VOWELS) * 2)) for _ in range(_WORDS))


def normal(typed: str) -> str:
    """What was typed in, in the form that was generated: lower case, one space between words; hyphens count as spaces."""
    return " ".join(typed.lower().replace("-", " ").split())
