"""The words of the documents: one catalogue of sentences a language, with named places for formulas.

A phrase is plain text in no markup; `{name}` is a place, `**` never means anything. Places are filled with
inline pieces, so one phrase serves every format.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from symgrad.errors import RecipeError
from symgrad.rendering.document import Formula, Inline, Words

__all__ = ["LANGUAGES", "REVIEWED", "Catalogue", "Filling", "load", "pieces", "places"]

LANGUAGES: tuple[str, ...] = ("en", "zh", "de")
"""All languages that there is a catalogue of."""

REVIEWED: tuple[str, ...] = ("en", "zh")
"""Those whose words were written by people; the others are made only if they are asked for."""

Filling = Formula | Inline | str | int

_PLACE = re.compile(r"\{(\w+)\}")


def pieces(phrase: str) -> list[str]:
    """The text and the names of the places, in turn: text first.

    >>> pieces("by {rule}, as stated")
    ['by ', 'rule', ', as stated']
    """
    return _PLACE.split(phrase)


def places(phrase: str) -> frozenset[str]:
    """The names of the places."""
    return frozenset(_PLACE.findall(phrase))


@dataclass(frozen=True)
class Catalogue:
    """The phrases of one language by key."""

    lang: str
    phrases: Mapping[str, str]

    def __contains__(self, key: str) -> bool:
        return _normal(key) in self.phrases

    def __iter__(self) -> Iterator[str]:
        return iter(self.phrases)

    def __call__(self, key: str, **fillings: Filling) -> Inline:
        """The phrase with its places filled; fillings without a place are left out.

        Raises   KeyError for a key or a place that nothing was given for
        """
        found: list[Any] = []
        for i, piece in enumerate(pieces(self.phrases[_normal(key)])):
            if i % 2 == 0:
                found += [Words(piece)] if piece else []
                continue
            value = fillings[piece]
            if isinstance(value, Formula):
                found.append(value)
            elif isinstance(value, str | int):
                found.append(Words(str(value)))
            else:
                found.extend(value)
        return tuple(found)

    def table(self, prefix: str) -> dict[str, str]:
        """The phrases below a key, as they stand."""
        return {
            k.removeprefix(f"{prefix}."): v for k, v in self.phrases.items() if k.startswith(f"{prefix}.")
        }

    def places(self, key: str) -> frozenset[str]:
        """The places of a phrase."""
        return places(self.phrases[_normal(key)])


def _normal(key: str) -> str:
    """Keys are identifiers joined by dots; the names of rules have spaces or hyphens."""
    return key.replace(" ", "_").replace("-", "_")


@cache
def load(lang: str) -> Catalogue:
    """The catalogue of a language.

    Raises   RecipeError for a language that there is no catalogue for
    """
    if lang not in LANGUAGES:
        raise RecipeError(f"there are no phrases in {lang!r}", hint=f"languages: {', '.join(LANGUAGES)}")
    text = files(__name__).joinpath(f"{lang}.toml").read_text(encoding="utf-8")
    return Catalogue(lang, dict(_flat(tomllib.loads(text), "")))


def _flat(table: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        if isinstance(value, str):
            yield f"{prefix}{key}", value
        else:
            yield from _flat(value, f"{prefix}{key}.")
