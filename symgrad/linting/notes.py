"""What is known at a place of a document: definitions, shapes, assumptions; they accumulate down the document."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Literal

from sympy import Expr
from sympy.matrices.expressions.matmul import MatMul
from sympy.matrices.expressions.special import OneMatrix

from symgrad.errors import NameUnknownError, ReadError, SymgradError
from symgrad.expr import (
    Definition,
    Model,
    Softmax,
    entry_sum,
    hadamard,
    is_leaf,
    is_matrix,
    is_scalar,
    leaf_name,
    leaves,
    matrix,
    scalar,
    shape_of,
    shape_text,
    walk,
)
from symgrad.linting.prose import GENERIC, LAYERS, Said, is_general, symbols_in
from symgrad.reading.claim import Context
from symgrad.reading.latex.define import define, name_of, names_derivative
from symgrad.reading.latex.marks import marked, stem_of
from symgrad.reading.latex.setting import Setting
from symgrad.reading.latex.tree import parse_statements, walk_nodes

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
_NABLA = re.compile(r"\\nabla\s*(?:[_^]\s*(?:\{[^{}]*\}|\\?\w+)\s*)*$")
_CALL = re.compile(r"^\s*(?P<name>\\?[A-Za-z]+(?:_\w)?)\s*\(\s*(?P<arguments>[^()=]*?)\s*\)\s*:?=")
_NO_INDEX = re.compile(r"^(\w+) is neither an index nor a layer here$")
_TRANSPOSED = re.compile(
    r"\^\s*(?:\\top\b|\\intercal\b|T(?![A-Za-z])|\{\s*(?:\\top|\\intercal|\\(?:math|text)\w+\s*\{?T\}?|T)\s*\}|\\mathsf\s*\{?T\}?)"
)
_ENTRY = re.compile(r"_\s*(?:[ijklmnpqrs](?![A-Za-z])|\{\s*[ijklmnpqrs](?:\s*,?\s*[ijklmnpqrs])?\s*\})")
_ENTRY_OF_STEP = re.compile(r"_\s*\{\s*([lt])\s*,\s*[a-z]\s*\}")
_BOUND = re.compile(r"\\(?:sum|prod)\s*(?:\\limits\s*)?_\s*\{\s*[lt]\s*=.*", re.DOTALL)
"""A sum over all layers or steps, with what follows it."""
_LAST = {
    letter: re.compile(
        r"((?:sum|prod)\s*(?:\\limits\s*)?_\s*\{[^{}]*\}\s*\^\s*\{?\s*|[_^]\s*\{\s*[(\[]\s*|_\s*\{\s*|_\s*"
        + (r"|\^\s*\{?\s*" if letter == "L" else "")
        + rf"){letter}(?![A-Za-z^_'])"
    )
    for letter in "TL"
}
_MOST_GUESSES = 240
_MOST_AFTER_SPREAD = 24  # a number that is added to all entries is taken then
_SIZES = ("m", "n", "p", "q", "r", "s", "u", "v", *(f"size{i}" for i in range(1, 30)))


@dataclass(frozen=True)
class Readings:
    """How names are read whose shapes nobody declared: their sizes, and whether they are labels that sum to one.

    numbers   everything in the document is a number
    """

    names: tuple[tuple[str, tuple[str, ...], bool], ...] = ()
    numbers: bool = False

    def __bool__(self) -> bool:
        return self.numbers or bool(self.names)


@dataclass
class Notes:
    """The definitions so far, and what is said of the names.

    `guessed` are names whose shape nobody declared; what was decided for them is shown. `later` are shapes that are
    declared further down, `mark` is the letter of a general layer or step, `scalars` says that everything is a number.
    `unread` are names whose definition could not be read: nothing is known of them, and nothing is guessed.
    """

    model: Model = field(default_factory=lambda: Model(()))
    latex: list[str] = field(default_factory=list)
    shapes: dict[str, list[str]] = field(default_factory=dict)
    assume: dict[str, set[str]] = field(default_factory=dict)
    softmax: str | None = None
    guessed: dict[str, list[str]] = field(default_factory=dict)
    ranks: dict[str, int] = field(default_factory=dict)
    samples_of: dict[str, str] = field(default_factory=dict)
    later: dict[str, list[str]] = field(default_factory=dict)
    functions: frozenset[str] = frozenset()
    samples: str | None = None
    scalars: bool = False
    defined: frozenset[str] = frozenset()
    called: dict[str, str] = field(default_factory=dict)
    unread: set[str] = field(default_factory=set)
    three_steps: bool = False
    last: Literal["T", "L"] | None = None
    mark: str | None = None
    layer: int = GENERIC
    general: list[str] = field(default_factory=list)
    general_names: set[str] = field(default_factory=set)
    general_guesses: set[str] = field(default_factory=set)
    layout: Literal["gradient", "numerator"] | None = None

    def copy(self) -> Notes:
        """The same, to be changed on its own."""
        return replace(
            self,
            latex=list(self.latex),
            shapes=dict(self.shapes),
            assume={n: set(w) for n, w in self.assume.items()},
            guessed=dict(self.guessed),
            unread=set(self.unread),
            called=dict(self.called),
            general=list(self.general),
        )

    def hear(self, said: Said) -> None:
        """Take in what the text says."""
        for name, sizes in said.shapes.items():
            self.shapes[name] = sizes
            self.guessed.pop(name, None)
        self.ranks |= said.ranks
        for name, words in said.assume.items():
            self.assume.setdefault(name, set()).update(words)
        self.softmax = said.softmax or self.softmax

    def context(self) -> Context:
        """What a claim at this place talks about."""
        symbols = {}
        if self.mark:
            symbols = {self.mark: f"layer {self.layer}"}
        if self.softmax or self.samples:
            symbols["softmax"] = self.softmax or self.samples or ""
        symbols |= self.samples_of
        assume = {name: sorted(words) for name, words in self._assumed().items()}
        model = replace(self.model, assumptions={n: frozenset(w) for n, w in assume.items()})
        shapes = {**self.guessed, **self._later(), **self.shapes}
        return Context(
            definitions_latex=tuple(self.latex),
            shapes=shapes,
            assume=assume,
            functions=tuple(sorted(self.functions)),
            symbols=symbols,
            model=model,
        )

    def plain(self, text: str) -> str:
        """A formula with the arguments of functions left out that were defined with them: g(x)^2 is g^2; no place moves.

        After a nabla they stay: they say what the gradient is taken by.
        """
        at = text.find("=") + 1
        for name, arguments in self.called.items():
            call = re.compile(rf"(?<![A-Za-z\\])({re.escape(name)}\s*)(\(\s*{re.escape(arguments)}\s*\))")
            right = call.sub(
                lambda m: m[0] if _NABLA.search(m.string[: m.start()]) else m[1] + " " * len(m[2]), text[at:]
            )
            text = text[:at] + right
        return text

    def counted(self, text: str) -> str:
        """A formula of a network in time or depth, for three steps or layers: T or L is 3. No place in it moves."""
        if self.last is None:
            return text
        return _LAST[self.last].sub(rf"\g<1>{LAYERS[-1]}", text)

    def _later(self) -> dict[str, list[str]]:
        """Shapes declared further down, of names that nothing else is known of here."""
        return {n: s for n, s in self.later.items() if n not in self.model.symbols}

    def _assumed(self) -> dict[str, set[str]]:
        """The assumptions; one-hot labels of a batch stand as the single label does.

        Labels that nobody declared sum to one, as labels of a cross entropy do; `readings` says so.
        """
        found = {n: set(w) for n, w in self.assume.items()}
        found |= {n: {word} for n, word in self.labels().items() if n in self.guessed}
        for name, sizes in self.shapes.items():
            single = name[:1].lower() + name[1:]
            words = found.get(single, set()) & {"onehot", "prob"}
            if len(sizes) == 2 and name != single and words and len(self.shapes.get(single, ())) == 1:
                where = sizes.index(self.shapes[single][0]) if self.shapes[single][0] in sizes else -1
                if where >= 0:
                    ending = "cols" if where == 0 else "rows"
                    found.setdefault(name, set()).update(f"{w}_{ending}" for w in words)
        for name, words in found.items():
            if len(self.shapes.get(name, ())) == 2 and (plain := words & {"onehot", "prob"}):
                found[name] = words - plain
                if along := self.softmax or self.samples:
                    found[name] |= {f"{w}_{'rows' if along == 'row-wise' else 'cols'}" for w in plain}
        return found

    # --- definitions ---------------------------------------------------------------------------------------

    def knows(self, name: str) -> bool:
        """Whether a name is defined."""
        return name in {d.name for d in self.model.definitions()}

    def forget(self, name: str) -> None:
        """Take a definition, and what rests on it, out again: the document gives the name anew."""
        gone = {name}
        items = []
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
        self.three_steps = self.three_steps or self.counted(text) != text
        text = self.counted(self.plain(text))
        if self.mark and is_general(_BOUND.sub("", text), self.mark):
            self._define_layers(text)
        else:
            self._define(text)

    def _define_layers(self, text: str) -> None:
        """All definitions of a general layer anew, layer by layer: z[1], a[1], z[2], a[2], .."""
        trial = self.copy()
        trial.general.append(text)
        trial.guessed = {
            n: s for n, s in trial.guessed.items() if n not in self.general_names | self.general_guesses
        }
        others = set(trial.guessed)
        for name in self.general_names:
            trial.forget(name)
        before = {d.name for d in trial.model.definitions()}
        refused: SymgradError | None = None
        for trial.layer in LAYERS:
            for one in trial.general:
                try:
                    trial._define(one)
                except SymgradError as error:
                    if trial.layer == GENERIC:
                        refused = error
        if refused is not None:
            raise refused
        trial.layer = GENERIC
        trial.general_names = {d.name for d in trial.model.definitions()} - before
        trial.general_guesses = set(trial.guessed) - others
        trial.keep(self.model)
        for name in ("model", "latex", "guessed", "general", "general_names", "general_guesses"):
            setattr(self, name, getattr(trial, name))

    def keep(self, model: Model) -> None:
        """Take definitions back in that rested on a name which was defined anew as it was."""
        for d in model.definitions():
            known = {**self.model.symbols, **{leaf_name(s): s for s in model.inputs()}}
            if d.name not in self.model.symbols and all(
                known.get(leaf_name(x)) == x for x in leaves(d.value)
            ):
                symbols = {**self.model.symbols, d.name: d.symbol}
                self.model = in_order(replace(self.model, items=(*self.model.items, d), symbols=symbols))

    def labels(self) -> dict[str, str]:
        """The names that a cross entropy with a softmax has as its labels, with the word that makes them sum to one."""
        softmax = {}
        for d in self.model.definitions():
            if found := [n for n in walk(d.value) if isinstance(n, Softmax)]:
                softmax[d.name] = found[0].axis
        words: dict[str, str] = {}
        for d in self.model.definitions():
            inside = {
                leaf_name(x) for n in walk(d.value) if getattr(n, "name", "") == "log" for x in leaves(n)
            }
            axis = next((softmax[n] for n in inside if n in softmax), None)
            for x in leaves(d.value) if axis is not None else ():
                name = leaf_name(x)
                if is_matrix(x) and name not in inside and not self.knows(name) and not self.assume.get(name):
                    words[name] = "prob" if x.shape[1] == 1 else f"prob_{'rows' if axis else 'cols'}"
        return words

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
        elif call := _CALL.match(text):
            self.called[call["name"]] = call["arguments"]
        self.model = in_order(model)
        for d in model.definitions():
            self.guessed.pop(d.name, None)
            self.unread.discard(d.name)

    def name_derivative(self, text: str) -> bool:
        r"""Take in \delta := \partial L/\partial z; of a general layer for every layer that has both."""
        general = self.mark is not None and is_general(text, self.mark)
        found = False
        for layer in LAYERS if general else (self.layer,):
            self.layer = layer
            try:
                model = names_derivative(text, self.context())
            except SymgradError:
                continue
            if model is not None:
                self.model, found = model, True
        self.layer = GENERIC
        if found:
            self.latex.append(text)
        return found

    def _guess(self, text: str, error: SymgradError) -> tuple[Model, bool] | None:
        """The definition read with shapes for the names that have none: those that fit, the likeliest first.

        Names of one symbol at several steps (y_1, y_2, ..) share a shape.
        """
        unknown: dict[str, list[str]] = {}
        trial = self
        while found_names := trial._unknown(text, error):
            if found_names[0] in unknown or len(unknown) > 3:
                break
            if self.unread & set(found_names) or (len(found_names) > 1 and self.defined & set(found_names)):
                return None  # what it is stands elsewhere
            unknown[found_names[0]] = found_names
            trial = trial.copy()
            trial.guessed |= {n: [] for n in found_names}
            try:
                found = define(text, trial.context())
                numbers = [
                    n for n in unknown if self.ranks.get(n, 0 if self.scalars or n in _SCALARS else 1) == 0
                ]
                if len(numbers) == len(unknown) and (
                    self.scalars or not _spread(found[0], set(unknown) - set(_GREEK) - set(self.ranks))
                ):
                    self.guessed = trial.guessed
                    return found
                break
            except SymgradError as again:
                error = again
        if not unknown or self.scalars:
            return None
        spread: tuple[dict[str, list[str]], tuple[Model, bool]] | None = None
        latin = set(unknown) - set(_GREEK) - set(self.ranks)
        known = self._sizes_in(text) or self._sizes()
        tried = 0
        for guess in _likely_shapes(list(unknown), known, self._sizes(), self.ranks):
            tried += spread is not None
            if tried > _MOST_AFTER_SPREAD:
                break
            trial = self.copy()
            trial.guessed |= {n: sizes for name, sizes in guess.items() for n in unknown[name]}
            try:
                found = define(text, trial.context())
            except SymgradError:
                continue
            if not _spread(found[0], latin):
                self.guessed = trial.guessed
                return found
            spread = spread or (trial.guessed, found)
        if spread is None:
            return None
        self.guessed = spread[0]
        return spread[1]

    def _unknown(self, text: str, error: SymgradError) -> list[str]:
        """The names that an error misses: one, or one symbol at all steps of a sum over them."""
        mark = self.mark or "l"
        if isinstance(error, NameUnknownError) and (match := _UNKNOWN.match(error.message)):
            written = _TRANSPOSED.sub("", match[1])
            # An entry y_{t,k} is one of y_t, and no name of its own.
            whole = _ENTRY.sub(
                lambda m: m[0] if mark in m[0] or self.scalars else "",
                _ENTRY_OF_STEP.sub(rf"_{{{mark}}}", written),
            )
            every = bool(_BOUND.search(text)) and is_general(whole, mark)
            named = [symbols_in(whole, i, mark) for i in (LAYERS if every else (self.layer,))]
            return [n[0] for n in named] if all(len(n) == 1 for n in named) else []
        if match := _NO_INDEX.match(error.message):
            return self._with_subscript(text, match[1])
        return []

    def _with_subscript(self, text: str, letter: str) -> list[str]:
        r"""The first name without a shape that stands with a subscript: gamma of \gamma_i; u_f where f is no index."""
        right = [side for s in parse_statements(text) for side in s.parts[2::2]]
        for node in (n for side in right for n in walk_nodes(side)):
            if node.kind != "scripted" or [i.text for i in marked(node).subs] != [letter]:
                continue
            stem = stem_of(marked(node).base) or ""
            name = stem if letter in "ijkmn" and not self.scalars else stem + letter
            if stem and name not in {*self.model.symbols, *self.guessed, *self._later(), *self.shapes}:
                return [name]
        return []

    def _sizes(self) -> tuple[str, ...]:
        """The sizes of the document."""
        listed = {**self.guessed, **self.later, **self.shapes}.values()
        return tuple(dict.fromkeys(s for sizes in listed for s in sizes if s.isidentifier()))

    def _sizes_in(self, text: str) -> tuple[str, ...]:
        """The sizes of what a formula names."""
        setting = Setting(Context(), Model(()), layers={self.mark or "l": self.layer})
        shapes = {**self.guessed, **self._later(), **self.shapes}
        found: dict[str, None] = {}
        for node in (n for s in parse_statements(text) for n in walk_nodes(s)):
            if node.kind not in ("letter", "word", "accent", "scripted"):
                continue
            stem = stem_of(marked(node).base) or ""
            at = (self.layer - 1, self.layer, self.layer + 1) if self.mark else ()
            for name in (name_of(node, setting), stem, *(f"{stem}{i}" for i in at)):
                symbol = self.model.symbols.get(name or "")
                sizes = (
                    [str(s) for s in shape_of(symbol)]
                    if isinstance(symbol, Expr)
                    else shapes.get(name or "", [])
                )
                found |= dict.fromkeys(s for s in sizes if s.isidentifier())
        return tuple(found)

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

    def readings(self) -> Readings:
        """How the names without a declared shape are read."""
        if self.scalars:
            return Readings(numbers=True)
        labels = self.labels()
        return Readings(
            tuple(
                (name, tuple(map(str, sizes)), name in labels)
                for name, sizes in sorted(self.guessed.items())
                if name in self.model.symbols or sizes
            )
        )

    def shape_of(self, name: str) -> str:
        """The shape of a name in words."""
        found = self.model.symbols.get(name)
        return shape_text(shape_of(found)) if isinstance(found, Expr) else "?"


def _spread(model: Model, names: set[str]) -> bool:
    """Whether a number of these names is added to every entry of something: then it is rather a vector."""
    return any(
        isinstance(n, MatMul)
        and any(isinstance(f, OneMatrix) for f in n.args)
        and {str(f) for f in n.args} & names
        for d in list(model.definitions())[-1:]
        for n in walk(d.value)
    )


def in_order(model: Model) -> Model:
    """The model with every definition before its first use: notes may say what z is after they have used it.

    Raises   ReadError if a name would rest on itself
    """
    defined = {d.name: d for d in model.definitions()}
    needs = {
        n: [leaf_name(x) for x in leaves(d.value) if leaf_name(x) in defined] for n, d in defined.items()
    }
    kept: dict[str, Definition] = {}

    def visit(name: str, above: tuple[str, ...]) -> None:
        if name in above:
            raise ReadError(f"{name} would rest on itself")
        if name not in kept:
            for n in needs[name]:
                visit(n, (*above, name))
            kept[name] = defined[name]

    for name in defined:
        visit(name, ())
    return replace(model, items=tuple(kept.values()))


def _likely_shapes(
    names: list[str], known: tuple[str, ...], taken: tuple[str, ...], said: Mapping[str, int]
) -> Iterable[dict[str, list[str]]]:
    """Shapes for names, the likeliest first: capitals are matrices, small Latin letters vectors, Greek ones scalars.

    New sizes come before the `known` ones of the formula, and sizes that all differ before equal ones: nothing is equal
    that need not be. Neighbouring matrices share a size, as in W X. `taken` are all sizes of the document; `said` is what
    the text calls a matrix (2), a vector (1) or a number (0).
    """
    ranks: list[tuple[int, ...]] = []
    for name in names:
        if name in said:
            ranks.append((said[name],))
        elif name[0].isupper():
            ranks.append((2, 1))
        elif name in _SCALARS:
            ranks.append((0, 1))
        else:
            ranks.append((1, 0, 2))
    new = [s for s in _SIZES if s not in taken]
    count = 0
    for choice in product(*ranks):
        axes = sum(choice)
        pool = (*new[: min(axes, 3)], *known[: 6 if axes < 4 else 2])
        ways = dict.fromkeys(_first_names(w, new) for w in product(pool, repeat=axes))
        for sizes in sorted(ways, key=lambda w: (-len(set(w)), sum(s not in new for s in w))):
            rest = iter(sizes)
            yield {n: [next(rest) for _ in range(r)] for n, r in zip(names, choice, strict=True)}
            count += 1
            if count > _MOST_GUESSES:
                return


def _first_names(sizes: tuple[str, ...], new: list[str]) -> tuple[str, ...]:
    """The new sizes renamed in the order of their first use, so that no choice is tried twice."""
    names: dict[str, str] = {}
    return tuple(names.setdefault(s, new[len(names)]) if s in new else s for s in sizes)
