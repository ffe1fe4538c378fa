"""What is known at a place of a document: definitions, shapes, assumptions; they accumulate down the document."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Literal

from sympy import Expr

from symgrad.errors import NameUnknownError, ReadError, ShapeError, SymgradError
from symgrad.expr import (
    Definition,
    Model,
    entry_sum,
    hadamard,
    is_leaf,
    is_matrix,
    is_scalar,
    leaf_name,
    matrix,
    scalar,
    shape_of,
    shape_text,
)
from symgrad.linting.prose import GENERAL, GENERIC, LAYERS, Said, symbols_in
from symgrad.reading.claim import Context
from symgrad.reading.latex_define import define, names_derivative

__all__ = ["Notes"]

_GREEK = (
    "lam",
    "lambda",
    "alpha",
    "beta",
    "gamma",
    "eps",
    "epsilon",
    "eta",
    "mu",
    "rho",
    "tau",
    "kappa",
    "nu",
    "xi",
)
_SCALARS = frozenset((*_GREEK, "c", "C", "r", "s", "t", "k", "p", "m", "n", "N", "T", "K"))
_UNKNOWN = re.compile(r"^(.+) is not (?:known|declared)$")
_MOST_GUESSES = 160
_SIZES = ("m", "n", "p", "q", "r", "s")


@dataclass
class Notes:
    """The definitions so far, and what is said of the names.

    `guessed` are names whose shape nobody declared; what was decided for them is shown.
    """

    model: Model = field(default_factory=lambda: Model(()))
    latex: list[str] = field(default_factory=list)
    shapes: dict[str, list[str]] = field(default_factory=dict)
    assume: dict[str, set[str]] = field(default_factory=dict)
    softmax: str | None = None
    guessed: dict[str, list[str]] = field(default_factory=dict)
    layers: bool = False
    layer: int = GENERIC["l"]
    general: list[str] = field(default_factory=list)
    general_names: set[str] = field(default_factory=set)
    layout: Literal["gradient", "numerator"] | None = None

    def copy(self) -> Notes:
        """The same, to be changed on its own."""
        return replace(
            self,
            latex=list(self.latex),
            shapes=dict(self.shapes),
            assume={n: set(w) for n, w in self.assume.items()},
            guessed=dict(self.guessed),
            general=list(self.general),
        )

    def hear(self, said: Said) -> None:
        """Take in what the text says."""
        for name, sizes in said.shapes.items():
            self.shapes[name] = sizes
            self.guessed.pop(name, None)
        for name, words in said.assume.items():
            self.assume.setdefault(name, set()).update(words)
        self.softmax = said.softmax or self.softmax

    def context(self) -> Context:
        """What a claim at this place talks about."""
        symbols = {}
        if self.layers:
            symbols = dict.fromkeys(GENERIC, f"layer {self.layer}")
        if self.softmax:
            symbols["softmax"] = self.softmax
        assume = {name: sorted(words) for name, words in self._assumed().items()}
        model = replace(self.model, assumptions={n: frozenset(w) for n, w in assume.items()})
        shapes = {**self.guessed, **self.shapes}
        return Context(
            definitions_latex=tuple(self.latex), shapes=shapes, assume=assume, symbols=symbols, model=model
        )

    def _assumed(self) -> dict[str, set[str]]:
        """The assumptions; one-hot labels of a batch stand as the single label does."""
        found = {n: set(w) for n, w in self.assume.items()}
        for name, sizes in self.shapes.items():
            single = name[:1].lower() + name[1:]
            words = found.get(single, set()) & {"onehot", "prob"}
            if len(sizes) == 2 and name != single and words and len(self.shapes.get(single, ())) == 1:
                where = sizes.index(self.shapes[single][0]) if self.shapes[single][0] in sizes else -1
                if where >= 0:
                    ending = "cols" if where == 0 else "rows"
                    found.setdefault(name, set()).update(f"{w}_{ending}" for w in words)
        for name, words in found.items():
            if len(self.shapes.get(name, ())) == 2 and words & {"onehot", "prob"}:
                found[name] = words - {"onehot", "prob"}
        return found

    # --- definitions ---------------------------------------------------------------------------------------

    def knows(self, name: str) -> bool:
        """Whether a name is defined."""
        return name in {d.name for d in self.model.definitions()}

    def forget(self, name: str) -> None:
        """Take a definition, and what rests on it, out again: the document gives the name anew."""
        gone = {name}
        items = []
        from symgrad.expr import leaves

        for d in self.model.definitions():
            if d.name in gone or any(leaf_name(leaf) in gone for leaf in leaves(d.value)):
                gone.add(d.name)
            else:
                items.append(d)
        symbols = {n: s for n, s in self.model.symbols.items() if n not in gone}
        self.model = replace(self.model, items=tuple(items), symbols=symbols)

    def define(self, text: str) -> None:
        """Take in a definition; names without a shape get the first one that fits.

        A definition of a general layer is one for each of three layers.

        Raises   SymgradError if it cannot be read
        """
        if self.layers and GENERAL.search(text):
            self._define_layers(text)
        else:
            self._define(text)

    def _define_layers(self, text: str) -> None:
        """All definitions of a general layer anew, layer by layer: z[1], a[1], z[2], a[2], .."""
        trial = self.copy()
        trial.general.append(text)
        trial.guessed = {n: s for n, s in trial.guessed.items() if n not in self.general_names}
        for name in self.general_names:
            trial.forget(name)
        before = {d.name for d in trial.model.definitions()}
        refused: SymgradError | None = None
        for trial.layer in LAYERS:
            for one in trial.general:
                try:
                    trial._define(one)
                except SymgradError as error:
                    if trial.layer == GENERIC["l"]:
                        refused = error
        if refused is not None:
            raise refused
        trial.layer = GENERIC["l"]
        trial.general_names = {d.name for d in trial.model.definitions()} - before
        for name in ("model", "latex", "guessed", "general", "general_names"):
            setattr(self, name, getattr(trial, name))

    def _define(self, text: str) -> None:
        try:
            model, is_function = define(text, self.context())
        except SymgradError as error:
            found = self._guess(text, error)
            if found is None:
                raise
            model, is_function = found
        if is_function:
            self.latex.append(text)
        self.model = model
        for d in model.definitions():
            self.guessed.pop(d.name, None)

    def name_derivative(self, text: str) -> bool:
        r"""Take in \delta := \partial L/\partial z; of a general layer for every layer that has both."""
        general = self.layers and bool(GENERAL.search(text))
        found = False
        for layer in LAYERS if general else (self.layer,):
            self.layer = layer
            try:
                model = names_derivative(text, self.context())
            except SymgradError:
                continue
            if model is not None:
                self.model, found = model, True
        self.layer = GENERIC["l"]
        if found:
            self.latex.append(text)
        return found

    def _guess(self, text: str, error: SymgradError) -> tuple[Model, bool] | None:
        """The definition read with shapes for the names that have none: those that fit, the likeliest first."""
        unknown: list[str] = []
        trial = self
        while (
            (name := _unknown_name(error, self.layer)) is not None
            and name not in unknown
            and len(unknown) < 4
        ):
            unknown.append(name)
            trial = trial.copy()
            trial.guessed[name] = []
            try:
                found = define(text, trial.context())
                if all(n in _SCALARS for n in unknown):
                    self.guessed = trial.guessed
                    return found
                break
            except SymgradError as again:
                error = again
        if not unknown:
            return None
        known = dict.fromkeys(s for sizes in self.shapes.values() for s in sizes if s.isidentifier())
        for guess in _likely_shapes(unknown, tuple(known)):
            trial = self.copy()
            trial.guessed |= guess
            try:
                found = define(text, trial.context())
            except (ShapeError, ReadError):
                continue
            self.guessed = trial.guessed
            return found
        return None

    def stand_in(self, of: str, through: Iterable[str]) -> bool:
        """Give a loss that nobody defined: any function of some names, linear in them, as far as first derivatives go."""
        symbols = [self.model.symbols.get(n) for n in through]
        used = [s for s in symbols if isinstance(s, Expr) and is_leaf(s)]
        if not used or of in self.model.symbols:
            return False
        terms: list[Expr] = []
        for s in used:
            name = f"d{of}d{leaf_name(s)}"
            slope = matrix(name, *s.shape) if is_matrix(s) else scalar(name)
            terms.append(slope * s if is_scalar(s) else entry_sum(hadamard(slope, s)))
        value = sum(terms[1:], terms[0])
        symbol = scalar(of)
        self.model = replace(
            self.model,
            items=(*self.model.items, Definition(symbol, value)),
            symbols={**self.model.symbols, of: symbol},
        )
        return True

    def readings(self) -> str:
        """How the names without a declared shape are read."""
        listed = [
            f"{name}: {' x '.join(sizes) if sizes else 'scalar'}"
            for name, sizes in sorted(self.guessed.items())
            if name in self.model.symbols or sizes
        ]
        return ", ".join(listed)

    def shape_of(self, name: str) -> str:
        """The shape of a name in words."""
        found = self.model.symbols.get(name)
        return shape_text(shape_of(found)) if isinstance(found, Expr) else "?"


def _unknown_name(error: SymgradError, layer: int) -> str | None:
    """The name that an error misses."""
    if not isinstance(error, NameUnknownError):
        return None
    match = _UNKNOWN.match(error.message)
    if match is None:
        return None
    if re.search(r"_\s*\{?\s*[a-z]", match[1]):  # an entry of something: no name of its own
        return None
    named = symbols_in(match[1], layer)
    return named[0] if len(named) == 1 else None


def _likely_shapes(names: list[str], known: tuple[str, ...]) -> Iterable[dict[str, list[str]]]:
    """Shapes for names, the likeliest first: capitals are matrices, small Latin letters vectors, Greek ones scalars.

    Sizes of the document are tried first, then new ones; neighbouring matrices share a size, as in W X.
    """
    ranks: list[tuple[int, ...]] = []
    for name in names:
        if name[0].isupper():
            ranks.append((2, 1))
        elif name in _SCALARS:
            ranks.append((0, 1))
        else:
            ranks.append((1, 0, 2))
    count = 0
    for choice in product(*ranks):
        axes = sum(choice)
        ways: list[tuple[str, ...]] = []
        if known and axes <= 2:
            ways += sorted(product(known[:8], repeat=axes), key=lambda w: -len(set(w)))
        # Sizes that all differ come first: nothing is equal that need not be.
        fresh = {_first_names(w) for w in product(_SIZES[: min(axes, 3)], repeat=axes)}
        ways += sorted(fresh, key=lambda w: (-len(set(w)), w))
        for sizes in ways:
            rest = iter(sizes)
            yield {n: [next(rest) for _ in range(r)] for n, r in zip(names, choice, strict=True)}
            count += 1
            if count > _MOST_GUESSES:
                return


def _first_names(sizes: tuple[str, ...]) -> tuple[str, ...]:
    """The sizes renamed in the order of their first use, so that no choice is tried twice."""
    names: dict[str, str] = {}
    return tuple(names.setdefault(s, _SIZES[len(names)]) for s in sizes)
