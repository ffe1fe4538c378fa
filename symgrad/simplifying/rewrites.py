"""The rewrites: each a named, one-way step from a node to a shorter one of equal value.

A rewrite gets a node whose parts are simplified already and returns another expression, or None. The driver
(`simplify`) accepts it only if it is shorter, or equally long and earlier in a fixed
order, so rewriting ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sympy import Abs, Add, Dummy, Expr, Mul, Pow, Product, S, Symbol, Wild, cancel, exp, factor_terms, sign
from sympy.core.parameters import distribute
from sympy.matrices.expressions.diagonal import DiagMatrix, DiagonalOf
from sympy.matrices.expressions.hadamard import HadamardPower, HadamardProduct
from sympy.matrices.expressions.inverse import Inverse
from sympy.matrices.expressions.matadd import MatAdd
from sympy.matrices.expressions.matmul import MatMul
from sympy.matrices.expressions.matpow import MatPow
from sympy.matrices.expressions.special import OneMatrix
from sympy.matrices.expressions.transpose import Transpose

from symgrad.expr import (
    AsScalar,
    Elementwise,
    EntrySum,
    MatrixSum,
    OrderedProduct,
    add,
    apply,
    as_scalar,
    entry_sum,
    eye,
    hadamard,
    inverse,
    is_column,
    is_matrix,
    is_scalar,
    matmul,
    matpower,
    same_size,
    scale,
    split_scale,
    transpose,
)
from symgrad.expr.entrywise import function_name, lift, lower
from symgrad.expr.functions import sigmoid
from symgrad.simplifying.cost import Cost
from symgrad.simplifying.properties import Properties

__all__ = ["REWRITES", "Rewrite", "rewrites_for"]

Function = Callable[[Expr, Properties], Expr | None]


@dataclass(frozen=True)
class Rewrite:
    """A named rewrite of nodes of certain classes; the name is the key of its phrase."""

    name: str
    op: tuple[type, ...]
    apply: Function


REWRITES: dict[str, Rewrite] = {}
_BY_TYPE: dict[type, list[Rewrite]] = {}


def rewrite(name: str, *op: type) -> Callable[[Function], Function]:
    """Enter a rewrite into the table."""

    def enter(function: Function) -> Function:
        entry = Rewrite(name, op, function)
        REWRITES[name] = entry
        for cls in op:
            _BY_TYPE.setdefault(cls, []).append(entry)
        return function

    return enter


def rewrites_for(node: Expr) -> list[Rewrite]:
    """The rewrites that may apply to a node."""
    return _BY_TYPE.get(type(node), [])


# --- transposes ------------------------------------------------------------------------------------


@rewrite("symmetric transpose", Transpose)
def symmetric_transpose(node: Expr, known: Properties) -> Expr | None:
    """S^T = S for a symmetric S."""
    return node.arg if known.is_symmetric(node.arg) else None


@rewrite("transpose inside", Transpose)
def transpose_inside(node: Expr, known: Properties) -> Expr | None:
    """(A B)^T = B^T A^T, (A + B)^T = A^T + B^T, where that saves transposes."""
    inner_node = node.arg
    if isinstance(inner_node, MatMul):
        return matmul(*(transpose(f) for f in reversed(inner_node.args)))
    if isinstance(inner_node, MatAdd):
        return add(*(transpose(t) for t in inner_node.args))
    if isinstance(inner_node, HadamardProduct):
        return hadamard(*(transpose(t) for t in inner_node.args))
    return None


@rewrite("inverse of transpose", Inverse)
def inverse_of_transpose(node: Expr, known: Properties) -> Expr | None:
    """(A^T)^-1 = (A^-1)^T: the transpose stands outside."""
    return transpose(inverse(node.arg.arg)) if isinstance(node.arg, Transpose) else None


@rewrite("transposes together", MatMul)
def transposes_together(node: Expr, known: Properties) -> Expr | None:
    """X^T A^T = (A X)^T."""
    c, factors = _factors(node)
    for i, j in _runs(factors, lambda f: isinstance(f, Transpose) and not is_column(f.arg)):
        if j - i >= 2 and j - i != len(factors):
            together = transpose(matmul(*(f.arg for f in reversed(factors[i:j]))))
            return matmul(c, *factors[:i], together, *factors[j:])
    if len(factors) >= 2 and all(isinstance(f, Transpose) for f in factors):
        return scale(c, transpose(matmul(*(f.arg for f in reversed(factors)))))
    return None


def _runs(factors: tuple[Expr, ...], test: Callable[[Expr], bool]) -> Iterator[tuple[int, int]]:
    """The longest runs of neighbours that pass a test, as slices."""
    i = 0
    while i < len(factors):
        j = i
        while j < len(factors) and test(factors[j]):
            j += 1
        if j > i:
            yield i, j
        i = max(j, i + 1)


def _factors(node: Expr) -> tuple[Expr, tuple[Expr, ...]]:
    """The scalar coefficient and the matrix factors of a product."""
    c, rest = split_scale(node)
    return c, rest.args if isinstance(rest, MatMul) else (rest,)


# --- products ----------------------------------------------------------------------------------------


@rewrite("cancel inverse", MatMul)
def cancel_inverse(node: Expr, known: Properties) -> Expr | None:
    """A^-1 A = I; Q^T Q = I for an orthogonal Q."""
    c, factors = _factors(node)
    for i in range(len(factors) - 1):
        if _are_inverse(factors[i], factors[i + 1], known):
            return matmul(c, *factors[:i], eye(factors[i].shape[0]), *factors[i + 2 :])
        for a, b in ((i, i + 1), (i + 1, i)):  # A^-1 (A B) with the product inside a sum is left alone
            inverted = factors[a]
            if isinstance(inverted, Inverse) and isinstance(inverted.arg, MatMul) and a < b:
                inside = _factors(inverted.arg)
                n = len(inside[1])
                if inside[1] == factors[b : b + n]:
                    rest = matmul(c / inside[0], *factors[:a], eye(inverted.shape[0]), *factors[b + n :])
                    return rest
    return None


def _are_inverse(a: Expr, b: Expr, known: Properties) -> bool:
    if isinstance(a, Transpose) and isinstance(b, Transpose):
        a, b = b.arg, a.arg
    if inverse_or_none(a) == b or inverse_or_none(b) == a:
        return True
    if isinstance(a, Transpose) and a.arg == b:
        return known.assumed(b, "orthogonal")
    return isinstance(b, Transpose) and b.arg == a and known.assumed(a, "orthogonal")


def inverse_or_none(m: Expr) -> Expr | None:
    """What `m` is the inverse of."""
    if isinstance(m, Inverse):
        return m.arg
    if isinstance(m, Transpose) and isinstance(m.arg, Inverse):
        return transpose(m.arg.arg)
    return None


@rewrite("inverse of product", MatMul)
def inverse_of_product(node: Expr, known: Properties) -> Expr | None:
    """A^T (A X B)^-T B^T = X^-T for square factors: the inverse of the product exists only if theirs do."""
    c, factors = _factors(node)
    opened: list[Expr] = []
    changed = False
    for f in factors:
        turned = isinstance(f, Transpose)
        inside = f.arg if turned else f
        if isinstance(inside, Inverse) and isinstance(inside.arg, MatMul):
            d, parts = _factors(inside.arg)
            if all(same_size(*p.shape) for p in parts):
                inverses = [inverse(p) for p in reversed(parts)]
                opened += [transpose(p) for p in reversed(inverses)] if turned else inverses
                c, changed = c / d, True
                continue
        opened.append(f)
    if not changed:
        return None
    shorter = list(opened)
    i = 0
    while i < len(shorter) - 1:
        if _are_inverse(shorter[i], shorter[i + 1], known):
            del shorter[i : i + 2]
            i = max(0, i - 1)
        else:
            i += 1
    if len(shorter) == len(opened):
        return None
    return scale(c, matmul(*shorter) if shorter else eye(node.shape[0]))


@rewrite("power of matrix", MatMul)
def power_of_matrix(node: Expr, known: Properties) -> Expr | None:
    """W^j W^k = W^(j+k) where one of the exponents is a symbol."""
    c, factors = _factors(node)
    for i in range(len(factors) - 1):
        (a, j), (b, k) = _base_exponent(factors[i]), _base_exponent(factors[i + 1])
        if a == b and (j.free_symbols or k.free_symbols):
            return matmul(c, *factors[:i], matpower(a, j + k), *factors[i + 2 :])
    return None


def _base_exponent(m: Expr) -> tuple[Expr, Expr]:
    if isinstance(m, MatPow):
        return m.args[0], m.args[1]
    if isinstance(m, Transpose) and isinstance(m.arg, MatPow):
        return transpose(m.arg.args[0]), m.arg.args[1]
    return m, S.One


@rewrite("power of transpose", Transpose)
def power_of_transpose(node: Expr, known: Properties) -> Expr | None:
    """(W^k)^T = (W^T)^k where W is a transpose itself."""
    if isinstance(node.arg, MatPow) and isinstance(node.arg.args[0], Transpose):
        return matpower(node.arg.args[0].arg, node.arg.args[1])
    return None


@rewrite("diagonal times vector", MatMul)
def diagonal_times_vector(node: Expr, known: Properties) -> Expr | None:
    """diag(v) x = v * x entry by entry."""
    c, factors = _factors(node)
    for i in range(len(factors) - 1):
        a, b = factors[i], factors[i + 1]
        if isinstance(a, DiagMatrix) and is_column(b):
            return matmul(c, *factors[:i], hadamard(a.args[0], b), *factors[i + 2 :])
        if isinstance(b, DiagMatrix) and isinstance(a, Transpose) and is_column(a.arg):
            return matmul(c, *factors[:i], transpose(hadamard(a.arg, b.args[0])), *factors[i + 2 :])
    return None


@rewrite("diagonal times ones", MatMul)
def diagonal_times_ones(node: Expr, known: Properties) -> Expr | None:
    """diag(v) 1 = v, also inside a sum: diag(v) (I - 1 p^T) = diag(v) - v p^T."""
    c, factors = _factors(node)
    for i in range(len(factors) - 1):
        a, b = factors[i], factors[i + 1]
        if not isinstance(a, DiagMatrix):
            continue
        if isinstance(b, OneMatrix) and b.shape[1] == 1:
            return matmul(c, *factors[:i], a.args[0], *factors[i + 2 :])
        if isinstance(b, MatAdd) and any(_starts_with_ones(t) for t in b.args):
            spread = add(*(_diagonal_times(a, t) for t in b.args))
            return matmul(c, *factors[:i], spread, *factors[i + 2 :])
    return None


def _starts_with_ones(t: Expr) -> bool:
    first = _factors(t)[1][0]
    return isinstance(first, OneMatrix) and first.shape[1] == 1


def _diagonal_times(d: Expr, t: Expr) -> Expr:
    c, factors = _factors(t)
    if _starts_with_ones(t):
        return matmul(c, d.args[0], *factors[1:])
    return matmul(d, t)


@rewrite("empty product", OrderedProduct, Product)
def empty_product(node: Expr, known: Properties) -> Expr | None:
    """A product over no layers is the identity, one over one layer its only factor."""
    if isinstance(node, Product):
        k, lower, upper = node.limits[0]
        body = node.function
    else:
        k, (lower, upper), body = node.index, node.bounds, node.body
    length = (upper - lower).expand() + 1
    if length.is_zero:
        return S.One if isinstance(node, Product) else eye(node.shape[0])
    return body.xreplace({k: lower}) if length == 1 else None


@rewrite("sum of equal terms", MatrixSum)
def sum_of_equal_terms(node: Expr, known: Properties) -> Expr | None:
    """A sum over a range of what does not depend on it is the number of terms times that."""
    body = node.body
    if isinstance(body, MatMul):  # A^i A^(k-1-i) closes to a power first
        body = power_of_matrix(body, known) or body
    if body.has(node.index):
        return None
    lower, upper = node.bounds
    return scale(upper - lower + 1, body)


@rewrite("sign over absolute value", Mul)
def sign_over_absolute(node: Expr, known: Properties) -> Expr | None:
    """sign(u) / abs(u) = 1 / u, as in the derivative of log abs(u)."""
    if is_matrix(node):
        return None
    for a in node.args:
        if isinstance(a, sign) and Pow(Abs(a.args[0]), -1) in node.args:
            rest = [b for b in node.args if b not in (a, Pow(Abs(a.args[0]), -1))]
            return Mul(Pow(a.args[0], -1), *rest)
    return None


@rewrite("diagonal of product", DiagonalOf)
def diagonal_of_product(node: Expr, known: Properties) -> Expr | None:
    """The diagonal of x y^T is x * y entry by entry."""
    m = node.args[0]
    if isinstance(m, MatMul) and len(m.args) == 2 and is_column(m.args[0]) and m.args[1].shape[0] == 1:
        return hadamard(m.args[0], transpose(m.args[1]))
    return None


@rewrite("product of ones", MatMul)
def product_of_ones(node: Expr, known: Properties) -> Expr | None:
    """1 1^T is the matrix of ones, 1^T 1 its size, and what sums to one gives ones."""
    c, factors = _factors(node)
    for i in range(len(factors) - 1):
        a, b = factors[i], factors[i + 1]
        if isinstance(a, OneMatrix) and isinstance(b, OneMatrix):
            size = a.shape[1]
            merged = OneMatrix(a.shape[0], b.shape[1], evaluate=False)
            return matmul(c, size, *factors[:i], merged, *factors[i + 2 :])
        if isinstance(b, OneMatrix) and not isinstance(a, Transpose) and known.sums_to_one(a, 1):
            merged = OneMatrix(a.shape[0], b.shape[1], evaluate=False)
            return matmul(c, *factors[:i], merged, *factors[i + 2 :])
        if isinstance(b, OneMatrix) and isinstance(a, Transpose) and known.sums_to_one(a.arg, 0):
            merged = OneMatrix(a.shape[0], b.shape[1], evaluate=False)
            return matmul(c, *factors[:i], merged, *factors[i + 2 :])
    return None


@rewrite("scalar inside", MatMul)
def scalar_inside(node: Expr, known: Properties) -> Expr | None:
    """X (y^T A z) is a scalar times a vector: a 1 x 1 run of factors is a scalar."""
    c, factors = _factors(node)
    for i, f in enumerate(factors):
        if f.shape[0] == 1:
            for j in range(i + 1, len(factors)):
                if factors[j].shape[1] == 1 and (i > 0 or j < len(factors) - 1):
                    return matmul(c, as_scalar(matmul(*factors[i : j + 1])), *factors[:i], *factors[j + 1 :])
    return None


# --- scalars made of matrices ------------------------------------------------------------------------


@rewrite("scalar equals its transpose", AsScalar)
def scalar_transposed(node: Expr, known: Properties) -> Expr | None:
    """y^T A^T x = x^T A y: the form with fewer transposes, then the first in the alphabet."""
    if isinstance(node.arg, MatMul):
        return as_scalar(matmul(*(transpose(f) for f in reversed(node.arg.args))))
    return None


@rewrite("sum of entries", AsScalar)
def ones_around(node: Expr, known: Properties) -> Expr | None:
    """1^T X 1 is the sum of the entries of X, x^T 1 that of x."""
    if not isinstance(node.arg, MatMul):
        return None
    factors = list(node.arg.args)
    if isinstance(factors[0], OneMatrix):
        factors.pop(0)
        if isinstance(factors[-1], OneMatrix) and len(factors) > 1:
            factors.pop()
    elif isinstance(factors[-1], OneMatrix):
        factors.pop()
    else:
        return None
    inside = matmul(*factors)
    if is_scalar(inside):
        return None
    return entry_sum(transpose(inside) if is_column(transpose(inside)) else inside)


@rewrite("what sums to one", EntrySum)
def what_sums_to_one(node: Expr, known: Properties) -> Expr | None:
    """The sum of the entries of probabilities is 1 (times the number of rows or columns)."""
    m = node.arg
    if is_column(m):
        return S.One if known.sums_to_one(m, None) else None
    if known.sums_to_one(m, 1):
        return m.shape[0]
    if known.sums_to_one(m, 0):
        return m.shape[1]
    return None


@rewrite("sum of transposed entries", EntrySum)
def sum_of_transposed(node: Expr, known: Properties) -> Expr | None:
    """The entries of X^T are those of X; the sum of a sum is the sum of the sums where one of them closes."""
    if isinstance(node.arg, Transpose):
        return entry_sum(node.arg.arg)
    if isinstance(node.arg, MatAdd):
        return add(*(entry_sum(t) for t in node.arg.args))
    return None


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


# --- entry by entry -----------------------------------------------------------------------------------


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


def _hidden(e: Expr) -> tuple[Expr, dict[Expr, Expr]]:
    """The scalar with a symbol for every part that holds matrices: SymPy's algebra must not look into them."""
    names: dict[Expr, Expr] = {}

    def hide(part: Expr) -> Expr:
        if isinstance(part, Dummy | Symbol) or part.is_Number:
            return part
        if isinstance(part, Add | Mul | Pow | exp) or function_name(part) is not None:
            with distribute(False):
                return part.func(*(hide(a) for a in part.args))
        if part not in names:
            names[part] = Dummy(f"s{len(names)}", positive=part.is_positive, real=True)
        return names[part]

    return hide(e), {v: k for k, v in names.items()}


@rewrite("entry by entry", HadamardProduct, MatAdd)
def entry_algebra(node: Expr, known: Properties) -> Expr | None:
    """Scalar algebra on one entry: cancel, collect, factor; the shortest form that SymPy finds."""
    if not is_matrix(node) or isinstance(node, MatMul):
        return None
    if not (_has_reciprocal(node) or (isinstance(node, HadamardProduct) and _repeats(node))):
        return None
    entry, atoms = lower(node)
    entry, scalars = _hidden(entry)
    best: Expr | None = None
    cost = Cost()
    limit = cost(node)
    with distribute(False):
        forms = [_functions(entry), cancel(entry), factor_terms(cancel(entry))]
    forms.append(forms[1].factor())
    for form in forms:
        candidate = lift(form.xreplace(scalars), atoms, node.shape)
        if cost(candidate) < limit:
            best, limit = candidate, cost(candidate)
    return best


def _functions(entry: Expr) -> Expr:
    """Quotients of exponentials as sigmoids: exp(u) / (1 + exp(u)), 1 / (1 + exp(-u))."""
    u = Wild("u")
    entry = entry.replace(exp(u) * Pow(1 + exp(u), -1), sigmoid(u))
    return entry.replace(Pow(1 + exp(-u), -1), sigmoid(u))


@rewrite("softplus", Elementwise)
def softplus(node: Expr, known: Properties) -> Expr | None:
    """The log of one plus an exponential is a softplus."""
    if node.name != "log" or not isinstance(node.arg, MatAdd) or len(node.arg.args) != 2:
        return None
    for one, other in (node.arg.args, node.arg.args[::-1]):
        if isinstance(one, OneMatrix) and isinstance(other, Elementwise) and other.name == "exp":
            return apply("softplus", other.arg)
    return None


# --- sums --------------------------------------------------------------------------------------------


@rewrite("like terms", MatAdd)
def like_terms(node: Expr, known: Properties) -> Expr | None:
    """2 A + A = 3 A."""
    collected: dict[Expr, tuple[Expr, Expr]] = {}
    for t in node.args:
        c, rest = split_scale(t)
        key = _canonical_entries(rest)
        shown, so_far = collected.get(key, (rest, S.Zero))
        collected[key] = (shown, add(so_far, c))
    if len(collected) == len(node.args):
        return None
    return add(*(scale(c, shown) for shown, c in collected.values()))


def _canonical_entries(m: Expr) -> Expr:
    """Entrywise factors in a fixed order, since they commute."""
    if isinstance(m, HadamardProduct):
        return hadamard(*sorted(m.args, key=str))
    return m


@rewrite("common factor", MatAdd)
def common_factor(node: Expr, known: Properties) -> Expr | None:
    """A B + A C = A (B + C), and a common scalar in front."""
    split = [_factors(t) for t in node.args]
    coefficient = _common_scalar([c for c, _ in split])
    if coefficient is not S.One:
        rest = add(*(scale(c / coefficient, matmul(*f)) for c, f in split))
        return scale(coefficient, rest)
    for side in (0, -1):
        for i, (_, f) in enumerate(split):
            same = [j for j, (_, g) in enumerate(split) if len(g) > 0 and g[side] == f[side]]
            if len(same) < 2 or same[0] != i or isinstance(f[side], OneMatrix):
                continue
            inside = []
            for j in same:
                c, g = split[j]
                rest = g[1:] if side == 0 else g[:-1]
                size = g[side].shape[1] if side == 0 else g[side].shape[0]
                one = S.One if size == 1 else eye(size)
                inside.append(scale(c, matmul(*rest) if rest else one))
            factored = (f[side], add(*inside)) if side == 0 else (add(*inside), f[side])
            later = [t for j, t in enumerate(node.args) if j > i and j not in same]
            return add(*node.args[:i], matmul(*factored), *later)
    return None


@rewrite("terms with one coefficient", MatAdd)
def terms_with_one_coefficient(node: Expr, known: Properties) -> Expr | None:
    """A common coefficient of some terms goes in front of them: c A + B + c A^T = c (A + A^T) + B."""
    split = [split_scale(t) for t in node.args]
    for i, (c, _) in enumerate(split):
        same = [j for j, (d, _) in enumerate(split) if d == c]
        if c.is_Number or len(same) < 2 or same[0] != i or len(same) == len(split):
            continue
        together = scale(c, add(*(split[j][1] for j in same)))
        return add(*node.args[:i], together, *(t for j, t in enumerate(node.args) if j > i and j not in same))
    return None


def _common_scalar(coefficients: list[Expr]) -> Expr:
    """The scalar that every coefficient shares, a sign where all have it."""
    if len(coefficients) < 2:
        return S.One
    first = coefficients[0]
    shared = S.One
    for factor in Mul.make_args(first):
        if factor.is_Number:
            numbers = [abs(c.as_coeff_Mul()[0]) for c in coefficients]
            if all(n == numbers[0] for n in numbers) and numbers[0] != 1:
                shared = shared * numbers[0]
        elif all(factor in Mul.make_args(c) for c in coefficients):
            shared = shared * factor
    if all(c.could_extract_minus_sign() for c in coefficients):
        shared = -shared
    return shared


# --- scalar algebra -----------------------------------------------------------------------------------


@rewrite("scalar algebra", Mul, Add)
def scalar_algebra(node: Expr, known: Properties) -> Expr | None:
    """SymPy's cancellation, where a sum meets a quotient."""
    if is_matrix(node) or not _sum_meets_quotient(node):
        return None
    hidden, back = _hidden(node)
    forms = [cancel(hidden), cancel(hidden).factor()]
    cost = Cost()
    return min((f.xreplace(back) for f in forms), key=cost)


def _sum_meets_quotient(node: Expr) -> bool:
    def is_quotient(e: Expr) -> bool:
        return isinstance(e, Pow) and bool(e.args[1].could_extract_minus_sign())

    if isinstance(node, Mul):
        return any(map(is_quotient, node.args)) and any(isinstance(a, Add) for a in node.args)
    factors = [f for t in node.args for f in Mul.make_args(t)]
    return any(map(is_quotient, factors)) and any(isinstance(f, Add) for f in factors)
