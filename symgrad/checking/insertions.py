"""What was left out of a formula, put back: factors and terms of the right formula, at every place where they fit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import combinations, islice

from sympy import Add, Expr, Mul
from sympy.matrices.expressions.diagonal import DiagMatrix
from sympy.matrices.expressions.hadamard import HadamardProduct
from sympy.matrices.expressions.matadd import MatAdd
from sympy.matrices.expressions.matmul import MatMul
from sympy.matrices.expressions.special import OneMatrix

from symgrad.checking.edits import Edit, alike, rebuilt, tried
from symgrad.expr import add, hadamard, is_leaf, is_matrix, is_scalar, matmul, scale, split_scale, walk

__all__ = ["insertions"]

_MOST, _MOST_ENTRYWISE = 600, 4


class _Lost:
    """The factors and terms of a right formula that can be missing elsewhere."""

    def __init__(self, right: Expr, slopes: Iterable[Expr]) -> None:
        entrywise: dict[Expr, None] = dict.fromkeys(slopes)
        factors: dict[Expr, None] = {}
        terms: dict[Expr, None] = {}
        scalars: dict[Expr, None] = {}
        for node in walk(right):
            inside = node.args[0] if isinstance(node, DiagMatrix) else node
            if isinstance(inside, HadamardProduct) and len(inside.args) <= _MOST_ENTRYWISE:
                for count in range(1, len(inside.args)):
                    entrywise |= {hadamard(*some): None for some in combinations(inside.args, count)}
            elif inside is not node:
                entrywise[inside] = None
            if isinstance(node, MatMul):
                factors |= {f: None for f in node.args if is_matrix(f) and not isinstance(f, OneMatrix)}
            if isinstance(node, MatAdd | Add):
                terms |= {t: None for t in node.args if not t.is_number}
            if isinstance(node, MatMul | Mul):
                scalars |= {f: None for f in node.args if is_scalar(f) and not f.is_number}
        self.entrywise, self.factors, self.terms = tuple(entrywise), tuple(factors), tuple(terms)
        self.scalars = tuple(scalars)


def insertions(e: Expr, right: Expr, slopes: Iterable[Expr] = ()) -> Iterator[Edit]:
    """The edits that put one factor or term of the right formula into another formula.

    `slopes` are entrywise factors that may be missing too: the derivatives of activations.

    >>> from symgrad.expr import matrix, transpose, vector
    >>> W, d, s = matrix("W", "m", "n"), vector("d", "m"), vector("s", "n")
    >>> right = hadamard(matmul(transpose(W), d), s)
    >>> [(edit.kind, edit.after) for edit in insertions(matmul(transpose(W), d), right) if edit.value == right]
    [('missing factor', s)]
    """
    return islice(_inserted(e, _Lost(right, slopes)), _MOST)


def _inserted(e: Expr, lost: _Lost) -> Iterator[Edit]:
    for kind, value, what in _here(e, lost):
        if value is not None:
            yield Edit(kind, value, e, what)
    if is_leaf(e) or isinstance(e, OneMatrix):
        return
    for n, arg in enumerate(e.args):
        if not isinstance(arg, Expr) or arg.is_number:
            continue
        for inner in _inserted(arg, lost):
            value = rebuilt(e, n, inner.value)
            if value is not None:
                yield Edit(inner.kind, value, inner.before, inner.after)


def _here(e: Expr, lost: _Lost) -> Iterator[tuple[str, Expr | None, Expr]]:
    if is_matrix(e):
        yield from _entrywise(e, lost)
        yield from _in_products(e, lost)
    if isinstance(e, MatMul | HadamardProduct | Mul) or (is_leaf(e) and is_matrix(e)):
        for s in lost.scalars:
            if s not in e.args:
                yield "missing factor", tried(lambda s=s: scale(s, e)), s  # type: ignore[misc]
    if is_matrix(e) or is_scalar(e):
        present = e.args if isinstance(e, MatAdd | Add) else ()
        for t in lost.terms:
            if t not in present and t != e and alike(e, t):
                yield "missing term", tried(lambda t=t: add(e, t)), t  # type: ignore[misc]


def _entrywise(e: Expr, lost: _Lost) -> Iterator[tuple[str, Expr | None, Expr]]:
    """A factor entry by entry, at the whole and at every run of factors of a product."""
    scalar, rest = split_scale(e)
    factors = rest.args if isinstance(rest, MatMul) else (rest,)
    runs = [(i, j) for i in range(len(factors)) for j in range(i + 1, len(factors) + 1)]
    for i, j in runs:
        if len(factors) > 1 and j == i + 1:
            continue  # a factor alone is met further down
        run = tried(lambda i=i, j=j: matmul(*factors[i:j]))  # type: ignore[misc]
        if run is None or not is_matrix(run):
            continue
        for h in lost.entrywise:
            if alike(run, h):
                yield (
                    "missing factor",
                    tried(
                        lambda i=i, j=j, r=run, h=h: matmul(
                            scalar, *factors[:i], hadamard(r, h), *factors[j:]
                        )  # type: ignore[misc]
                    ),
                    h,
                )


def _in_products(e: Expr, lost: _Lost) -> Iterator[tuple[str, Expr | None, Expr]]:
    """A factor at every place of a product."""
    scalar, rest = split_scale(e)
    factors = rest.args if isinstance(rest, MatMul) else (rest,)
    for f in lost.factors:
        for n in range(len(factors) + 1):
            value = tried(lambda n=n, f=f: matmul(scalar, *factors[:n], f, *factors[n:]))  # type: ignore[misc]
            yield "missing factor", value, f
