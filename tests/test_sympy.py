"""SymPy in and out: expressions as SymPy users write them, above all those that SymPy's own derivative gets wrong.

Every answer is compared with differences of the user's own expression, worked out by SymPy with numbers put in: no
line of symgrad takes part in that.
"""

from __future__ import annotations

import functools
import pickle
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import sympy
from sympy import (
    BlockMatrix,
    Determinant,
    Expr,
    Function,
    HadamardPower,
    HadamardProduct,
    Identity,
    Lambda,
    MatrixSymbol,
    OneMatrix,
    Sum,
    Trace,
    exp,
    hadamard_product,
    lambdify,
    log,
    sin,
    sqrt,
    symbols,
    tanh,
)
from sympy.matrices.expressions.kronecker import KroneckerProduct

from symgrad import Derivation, SymgradError, derive
from symgrad.expr import written_out
from symgrad.rendering import to_sympy

m, n, d, k, c, p = symbols("m n d k c p", integer=True, positive=True)
i, j = symbols("i j", integer=True)
t, lam = symbols("t lam")
SIZES = {m: 3, n: 5, d: 4, k: 6, c: 7, p: 3}
NUMBERED = {size: sympy.Integer(value) for size, value in SIZES.items()}


def _m(name: str, *shape: Expr) -> MatrixSymbol:
    return MatrixSymbol(name, *shape)


A, B, D, W, Y = _m("A", m, n), _m("B", k, n), _m("D", n, d), _m("W", d, k), _m("Y", n, k)
S, X = _m("S", n, n), _m("X", n, n)
a, b, x, y = (_m(v, n, 1) for v in "abxy")
w, z, q, h0 = _m("w", d, 1), _m("z", c, 1), _m("q", c, 1), _m("h0", n, 1)
P1, P2, W1, W2, W3, w2 = (
    _m("P1", d, m),
    _m("P2", m, k),
    _m("W1", m, n),
    _m("W2", k, m),
    _m("W3", k, m),
    _m("w2", k, 1),
)
M, T, U, V, am = _m("M", m, n), _m("T", m, n), _m("U", m, k), _m("V", n, k), _m("am", m, 1)
B11, B12, B21, B22, xm = _m("B11", n, n), _m("B12", n, m), _m("B21", m, n), _m("B22", m, m), _m("xm", m, 1)
s = Function("s")


def logistic(u: Expr) -> Expr:
    return 1 / (1 + exp(-u))


def ones(size: Expr) -> OneMatrix:
    return OneMatrix(size, 1)


E = D * W - Y
NET = (D * P1).applyfunc(s) * P2 - Y
H1 = (X * h0 + x).applyfunc(tanh)
H2 = (X * H1 + x).applyfunc(tanh)
CENTRED = x - OneMatrix(n, n) * x / n
MASKED = hadamard_product(M, T - U * V.T)
BLOCKS = (BlockMatrix([[B11, B12], [B21, B22]]) * BlockMatrix([[x], [xm]])).applyfunc(tanh)
YES, NO = ((D * w).applyfunc(Lambda(t, log(f))) for f in (logistic(t), 1 - logistic(t)))


@dataclass(frozen=True)
class Case:
    name: str
    f: Expr
    wrt: Expr
    answer: str
    kind: str = "gradient"


WRONG_IN_SYMPY = [
    Case("two traces", Trace(A.T * A) + Trace(B.T * B), A, "2 * A"),
    Case("ridge regression", Trace(E.T * E) + lam * Trace(W.T * W), W, "2 * lam * W + 2 * D.T @ (D @ W - Y)"),
    Case("a trace and a number", Trace(X) + 1, X, "eye(n)"),
    Case("log of a determinant", log(Determinant(X)), X, "inv(X).T"),
    Case("log det of a Gram matrix", log(Determinant(D.T * D)), D, "2 * D @ inv(D.T @ D)"),
    Case(
        "normal log-likelihood",
        log(Determinant(S)) / 2 + ((a - b).T * S.inv() * (a - b))[0, 0] / 2,
        S,
        "inv(S).T @ (eye(n) - outer(a - b, inv(S) @ (a - b))) / 2",
    ),
    Case("cross-entropy", log((ones(c).T * z.applyfunc(exp))[0, 0]) - (q.T * z)[0, 0], z, "softmax(z) - q"),
    Case(
        "sum over samples", Sum(log(1 + exp((D[i, :] * w)[0, 0])), (i, 0, n - 1)), w, "D.T @ sigmoid(D @ w)"
    ),
    Case(
        "sum over entries", Sum(X[i, j] * x[i, 0] * x[j, 0], (i, 0, n - 1), (j, 0, n - 1)), x, "(X + X.T) @ x"
    ),
    Case("trace of a power", Trace(X**p), X, "p * matrix_power(X.T, p - 1)"),
    Case(
        "bilinear form of a power",
        a.T * X**p * b,
        X,
        "sum(i in 0..p-1, outer(matrix_power(X.T, i) @ a, b) @ matrix_power(X.T, p - i - 1))",
    ),
    Case(
        "two-layer network", Trace(NET.T * NET), P1, "2 * D.T @ (((s(D @ P1) @ P2 - Y) @ P2.T) * s'(D @ P1))"
    ),
    Case("logistic loss", -y.T * YES - (ones(n) - y).T * NO, w, "D.T @ (sigmoid(D @ w) - y)"),
    Case(
        "vector over a square",
        x / Trace(x.T * x),
        x,
        "(eye(n) - 2 * outer(x, x) / (x @ x)) / (x @ x)",
        "jacobian",
    ),
]

BLOCK_ANSWER = "B21.T @ (1 - tanh(B21 @ x + B22 @ xm)**2) + B11.T @ (1 - tanh(B11 @ x + B12 @ xm)**2)"
WEIGHTED = Sum(A[i, j] * x[j, 0] * am[i, 0] * b[j, 0], (i, 0, m - 1), (j, 0, n - 1))

CRASHING_IN_SYMPY = [
    Case("log-sum-exp", (ones(c).T * z.applyfunc(exp)).applyfunc(log), z, "softmax(z)"),
    Case(
        "three layers",
        w2.T * (W3 * (W1 * x).applyfunc(tanh)).applyfunc(tanh),
        W1,
        "outer((W3.T @ (w2 * (1 - tanh(W3 @ tanh(W1 @ x))**2))) * (1 - tanh(W1 @ x)**2), x)",
    ),
    Case(
        "three layers by the input",
        w2.T * (W3 * (W1 * x).applyfunc(tanh)).applyfunc(tanh),
        x,
        "W1.T @ ((W3.T @ (w2 * (1 - tanh(W3 @ tanh(W1 @ x))**2))) * (1 - tanh(W1 @ x)**2))",
    ),
    Case(
        "squared error of a layer",
        ((W1 * x).applyfunc(tanh) - am).T * ((W1 * x).applyfunc(tanh) - am),
        W1,
        "2 * outer((tanh(W1 @ x) - am) * (1 - tanh(W1 @ x)**2), x)",
    ),
    Case(
        "a layer and a row",
        w2.T * W2 * (W1 * x).applyfunc(tanh),
        W1,
        "outer((W2.T @ w2) * (1 - tanh(W1 @ x)**2), x)",
    ),
    Case(
        "a layer by its inner weights",
        W2 * (W1 * x).applyfunc(tanh),
        W1,
        "kron(x.T, W2 @ diag(1 - tanh(W1 @ x)**2))",
        "jacobian",
    ),
    Case("recurrent network", (H2 - y).T * (H2 - y), X, ""),
    Case("masked factorisation", Trace(MASKED.T * MASKED), U, "-2 * ((T - U @ V.T) * M * M) @ V"),
    Case("masked sum", ones(m).T * MASKED * ones(n), U, "-M @ V"),
    Case(
        "margin loss",
        ones(n).T * hadamard_product(-y, D * w).applyfunc(Lambda(t, log(1 + exp(t)))),
        w,
        "-D.T @ (y * sigmoid(-y * (D @ w)))",
    ),
    Case("square of a bilinear form", (a.T * X * b) ** 2, X, "2 * (a @ X @ b) * outer(a, b)"),
    Case("cosine", (a.T * x) / sqrt(x.T * x), x, "(a - (a @ x) * x / (x @ x)) / sqrt(x @ x)"),
    Case("layer norm", a.T * (CENTRED / sqrt((CENTRED.T * CENTRED)[0, 0] / n + lam)), x, ""),
    Case("trace of a Kronecker product", Trace(KroneckerProduct(X, B22)), B22, "tr(X) * eye(m)"),
    Case(
        "block network",
        ones(n + m).T * BLOCKS,
        x,
        BLOCK_ANSWER,
    ),
]

AS_USERS_WRITE = [
    Case("entry of a product", (x.T * X * x)[0, 0], x, "(X + X.T) @ x"),
    Case("powers by entry", Trace(HadamardPower(A, 3).T * A), A, "4 * A**3"),
    Case("entrywise product", Trace(HadamardProduct(A, M).T * T), A, "M * T"),
    Case("a root of a sum", sqrt(Trace(A.T * A)), A, ""),
    Case("a lambda", ones(n).T * x.applyfunc(lambda u: u**2 * exp(-u)), x, ""),
    Case("inverse and identity", a.T * (X + lam * Identity(n)).inv() * b, X, ""),
    Case("trace of a block matrix", Trace(BlockMatrix([[X * X, B12], [B21, B22]])), X, "2 * X.T"),
    Case("sum of squares", Sum(A[i, j] ** 2, (i, 0, m - 1), (j, 0, n - 1)), A, "2 * A"),
    Case("diagonal", Sum(X[i, i] * x[i, 0], (i, 0, n - 1)), X, "diag(x)"),
    Case("weighted products", WEIGHTED, A, "outer(am, b * x)"),
    Case("scalar variable", lam**2 * Trace(A.T * A), lam, "2 * lam * tr(A.T @ A)"),
]


@functools.cache
def derivation(case: Case) -> Derivation:
    return derive(case.f, case.wrt, kind=case.kind)  # type: ignore[arg-type]


CASES = [*WRONG_IN_SYMPY, *CRASHING_IN_SYMPY, *AS_USERS_WRITE]


def numbers(e: Expr, point: dict[Expr, object]) -> np.ndarray:
    """The value of a SymPy expression, by SymPy: sizes first, so that sums are written out, then the entries."""
    e = e.replace(s, sin).replace(Function("s'"), sympy.cos).xreplace(NUMBERED)
    e = e.replace(lambda part: isinstance(part, Sum), lambda part: part.doit(deep=False))
    e = e.subs(point).doit()
    e = e.as_explicit().doit() if hasattr(e, "as_explicit") else e
    e = e if e.is_Matrix else sympy.Matrix([[e]])
    return np.array(e.evalf().tolist(), dtype=float)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_answer_is_right_and_as_a_book_prints_it(case: Case) -> None:
    derived = derivation(case)
    if case.answer:
        assert derived.to_numpy() == case.answer
    answer = written_out(derived.final.subs({p: 3})) if derived.final.has(p) else derived.final
    derivative = to_sympy(answer)
    rng = np.random.default_rng(5)
    shape = [int(v.xreplace(NUMBERED)) for v in getattr(case.wrt, "shape", ())]
    point: dict[Expr, object] = {lam: 0.75}
    for leaf in sorted(
        case.f.xreplace(NUMBERED).atoms(MatrixSymbol) | derivative.xreplace(NUMBERED).atoms(MatrixSymbol),
        key=str,
    ):
        value = rng.uniform(0.1, 0.9, leaf.shape).round(2)
        point[leaf] = sympy.Matrix(value @ value.T + np.eye(len(value)) if leaf.name in ("S", "X") else value)
    key = case.wrt.xreplace(NUMBERED)
    step = rng.uniform(-1, 1, shape).round(2)
    found = numbers(derivative, point)
    expected = []
    for sign in (1e-4, -1e-4):
        moved = point[key] + sign * (sympy.Matrix(step) if shape else float(step))
        expected.append(numbers(case.f, {**point, key: moved}))
    change = (expected[0] - expected[1]) / 2e-4
    along = (
        found @ step.reshape(-1, 1, order="F")
        if case.kind == "jacobian"
        else np.array([[np.sum(found * step)]])
    )
    np.testing.assert_allclose(along, change, rtol=2e-6, atol=1e-8)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_answers_are_objects_that_sympy_users_can_use(case: Case) -> None:
    answer = derivation(case).final
    assert isinstance(answer, Expr)
    assert pickle.loads(pickle.dumps(answer)) == answer  # noqa: S301 - our own
    assert answer.func(*answer.args) == answer or not answer.args
    concrete = answer.xreplace(NUMBERED)
    assert not concrete.free_symbols & set(SIZES)
    if hasattr(answer, "shape") and case.kind == "gradient":
        assert concrete.shape == case.wrt.xreplace(NUMBERED).shape


def test_an_answer_becomes_a_numpy_function_by_way_of_sympy() -> None:
    answer = derive(-y.T * YES - (ones(n) - y).T * NO, w).to_sympy().subs({n: 4, d: 3})
    leaves = sorted(answer.atoms(MatrixSymbol), key=str)
    rng = np.random.default_rng(1)
    values = {leaf.name: rng.normal(size=leaf.shape) for leaf in leaves}
    found = lambdify(leaves, answer.as_explicit())(*values.values())
    expected = values["D"].T @ (1 / (1 + np.exp(-values["D"] @ values["w"])) - values["y"])
    np.testing.assert_allclose(found, expected)


N, NUMBERS = MatrixSymbol("N", 2, 2), sympy.ImmutableMatrix([[1, 2], [3, 4]])


@pytest.mark.parametrize(
    ("f", "wrt", "says"),
    [
        (lambda: Sum(x[i, 0], (i, 1, n - 1)), x, "does not start at 0"),
        (lambda: Sum(x[i, 0], (i, 0, n)), x, "runs over"),
        (lambda: x[i, 0] ** 2, x, "not read|not summed"),
        (lambda: Sum(i * x[i, 0], (i, 0, n - 1)), x, "index i"),
        (lambda: Sum(x[i, 0] * x[i + 1, 0], (i, 0, n - 2)), x, "not read|runs over"),
        (lambda: Trace(A * X), A, "square"),
        (lambda: (A * x).T * y, A, "differ|inner sizes"),
        (lambda: sympy.Integral(lam * Trace(X), (lam, 0, 1)), X, "Integral"),
        (
            lambda: (
                Trace(A.T * A) * sympy.Matrix([[1, 2]])[0, 0]
                + Trace(sympy.ImmutableMatrix([[1, 2], [3, 4]]) * MatrixSymbol("N", 2, 2))
            ),
            MatrixSymbol("N", 2, 2),
            "MatrixSymbol",
        ),
        (lambda: BlockMatrix([[B11, B12], [B21, B22]]), B11, "BlockMatrix"),
        (lambda: Trace(BlockMatrix([[B11, B12], [B21, B22]]).inv()), B11, "BlockMatrix"),
        (lambda: Trace(X * X).diff(lam, evaluate=False), X, "Derivative"),
    ],
)
def test_what_is_not_read_is_refused_with_a_reason(f: object, wrt: Expr, says: str) -> None:
    with pytest.raises(SymgradError, match=says):
        derive(f(), wrt)  # type: ignore[operator]


@pytest.mark.parametrize("name", ["n", "k"])
def test_sizes_may_be_plain_symbols_and_come_back(name: str) -> None:
    n = sympy.symbols(name)
    x, A = sympy.MatrixSymbol("x", n, 1), sympy.MatrixSymbol("A", n, n)
    found = derive(x.T * A * x / n, x)
    assert found.answer is not None
    assert (found.evidence.level, found.wrt) == ("proved", x)
    assert found.answer.doit() == ((A + A.T) * x / n).doit()
    assert "def gradient_x(x, A)" in found.to_code()
    assert "A ∈ ℝ" in str(found)


@pytest.mark.parametrize(
    "write",
    [
        lambda s, t: sympy.Max(0, s),
        sympy.Max,
        lambda s, t: sympy.Min(s, 0),
        lambda s, t: sympy.Heaviside(s) * s,
        lambda s, t: sympy.Piecewise((s**2, s > 0), (0, True)),
        lambda s, t: sympy.Piecewise((s, s >= t), (3 * s, True)),
    ],
)
def test_choices_of_scalars_are_read(write: Any) -> None:
    s, t = sympy.symbols("s t")
    found = derive(write(s, t), s)
    assert found.evidence.level == "proved"
    assert found.answer is not None
    for at in ({s: 3.0, t: 2.0}, {s: -3.0, t: 2.0}, {s: 1.0, t: 1.5}):
        slope = sympy.diff(write(s, t), s).subs(at)
        assert found.answer.subs(at).doit() == pytest.approx(float(slope))


def test_choices_of_entries_are_read() -> None:
    n = sympy.symbols("n")
    x, a = sympy.MatrixSymbol("x", n, 1), sympy.MatrixSymbol("a", n, 1)
    assert derive(sympy.Max(0, 1 - (a.T * x)[0]), x).to_numpy() == "-(1 - a @ x > 0) * a"
    leaky = x.applyfunc(lambda v: sympy.Piecewise((v, v > 0), (v / 10, True)))
    assert derive((a.T * leaky)[0], x).evidence.level in ("proved", "verified")
    with pytest.raises(SymgradError, match="Piecewise"):
        derive(sympy.Piecewise((sympy.Symbol("s"), sympy.Symbol("s") > 0)), "s")


NUMBERED_ENTRIES = {
    "Rosenbrock": lambda v, m: (1 - v[0, 0]) ** 2 + 100 * (v[1, 0] - v[0, 0] ** 2) ** 2,
    "an entry beside a function": lambda v, m: sympy.exp(v[2, 0]) * v[0, 0],
    "determinant": lambda v, m: m.as_explicit().det(),
    "a 1 x 1 matrix": lambda v, m: (v.T * m * v).as_explicit(),
}


@pytest.mark.parametrize("name", NUMBERED_ENTRIES)
def test_entries_by_their_numbers_are_read(name: str) -> None:
    v, m = MatrixSymbol("v", 3, 1), MatrixSymbol("M", 3, 3)
    f = NUMBERED_ENTRIES[name](v, m)
    x = v if name != "determinant" else m
    derived = derive(f, x)
    assert derived.evidence.level == "proved"
    of = f[0, 0] if isinstance(f, sympy.MatrixBase) else f
    rows, columns = x.shape
    for i in range(rows):
        for j in range(columns):
            entry = derived.answer.xreplace(
                dict(zip(sympy.symbols("p q", integer=True, nonnegative=True), (i, j), strict=True))
            )
            assert sympy.expand(entry - of.diff(x[i, j])) == 0
