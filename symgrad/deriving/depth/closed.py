"""Closed forms of adjoint recurrences, each with its proof by induction from the last layer down.

    g[l-1] = M_l g[l]            g[l] = (prod_{k=l+1..L} M_k) g[L]
    g[l-1] = M_l g[l] + c_{l-1}  g[l] = (prod_{k=l+1..L} M_k) g[L] + sum_{j=l..L-1} (prod_{k=l+1..j} M_k) c_j
    G[l-1] = P_l G[l] Q_l        G[l] = (prod_{k=l+1..L} P_k) G[L] (prod Q_k, k growing to the left)

The factors stand in the order in which the layers are met on the way back. The same for all layers, a product is a power.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sympy import Expr, Mul, Pow, Product, S, Sum, Symbol
from sympy.matrices.expressions.hadamard import HadamardProduct
from sympy.matrices.expressions.matadd import MatAdd
from sympy.matrices.expressions.matmul import MatMul
from sympy.matrices.expressions.matpow import MatPow
from sympy.matrices.expressions.special import Identity
from sympy.matrices.expressions.transpose import Transpose

from symgrad.deriving.backprop import Tidy
from symgrad.deriving.depth.record import DepthSweep
from symgrad.deriving.linear_maps import linear_factor
from symgrad.expr import (
    Commutation,
    Loop,
    MatrixSum,
    OrderedProduct,
    add,
    dependents,
    diag,
    eye,
    gradient,
    is_matrix,
    is_scalar,
    kron,
    matmul,
    matpower,
    rebuild,
    same_size,
    split_scale,
    substitute,
    transpose,
    vec,
    zeros,
)

__all__ = [
    "Recurrence",
    "affine_parts",
    "counter",
    "matrix_closed",
    "ordered_product",
    "over_layers",
    "state_closed",
]


def counter(avoid: Sequence[Expr], taken: set[str]) -> Symbol:
    """A bound index that no name of the model uses."""
    for name in "kjtiqpr":
        if name not in taken and all(name != str(a) for a in avoid):
            return Symbol(name, integer=True, positive=True)
    return Symbol("k_", integer=True, positive=True)


def ordered_product(
    factor: Expr, index: Expr, lower: Expr, upper: Expr, avoid: set[str], direction: int = 1
) -> Expr:
    """Prod of factor(k) for k = lower..upper, k growing to the right; a power where k does not occur."""
    if not factor.has(index):
        length = upper - lower + 1
        return matpower(factor, length) if is_matrix(factor) else Pow(factor, length)
    k = counter([index, *(s for s in (lower + upper).free_symbols)], avoid)
    member = factor.xreplace({index: k})
    if is_scalar(factor):
        return Product(member, (k, lower, upper))
    return OrderedProduct(member, k, lower, upper, direction)


def over_layers(term: Expr, index: Symbol, lower: Expr, upper: Expr) -> Expr:
    """The sum of a term over layers."""
    if is_scalar(term):
        return Sum(term, (index, lower, upper))
    return MatrixSum(term, index, lower, upper)


# --- linear maps ------------------------------------------------------------------------------------------


def affine_parts(e: Expr, x: Expr, tidy: Tidy) -> tuple[Expr, Expr] | None:
    """M and c with e = M x + c, if e has that form."""
    nothing = zeros(*x.shape) if is_matrix(x) else S.Zero
    factor = linear_factor(_linear_part(e, x), x)
    if factor is None:
        return None
    number, rest = split_scale(tidy(factor)) if is_matrix(factor) else (factor, None)
    shown = number if isinstance(rest, Identity) and number != 1 else tidy(factor)
    return shown, tidy(substitute(e, {x: nothing}))


def _linear_part(e: Expr, x: Expr) -> Expr:
    """What is left of e when the terms without x are dropped from every sum."""
    involved = dependents(e, {x})

    def part(node: Expr) -> Expr:
        if node == x or node not in involved:
            return node
        if isinstance(node, MatAdd) or node.is_Add:
            return add(*(part(a) for a in node.args if a in involved))
        return rebuild(node, [part(a) for a in node.args])

    return part(e)


def _two_sided(e: Expr, x: Expr) -> tuple[Expr, Expr] | None:
    """P and Q with e = P x Q, if e is such a product."""
    if e == x:
        return eye(x.shape[0]), eye(x.shape[1])
    if not isinstance(e, MatMul) or [a for a in e.args if a in dependents(e, {x})] != [x]:
        return None
    at = list(e.args).index(x)
    left, right = matmul(*e.args[:at], eye(x.shape[0])), matmul(eye(x.shape[1]), *e.args[at + 1 :])
    return (left, right) if same_size(*left.shape) and same_size(*right.shape) else None


def _vec_factor(e: Expr, x: Expr) -> Expr | None:
    """K with vec(e) = K vec(x) for an e that is linear in the matrix x (Magnus and Neudecker 2019, chapter 2)."""
    involved = dependents(e, {x})

    def factor(node: Expr) -> Expr | None:
        if node == x:
            return eye(x.shape[0] * x.shape[1])
        held = [a for a in node.args if a in involved]
        if isinstance(node, MatAdd):
            parts = [factor(a) for a in held]
            whole = len(held) == len(node.args) and all(p is not None for p in parts)
            return add(*(p for p in parts if p is not None)) if whole else None
        if len(held) != 1 or not is_matrix(held[0]):
            return None
        inner = factor(held[0])
        if inner is None:
            return None
        at = list(node.args).index(held[0])
        if isinstance(node, MatMul):
            scalars = [a for a in node.args[:at] if is_scalar(a)]
            left = matmul(*(a for a in node.args[:at] if is_matrix(a)), eye(held[0].shape[0]))
            right = matmul(eye(held[0].shape[1]), *node.args[at + 1 :])
            return matmul(*scalars, kron(transpose(right), left), inner)
        if isinstance(node, HadamardProduct):
            others = [a for a in node.args if a != held[0]]
            return matmul(diag(vec(rebuild(node, others) if len(others) > 1 else others[0])), inner)
        if isinstance(node, Transpose):
            return matmul(Commutation(*held[0].shape), inner)
        return None

    return factor(e)


# --- closed forms -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recurrence:
    """g[l-1] = factor(l) g[l] + rest(l), for l up to `upper`; `name` is g[l], `last` what g[upper] is.

    `direct` says that g[upper] is rest(upper + 1) alone, so that the last layer is like every other.
    """

    name: Expr
    index: Symbol
    upper: Expr
    factor: Expr
    rest: Expr
    last: Expr
    direct: bool
    premises: tuple[int, ...]
    at_end: tuple[int, ...] = ()  # what says that g[upper] is like every other

    def at(self, where: Expr) -> Expr:
        """The adjoint at a layer, unevaluated."""
        return self.name.xreplace({self.index: where})


def state_closed(out: DepthSweep, r: Recurrence, avoid: set[str], tidy: Tidy) -> tuple[Expr, tuple[int, ...]]:
    """The closed form with what g[L] is put in, and the numbers of the steps that it rests on."""
    nothing = r.rest.is_zero if is_scalar(r.rest) else r.rest == zeros(*r.rest.shape)
    claim = _product_claim if nothing else _sum_claim
    index, upper = r.index, r.upper
    name = r.at(upper)
    stated_as = "depth.closed" if nothing else "depth.affine"
    general = claim(r, index, avoid)
    stated = out.record(stated_as, (r.name, general), r.premises, upper=upper)
    base = out.record(
        "depth.base" if nothing else "depth.affine_base",
        (_at_the_end(r, avoid, nothing), name if not r.direct or nothing else r.last),
        [stated, *r.at_end],
        at=upper,
    )
    last_of = claim(r, index - 1, avoid)
    middle = [matmul(r.factor, general)] if nothing else [add(matmul(r.factor, general), r.rest)]
    first = matmul(r.factor, r.name) if nothing else add(matmul(r.factor, r.name), r.rest)
    step = out.record(
        "depth.step" if nothing else "depth.affine_step",
        (r.at(index - 1), first, *middle, last_of),
        [r.premises[0], stated],
        given={r.name: general},
        hypothesis=general,
    )
    filled = tidy(substitute(general, {name: r.last}) if name != r.last else general)
    if filled == general:
        return filled, (stated, base, step)
    number = out.record(
        "depth.closed" if nothing else "depth.affine_closed",
        (r.name, general, filled),
        [base, step, *r.premises[1:]],
        upper=upper,
    )
    return filled, (number,)


def _product_claim(r: Recurrence, where: Expr, avoid: set[str]) -> Expr:
    return matmul(ordered_product(r.factor, r.index, where + 1, r.upper, avoid), r.at(r.upper))


def _sum_claim(r: Recurrence, where: Expr, avoid: set[str]) -> Expr:
    """The sum of what reaches every later layer directly, carried back by the factors between."""
    last = r.upper if r.direct else r.upper - 1
    j = counter([r.index, *r.upper.free_symbols], avoid | {"k"})
    carried = matmul(
        ordered_product(r.factor, r.index, where + 1, j, avoid), r.rest.xreplace({r.index: j + 1})
    )
    total = over_layers(carried, j, where, last)
    return total if r.direct else add(_product_claim(r, where, avoid), total)


def _at_the_end(r: Recurrence, avoid: set[str], nothing: bool) -> Expr:
    """The closed form at the last layer, products over no layers written out: M^0, or bounds that have crossed."""
    name = r.at(r.upper)
    if nothing:
        if r.factor.has(r.index):
            product = ordered_product(r.factor, r.index, r.upper + 1, r.upper, avoid)
        else:
            product = MatPow(r.factor, S.Zero) if is_matrix(r.factor) else Pow(r.factor, 0, evaluate=False)
        if is_matrix(product):
            return matmul(product, name)
        return MatMul(product, name) if is_matrix(name) else Mul(product, name, evaluate=False)
    return _sum_claim(r, r.upper, avoid)


def matrix_closed(
    out: DepthSweep,
    s: Expr,
    value: Expr,
    loop: Loop,
    premises: tuple[int, int],
    avoid: set[str],
    tidy: Tidy,
) -> None:
    """The closed form for a state that is a matrix: factors on both sides, or a matrix times its stacked columns."""
    name = gradient(out.f, s)
    index, upper = loop.index, loop.upper
    before, last = (gradient(out.f, s.xreplace({index: at})) for at in (index - 1, upper))
    step, end = premises
    sides = _two_sided(value, name)
    if sides is not None:
        left, right = sides

        def claim(where: Expr) -> Expr:
            return matmul(
                ordered_product(left, index, where + 1, upper, avoid),
                last,
                ordered_product(right, index, where + 1, upper, avoid, -1),
            )

        recurrence = out.record("depth.recurrence_sides", (before, value), [step])
        stated = out.record("depth.sides", (name, claim(index)), [recurrence, end], upper=upper)
        out.record("depth.sides_base", (claim(upper), last), [stated])
        out.record(
            "depth.sides_step",
            (before, value, substitute(value, {name: claim(index)}), claim(index - 1)),
            [recurrence, stated],
            given={name: claim(index)},
            hypothesis=claim(index),
        )
        return
    factor = _vec_factor(value, name)
    if factor is None:
        return
    factor = tidy(factor)

    def stacked(where: Expr) -> Expr:
        return matmul(ordered_product(factor, index, where + 1, upper, avoid), vec(last))

    recurrence = out.record(
        "depth.recurrence_vec", (vec(before), vec(value), matmul(factor, vec(name))), [step], factor=factor
    )
    stated = out.record("depth.vec", (vec(name), stacked(index)), [recurrence, end], upper=upper)
    out.record("depth.vec_base", (stacked(upper), vec(last)), [stated])
    out.record(
        "depth.vec_step",
        (vec(before), matmul(factor, vec(name)), matmul(factor, stacked(index)), stacked(index - 1)),
        [recurrence, stated],
        given={vec(name): stacked(index)},
        hypothesis=stacked(index),
    )
