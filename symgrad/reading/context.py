"""What is said about the names: shapes and assumptions, as text or as mappings."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence

from symgrad.errors import ReadError
from symgrad.expr import ASSUMPTIONS

__all__ = ["Shapes", "Words", "assumption_sets", "read_assumptions", "read_shapes", "shape_lists"]

Shapes = Mapping[str, Sequence[str | int]] | str | None
Words = Mapping[str, Sequence[str] | str] | str | None

MOST_INDICES = 8

_NAME = re.compile(r"[A-Za-z_]\w*")


def read_shapes(text: str) -> dict[str, list[str]]:
    """Shapes as on the command line: names with their sizes, separated by commas; a scalar has none.

    >>> read_shapes("X: n d, w: d, lam:")
    {'X': ['n', 'd'], 'w': ['d'], 'lam': []}

    Raises   ReadError for what has another form
    """
    result: dict[str, list[str]] = {}
    for entry in _entries(text):
        name, colon, sizes = entry.partition(":")
        if not colon or not _NAME.fullmatch(name.strip()):
            raise ReadError(f"the shape {entry.strip()!r} cannot be read", hint='write "X: n d, w: d, lam:"')
        result[name.strip()] = sizes.split()
    return result


def read_assumptions(text: str) -> dict[str, list[str]]:
    """Assumptions as on the command line.

    >>> read_assumptions("S: symmetric, y: onehot sums_to_one")
    {'S': ['symmetric'], 'y': ['onehot', 'sums_to_one']}

    Raises   ReadError for what has another form
    """
    result: dict[str, list[str]] = {}
    for entry in _entries(text):
        name, colon, words = entry.partition(":")
        if not colon or not _NAME.fullmatch(name.strip()) or not words.split():
            raise ReadError(f"the assumption {entry.strip()!r} cannot be read", hint='write "S: symmetric"')
        result.setdefault(name.strip(), []).extend(words.split())
    return result


def _entries(text: str) -> Iterable[str]:
    return (e for e in re.split(r"[,;\n]", text) if e.strip())


def shape_lists(shapes: Shapes) -> dict[str, tuple[str, ...]]:
    """The declared sizes of each name, as text.

    Raises   ReadError for sizes that are neither names nor numbers
    """
    given = read_shapes(shapes) if isinstance(shapes, str) else dict(shapes or {})
    result = {}
    for name, sizes in given.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ReadError(f"{name!r} is no name", hint="names are of letters, digits and underscores")
        if isinstance(sizes, str) or not isinstance(sizes, Sequence):
            sizes = [sizes] if isinstance(sizes, str) else sizes
        if not isinstance(sizes, Sequence) or not all(isinstance(s, str | int) for s in sizes):
            raise ReadError(f"the shape of {name} is no list of sizes", hint='write {"X": ["n", "d"]}')
        if len(sizes) > MOST_INDICES:
            raise ReadError(f"{name} has {len(sizes)} indices", hint=f"at most {MOST_INDICES} are read")
        result[name] = tuple(str(s) for s in sizes)
    return result


def assumption_sets(assume: Words) -> dict[str, frozenset[str]]:
    """The assumptions of each name.

    Raises   ReadError for a word that is no assumption
    """
    given = read_assumptions(assume) if isinstance(assume, str) else dict(assume or {})
    result = {}
    for name, words in given.items():
        listed = [words] if isinstance(words, str) else words
        if not isinstance(listed, Sequence) or not all(isinstance(w, str) for w in listed):
            raise ReadError(f"the assumptions on {name} are no list of words")
        for word in listed:
            if word not in ASSUMPTIONS:
                close = difflib.get_close_matches(word, sorted(ASSUMPTIONS), 3)
                known = ", ".join(close or sorted(ASSUMPTIONS))
                raise ReadError(f"{word!r} is no assumption", hint=f"did you mean: {known}")
        result[name] = frozenset(listed)
    return result
