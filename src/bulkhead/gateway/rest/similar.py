"""Suggests the name that was probably meant, where there is none of the name that was given.

Source: PostgREST v14, `Error.hs`, which asks the Haskell package fuzzyset 0.2.4: of the names that
share the most trigrams (else bigrams) with the given one, those within an edit distance.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from bulkhead.gateway.rest.schema import Name, Schema

SCORE_MIN = 0.33
NAME_SCORE_MIN = 0.75
"""For tables and functions: hints must not let names be guessed that nobody was told."""
CANDIDATES_MAX = 50
TABLES_MAX = 500
"""A schema with as many tables gets no hints, since their index would be large."""
CHARACTERS_MAX = 1000
"""Nothing is similar to a longer name; lists of parameters may be as long."""

_SIZES = (3, 2)


def suggest_table(schema: Schema, table: Name) -> str | None:
    """The hint for a table that is not there."""
    names = [each.name for each in schema.tables if each.schema == table.schema]
    if len(names) >= TABLES_MAX:
        return None
    found = find_similar(names, table.name, NAME_SCORE_MIN)
    return f"Perhaps you meant the table '{table.schema}.{found[0].name}'" if found else None


def suggest_relation(schema: Schema, origin: Name, relation: str) -> str | None:
    """The hint for a relationship that is not there: another target, or another table."""
    known = schema.relationships.get((origin, origin.schema))
    if known is not None:
        found = find_similar([each.target.name for each in known], relation)
        meant = next((each.name for each in found if each.score < 1), None)
        given = relation
    else:
        parents = [table.name for table, other in schema.relationships if other == origin.schema]
        found = find_similar(parents, origin.name)
        meant = found[0].name if found else None
        given = origin.name
    return None if meant is None else f"Perhaps you meant '{meant}' instead of '{given}'."


def suggest_function(schema: Schema, function: Name, keys: Collection[str]) -> str | None:
    """The hint for a function that is not there, or not with these parameters."""
    overloads = schema.functions.get(function)
    if overloads:
        signatures = [_join(each.name for each in known.parameters) for known in overloads]
        found = find_similar(signatures, _join(keys))
        meant = function.name + found[0].name if found else None
    else:
        names = [each.name for each in schema.functions if each.schema == function.schema]
        found = find_similar(names, function.name, NAME_SCORE_MIN)
        meant = found[0].name if found else None
    if meant is None:
        return None
    return f"Perhaps you meant to call the function {function.schema}.{meant}"


@dataclass(frozen=True, slots=True)
class Similar:
    """A name and how similar it is, up to 1 for the same but for capital letters."""

    score: float
    name: str


def find_similar(
    names: Iterable[str], wanted: str, score_min: float = SCORE_MIN
) -> Sequence[Similar]:
    """Those of `names` that are similar to `wanted`, the most similar first."""
    if len(wanted) > CHARACTERS_MAX:
        return ()
    index = _index(tuple(names))
    key = wanted.lower()
    exact = index.names.get(key)
    if exact is not None:
        return (Similar(1, exact),)
    for size in _SIZES:
        found = [
            Similar(score, index.names[candidate])
            for candidate in index.sizes[size].find_candidates(key)
            if (score := measure_similarity(key, candidate)) >= score_min
        ]
        if found:
            return sorted(found, key=lambda each: -each.score)
    return ()


def measure_similarity(one: str, other: str) -> float:
    """1 less the edit distance, as a share of the longer text; for equal texts 1."""
    longest = max(len(one), len(other))
    return 1.0 if longest == 0 else 1 - edit_distance(one, other) / longest


def edit_distance(one: str, other: str) -> int:
    """How many characters to insert, delete or replace to make the one text of the other.

    Source: Hyyrö, A Bit-Vector Algorithm for Computing Levenshtein and Damerau Edit Distances
    (2003): a column of the matrix is one integer, so that a pair of names takes microseconds.
    """
    if not one or not other:
        return len(one) + len(other)
    places: dict[str, int] = {}
    for place, character in enumerate(one):
        places[character] = places.get(character, 0) | 1 << place
    everything, last = (1 << len(one)) - 1, 1 << (len(one) - 1)
    up, down, distance = everything, 0, len(one)
    for character in other:
        match = places.get(character, 0)
        diagonal = (((match & up) + up) ^ up) | match | down
        right_up = down | ~(diagonal | up) & everything
        right_down = up & diagonal
        distance += bool(right_up & last) - bool(right_down & last)
        right_up = right_up << 1 | 1
        right_down <<= 1
        up = (right_down | ~(diagonal | right_up)) & everything
        down = right_up & diagonal & everything
    return distance


@dataclass(frozen=True, slots=True)
class _Grams:
    """Names by the pieces of a length that they consist of."""

    size: int
    lengths: Mapping[str, float]
    """Of each name: that of the vector of its pieces."""
    holders: Mapping[str, Mapping[str, int]]
    """By piece: the names that have it, and how often."""

    def find_candidates(self, wanted: str) -> Sequence[str]:
        """The names that have the most in common with `wanted`."""
        products: Counter[str] = Counter()
        for gram, times in _grams(wanted, self.size).items():
            for name, others in self.holders.get(gram, {}).items():
                products[name] += times * others
        order = sorted(products, key=lambda name: -products[name] / self.lengths[name])
        return order[:CANDIDATES_MAX]


@dataclass(frozen=True, slots=True)
class _Index:
    names: Mapping[str, str]
    """As they are written, by their lower-case form."""
    sizes: Mapping[int, _Grams]


@lru_cache(maxsize=64)
def _index(names: tuple[str, ...]) -> _Index:
    written: dict[str, str] = {}
    for name in names:
        written.setdefault(name.lower(), name)
    return _Index(written, {size: _index_grams(written, size) for size in _SIZES})


def _index_grams(names: Iterable[str], size: int) -> _Grams:
    lengths: dict[str, float] = {}
    holders: dict[str, dict[str, int]] = {}
    for name in names:
        grams = _grams(name, size)
        lengths[name] = math.hypot(*grams.values())
        for gram, times in grams.items():
            holders.setdefault(gram, {})[name] = times
    return _Grams(size, lengths, holders)


def _grams(text: str, size: int) -> Counter[str]:
    letters = "".join(
        character
        for character in text.lower()
        if character.isalnum() or character.isspace() or character == ","
    )
    bounded = f"-{letters}-"
    return Counter(bounded[start : start + size] for start in range(len(bounded) - size + 1))


def _join(names: Iterable[str]) -> str:
    return f"({', '.join(sorted(names))})"
