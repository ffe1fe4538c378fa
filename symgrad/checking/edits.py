"""The slips that people make, as edits of an expression: every way to take one of them back, with its name.

An edit is local: one node of the tree is replaced. What is yielded has checked shapes, and nothing is known yet about
whether it is true.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import permutations, product

import sympy
from sympy import Add, Expr, KroneckerDelta, Mul, Pow, S, Symbol
from sympy.core.symbol import Str
from sympy.matrices.expressions.diagonal import DiagMatrix
from sympy.matrices.expressions.hadamard import HadamardPower, HadamardProduct
from sympy.matrices.expressions.inverse import Inverse
from sympy.matrices.expressions.matadd import MatAdd
from sympy.matrices.expressions.matexpr import MatrixElement
from sympy.matrices.expressions.matmul import MatMul
from sympy.matrices.expressions.special import Identity, OneMatrix, ZeroMatrix
from sympy.matrices.expressions.transpose import Transpose

from symgrad.checking.vocabulary import Vocabulary
from symgrad.errors import SymgradError
from symgrad.expr import (
    Convolve,
    Correlate,
    Elementwise,
    LogSoftmax,
    Softmax,
    add,
    any_shapes,
    as_scalar,
    diag,
    eye,
    flip,
    hadamard,
    inverse,
    is_column,
    is_leaf,
    is_matrix,
    is_scalar,
    leaf_name,
    leaves,
    matmul,
    negate,
    ones,
    outer,
    power,
    rebuild,
    same_size,
    scale,
    shape_of,
    split_scale,
    substitute,
    subtract,
    transpose,
    walk,
)
from symgrad.rules.elementwise import derivative

__all__ = [
    "Edit",
    "alike",
    "edited",
    "fits",
    "order_and_transposes",
    "rebuilt",
    "terms_of",
    "tried",
    "turned",
    "whole_shape",
]

_MOST_TERMS = 24
_STEM = re.compile(r"(.*?)(\d+)$")


@dataclass(frozen=True)
class Edit:
    """An expression without the slip, what the slip is called, and the part that was changed (before, after)."""

    kind: str
    value: Expr
    before: Expr
    after: Expr


Local = tuple[str, Expr]


def edited(e: Expr, words: Vocabulary) -> Iterator[Edit]:
    """Every edit of one node of an expression, from the root down."""
    for kind, value in _guarded(_here(e, words)):
        if value != e:
            yield Edit(kind, value, e, value)
    if is_leaf(e) or isinstance(e, OneMatrix | ZeroMatrix | Identity | MatrixElement | KroneckerDelta):
        return
    for n, arg in enumerate(e.args):
        if isinstance(arg, Str) or not isinstance(arg, Expr):
            continue
        for inner in edited(arg, words):
            value = rebuilt(e, n, inner.value)
            if value is not None:
                yield Edit(inner.kind, value, inner.before, inner.after)


def _guarded(edits: Iterator[Local]) -> Iterator[Local]:
    """The edits up to one that cannot be built: in a claim whose sizes do not fit not everything has a shape."""
    try:
        yield from edits
    except (SymgradError, ValueError, TypeError, AttributeError):
        return


def rebuilt(e: Expr, n: int, arg: Expr) -> Expr | None:
    """The expression with another argument; None where that does not fit."""
    try:
        if isinstance(e, sympy.Sum | sympy.Product):
            return _over_the_axis(e.func(arg, *e.args[1:])) if n == 0 else None
        return rebuild(e, (*e.args[:n], arg, *e.args[n + 1 :]))
    except (SymgradError, ValueError, TypeError, AttributeError):
        return None


def _over_the_axis(e: Expr) -> Expr:
    """A sum over the index of an axis goes over the whole of that axis, whichever it is after an edit."""
    if len(e.limits) != 1:
        return e
    k, lower, _ = e.limits[0]
    ends = {
        node.args[0].shape[axis]
        for node in walk(e.function)
        if isinstance(node, MatrixElement)
        for axis, at in enumerate(node.args[1:])
        if at == k
    }
    return e.func(e.function, (k, lower, ends.pop() - 1)) if len(ends) == 1 and lower.is_zero else e


def tried(make: Callable[[], Expr]) -> Expr | None:
    """What is made; None where that cannot be built."""
    try:
        return make()
    except (SymgradError, ValueError, TypeError, AttributeError):
        return None


def _here(e: Expr, words: Vocabulary) -> Iterator[Local]:
    """The edits of a node itself."""
    if is_leaf(e):
        yield from _other_names(e, words)
    if isinstance(e, MatrixElement):
        yield from _other_entries(e, words)
    if e.is_Rational and not e.is_zero:
        yield from _other_numbers(e)
    if isinstance(e, MatMul):
        yield from _products(e)
    if isinstance(e, HadamardProduct):
        yield from _entrywise(e, words)
    if isinstance(e, MatAdd | Add):
        yield from _sums(e)
    if isinstance(e, MatAdd | HadamardProduct):
        yield from _in_other_layers(e, words)
    if isinstance(e, Pow | HadamardPower):
        yield from _exponents(e)
    if isinstance(e, Softmax | LogSoftmax):
        yield "wrong axis", type(e)(e.arg, 1 - e.axis)
    if isinstance(e, Convolve | Correlate):
        yield from _kernels(e)
    if isinstance(e, Inverse):
        yield "wrong exponent", e.arg
    elif (
        is_matrix(e) and same_size(*e.shape) and not isinstance(e, MatMul | Identity | OneMatrix | ZeroMatrix)
    ):
        yield "wrong exponent", inverse(e)
    if isinstance(e, DiagMatrix) and is_column(e.args[0]):
        yield from _softmax_jacobian(e, words)
        yield from _outer_for_diagonal(e.args[0])
    if is_matrix(e) and not isinstance(e, MatAdd | OneMatrix | Identity | ZeroMatrix):
        yield from _transposed(e)
    if is_matrix(e) and not isinstance(e, OneMatrix | Identity | ZeroMatrix):
        yield from _slopes(e, words)
    if isinstance(e, Elementwise):
        yield from _functions(e, words)
    if is_scalar(e) and not e.is_number:
        yield "wrong exponent", power(e, 2)


def turned(e: Expr) -> Expr:
    """The transpose with the transposes at the factors, as one writes it.

    >>> from symgrad.expr import matrix
    >>> A, B = matrix("A", "m", "n"), matrix("B", "n", "k")
    >>> turned(matmul(A, transpose(transpose(B))))
    B.T*A.T
    """
    if isinstance(e, MatAdd):
        return add(*map(turned, e.args))
    if isinstance(e, HadamardProduct):
        return hadamard(*map(turned, e.args))
    if isinstance(e, MatMul):
        factor, rest = split_scale(e)
        parts = rest.args if isinstance(rest, MatMul) else (rest,)
        if len(parts) > 1 or isinstance(parts[0], MatAdd | HadamardProduct):
            return matmul(factor, *map(turned, reversed(parts)))
    return transpose(e)


def _transposed(e: Expr) -> Iterator[Local]:
    if isinstance(e, Transpose):
        yield "extra transpose", e.arg
    elif not (isinstance(e, MatMul) and is_scalar(e.args[0])):
        yield "missing transpose", turned(e)


def _other_names(e: Expr, words: Vocabulary) -> Iterator[Local]:
    """Another name of any shape; where only the number differs it is another layer."""
    own = _STEM.match(leaf_name(e))
    for other in words.names:
        if other == e:
            continue
        same_layer = _STEM.match(leaf_name(other))
        if own and same_layer and own[1] == same_layer[1]:
            yield "wrong layer index", other
        elif len(shape_of(other)) == len(shape_of(e)):
            yield "wrong variable", other


def _in_other_layers(e: Expr, words: Vocabulary) -> Iterator[Local]:
    """A slope such as 1 - a**2 with the activation of another layer, the ones in it of that size."""
    if not any(isinstance(node, OneMatrix) for node in walk(e)):
        return
    for leaf in leaves(e):
        own = _STEM.match(leaf_name(leaf))
        if own is None or not is_column(leaf):
            continue
        for other in words.names:
            layer = _STEM.match(leaf_name(other))
            if layer is None or layer[1] != own[1] or other == leaf or not is_column(other):
                continue
            with any_shapes():
                value = substitute(e, {leaf: other, ones(leaf.shape[0]): ones(other.shape[0])})
            yield "wrong layer index", value


def _other_entries(e: Expr, words: Vocabulary) -> Iterator[Local]:
    """Other indices of an entry, or the same entry of another matrix."""
    m, i, j = e.args
    if not is_column(m):
        yield "wrong index", MatrixElement(m, j, i)
    used = {a for a in (i, j) if isinstance(a, Symbol)}
    for k in {*words.indices, *used}:
        for at in ((k, j),) if is_column(m) else ((k, j), (i, k)):
            if at != (i, j):
                yield "wrong index", MatrixElement(m, *at)
    if is_leaf(m):
        for kind, other in _other_names(m, words):
            yield kind, MatrixElement(other, i, j)


def _other_numbers(e: Expr) -> Iterator[Local]:
    if e == -1:
        yield "wrong sign", S.One
        return
    yield "wrong sign", -e
    for other in (2 * e, e / 2, e + 1, e - 1):
        if other != 0:
            yield "wrong factor", other


def _products(e: Expr) -> Iterator[Local]:
    factor, rest = split_scale(e)
    factors = list(rest.args) if isinstance(rest, MatMul) else [rest]
    for n in range(len(factors) - 1):
        order = [*factors[:n], factors[n + 1], factors[n], *factors[n + 2 :]]
        if (swapped := tried(lambda o=order: matmul(factor, *o))) is not None:  # type: ignore[misc]
            yield "swapped order", swapped
        a, b = factors[n], factors[n + 1]
        joined = tried(lambda a=a, b=b: hadamard(a, b))  # type: ignore[misc]
        if joined is not None:
            whole = tried(
                lambda n=n, j=joined: matmul(factor, *factors[:n], j, *factors[n + 2 :])  # type: ignore[misc]
            )
            if whole is not None:
                yield "elementwise vs matrix product", whole
        yield from _axis(factor, factors, n)
        # A (v o w) where (A v) o w is meant
        if isinstance(b, HadamardProduct):
            for k, w in enumerate(b.args):
                others = hadamard(*(x for m, x in enumerate(b.args) if m != k))
                outside = tried(
                    lambda n=n, o=others, w=w: hadamard(
                        matmul(factor, *factors[: n + 1], o, *factors[n + 2 :]), w
                    )  # type: ignore[misc]
                )
                if outside is not None:
                    yield "elementwise vs matrix product", outside
    if len(factors) > 2:
        if (reverse := tried(lambda: matmul(factor, *reversed(factors)))) is not None:
            yield "swapped order", reverse
    if len(factors) > 1:
        for n in range(len(factors)):
            kept = [f for m, f in enumerate(factors) if m != n]
            if (fewer := tried(lambda k=kept: matmul(factor, *k))) is not None:  # type: ignore[misc]
                yield "extra factor", fewer


def _axis(factor: Expr, factors: list[Expr], n: int) -> Iterator[Local]:
    """A sum along the other axis: M 1 for M^T 1."""
    if isinstance(factors[n + 1], OneMatrix) and is_column(factors[n + 1]) and not is_column(factors[n]):
        m = factors[n]
        other = tried(lambda: matmul(factor, *factors[:n], transpose(m), ones(m.shape[0]), *factors[n + 2 :]))
        if other is not None:
            yield "wrong axis", other


def _entrywise(e: Expr, words: Vocabulary) -> Iterator[Local]:
    args = list(e.args)
    for n in range(len(args)):
        rest = [a for m, a in enumerate(args) if m != n]
        yield "extra factor", hadamard(*rest)
        m = args[n]
        if isinstance(m, MatMul):  # (A v) o w where A (v o w) is meant
            inside = tried(lambda m=m, r=rest: matmul(*m.args[:-1], hadamard(m.args[-1], *r)))  # type: ignore[misc]
            if inside is not None:
                yield "elementwise vs matrix product", inside
        for k in range(len(args)):
            if k == n:
                continue
            others = [a for i, a in enumerate(args) if i not in (n, k)]
            for left, right in product((args[n], transpose(args[n])), (args[k], transpose(args[k]))):
                joined = tried(lambda a=left, b=right, o=others: hadamard(matmul(a, b), *o))  # type: ignore[misc]
                if joined is not None:
                    yield "elementwise vs matrix product", joined
    yield from _softmax_pullback(args, words)


def _softmax_pullback(args: list[Expr], words: Vocabulary) -> Iterator[Local]:
    """P o (1 - P) o g is the diagonal of the softmax Jacobian only; P o (g - (P o g) 1 1^T) is meant."""
    for p, value in words.softmaxes.items():
        if p not in args:
            continue
        complement = next((a for a in args if a == subtract(ones(*p.shape), p)), None)
        if complement is None:
            continue
        others = [a for a in args if a not in (p, complement)]
        g = hadamard(*others) if others else ones(*p.shape)
        if is_column(p):
            mean = scale(as_scalar(matmul(transpose(p), g)), ones(p.shape[0]))
        elif value.axis == 1:
            mean = matmul(hadamard(p, g), ones(p.shape[1]), transpose(ones(p.shape[1])))
        else:
            mean = matmul(ones(p.shape[0]), transpose(ones(p.shape[0])), hadamard(p, g))
        yield "softmax treated as elementwise", hadamard(p, subtract(g, mean))


def _softmax_jacobian(e: Expr, words: Vocabulary) -> Iterator[Local]:
    inside = e.args[0]
    for p in words.softmaxes:
        if is_column(p) and inside in (
            hadamard(p, subtract(ones(p.shape[0]), p)),
            subtract(p, power(p, 2)),
            subtract(p, hadamard(p, p)),
            p,
        ):
            yield "softmax treated as elementwise", subtract(diag(p), outer(p, p))


def _outer_for_diagonal(inside: Expr) -> Iterator[Local]:
    """diag(a o b) where the table of all products a b^T is meant."""
    kind = "elementwise vs matrix product"
    if isinstance(inside, HadamardPower) and inside.args[1] == 2:
        yield kind, outer(inside.args[0], inside.args[0])
    if isinstance(inside, HadamardProduct) and len(inside.args) == 2:
        a, b = inside.args
        yield kind, outer(a, b)
        yield kind, outer(b, a)


def _sums(e: Expr) -> Iterator[Local]:
    args = list(e.args)
    for n, t in enumerate(args):
        rest = [a for m, a in enumerate(args) if m != n]
        other = tried(lambda n=n, t=t: add(*args[:n], negate(t), *args[n + 1 :]))  # type: ignore[misc]
        if other is not None:
            yield "wrong sign", other
        fewer = tried(lambda r=rest: add(*r))  # type: ignore[misc]
        if rest and fewer is not None:
            yield "extra term", fewer


def _exponents(e: Expr) -> Iterator[Local]:
    base, k = e.args
    for other in (k + 1, k - 1, -k, 2 * k, k / 2):
        if other != 0:
            yield "wrong exponent", power(base, other)
    # (1 - z)^2 where 1 - z^2 is meant
    if isinstance(base, MatAdd | Add):
        for n, t in enumerate(base.args):
            c, rest = split_scale(t) if is_matrix(t) else t.as_coeff_Mul()
            squared = scale(c, power(rest, k))
            yield "wrong exponent", add(*base.args[:n], squared, *base.args[n + 1 :])


def _kernels(e: Expr) -> Iterator[Local]:
    x, w = e.args
    yield "kernel not flipped", type(e)(x, flip(w))
    yield "other", (Correlate if isinstance(e, Convolve) else Convolve)(x, w)


def _slopes(e: Expr, words: Vocabulary) -> Iterator[Local]:
    """A derivative of an activation that is missing, or another one in its place."""
    for a in words.activations:
        if not alike(e, a.slope):
            continue
        yield "missing activation derivative", hadamard(e, a.slope)
        if not isinstance(e, MatAdd):
            yield "wrong activation derivative", a.slope


def _functions(e: Expr, words: Vocabulary) -> Iterator[Local]:
    """The function's slope where the function stands, at the same argument."""
    try:
        yield "wrong activation derivative", derivative(e.name, e.arg, e, *e.parameters)
    except (SymgradError, ValueError, TypeError, KeyError):
        return
    yield "other", e.arg
    if e.name == "relu":
        yield "wrong activation derivative", Elementwise("step", e.arg)


def alike(a: Expr, b: Expr) -> bool:
    """Whether two expressions have the same shape."""
    s, t = shape_of(a), shape_of(b)
    return len(s) == len(t) and all(same_size(p, q) for p, q in zip(s, t, strict=True))


def order_and_transposes(e: Expr, shape: tuple[Expr, ...], most: int = 4) -> Iterator[Edit]:
    """A product of few matrices in every order and with every choice of transposes that has a shape, nearest first."""
    factor, rest = split_scale(e)
    factors = tuple(rest.args) if isinstance(rest, MatMul) else ()
    if not 2 <= len(factors) <= most:
        return
    ways: list[tuple[int, str, Expr, tuple[Expr, Expr]]] = []
    for order in permutations(range(len(factors))):
        for turns in product((False, True), repeat=len(factors)):
            moved = sum(n != k for n, k in enumerate(order))
            changed = sum(turns) + (moved + 1) // 2
            if changed == 0 or changed > 3:
                continue
            parts = [turned(factors[k]) if t else factors[k] for k, t in zip(order, turns, strict=True)]
            value = tried(lambda p=parts: matmul(factor, *p))  # type: ignore[misc]
            if value is None or len(shape_of(value)) != len(shape):
                continue
            if not all(same_size(a, b) for a, b in zip(shape_of(value), shape, strict=True)):
                continue
            if moved:
                kind = "swapped order"
            else:
                lost = any(t and isinstance(factors[k], Transpose) for k, t in zip(order, turns, strict=True))
                kind = "extra transpose" if lost else "missing transpose"
            changes = [n for n, t in enumerate(turns) if t]
            shown = (e, value)
            if not moved and len(changes) == 1:  # the factor says more than the whole product
                shown = (factors[changes[0]], parts[changes[0]])
            ways.append((changed + (1 if moved and any(turns) else 0), kind, value, shown))
    for _, kind, value, shown in sorted(ways, key=lambda w: w[0]):
        yield Edit(kind, value, *shown)


def whole_shape(e: Expr, shape: tuple[Expr, ...]) -> Iterator[Edit]:
    """A claim of another shape made to fit: sums over a batch, a row of ones, a diagonal."""
    own = shape_of(e)
    made: list[tuple[str, Callable[[], Expr]]] = []
    if is_matrix(e) and not shape:
        from symgrad.expr import entry_sum

        made.append(("batch sum missing", lambda: entry_sum(e)))
    if is_matrix(e) and len(shape) == 2:
        rows, cols = own
        if shape[1] == 1:
            made += [
                ("batch sum missing", lambda: matmul(transpose(e), ones(rows))),
                ("batch sum missing", lambda: matmul(e, ones(cols))),
            ]
        if cols == 1 and shape[1] != 1:
            made += [
                ("bias broadcast", lambda: outer(e, ones(shape[1]))),
                ("bias broadcast", lambda: outer(ones(shape[0]), e)),
                ("shape mismatch", lambda: diag(e)),
            ]
        if shape[1] == 1 and same_size(rows, cols):
            made.append(("shape mismatch", lambda: diag(e)))
    if is_scalar(e) and len(shape) == 2:
        made.append(("shape mismatch", lambda: scale(e, ones(*shape))))
        if same_size(*shape):
            made.append(("shape mismatch", lambda: scale(e, eye(shape[0]))))
    for kind, make in made:
        value = tried(make)
        if value is not None:
            yield Edit(kind, value, e, value)


def terms_of(e: Expr) -> tuple[Expr, ...]:
    """The terms of a sum, products distributed over the sums in them; the expression alone if there are too many.

    >>> from symgrad.expr import matrix
    >>> A, B, C = (matrix(name, "n", "n") for name in "ABC")
    >>> terms_of(matmul(A, add(B, C)))
    (A*B, A*C)
    """
    found = _terms(e)
    return (e,) if found is None else tuple(found)


def _terms(e: Expr) -> list[Expr] | None:
    if isinstance(e, MatAdd | Add):
        parts = [_terms(a) for a in e.args]
        flat = [t for p in parts if p is not None for t in p]
        return None if any(p is None for p in parts) or len(flat) > _MOST_TERMS else flat
    if isinstance(e, Transpose):
        inner = _terms(e.arg)
        return None if inner is None else [transpose(t) for t in inner]
    if isinstance(e, MatMul | Mul | HadamardProduct):
        join = hadamard if isinstance(e, HadamardProduct) else matmul
        rows: list[tuple[Expr, ...]] = [()]
        for a in e.args:
            part = _terms(a)
            if part is None or len(part) * len(rows) > _MOST_TERMS:
                return None
            rows = [(*r, t) for r in rows for t in part]
        return [join(*r) for r in rows]
    return [e]


def fits(e: Expr) -> bool:
    """Whether the sizes fit in every part of an expression."""

    def again(node: Expr) -> Expr:
        if is_leaf(node) or not node.args or isinstance(node, MatrixElement):
            return node
        return rebuild(node, tuple(again(a) if isinstance(a, Expr) else a for a in node.args))

    try:
        again(e)
    except (SymgradError, ValueError, TypeError, AttributeError):
        return False
    return True
