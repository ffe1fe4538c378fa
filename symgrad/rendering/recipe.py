"""Recipes: what a handout contains, as plain data: models, questions and sections."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from sympy import Expr, Rational

from symgrad.expr import Model
from symgrad.rendering.document import Formula
from symgrad.rendering.notation import Notation

__all__ = ["EXERCISES", "MODEL", "SECTIONS", "Group", "Item", "Recipe", "RecipeModel", "Section"]

MODEL = "a model (the name of one under [models])"


SECTIONS: dict[str, dict[str, str]] = {
    "text": {"text": "a table of paragraphs by language", "model": MODEL},
    "graph": {"model": MODEL},
    "shapes": {"model": MODEL, "of": "the name of a definition"},
    "claim": {"model": MODEL, "claim": "a formula", "expect": '"true" or "refuted"'},
    "exercises": {"items": "a list of tables with kind, model and wrt"},
    "derivation": {
        "model": MODEL,
        "wrt": "a name or a list of names",
        "method": "a method",
        "final": "the final form, or a list of them",
    },
    "chain_rule": {"model": MODEL},
    "example": {"model": MODEL},
    "entries": {"model": MODEL},
    "meaning": {"model": MODEL},
    "layer": {"model": MODEL, "scalars": MODEL, "one": MODEL, "loss_was": MODEL},
    "depth": {"cases": "a list of tables with model, wrt and title"},
    "limits": {
        "model": MODEL,
        "wrt": "the name of the first state",
        "depth": "a number",
        "weights": "a list of numbers",
    },
    "summary": {
        "model": MODEL,
        "layers": MODEL,
        "wrt": "the name of the first state",
        "depth": "a number",
        "weights": "a list of numbers",
        "scale": "a number",
    },
    "affine": {"model": MODEL, "batch": MODEL},
}
"""The kinds of sections, with their keys; `title` may be given for each of them."""


EXERCISES: dict[str, frozenset[str]] = {
    "derive": frozenset({"model", "wrt"}),
    "mistake": frozenset({"model", "wrt"}),
    "missing": frozenset({"model", "wrt"}),
    "shapes": frozenset({"model", "wrt"}),
    "numbers": frozenset({"model", "wrt"}),
    "layout": frozenset({"model", "wrt"}),
    "question": frozenset({"text", "solution"}),
}
"""The kinds of exercises, with the keys that each needs."""


@dataclass(frozen=True)
class Group:
    """Scalars that are one vector to the reader, e.g. W = [w1, w2]."""

    name: str
    entries: tuple[str, ...]


@dataclass(frozen=True)
class RecipeModel:
    """A model as text, the function that is derived, numbers for its inputs, what its inputs are."""

    name: str
    text: str
    of: str
    model: Model
    values: Mapping[str, Rational] = field(default_factory=dict)
    written: Mapping[str, str] = field(default_factory=dict)
    weights: Group | None = None
    inputs: Group | None = None

    def numbers(self) -> dict[Expr, Rational]:
        """The numbers by symbol."""
        return {self.model.symbol(name): value for name, value in self.values.items()}

    def as_written(self) -> dict[Expr, Formula]:
        """The numbers as they stand in the recipe, e.g. 1.0."""
        return {
            self.model.symbol(name): Formula(text, text.replace("-", "−"), text)
            for name, text in self.written.items()
        }


@dataclass(frozen=True)
class Item:
    """One exercise as the recipe asks for it; the texts are by language, `space` is in lines."""

    kind: str
    line: int
    model: str | None = None
    wrt: str | None = None
    points: int = 0
    space: int = 6
    texts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Section:
    """One part of a handout."""

    kind: str
    options: Mapping[str, Any]
    line: int

    @property
    def title(self) -> Mapping[str, str]:
        """Its title by language; empty for the usual one."""
        return self.options.get("title", {})


@dataclass(frozen=True)
class Recipe:
    """A handout before it is made."""

    name: str
    title: Mapping[str, str]
    models: Mapping[str, RecipeModel]
    sections: tuple[Section, ...]
    source: str = ""
    templates: Path | None = None
    course: Mapping[str, str] = field(default_factory=dict)
    lecturer: Mapping[str, str] = field(default_factory=dict)
    date: datetime.date | None = None
    paper: Literal["a4", "letter"] = "a4"
    name_field: bool = False
    notation: Notation = field(default_factory=Notation)
    profiles: tuple[str, ...] = ()
