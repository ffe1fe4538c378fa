r"""One claim in LaTeX in one scope: its left side, its links, the entries that they are about."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NoReturn

import sympy
from sympy import Expr, MatrixSymbol, S, Symbol
from sympy.matrices.expressions.matexpr import MatrixElement

from symgrad.errors import (
    NameUnknownError,
    ReadError,
    ShapeError,
    SymgradError,
    UnsupportedError,
)
from symgrad.expr import (
    Definition,
    Model,
    add,
    differential,
    gradient,
    inner,
    is_leaf,
    is_matrix,
    is_scalar,
    leaf_name,
    leaves,
    matrix,
    same_size,
    scale,
    shape_text,
)
from symgrad.expr.nodes import Gradient, Jacobian, ScalarGradient
from symgrad.reading.claim import Claim, Entry, Kind, Layout
from symgrad.reading.latex.explore import located
from symgrad.reading.latex.left import Left, LeftSides, entry_of_array
from symgrad.reading.latex.marks import marked, stem_of
from symgrad.reading.latex.places import Function, Index, Unbound
from symgrad.reading.latex.scope import Scope
from symgrad.reading.latex.setting import Setting
from symgrad.reading.latex.tokens import fail_at
from symgrad.reading.latex.tree import Node
from symgrad.reading.latex.updates import Update, update_of
from symgrad.reading.latex.values import Val, entry, fits, has_index, index_symbol, lifted, turned

__all__ = ["Claims", "in_text_language"]


_LOSSES = ("e", "c", "loss", "cost", "err", "error", "mse", "nll", "rss", "sse", "ce")


class Claims(LeftSides):
    """Reads one claim in one scope."""

    def __init__(
        self,
        scope: Scope,
        setting: Setting,
        text: str,
        extra: Sequence[Node],
        free: bool = False,
        passed: Sequence[Node] = (),
    ) -> None:
        super().__init__(scope, setting, text)
        self.free, self.extra, self.passed = free, extra, passed
        self.right_at = 0

    def claim(self, statement: Node) -> Claim:
        """The claim of a statement."""
        statement = self.statement = self._without_set(statement)
        sides = list(statement.parts[0::2]) if statement.kind == "chain" else [statement]
        update = update_of(statement)
        if update is None and statement.kind == "chain":
            for relation in statement.parts[1::2]:
                if relation.text not in ("=", ":=", "=:"):
                    fail_at(ReadError, f"the relation {relation.text!r} makes no claim", self.text, relation.at,
                            "a claim is an equation; an update has a rate: W \\leftarrow W - \\eta G")  # fmt: skip
        for passed in self.passed:
            self.scope.note(f"{self.meaning.shown(passed)} is passed over")
        self._define_extra()
        if update is not None and (updated := self._updated(update)) is not None:
            left, right = updated
        elif len(sides) == 1:
            left, right = self._asked(sides[0]), sides
        else:
            found, right = self._left(sides)
            if found is None:
                return self._identity(sides)
            left = found
        self._may_name_gradients(left)
        for letter in [k for k, i in self.scope.indices.items()]:
            self.scope.indices[letter].kept = True
        self.scope.may_bind = False
        self.right_at = right[0].at
        values = [self._closed(self._right(side), side) for side in right]
        if not self.free:
            for v, side in zip(values, right, strict=True):
                self._check_places(v.expr, side)
        return self._made(left, values)

    def _without_set(self, statement: Node) -> Node:
        r"""A claim without the space that it says its value is in: = W^\top g \in \mathbb{R}^n."""
        parts = statement.parts
        if statement.kind != "chain" or len(parts) < 5 or parts[-2].text != "in":
            return statement
        space = parts[-1].parts[0] if parts[-1].kind == "scripted" else parts[-1]
        if space.kind != "letter" or space.mark != "mathbb":
            return statement
        self.scope.note(f"{self.meaning.shown(parts[-1])} is passed over")
        return replace(statement, parts=parts[:-2])

    def _may_name_gradients(self, left: Left) -> None:
        """Where d stands for nothing else, dz on the right is the gradient of the same function by z."""
        scope = self.scope
        if scope.increments_of is None and left.kind != "differential" and is_scalar(left.of):
            if "d" not in scope.names and "d" not in scope.sizes:
                scope.increments_of = left.of

    def _right(self, side: Node) -> Val:
        """A right side; a product of one factor sums over its repeated indices too."""
        if self.scope.einstein and side.kind not in ("sum", "term"):
            side = Node("term", (side,), side.at, side.end)
        return self.meaning.read(side)

    def _define_extra(self) -> None:
        """Names that the display itself explains beside the claim."""
        for equation in self.extra:
            first, last = equation.parts[0], equation.parts[-1]
            if self._define_function(first, last):
                continue
            indices = dict(self.scope.indices)
            m = marked(first)
            stem = stem_of(m.base)
            if stem is None:
                fail_at(ReadError, "one claim at a time", self.text, equation.at)
            try:
                self.scope.symbol(m)
                known = True
            except (NameUnknownError, Unbound, ShapeError):
                known = False
            if known:
                fail_at(
                    ReadError, "one claim at a time", self.text, equation.at, "check each equation by itself"
                )
            letters = [s.text for s in m.subs if s.kind == "letter"]
            for letter in letters:
                self.scope.indices[letter] = Index(index_symbol(letter), kept=True)
            value = self.meaning.read(last)
            if letters:
                size = next(iter(self.scope.indices[letters[0]].sizes), None)
                if len(letters) != 1 or size is None or not value.is_scalar:
                    fail_at(
                        UnsupportedError, "this definition beside the claim is not read", self.text, first.at
                    )
                symbol = self.scope.indices[letters[0]].symbol
                value = lifted(Val(value.expr, (size, S.One), (symbol, S.Zero)))
            self.scope.indices = indices
            value = lifted(value)
            if value.axes is not None:
                fail_at(UnsupportedError, "this definition beside the claim is not read", self.text, first.at)
            self.scope.names = {**self.scope.names, stem: value.expr}

    def _define_function(self, first: Node, last: Node) -> bool:
        r"""\phi(x) = .. beside a claim."""
        if first.kind != "term" or len(first.parts) != 2 or first.parts[1].kind != "paren":
            return False
        m = marked(first.parts[0])
        stem, (parameter,) = stem_of(m.base), first.parts[1].parts or (None,)
        if stem is None or parameter is None or stem_of(marked(parameter).base) is None or m.subs or m.sups:
            return False
        if stem in self.scope.names or stem in self.scope.functions:
            return False
        self.scope.functions = {**self.scope.functions, stem: Function(self.text, parameter, last)}
        return True

    def _updated(self, update: Update) -> tuple[Left, list[Node]] | None:
        """What an update says of the derivative: it goes down, or up where nothing speaks against it."""
        target = self.setting.target
        if target is None or not is_scalar(target):
            return None
        self.scope.may_bind = True
        wrt = self.meaning.quantity([update.variable], update.variable)
        x, entry, axes = entry_of_array(wrt)
        if not is_leaf(x):
            return None
        down = update.falls or (is_leaf(target) and leaf_name(target).lower() in _LOSSES)
        if not down and self.scope.choose(("ascent", update.variable.at), 2) == 1:
            self.scope.note("the update is read as a step up the slope")
            return Left(None, target, x, None, entry, axes), list(update.up)
        self.scope.note("the update is read as a step down the slope")
        return Left(None, target, x, None, entry, axes), list(update.down)

    # --- the claim ---------------------------------------------------------------------------------------

    def _closed(self, value: Val, side: Node) -> Val:
        """A value whose indices are all bound, by sums or by the left side."""
        if self.scope.rows and value.shape and value.shape[0] == 1:
            value = turned(value)
        return lifted(value)

    def _identity(self, sides: list[Node]) -> Claim:
        self.scope.may_bind = False
        self.scope.may_bind = True
        first = self.meaning.read(sides[0])
        self.scope.may_bind = False
        values = [lifted(first), *(lifted(self.meaning.read(s)) for s in sides[1:])]
        values = self._without_indices(values)
        first = values[0]
        for v, side in zip(values[1:], sides[1:], strict=True):
            same = len(v.shape) == len(first.shape) and all(map(fits, first.shape, v.shape))
            if not same and not self.free:
                raise located(ShapeError(f"the sides are a {first.text} and a {v.text}"), self.text, side)
        if any(v.axes is not None or has_index(v.expr) for v in values):
            fail_at(UnsupportedError, "this identity has no matrix form", self.text, sides[0].at)
        links = tuple(v.expr for v in values)
        if not self.free:
            self._closed_sizes(links)
        shown = " = ".join(in_text_language(e) for e in links)
        return Claim(self._extended(links), links, "identity", read_as=shown)

    def _without_indices(self, values: list[Val]) -> list[Val]:
        """Sides that are entries, as arrays over the indices of the left side."""
        used = [i for i in self.scope.indices.values() if i.sizes]
        free = {s for v in values for s in _free(v.expr)}
        used = [i for i in used if i.symbol in free]
        if not used or len(used) > 2 or not all(v.is_scalar for v in values):
            return values
        axes = (used[0].symbol, used[1].symbol if len(used) == 2 else S.Zero)
        shape = (used[0].sizes[0], used[1].sizes[0] if len(used) == 2 else S.One)
        return [lifted(Val(v.expr, shape, axes)) for v in values]

    def _check_places(self, e: Expr, node: Node) -> None:
        """No index may run outside its axis, or over axes of different sizes."""
        for letter, index in self.scope.indices.items():
            for other in index.sizes[1:]:
                if not same_size(index.sizes[0], other):
                    self._misfit(f"the index {letter} runs over {index.sizes[0]} and over {other}")
        ranges = {i.symbol: i.sizes[0] for i in self.scope.indices.values() if i.sizes}
        for total in e.atoms(sympy.Sum):
            for k, lower, upper in total.limits:
                if lower == 0:
                    ranges[k] = upper + 1
        for element in e.atoms(MatrixElement):
            m, *places = element.args
            for place, size in zip(places, m.shape, strict=True):
                shifted = place.free_symbols & set(ranges)
                if place.is_Symbol or not shifted:
                    continue
                last = place.xreplace({s: ranges[s] - 1 for s in shifted})
                ends = [sympy.expand(e) for e in (place.xreplace(dict.fromkeys(shifted, S.Zero)), last)]
                if any(x.is_negative or (x - size).is_nonnegative for x in ends):
                    self._misfit(f"the index of {m} runs outside of its {size} entries")

    def _made(self, left: Left, values: list[Val]) -> Claim:
        kind = left.kind or self.setting.context.kind or ("gradient" if is_scalar(left.of) else "jacobian")
        if kind == "gradient" and not is_scalar(left.of) and left.of_entry is None:
            kind = "jacobian"
        if kind == "gradient" and not is_scalar(left.of):
            kind = "jacobian"
        indices = tuple(i.symbol for i in self.scope.indices.values())
        if left.of_entry is None and left.wrt_entry is None:
            return self._whole(left, kind, values)
        return self._by_entries(left, kind, values, indices)

    def _whole(self, left: Left, kind: Kind, values: list[Val]) -> Claim:
        """A claim about the whole derivative."""
        links: list[Expr] = []
        for v in values:
            if v.axes is not None or has_index(v.expr):
                return self._over_axes(left, kind, values)
            links.append(v.expr)
        if left.assumed and kind == "gradient" and _is_hessian(left, values):
            self.scope.note("of these sizes is the Hessian")
            kind = "hessian"
        if not self.free:
            for v in values:
                self._check(left, kind, v)
        return self._finished(left, kind, tuple(links), (), None, None)

    def _check(self, left: Left, kind: Kind, v: Val) -> None:
        """The shape of a right side must be one that the derivative can have."""
        wanted = _shapes(left, kind)
        if v.expr.is_zero and v.is_scalar:
            return
        for w in wanted:
            if len(w) == len(v.shape) and all(fits(p, q) for p, q in zip(w, v.shape, strict=True)):
                return
        self._misfit(f"the derivative is {shape_text(wanted[0])}, and the right side is {v.text}")

    def _misfit(self, message: str) -> NoReturn:
        """The sizes of the two sides differ."""
        at = self.right_at
        before = self.text[:at]
        raise ShapeError(
            message, source=self.text, line=before.count("\n") + 1, column=at - (before.rfind("\n") + 1) + 1
        )

    def _over_axes(self, left: Left, kind: Kind, values: list[Val]) -> Claim:
        """A vector or matrix that has no matrix form: entry by entry."""
        shape = _shapes(left, kind)[0]
        if kind == "hessian" and is_matrix(left.wrt) and left.first is None:
            g = gradient(left.of, left.wrt)
            symbol = matrix(
                f"d{leaf_name(left.of) if is_leaf(left.of) else 'f'}d{leaf_name(left.wrt)}_", *g.shape
            )
            left = Left("jacobian", symbol, left.wrt, first=Definition(symbol, g))
            return self._over_axes(left, "jacobian", values)
        if any(v.is_scalar for v in values) or len(shape) != 2 or any(v.shape != shape for v in values):
            fail_at(UnsupportedError, "this right side has no matrix form", self.text, 0)
        names = iter([c for c in "ijklpqrs" if c not in self.scope.sizes and c not in self.scope.names])
        axes = tuple(S.Zero if s == 1 else index_symbol(next(names)) for s in shape)
        links = tuple(entry(v, axes[0], axes[1]) for v in values)
        indices = tuple(a for a in axes if isinstance(a, Symbol))
        if kind == "jacobian":
            return self._finished(left, kind, links, indices, (axes[0],), (axes[1],))
        return self._finished(left, kind, links, indices, None, indices)

    def _by_entries(self, left: Left, kind: Kind, values: list[Val], indices: tuple[Symbol, ...]) -> Claim:
        """A claim about entries: in matrix form where all of them together have one."""
        rows = _positions(left, kind, is_of=True)
        cols = _positions(left, kind, is_of=False)
        places = rows + cols if kind == "jacobian" else cols
        used = {p for p in places if isinstance(p, Symbol)}
        values = [self._over_rest(v, left) for v in values]
        loose = {s for v in values for s in _free(v.expr)} - used - set(left.wrt_axes)
        if loose:
            fail_at(NameUnknownError, f"the index {sorted(map(str, loose))[0]} stands on the right side alone", self.text, 0,
                    "sum over it, or name it on the left side")  # fmt: skip
        whole = self._as_matrix(left, kind, values, places)
        if whole is not None:  # entries say themselves what is a row
            layout: Layout = "numerator" if kind == "jacobian" else "gradient"
            claim = self._finished(replace(left, layout=layout), kind, whole, (), None, None)
            return replace(claim, by_entries=True)
        order = tuple(dict.fromkeys(p for p in (*places, *left.wrt_axes) if isinstance(p, Symbol)))
        links = tuple(v.expr for v in values)
        return self._finished(left, kind, links, order, left.of_entry, _with_axes(left))

    def _over_rest(self, v: Val, left: Left) -> Val:
        """A row or column claim: the right side by the entry along the rest of the axis."""
        if not left.wrt_axes:
            if not v.is_scalar:
                self._misfit(f"the left side is an entry, and the right side is {v.text}")
            return v
        if v.is_scalar:
            if v.expr.is_zero:
                return v
            self._misfit("the left side is a vector, and the right side a scalar")
        (axis,) = left.wrt_axes
        if v.shape[1] == 1:
            return Val(entry(v, axis, S.Zero))
        return Val(entry(v, S.Zero, axis))

    def _as_matrix(
        self, left: Left, kind: Kind, values: list[Val], places: tuple[Expr, ...]
    ) -> tuple[Expr, ...] | None:
        """The links as matrices over the indices of the left side."""
        if self.free:
            return None
        entries = _with_axes(left) if kind != "jacobian" else places
        if (
            entries is None
            or any(not isinstance(p, Symbol) for p in entries)
            or len(set(entries)) != len(entries)
        ):
            return None
        shape = _shapes(left, kind)[0]
        axes = (*entries, S.Zero) if len(entries) == 1 else tuple(entries)
        if len(axes) != 2 or len(shape) != 2:
            return None
        whole = []
        for v in values:
            m = lifted(Val(v.expr, shape, (axes[0], axes[1])))
            if m.axes is not None or has_index(m.expr):
                return None
            whole.append(m.expr)
        return tuple(whole)

    def _finished(
        self, left: Left, kind: Kind, links: tuple[Expr, ...], indices: tuple[Symbol, ...], of_entry: Entry | None,
        wrt_entry: Entry | None,
    ) -> Claim:  # fmt: skip
        links = tuple(_renamed(e, indices, self.scope) for e in links)
        if (
            left.first is not None
            and kind == "jacobian"
            and left.wrt == left.first.value.args[1]
            and not of_entry
        ):
            left, kind = Left("hessian", left.first.value.args[0], left.wrt), "hessian"
        if not self.free:
            self._closed_sizes(links)
        shown = _left_shown(left, kind, of_entry, wrt_entry) + "".join(
            f" = {in_text_language(e)}" for e in links
        )
        for note in self.scope.notes:
            shown += f"  # {note}"
        if kind == "differential" and left.total:
            total = _total(left, self.setting.model.symbols)
            links = (total[0], *(total[1](e) for e in links))
            return Claim(self._extended(links), links, "identity", read_as=shown)
        model = self._extended(links)
        for d in left.before:
            symbols = {**model.symbols, leaf_name(d.symbol): d.symbol}
            model = replace(model, items=(*model.items, d), symbols=symbols)
        if left.first is not None:
            symbols = {**model.symbols, leaf_name(left.of): left.of}
            model = replace(model, items=(*model.items, left.first), symbols=symbols)
        layout = None if left.either else left.layout or self._asked_layout(left, kind)
        return Claim(
            model, links, kind, left.of, left.wrt, layout, indices,
            of_entry, wrt_entry, read_as=shown,
        )  # fmt: skip

    def _asked_layout(self, left: Left, kind: Kind) -> Layout | None:
        """The layout of the question, as far as it is about this derivative."""
        asked = self.setting.context.layout
        other = self.setting.target is not None and left.of != self.setting.target
        return None if other and kind == "jacobian" and asked == "gradient" else asked

    def _closed_sizes(self, links: tuple[Expr, ...]) -> None:
        """Every identity and vector of ones has a size."""
        if {d for e in links for d in e.atoms(sympy.Dummy)} & set(self.scope.opened.values()):
            fail_at(ShapeError, "the size of an identity or a vector of ones is not known", self.text, 0,
                    "write I_n or \\mathbf{1}_n")  # fmt: skip

    def _extended(self, links: tuple[Expr, ...]) -> Model:
        """The model with the names that only the claim uses."""
        model = self.setting.model
        more = {leaf_name(leaf): leaf for e in links for leaf in leaves(e) if not has_index(leaf)}
        return replace(model, symbols={**more, **model.symbols})


def _with_axes(left: Left) -> Entry | None:
    """The entry of the variable with an index for the whole range."""
    if left.wrt_entry is None:
        return None
    rest = iter(left.wrt_axes)
    return tuple(next(rest) if p is None else p for p in left.wrt_entry)


def _positions(left: Left, kind: Kind, *, is_of: bool) -> tuple[Expr, ...]:
    found = left.of_entry if is_of else _with_axes(left)
    return tuple(p for p in (found or ()) if p is not None)


def _free(e: Expr) -> Iterator[Symbol]:
    for s in e.free_symbols:
        if isinstance(s, Symbol) and s.is_nonnegative and s.is_integer and not s.is_positive:
            yield s


def _is_hessian(left: Left, values: Sequence[Val]) -> bool:
    """Whether a right side has the shape of a second derivative by a vector, and of no first one."""
    x = left.wrt
    if not is_scalar(left.of) or not is_matrix(x) or x.shape[1] != 1:
        return False
    return all(
        len(v.shape) == 2 and same_size(v.shape[0], x.shape[0]) and same_size(*v.shape) for v in values
    )


def _total(left: Left, taken: Mapping[str, object]) -> tuple[Expr, Callable[[Expr], Expr]]:
    """The total differential by its gradients, and what makes a right side comparable to it.

    A differential that is a matrix is compared by its inner product with an arbitrary matrix.
    """
    f, against = left.of, None
    if is_matrix(f):
        against = matrix(next(n for n in ("G", "G_", "G__") if n not in taken), *f.shape)
        f = inner(against, f)
    terms = [(gradient(f, x), differential(x)) for x in left.total]
    total = add(*(inner(g, dx) if is_matrix(g) else scale(g, dx) for g, dx in terms))
    return total, lambda e: e if against is None else inner(against, e)


def _shapes(left: Left, kind: Kind) -> list[tuple[Expr, ...]]:
    """The shapes that the derivative has in the standard layouts."""
    of, wrt = (tuple(e.shape) if is_matrix(e) else () for e in (left.of, left.wrt))
    if kind == "differential":
        return [of]
    if kind == "gradient":
        return [wrt, wrt[::-1]] if wrt else [()]
    rows = sympy.Mul(*of) if of else S.One
    cols = sympy.Mul(*wrt) if wrt else S.One
    if kind == "hessian":
        return [(cols, cols)] if wrt else [()]
    if not wrt:
        return [of, of[::-1]]
    return [(rows, cols), (cols, rows)]


def _renamed(e: Expr, indices: tuple[Symbol, ...], scope: Scope) -> Expr:
    """Indices that the reader made get letters."""
    made = sorted((s for s in e.atoms(Symbol) if str(s).startswith("_") and s not in indices), key=str)
    if not made:
        return e
    taken = (
        {str(s) for s in e.atoms(Symbol)} | set(scope.sizes) | set(scope.names) | {str(i) for i in indices}
    )
    letters = (c for c in [*"ijklrstuvabcpq", *(f"k{n}" for n in range(99))] if c not in taken)
    return e.xreplace({s: index_symbol(next(letters)) for s in made})


def _left_shown(left: Left, kind: Kind, of_entry: Entry | None, wrt_entry: Entry | None) -> str:
    def at(e: Expr, place: Entry | None) -> str:
        text = in_text_language(e)
        if place is None:
            return text
        return f"{text}[{', '.join(':' if p is None else str(p) for p in place)}]"

    of, wrt = at(left.of, of_entry), at(left.wrt, wrt_entry)
    if kind == "gradient":
        return f"d{of}/d{wrt}" if is_leaf(left.of) else f"d({of})/d{wrt}"
    return f"d({of})" if kind == "differential" else f"{kind}({of}, {wrt})"


_OPEN_DERIVATIVES = ((Jacobian, "jacobian"), (Gradient, "grad"), (ScalarGradient, "grad"))


def in_text_language(e: Expr) -> str:
    """The expression in the text language, as far as it can say it."""
    from symgrad.rendering import to_numpy

    calls = {
        d: MatrixSymbol(call, *d.shape) if is_matrix(d) else Symbol(call)
        for kind, word in _OPEN_DERIVATIVES
        for d in e.atoms(kind)
        if is_leaf(d.args[0]) and is_leaf(d.args[1])
        for call in (f"{word}({d.args[0]}, {d.args[1]})",)
    }
    try:
        return to_numpy(e.xreplace(calls))
    except SymgradError:
        return str(e)
