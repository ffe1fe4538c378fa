"""From a written formula to a claim: what is differentiated, by what, and the right-hand sides to be checked.

A claim is text or LaTeX. Both readers make the same `Claim`; whatever a name stands for is settled here, so that
checking sees expressions only. Indices are zero-based throughout, as in `MatrixElement`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NoReturn

from sympy import Expr, Symbol

from symgrad.errors import (
    DeriveError,
    NameUnknownError,
    ReadError,
    ShapeError,
    SymgradError,
    UnsupportedError,
)
from symgrad.expr import Family, Loop, Model, any_shapes, is_leaf, is_matrix, is_scalar, leaf_name, leaves
from symgrad.reading import read_model, read_question
from symgrad.reading.context import Shapes, Words, shape_lists
from symgrad.reading.names import names_in
from symgrad.reading.text import parse_expression

__all__ = ["KINDS", "Claim", "Context", "is_latex", "read_claim"]

Kind = Literal["gradient", "jacobian", "hessian", "differential", "identity", "definition"]
Layout = Literal["gradient", "numerator"]
Entry = tuple[Expr | None, ...]

KINDS: tuple[Literal["gradient", "jacobian", "hessian", "differential"], ...] = (
    "gradient",
    "jacobian",
    "hessian",
    "differential",
)


@dataclass(frozen=True)
class Claim:
    """What a formula says: the derivative of `of` by `wrt` is every one of `links` (a chain a = b = c).

    model     the definitions it talks about, with whatever the claim itself introduces; a name in `links` that is
              defined there stands for its definition. A value may hold unevaluated derivatives (`Gradient`,
              `ScalarGradient`, `Jacobian`), as in delta = dL/dz.
    of, wrt   what is differentiated and by what; None for an identity, whose sides are all in `links`
    kind      of the left side; a definition is a formula that only gives a name, and is not checked
    links     right-hand sides, each to be checked; of a component claim they are entries
    layout    gradient (the shape of `wrt`) or numerator, only if the claim says so
    indices   the free index names of a component claim, integer symbols >= 0, as in dL/dw_ij = delta_i x_j. Links
              are then scalars over `MatrixElement(m, i, j)` (j = 0 for a vector), `KroneckerDelta` and SymPy's `Sum`
    of_entry, wrt_entry
              which entries of `of` and `wrt` are meant: one index for a vector, two for a matrix; an index of
              `indices`, a number, or None for the whole range, as in dE/dw_j for column j: (None, j). None if the
              claim is about the whole of it.
    misfit    why the sizes of a link do not fit, if they do not: a finding of its own, and no failure to read. The
              links are then built under `expr.any_shapes()`, so that the slip can be looked for; none if that fails
    read_as   the claim in the text language, as it was understood
    readings  other claims that the same text can mean; a verdict must hold for all of them
    by_entries
              whether the text speaks of entries, though the links may be in matrix form
    conditional
              whether the text narrows what it holds for in a way that is not read: then it is not refuted
    """

    model: Model
    links: tuple[Expr, ...]
    kind: Kind = "gradient"
    of: Expr | None = None
    wrt: Expr | None = None
    layout: Layout | None = None
    indices: tuple[Symbol, ...] = ()
    of_entry: Entry | None = None
    wrt_entry: Entry | None = None
    misfit: ShapeError | None = None
    read_as: str = ""
    readings: tuple[Claim, ...] = ()
    conditional: bool = False
    by_entries: bool = False


@dataclass(frozen=True)
class Context:
    """What a claim talks about, as it was given.

    definitions   in the text language, or `definitions_latex`, or a `model` that was read already
    symbols       what a LaTeX symbol stands for: a name or an expression of the text language
    target, f     what is differentiated: a defined name, or an expression of the text language
    wrt, kind, layout   what the claim's own left side leaves open
    """

    definitions: tuple[str, ...] = ()
    definitions_latex: tuple[str, ...] = ()
    shapes: Shapes = None
    assume: Words = None
    dims_equal: tuple[Sequence[str], ...] = ()
    functions: tuple[str, ...] = ()
    symbols: Mapping[str, str] = field(default_factory=dict)
    target: str | None = None
    f: str | None = None
    wrt: str | None = None
    kind: Kind | None = None
    layout: Layout | None = None
    model: Model | None = None


def is_latex(text: str) -> bool:
    r"""Whether a formula is written in LaTeX: the text language has no backslash, brace or caret.

    >>> is_latex(r"\frac{2}{n} X^T r"), is_latex("2 * X.T @ r / n")
    (True, False)
    """
    return bool(re.search(r"[\\{}^$∂∇ᵀ⊤⊙∑²]", text))


def read_claim(text: str, context: Context) -> Claim:
    """The claim of a text in its context.

    Left sides of the text language: `dL/dW`, `grad(L, W)`, `jacobian(f, x)`, `hessian(f, x)`, `dW` where a target
    is known, `d(f)`; without a left side `target` and `wrt` say what it is; any other is an identity.

    >>> context = Context(definitions=("L = x @ A @ x",), shapes="x: n, A: n n")
    >>> claim = read_claim("dL/dx = 2 * A @ x", context)
    >>> claim.kind, claim.of, claim.wrt, claim.links
    ('gradient', L, x, (2*A*x,))

    Raises   SymgradError with the position and what would fit
    """
    if is_latex(text) or (context.definitions_latex and not context.definitions and context.model is None):
        return _latex(text, context)
    try:
        return _Reader(text, context).claim()
    except ReadError as plain:
        if type(plain) is not ReadError or "'" not in text:
            raise
        try:
            return _latex(text, context)  # (fg)' = f'g + fg'
        except SymgradError:
            raise plain from None


def separate_claims(text: str, context: Context) -> list[tuple[str, Context]]:
    """The claims of a text that makes several, each with its context; else the text alone.

    Raises   SymgradError
    """
    if not is_latex(text):
        return [(text, context)]
    from symgrad.reading.latex import claims_in

    return claims_in(text, context)


def _latex(text: str, context: Context) -> Claim:
    """LaTeX has its own reader."""
    import importlib

    try:
        reader = importlib.import_module("symgrad.reading.latex")
    except ModuleNotFoundError:
        raise UnsupportedError(
            "LaTeX is not read here", hint="write the formula in NumPy's spelling"
        ) from None
    claim: Claim = reader.read_claim(text, context)
    return claim


_MEMBER = r"\(?\s*([A-Za-z_]\w*(?:\s*\[[^\[\]()]*\])?)\s*\)?"
_DERIVATIVE = re.compile(rf"\s*d\s*{_MEMBER}\s*/\s*d\s*{_MEMBER}\s*")
_CALL = re.compile(r"\s*(grad|gradient|jacobian|hessian)\s*\((.*)\)\s*", re.DOTALL)
_INCREMENT = re.compile(r"\s*d\s*\(?\s*([A-Za-z_]\w*)\s*\)?\s*")


def names_a_hessian(name: str, of: Expr, wrt: Expr) -> bool:
    """Whether a new name on the left is H or H_f, the letter for second derivatives of a scalar by a vector."""
    vector = is_matrix(wrt) and wrt.shape[1] == 1
    return vector and is_scalar(of) and re.fullmatch(r"H(_[A-Za-z]\w*)?|Hess(ian)?", name) is not None


class _Reader:
    """Reads one claim of the text language."""

    def __init__(self, text: str, context: Context) -> None:
        self.text, self.context = text, context
        self.model, self.target = self._model()
        shapes = shape_lists(context.shapes)
        self.names = {*self.model.symbols, *shapes}
        self.sizes = {n for sizes in shapes.values() for s in sizes for n in names_in(parse_expression(s))}
        self.sizes |= {str(item.index) for item in self.model.items if isinstance(item, Loop)}
        for found in self.model.symbols.values():
            self.sizes |= {str(a) for s in getattr(found, "shape", ()) for a in s.free_symbols}

    def claim(self) -> Claim:
        sides = self._sides()
        context = self.context
        if len(sides) > 1:
            left, *right = sides
            asked = self._left(left)
            if asked is None:
                return self._identity(sides)
            kind, of, wrt = asked
        else:
            right = sides
            if context.target is None and context.f is None:
                raise ReadError(
                    "the claim has no left side",
                    source=self.text,
                    line=1,
                    column=1,
                    hint="write dL/dW = .., or say --of L --wrt W",
                )
            of = self._target()
            if context.wrt is None:
                raise ReadError("derivative by what? the claim has no left side", hint="give --wrt NAME")
            wrt, kind = self._name(context.wrt), context.kind
        kind = kind or context.kind or ("gradient" if is_scalar(of) else "jacobian")
        if kind == "gradient" and not is_scalar(of):
            kind = "jacobian"
        links, misfit = self._links(right, kind, wrt)
        shown = self._shown(kind, of, wrt, right)
        return Claim(
            self._extended(links), links, kind, of, wrt, context.layout, misfit=misfit, read_as=shown
        )

    def _links(
        self, sides: Sequence[str], kind: Kind | None = None, wrt: Expr | None = None
    ) -> tuple[tuple[Expr, ...], ShapeError | None]:
        """The expressions of the sides, and the reason where their sizes do not fit."""
        try:
            return tuple(self._expression(s, kind, wrt) for s in sides), None
        except ShapeError as misfit:
            try:
                with any_shapes():
                    return tuple(self._expression(s, kind, wrt) for s in sides), misfit
            except ShapeError:
                return (), misfit

    def _sides(self) -> list[str]:
        """The sides of a chain; a keyword argument's = inside brackets is none."""
        sides, depth, start = [], 0, 0
        for match in re.finditer(r"[()\[\]]|(?<![<>=!])=(?!=)", self.text):
            if match[0] == "=" and depth == 0:
                sides.append(self.text[start : match.start()])
                start = match.end()
            else:
                depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(match[0], 0)
        sides.append(self.text[start:])
        if any(not s.strip() for s in sides):
            raise ReadError("a side of the equation is empty", source=self.text, line=1, column=1)
        return [s.strip() for s in sides]

    def _left(self, left: str) -> tuple[Kind | None, Expr, Expr] | None:
        """Kind, function and variable of a left side that is a derivative; None for any other expression."""
        if match := _CALL.fullmatch(left):
            parts = match[2].rsplit(",", 1)
            if len(parts) == 2:
                kind: Kind = {"grad": "gradient"}.get(match[1], match[1])  # type: ignore[assignment]
                return kind, self._expression(parts[0]), self._name(parts[1].strip())
        if (match := _DERIVATIVE.fullmatch(left)) and not {f"d{match[1]}", f"d{match[2]}"} <= self.names:
            for name in match.groups():
                if name.partition("[")[0].strip() not in self.names:
                    self._unknown(name.partition("[")[0].strip())
            return None, self._name(match[1], leaf=False), self._name(match[2])
        known = self._known(left)
        if known:
            return self._signal(left)
        if match := _INCREMENT.fullmatch(left):
            name = match[1]
            if self.context.kind == "differential" and self.context.wrt:
                return "differential", self._name(name, leaf=False), self._name(self.context.wrt)
            if name in self.names and (self.context.target or self.context.f):
                return None, self._target(), self._name(name)
        if left.isidentifier() and self._target_known() and self.context.wrt:
            of, wrt = self._target(), self._name(self.context.wrt)
            return ("hessian" if names_a_hessian(left, of, wrt) else None), of, wrt
        return None

    def _known(self, name: str) -> bool:
        return name.isidentifier() and name in self.names

    def _signal(self, name: str) -> tuple[Kind | None, Expr, Expr] | None:
        """A defined name on the left: an error signal if target and variable are said, else an identity."""
        if self._target_known() and self.context.wrt and name not in (self.context.target, self.context.wrt):
            return None, self._target(), self._name(self.context.wrt)
        return None

    def _target_known(self) -> bool:
        return self.context.target is not None or self.context.f is not None

    def _target(self) -> Expr:
        if self.target is not None:
            return self.target
        assert self.context.target is not None  # noqa: S101 - asked before
        return self._name(self.context.target, leaf=False)

    def _identity(self, sides: list[str]) -> Claim:
        links, misfit = self._links(sides)
        return Claim(self._extended(links), links, "identity", misfit=misfit, read_as=" = ".join(sides))

    def _expression(self, text: str, kind: Kind | None = None, wrt: Expr | None = None) -> Expr:
        model, shapes = self.model, shape_lists(self.context.shapes)
        if kind == "differential" and wrt is not None:
            from symgrad.expr import differential

            increment = differential(wrt)
            model = replace(model, symbols={**model.symbols, str(increment): increment})
        self._check_names(text, model)
        given = {n: list(s) for n, s in shapes.items() if n not in model.symbols}
        _, value = read_question(
            text,
            model=model,
            shapes=given,
            assume=self.context.assume,
            dims_equal=self.context.dims_equal,
            functions=self.context.functions,
        )
        return value

    def _check_names(self, text: str, model: Model) -> None:
        """Every name was declared or defined: for a name of a claim no shape is guessed."""
        if not self.names:
            return
        tree = parse_expression(text)
        known = {*self.names, *self.sizes, *map(str, model.symbols), "pi"}
        if hasattr(tree, "find_data"):
            known |= {str(r.children[0]) for r in tree.find_data("range")}
            for call in tree.find_data("call"):
                if str(call.children[0]) in ("sum", "prod"):  # sum(i, j, body) binds its indices
                    known |= {str(a.children[0]) for a in call.children[1:-1] if a.data == "name"}
            if any(str(k.children[0]) == "keepdims" for k in tree.find_data("keyword")):
                known |= {"True", "False"}
        for name in sorted(names_in(tree) - known):
            self._unknown(name)

    def _name(self, text: str, leaf: bool = True) -> Expr:
        if text.isidentifier() and text not in self.names:
            self._unknown(text)
        found = self.model.symbols.get(text)
        if isinstance(found, Family):
            raise DeriveError(f"{text} is a family; name a member, such as {text}[l]")
        value = found if found is not None else self._expression(text)
        if leaf and not is_leaf(value):
            raise DeriveError(f"a derivative is taken by a name, not by {text}")
        return value

    def _unknown(self, name: str) -> NoReturn:
        raise NameUnknownError(
            f"{name} is not declared",
            hint="the names are " + ", ".join(sorted(self.names)) if self.names else None,
        )

    def _extended(self, links: Iterable[Expr]) -> Model:
        """The model with the names that only the claim uses."""
        more = {leaf_name(leaf): leaf for e in links for leaf in leaves(e)}
        return replace(self.model, symbols={**more, **self.model.symbols})

    def _shown(self, kind: Kind, of: Expr, wrt: Expr, right: list[str]) -> str:
        left = {
            "gradient": f"d({of})/d({wrt})",
            "jacobian": f"jacobian({of}, {wrt})",
            "hessian": f"hessian({of}, {wrt})",
            "differential": f"d({of})",
        }[kind]
        if kind == "gradient" and is_leaf(of):
            left = f"d{of}/d{wrt}"
        return " = ".join([left, *right])

    def _model(self) -> tuple[Model, Expr | None]:
        """The definitions, and the function where it is an expression of its own."""
        context = self.context
        said = {
            "shapes": context.shapes,
            "assume": context.assume,
            "dims_equal": context.dims_equal,
            "functions": context.functions,
        }
        if context.model is not None:
            if context.f is None:
                return context.model, None
            _, target = read_question(context.f, model=context.model, **said)  # type: ignore[arg-type]
            return context.model, target
        if context.f is not None:
            return read_question(context.f, definitions=context.definitions, **said)  # type: ignore[arg-type]
        if context.definitions:
            return read_model("\n".join(context.definitions), **said), None  # type: ignore[arg-type]
        from symgrad.reading.context import assumption_sets

        return Model((), {}, assumption_sets(context.assume)), None
