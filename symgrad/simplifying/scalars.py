"""Scalars made of matrices, and scalar algebra, which is SymPy's."""

from __future__ import annotations

from collections.abc import Iterator

from sympy import (
    Abs,
    Add,
    Dummy,
    Expr,
    Mul,
    Pow,
    Rational,
    S,
    Symbol,
    Wild,
    cancel,
    cosh,
    exp,
    factor_terms,
    sign,
    sinh,
    tanh,
)
from sympy.core.parameters import distribute
from sympy.matrices.expressions.hadamard import HadamardPower, HadamardProduct
from sympy.matrices.expressions.matadd import MatAdd
from sympy.matrices.expressions.matmul import MatMul
from sympy.matrices.expressions.special import Identity, OneMatrix
from sympy.matrices.expressions.trace import Trace
from sympy.matrices.expressions.transpose import Transpose

from symgrad.expr import (
    AsScalar,
    Elementwise,
    EntrySum,
    add,
    as_scalar,
    entry_sum,
    hadamard,
    is_column,
    is_matrix,
    is_scalar,
    matmul,
    norm,
    same_size,
    split_scale,
    trace,
    transpose,
)
from symgrad.expr.entrywise import function_name
from symgrad.expr.functions import relu, sigmoid, step
from symgrad.simplifying.cost import Cost
from symgrad.simplifying.products import are_inverse
from symgrad.simplifying.properties import Properties
from symgrad.simplifying.table import rewrite, turned


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


@rewrite("scalar equals its transpose", AsScalar)
def scalar_transposed(node: Expr, known: Properties) -> Expr | None:
    """y^T A^T x = x^T A y: the form with fewer transposes, then the first in the alphabet."""
    if isinstance(node.arg, MatMul):
        return as_scalar(turned(node.arg, known))
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


@rewrite("ones beside what sums to one", AsScalar)
def ones_beside(node: Expr, known: Properties) -> Expr | None:
    """p^T (x + 1) = p^T x + 1 where the entries of p sum to one."""
    m = node.arg
    if not (isinstance(m, MatMul) and len(m.args) == 2 and isinstance(m.args[0], Transpose)):
        return None
    for p, x in ((m.args[0].arg, m.args[1]), (m.args[1], m.args[0].arg)):
        if not isinstance(x, MatAdd) or not known.sums_to_one(p, None):
            continue
        constant = [t for t in x.args if isinstance(split_scale(t)[1], OneMatrix)]
        rest = [t for t in x.args if t not in constant]
        if constant and rest:
            return add(matmul(transpose(p), add(*rest)), *(split_scale(t)[0] for t in constant))
    return None


@rewrite("inner product with itself", AsScalar)
def inner_product_with_itself(node: Expr, known: Properties) -> Expr | None:
    """(c p - q)^T p = c ||p||^2 - q^T p, so that a norm may cancel."""
    m = node.arg
    if not (isinstance(m, MatMul) and len(m.args) == 2 and isinstance(m.args[0], Transpose)):
        return None
    for x, p in ((m.args[0].arg, m.args[1]), (m.args[1], m.args[0].arg)):
        if not isinstance(x, MatAdd):
            continue
        own = [split_scale(t)[0] for t in x.args if split_scale(t)[1] == p]
        rest = [t for t in x.args if split_scale(t)[1] != p]
        if len(own) == 1 and rest and own[0].has(norm(p)):
            return add(own[0] * norm(p) ** 2, matmul(transpose(add(*rest)), p))
    return None


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
    """The entries of X^T are those of X, those of X 1 sum to the same; a sum of sums is taken apart if one closes."""
    if isinstance(node.arg, Transpose):
        return entry_sum(node.arg.arg)
    if isinstance(node.arg, MatMul) and isinstance(node.arg.args[-1], OneMatrix) and is_column(node.arg):
        return entry_sum(matmul(*node.arg.args[:-1]))
    if isinstance(node.arg, MatAdd):
        return add(*(entry_sum(t) for t in node.arg.args))
    return None


@rewrite("trace of product", Trace)
def trace_of_product(node: Expr, known: Properties) -> Expr | None:
    """tr(A^T) = tr(A), tr(x y^T) = y^T x, and tr(A B A^-1) = tr(B)."""
    m = node.arg
    if isinstance(m, Transpose):
        return trace(m.arg)
    if not isinstance(m, MatMul):
        return None
    for i in range(1, len(m.args)):
        if m.args[i].shape[0] == 1:
            return matmul(*m.args[i:], *m.args[:i])
    if are_inverse(m.args[-1], m.args[0], known):
        inside = matmul(*m.args[1:-1])
        return trace(inside) if len(m.args) > 2 else m.shape[0]
    return None


@rewrite("sum of entrywise product", EntrySum)
def sum_of_entrywise_product(node: Expr, known: Properties) -> Expr | None:
    """x^T y, tr(A^T B) or x^T A y where it is one: the entries of A * I sum to tr(A), those of A^-T * A to their size."""
    m = node.arg
    if not isinstance(m, HadamardProduct):
        return None
    for i, f in enumerate(m.args):
        rest = hadamard(*m.args[:i], *m.args[i + 1 :])
        if isinstance(f, Identity):
            return trace(rest)
        if isinstance(f, MatMul) and len(m.args) == 2:
            for j in range(1, len(f.args)):
                if f.args[j].shape[0] == 1:
                    return matmul(transpose(matmul(*f.args[:j])), rest, transpose(matmul(*f.args[j:])))
    if len(m.args) == 2 and are_inverse(transpose(m.args[0]), m.args[1], known):
        return m.shape[0]
    if len(m.args) == 2 and is_column(m):
        return matmul(transpose(m.args[0]), m.args[1])
    if len(m.args) == 2 and same_size(*m.shape):
        for f, g in (m.args, m.args[::-1]):
            if isinstance(g, Transpose):
                return trace(matmul(g.arg, f))
    if len(m.args) == 2 and not any(isinstance(f, Elementwise | HadamardPower | MatAdd) for f in m.args):
        for f, g in (m.args, m.args[::-1]):
            if known.is_symmetric(f) and same_size(*m.shape):
                return trace(matmul(f, g))
    return None


@rewrite("powers of one base", Mul)
def powers_of_one_base(node: Expr, known: Properties) -> Expr | None:
    """a^(p-1) a = a^p."""
    if is_matrix(node):
        return None
    exponents: dict[Expr, list[Expr]] = {}
    for f in node.args:
        base, exponent = f.as_base_exp() if isinstance(f, Pow) else (f, S.One)
        exponents.setdefault(base, []).append(exponent)
    if len(exponents) == len(node.args):
        return None
    with distribute(False):
        return Mul(*(Pow(base, Add(*parts)) for base, parts in exponents.items()))


@rewrite("functions that meet", Mul, Add)
def functions_that_meet(node: Expr, known: Properties) -> Expr | None:
    """exp(u) / (1 + exp(u)) is a sigmoid, sinh(u) / cosh(u) a hyperbolic tangent, relu(u) 1[u > 0] = relu(u)."""
    if is_matrix(node) or not node.has(exp, sinh, step, sigmoid, sign):
        return None
    hidden, back = hidden_matrices(node)
    met = meeting(hidden)
    return None if met == hidden else met.xreplace(back)


def meeting(e: Expr) -> Expr:
    """The scalar expression with functions of one argument put together where they meet."""
    u = Wild("u")
    with distribute(False):
        if e.has(exp):
            e = e.replace(exp(u) * Pow(1 + exp(u), -1), sigmoid(u))
            e = e.replace(exp(-u) * Pow(1 + exp(-u), -1), sigmoid(-u))
            e = e.replace(Pow(1 + exp(-u), -1), sigmoid(u))
        if e.has(sigmoid):
            turned_ones = {s: 1 - sigmoid(-s.args[0]) for s in e.atoms(sigmoid) if _is_turned(s)}
            e = e.xreplace({s: w for s, w in turned_ones.items() if e.has(sigmoid(-s.args[0]))})
            e = e.replace(
                lambda t: (
                    isinstance(t, Add) and len(t.args) == 2 and t.args[0] is S.One and _is_turned(-t.args[1])
                ),
                lambda t: sigmoid(-(-t.args[1]).args[0]),
            )
        if e.has(sinh):
            e = e.replace(sinh(u) * Pow(cosh(u), -1), tanh(u))
        if e.has(step, sign):
            e = e.replace(lambda t: isinstance(t, Mul), _idempotent)
    return e


def _is_turned(e: Expr) -> bool:
    """sigmoid(-u)."""
    return isinstance(e, sigmoid) and e.args[0].could_extract_minus_sign()


def _idempotent(product: Expr) -> Expr:
    """relu(u) 1[u > 0] = relu(u), 1[u > 0]^2 = 1[u > 0], u sign(u) = abs(u)."""
    powers = dict(f.as_base_exp() for f in product.args)
    for base in list(powers):
        u = base.args[0] if base.args else None
        if isinstance(base, step):
            powers[base] = S.One
            if relu(u) in powers:
                del powers[base]
        elif isinstance(base, sign) and powers[base] == 1 and powers.get(u, S.Zero).is_Integer:
            if powers.get(u, S.Zero) > 0:
                powers[u] -= 1
                del powers[base]
                powers[Abs(u)] = powers.get(Abs(u), S.Zero) + 1
    return Mul(*(Pow(b, k) for b, k in powers.items()))


@rewrite("scalar algebra", Mul, Add)
def scalar_algebra(node: Expr, known: Properties) -> Expr | None:
    """SymPy's cancellation and factoring, where sums stand in products or over quotients."""
    if is_matrix(node) or not (_sums_in_products(node) or _shares_a_factor(node)):
        return None
    bare, matrices = hidden_matrices(node)
    cost = Cost()
    forms = []
    for hidden, functions in hidden_parts(meeting(bare)):
        reduced = cancel(hidden)
        for f in (reduced.factor(), reduced, over_factors(reduced), factor_terms(hidden)):
            forms.append(signs_turned(f).xreplace(functions).xreplace(matrices))
    return min(forms, key=cost)


def _shares_a_factor(node: Expr) -> bool:
    """Whether all terms have a factor in common: 2 x exp(-a x) - a x^2 exp(-a x)."""
    if not isinstance(node, Add):
        return False
    bases = [{f.as_base_exp()[0] for f in Mul.make_args(t) if not f.is_number} for t in node.args]
    return bool(set.intersection(*bases))


def hidden_parts(e: Expr) -> Iterator[tuple[Expr, dict[Expr, Expr]]]:
    """With symbols for functions, and for roots of sums too: 1 + x / s over x + s is 1 / s."""
    yield hidden_functions(e)
    roots: dict[Expr, Expr] = {}

    def hide(part: Expr) -> Expr:
        if (
            isinstance(part, Pow)
            and isinstance(part.args[0], Add)
            and part.args[1].is_Rational
            and part.args[1].q == 2
        ):
            return roots.setdefault(part.args[0], Dummy(f"root{len(roots)}", positive=True)) ** part.args[1].p
        with distribute(False):
            return part.func(*(hide(a) for a in part.args)) if isinstance(part, Add | Mul | Pow) else part

    rooted = hide(e)
    if roots:
        hidden, functions = hidden_functions(rooted)
        yield hidden, functions | {s: Pow(base, Rational(1, 2)) for base, s in roots.items()}


def _sums_in_products(node: Expr) -> bool:
    def is_quotient(e: Expr) -> bool:
        return isinstance(e, Pow) and bool(e.args[1].could_extract_minus_sign())

    if isinstance(node, Mul):
        inside = [f for a in node.args if isinstance(a, Add) for t in a.args for f in Mul.make_args(t)]
        return any(map(is_quotient, (*node.args, *inside))) and any(isinstance(a, Add) for a in node.args)
    factors = [f for t in node.args for f in Mul.make_args(t)]
    sums = any(isinstance(f, Add) or (isinstance(f, Pow) and isinstance(f.args[0], Add)) for f in factors)
    shared = len({f.as_base_exp()[0] for f in factors}) < len(factors)
    return sums and (shared or any(map(is_quotient, factors)))


def hidden_matrices(e: Expr) -> tuple[Expr, dict[Expr, Expr]]:
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


def hidden_functions(e: Expr) -> tuple[Expr, dict[Expr, Expr]]:
    """The scalar with a symbol for every function in it, so that only its polynomials are worked on."""
    names: dict[Expr, Expr] = {}

    def hide(part: Expr) -> Expr:
        if isinstance(part, Add | Mul | Pow) and not isinstance(part, exp):
            with distribute(False):
                return part.func(*(hide(a) for a in part.args))
        if not part.args:
            return part
        return names.setdefault(part, Dummy(f"f{len(names)}", positive=part.is_positive, real=True))

    return hide(e), {v: k for k, v in names.items()}


def over_factors(quotient: Expr) -> Expr:
    """The numerator as it is over the factors of the denominator: (1 - x^2) / (1 + x^2)^2."""
    above, below = quotient.as_numer_denom()
    with distribute(False):
        return Mul(above, Pow(below.factor(), -1))


def signs_turned(product: Expr) -> Expr:
    """(a - 1) as -(1 - a) in a product: books print a (1 - a), (p - y) / (p (1 - p))."""
    number, rest = product.as_coeff_Mul()
    negative = bool(number.is_negative)
    factors: list[Expr] = [abs(number)]
    with distribute(False):
        for f in Mul.make_args(rest):
            base, exponent = f.as_base_exp()
            constant = base.as_coeff_Add()[0] if isinstance(base, Add) else S.Zero
            if constant.is_negative and exponent.is_Integer:
                negative ^= bool(exponent.is_odd)
                f = Pow(Add(*(-t for t in base.args)), exponent)
            factors.append(f)
        if not negative:
            return Mul(*factors)
        for i, f in enumerate(factors):  # the sign goes into a difference
            if (
                isinstance(f, Add)
                and len(f.args) == 2
                and sum(t.could_extract_minus_sign() for t in f.args) == 1
            ):
                if not f.as_coeff_Add()[0]:
                    return Mul(*factors[:i], Add(*(-t for t in f.args)), *factors[i + 1 :])
        return Mul(S.NegativeOne, *factors)
