"""Entry by entry: the scalar algebra of one entry, lifted back to matrices."""

from __future__ import annotations

from sympy import Expr, S, cancel, factor_terms
from sympy.core.parameters import distribute
from sympy.matrices.expressions.hadamard import HadamardPower, HadamardProduct
from sympy.matrices.expressions.matadd import MatAdd
from sympy.matrices.expressions.matmul import MatMul
from sympy.matrices.expressions.special import Identity, OneMatrix
from sympy.matrices.expressions.transpose import Transpose

from symgrad.expr import (
    AsScalar,
    Elementwise,
    apply,
    entry_sum,
    hadamard,
    is_matrix,
    split_scale,
)
from symgrad.expr.entrywise import lift, lower
from symgrad.simplifying.cost import Cost
from symgrad.simplifying.properties import Properties
from symgrad.simplifying.scalars import hidden_functions, hidden_matrices, meeting, over_factors, signs_turned
from symgrad.simplifying.table import rewrite


@rewrite("inner product entry by entry", AsScalar)
def inner_by_entries(node: Expr, known: Properties) -> Expr | None:
    """x^T y is the sum of the entries of x * y, where something cancels in x * y."""
    m = node.arg
    if not (isinstance(m, MatMul) and len(m.args) == 2 and isinstance(m.args[0], Transpose)):
        return None
    x, y = m.args[0].arg, m.args[1]
    if not (_has_reciprocal(x) or _has_reciprocal(y)):
        return None
    together = entry_algebra(hadamard(x, y), known)
    return None if together is None else entry_sum(together)


def _has_reciprocal(m: Expr) -> bool:
    if isinstance(m, HadamardPower):
        return bool(m.args[1].could_extract_minus_sign())
    if isinstance(m, MatMul):
        return (
            any(_has_reciprocal(a) for a in m.args if is_matrix(a))
            if split_scale(m)[0] is not S.One
            else False
        )
    if isinstance(m, MatAdd | HadamardProduct):
        return any(_has_reciprocal(a) for a in m.args)
    return False


def _repeats(m: Expr) -> bool:
    """Whether an atom occurs in two of the factors or terms of an elementwise expression."""
    seen: set[Expr] = set()
    for a in m.args:
        _, rest = split_scale(a)
        atoms = set(lower(rest)[1].values())
        if atoms & seen:
            return True
        seen |= atoms
    return False


@rewrite("entry by entry", HadamardProduct, MatAdd)
def entry_algebra(node: Expr, known: Properties) -> Expr | None:
    """Scalar algebra on one entry: cancel, collect, factor; the shortest form that SymPy finds."""
    if not is_matrix(node) or isinstance(node, MatMul):
        return None
    if not (_has_reciprocal(node) or (_by_entries(node) and _repeats(node)) or _may_meet(node)):
        return None
    entry, atoms = lower(node)
    entry, scalars = hidden_matrices(entry)
    best: Expr | None = None
    cost = Cost()
    limit = cost(node)
    entry = meeting(entry)
    hidden, functions = hidden_functions(entry)
    with distribute(False):
        reduced = cancel(hidden)
        forms = [
            hidden,
            reduced.factor(),
            factor_terms(reduced),
            over_factors(reduced),
            reduced,
            hidden.expand(),
        ]
    for form in forms:
        candidate = lift(signs_turned(form).xreplace(functions).xreplace(scalars), atoms, node.shape)
        if cost(candidate) < limit:
            best, limit = candidate, cost(candidate)
    return best


def _by_entries(m: Expr) -> bool:
    """Whether it is more than a sum of vectors (or matrices) with coefficients."""
    entrywise = HadamardProduct | HadamardPower | Elementwise
    return isinstance(m, HadamardProduct) or any(isinstance(split_scale(a)[1], entrywise) for a in m.args)


def _may_meet(m: Expr) -> bool:
    """Whether functions stand side by side that may go together."""
    names = {a.name for a in m.args if isinstance(a, Elementwise)}
    return len(names) > 1 and bool(names & {"step", "sign", "sinh"})


@rewrite("entrywise product with identity", HadamardProduct, HadamardPower)
def product_with_identity(node: Expr, known: Properties) -> Expr | None:
    """A^T * I = A * I, D * I = D for a diagonal D, I * I = I."""
    if isinstance(node, HadamardPower):
        return node.args[0] if isinstance(node.args[0], Identity) and node.args[1].is_positive else None
    for i, f in enumerate(node.args):
        if not isinstance(f, Identity):
            continue
        rest = hadamard(*node.args[:i], *node.args[i + 1 :])
        if known.is_diagonal(rest):
            return rest
        if isinstance(rest, Transpose):
            return hadamard(rest.arg, f)
    return None


@rewrite("softplus", Elementwise)
def softplus(node: Expr, known: Properties) -> Expr | None:
    """The log of one plus an exponential is a softplus."""
    if node.name != "log" or not isinstance(node.arg, MatAdd) or len(node.arg.args) != 2:
        return None
    for one, other in (node.arg.args, node.arg.args[::-1]):
        if isinstance(one, OneMatrix) and isinstance(other, Elementwise) and other.name == "exp":
            return apply("softplus", other.arg)
    return None
