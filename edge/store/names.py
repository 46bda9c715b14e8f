"""Matching of person names: by component group, without case and accents, and, where it was agreed on, by word and sound."""

from __future__ import annotations

from edge.store.fold import GROUPS, fold, fold_groups
from edge.store.sound import sound, words
from edge.store.terms import WILD, Term, beginning, glob, joined

_PART, _PARTS = 3, 12
"""Characters in a row by which names are known, and how many of those are looked up at most."""
_OTHER = " || '=' || ".join(f"coalesce(one.value ->> '$.{name}', '')" for name in GROUPS)


def patient_name(text: str) -> Term:
    """The name of the patient, which the catalogue holds folded."""
    asked = _groups(text)
    if not asked:
        return "1", []
    # Each component group may match alone: the folded groups are joined by =.
    patterns: list[str | int] = [
        whole for form in _forms("=".join(asked)) for one in [glob(form)] for whole in (one, f"{one}=*", f"*={one}", f"*={one}=*")
    ]
    terms: list[Term] = [(f"({' OR '.join(['+patient.name GLOB ?'] * len(patterns))})", patterns)]
    for group in asked:
        if _may_cross(group):
            match, values = _is_called(group)
            terms.append(
                (f"EXISTS (SELECT 1 FROM called JOIN name USING (name) WHERE called.patient = patient.patient AND {match})", values)
            )
    return joined(" AND ", terms)


def who_is_called(text: str) -> Term | None:
    """A SELECT of all patients who can match, by an index of the names, or by looking at each name that there is; None for any name."""
    asked = _groups(text)
    if not asked:
        return None
    _, (source, values) = max(map(_names, asked), key=lambda one: one[0])
    return f"SELECT called.patient FROM {source}", values


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
        if WILD.search(word):
            terms.append((f"{spaced} GLOB ?", [pattern]))
        else:
            terms.append((f"({spaced} GLOB ? OR +patient.sounds GLOB ?)", [pattern, f"* {glob(sound(word))} *"]))
    return joined(" OR ", [patient_name(text), joined(" AND ", terms)]) if terms else patient_name(text)


def who_may_be_meant(text: str) -> Term | None:
    """As `who_is_called`, for `fuzzy_patient_name`: those who match literally, and those in whose name one of the words occurs."""
    literal, asked = who_is_called(text), words(fold(text))
    if literal is None or not asked:
        return literal
    found = [one for word in asked if (one := _have_word(word))]
    if not found:
        return None
    _, (select, values) = max(found, key=lambda one: one[0])
    return f"{select} UNION ALL {literal[0]}", [*values, *literal[1]]


def _have_word(word: str) -> tuple[int, Term] | None:
    """How well those are found in whose name a word occurs, and who they are. What stands beside a wildcard lies within one group."""
    if not WILD.search(word):
        return 100 + len(sound(word)), ("SELECT patient FROM sounding WHERE sound = ?", [sound(word)])
    run = max(WILD.split(word), key=len)
    if not run:
        return None
    _, (source, values) = _names(f"*{run}*")
    return len(run), (f"SELECT called.patient FROM {source}", values)


def fuzzy_other_name(text: str) -> Term:
    """As `fuzzy_patient_name`, by the words alone."""
    terms: list[Term] = [(f"{_spaced(f'lower({_OTHER})')} GLOB ?", [f"* {glob(word)} *"]) for word in words(_lower(text))]
    return joined(" OR ", [other_name(text), joined(" AND ", terms)]) if terms else other_name(text)


def _groups(text: str) -> list[str]:
    """The folded component groups of a pattern, without those that any name matches: of wildcards and delimiters alone."""
    return [group for group in fold_groups(text.split("=")).split("=") if group.strip("*^")]


def _forms(pattern: str) -> list[str]:
    """Delimiters at the end of a name may be left out, so MILLER^* is also MILLER."""
    return [pattern, pattern.removesuffix("^*")] if pattern.endswith("^*") else [pattern]


def _may_cross(group: str) -> bool:
    """Whether a wildcard within a pattern could stand for the end of one component group and the beginning of another."""
    return bool(WILD.search(group.strip("*")))


def _is_called(group: str) -> Term:
    """A name that matches the pattern of a component group."""
    forms = [glob(form) for form in _forms(group)]
    return f"({' OR '.join(['+name.text GLOB ?'] * len(forms))})", [*forms]


def _names(group: str) -> tuple[int, Term]:
    """How well the names that match are found, and FROM and WHERE that find them."""
    found = WILD.search(group)
    matches, patterns = _is_called(group)
    begins = group if found is None else group[: found.start()]
    parts = _parts(group)
    if found is None:
        return 100, ("name JOIN called USING (name) WHERE name.text = ?", [group])
    # A delimiter may be left out with what follows it.
    by_index = beginning("name.text", begins.rstrip("^"))
    if by_index is not None and (len(begins) >= _PART or not parts):
        text, values = by_index
        return 10 + len(begins), (f"name CROSS JOIN called USING (name) WHERE {text} AND {matches}", [*values, *patterns])
    if parts:
        wanted = " AND ".join('"' + part.replace('"', '""') + '"' for part in parts)
        source = "name_part CROSS JOIN name ON name.name = name_part.rowid CROSS JOIN called ON called.name = name.name"
        return 5, (f"{source} WHERE name_part MATCH ? AND {matches}", [wanted, *patterns])
    return 0, (f"name CROSS JOIN called USING (name) WHERE {matches}", [*patterns])


def _parts(group: str) -> list[str]:
    """Every three characters that a name must have in a row to match, as far as they are needed to find it."""
    found = [run[place : place + _PART] for run in WILD.split(group.rstrip("*").rstrip("^")) for place in range(len(run) - _PART + 1)]
    return list(dict.fromkeys(part for part in found if "\0" not in part))[:_PARTS]


def _spaced(name: str) -> str:
    """A name with spaces before, between and after its words."""
    return f"' ' || replace(replace(replace({name}, '^', ' '), '=', ' '), '-', ' ') || ' '"


def _lower(text: str) -> str:
    """As SQLite's lower()."""
    return "".join(character.lower() if character.isascii() else character for character in text)
