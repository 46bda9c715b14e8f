"""Matching of person names: by component group, without case and accents, and, where it was agreed on, by word and sound."""

from __future__ import annotations

import re

from edge.store.fold import GROUPS, fold, fold_groups
from edge.store.sound import sound, words
from edge.store.terms import Term, glob, joined

_WILD = re.compile(r"[*?]")
_OTHER = " || '=' || ".join(f"coalesce(one.value ->> '$.{name}', '')" for name in GROUPS)


def patient_name(text: str) -> Term:
    """The name of the patient, which the catalogue holds folded."""
    pattern = glob(fold_groups(text.split("=")))
    if not pattern:
        return "1", []
    # Delimiters at the end of a name may be left out, so MILLER^* is also MILLER.
    forms = [pattern, pattern.removesuffix("^*")] if pattern.endswith("^*") else [pattern]
    # Each component group may match alone: the folded groups are joined by =.
    patterns: list[str | int] = [whole for one in forms for whole in (one, f"{one}=*", f"*={one}", f"*={one}=*")]
    return f"({' OR '.join(['patient.name GLOB ?'] * len(patterns))})", patterns


def other_name(text: str) -> Term:
    """Names of other people, as `one.value`, are kept as they arrived: matched without the case of A to Z. A single group matches any."""
    groups = {name: f"lower(coalesce(one.value ->> '$.{name}', '')) GLOB ?" for name in GROUPS}
    asked = [glob(_lower(group.rstrip("^ "))) for group in text.split("=")]
    if len(asked) == 1:
        return f"({' OR '.join(groups.values())})", [*asked * 3]
    wanted = [(groups[name], pattern) for name, pattern in zip(GROUPS, asked, strict=False) if pattern]
    return f"({' AND '.join(term for term, _ in wanted) or '1'})", [pattern for _, pattern in wanted]


def fuzzy_patient_name(text: str) -> Term:
    """What matches literally; and names in which each word that is asked for occurs or sounds alike, in any component and order."""
    terms: list[Term] = []
    spaced = _spaced("patient.name")
    for word in words(fold(text)):
        pattern = f"* {glob(word)} *"
        if _WILD.search(word):
            terms.append((f"{spaced} GLOB ?", [pattern]))
        else:
            terms.append((f"({spaced} GLOB ? OR patient.sounds GLOB ?)", [pattern, f"* {glob(sound(word))} *"]))
    return joined(" OR ", [patient_name(text), joined(" AND ", terms)]) if terms else patient_name(text)


def fuzzy_other_name(text: str) -> Term:
    """As `fuzzy_patient_name`, by the words alone."""
    terms: list[Term] = [(f"{_spaced(f'lower({_OTHER})')} GLOB ?", [f"* {glob(word)} *"]) for word in words(_lower(text))]
    return joined(" OR ", [other_name(text), joined(" AND ", terms)]) if terms else other_name(text)


def _spaced(name: str) -> str:
    """A name with spaces before, between and after its words."""
    return f"' ' || replace(replace(replace({name}, '^', ' '), '=', ' '), '-', ' ') || ' '"


def _lower(text: str) -> str:
    """As SQLite's lower()."""
    return "".join(character.lower() if character.isascii() else character for character in text)
