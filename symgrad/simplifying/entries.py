"""Entry by entry: the scalar algebra of one entry, lifted back to matrices."""

from __future__ import annotations

from collections.abc import Iterator

from sympy import Dummy, Expr, Mul, Pow, S, cancel, factor_terms
from sympy.core.parameters import distribute
from sympy.matrices.expressions.hadamard import HadamardPower, HadamardProduct
from sympy.matrices.expressions.matadd import MatAdd
from sympy.matrices.expressions.matmul import MatMul
from sympy.matrices.expressions.special import Identity, OneMatrix
from sympy.matrices.expressions.transpose import Transpose

from symgrad.expr import (
    AsScalar,
    Elementwise,
    add,
    apply,
    entry_sum,
    hadamard,
    is_matrix,
    is_scalar,
    matmul,
    negate,
    ones,
    power,
    scale,
    split_scale,
    subtract,
)
from symgrad.expr.entrywise import lift, lower
from symgrad.simplifying.cost import Cost
from symgrad.simplifying.properties import Properties
from symgrad.simplifying.scalars import hidden_matrices, hidden_parts, meeting, over_factors, signs_turned
from symgrad.simplifying.table import factors_of, rewrite, turned


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
    if not is_matrix(node):
        return None
    if not isinstance(node, MatMul) and not (
        _has_reciprocal(node) or (_by_entries(node) and _repeats(node)) or _may_meet(node)
    ):
        return None
    cost, best = Cost(), None
    limit = cost(node)
    whole = _sums_said_again(node)
    for kept in ({}, whole) if whole else ({},):
        for candidate in _forms(node, known, dict(kept)):
            if cost(candidate) < limit:
                best, limit = candidate, cost(candidate)
    return best


def _sums_said_again(node: Expr) -> dict[Expr, Expr]:
    """A symbol for every sum that stands in two places: r in r / (1 + r^2) is not multiplied out."""
    seen: dict[Expr, int] = {}
    stack = [node]
    while stack:
        m = stack.pop()
        if isinstance(m, MatAdd) and m != node:
            seen[m] = seen.get(m, 0) + 1
        if (
            isinstance(m, MatAdd | HadamardProduct | HadamardPower | Elementwise)
            or split_scale(m)[0] is not S.One
        ):
            stack.extend(a for a in m.args if is_matrix(a))
    return {m: Dummy(f"r{i}", real=True) for i, (m, k) in enumerate(seen.items()) if k > 1}


def _forms(node: Expr, known: Properties, kept: dict[Expr, Expr]) -> Iterator[Expr]:
    """What SymPy makes of one entry, lifted back."""
    entry, atoms = lower(node, kept)
    positive = {a: Dummy(a.name, positive=True) for a, m in atoms.items() if known.is_positive(m)}
    if positive:  # sqrt(p q) is sqrt(p) sqrt(q) then
        entry, atoms = entry.xreplace(positive), {positive.get(a, a): m for a, m in atoms.items()}
    entry, scalars = hidden_matrices(entry)
    forms = []
    for hidden, functions in hidden_parts(meeting(entry)):
        with distribute(False):
            reduced = cancel(hidden)
            forms += [
                signs_turned(form).xreplace(functions)
                for form in (
                    hidden,
                    reduced.factor(),
                    factor_terms(reduced),
                    over_factors(reduced),
                    reduced,
                    hidden.expand(),
                )
            ]
    for form in forms:
        candidate = lift(form.xreplace(scalars), atoms, node.shape)
        yield candidate
        _, rest = split_scale(candidate)
        if (
            isinstance(rest, HadamardProduct)
            and (together := powers_of_entries_together(rest, known)) is not None
        ):
            yield scale(split_scale(candidate)[0], together)


@rewrite("number into a quotient", MatMul)
def number_into_a_quotient(node: Expr, known: Properties) -> Expr | None:
    """A^T (r / (1 + r^2 / c^2)) / c^2 = A^T (r / (c^2 + r^2)): a scalar that cancels in a factor made entry by entry."""
    c, factors = factors_of(node)
    below = [f for f in Mul.make_args(c) if not f.is_number and f.as_base_exp()[1].could_extract_minus_sign()]
    if not below or (len(factors) == 1 and not isinstance(factors[0], HadamardProduct)):
        return None
    number = Mul(*below)
    for i, f in enumerate(factors):
        if isinstance(f, HadamardProduct | HadamardPower) and f.has(number, Pow(number, -1)):
            inside = entry_algebra(scale(number, f), known)
            if inside is not None:
                return matmul(c / number, *factors[:i], inside, *factors[i + 1 :])
    return None


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
    """A^T * I = A * I, (A B)^T * I = A B * I, D * I = D for a diagonal D, I * I = I."""
    if isinstance(node, HadamardPower):
        return node.args[0] if isinstance(node.args[0], Identity) and node.args[1].is_positive else None
    for i, f in enumerate(node.args):
        if not isinstance(f, Identity):
            continue
        rest = hadamard(*node.args[:i], *node.args[i + 1 :])
        if known.is_diagonal(rest):
            return rest
        turned_rest = add(*(turned(t, known) for t in (rest.args if isinstance(rest, MatAdd) else (rest,))))
        if turned_rest != rest:
            return hadamard(turned_rest, f)
    return None


@rewrite("powers of entries together", HadamardProduct)
def powers_of_entries_together(node: Expr, known: Properties) -> Expr | None:
    """x^2 / y^2 = (x / y)^2 and sqrt(x) / sqrt(y) = sqrt(x / y): both sides exist where the left one does."""
    powers = [(f, *f.args) for f in node.args if isinstance(f, HadamardPower) and is_scalar(f.args[1])]
    for i, (f, x, j) in enumerate(powers):
        for g, y, k in powers[i + 1 :]:
            if j.is_Rational and abs(j) not in (0, 1) and abs(j) == abs(k):
                base = hadamard(x, y) if j == k else hadamard(x, power(y, S.NegativeOne))
                if j.is_negative and j != k:
                    base, j = hadamard(y, power(x, S.NegativeOne)), k
                return hadamard(power(base, j), *(h for h in node.args if h not in (f, g)))
    return None


@rewrite("zeros and ones", HadamardProduct, HadamardPower)
def zeros_and_ones(node: Expr, known: Properties) -> Expr | None:
    """M * M = M where the entries are 0 or 1, y * y = 1 where they are 1 or -1."""
    if isinstance(node, HadamardPower):
        m, k = node.args
        if not (k.is_Integer and (k.is_positive or known.has_signs(m))):
            return None
        if known.is_binary(m):
            return m
        return (m if k.is_odd else ones(*m.shape)) if known.has_signs(m) else None
    seen: list[Expr] = []
    for f in node.args:
        if f in seen and known.is_binary(f):
            continue
        if f in seen and known.has_signs(f):
            seen.remove(f)
            continue
        seen.append(f)
    if len(seen) == len(node.args):
        return None
    return hadamard(*seen) if seen else ones(*node.shape)


@rewrite("signs in functions", HadamardProduct, HadamardPower, Elementwise)
def signs_in_functions(node: Expr, known: Properties) -> Expr | None:
    """For entries y of 1 and -1: y tanh(y z) = tanh(z), cosh(y z) = cosh(z), s(y z) s(-y z) = s(z) (1 - s(z))."""
    if isinstance(node, Elementwise):
        signs, z = _signs_of(node.arg, known)
        return apply(node.name, z, *node.parameters) if signs is not None and node.name in _EVEN else None
    if isinstance(node, HadamardPower):
        f, k = node.args
        if not (isinstance(f, Elementwise) and f.name in _ODD and k.is_Integer and k.is_even):
            return None
        signs, z = _signs_of(f.arg, known)
        return None if signs is None else power(apply(f.name, z, *f.parameters), k)
    for f in node.args:
        if not isinstance(f, Elementwise):
            continue
        signs, z = _signs_of(f.arg, known)
        if signs is None:
            continue
        if f.name in _ODD and signs in node.args:
            return hadamard(
                *(apply(f.name, z, *f.parameters) if g is f else g for g in node.args if g != signs)
            )
        partner = apply("sigmoid", negate(f.arg))
        if f.name == "sigmoid" and partner in node.args:
            value = apply("sigmoid", z)
            rest = (g for g in node.args if g not in (f, partner))
            return hadamard(value, subtract(ones(*node.shape), value), *rest)
    return None


_ODD = ("sin", "tan", "sinh", "tanh", "arctan", "erf")
_EVEN = ("cos", "cosh", "abs")


def _signs_of(m: Expr, known: Properties) -> tuple[Expr | None, Expr]:
    """Signs y and z in y * z."""
    c, rest = split_scale(m)
    for y in rest.args if isinstance(rest, HadamardProduct) else ():
        if known.has_signs(y):
            return y, scale(c, hadamard(*(z for z in rest.args if z != y)))
    return None, m


@rewrite("softplus", Elementwise)
def softplus(node: Expr, known: Properties) -> Expr | None:
    """The log of one plus an exponential is a softplus."""
    if node.name != "log" or not isinstance(node.arg, MatAdd) or len(node.arg.args) != 2:
        return None
    for one, other in (node.arg.args, node.arg.args[::-1]):
        if isinstance(one, OneMatrix) and isinstance(other, Elementwise) and other.name == "exp":
            return apply("softplus", other.arg)
    return None
