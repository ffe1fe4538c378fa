"""Every one-edit fault of a right answer is rejected by every checker, wherever it is a fault.

The questions and their answers are written here by hand; whether an edit changes the value is decided by evaluating
both at random points, which is all that this file trusts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice

import numpy as np
import pytest
from sympy import Add, Expr, Mul, Pow
from sympy.matrices.expressions.diagonal import DiagMatrix
from sympy.matrices.expressions.hadamard import HadamardPower, HadamardProduct
from sympy.matrices.expressions.inverse import Inverse
from sympy.matrices.expressions.matadd import MatAdd
from sympy.matrices.expressions.matmul import MatMul
from sympy.matrices.expressions.matpow import MatPow
from sympy.matrices.expressions.special import Identity, OneMatrix
from sympy.matrices.expressions.transpose import Transpose

from symgrad.api import Method, derive
from symgrad.checking import Refutation, compare, field_values
from symgrad.checking.equality import Kind
from symgrad.checking.equations import Equations
from symgrad.checking.evaluate import concrete
from symgrad.checking.finite_field import FieldTest
from symgrad.checking.normal_form import Prover
from symgrad.checking.points import Points
from symgrad.deriving.steps import Evidence
from symgrad.errors import CheckError, SymgradError
from symgrad.expr import (
    Elementwise,
    Model,
    add,
    apply,
    differential,
    hadamard,
    is_leaf,
    is_matrix,
    leaves,
    matmul,
    negate,
    power,
    rebuild,
    same_size,
    scale,
    shape_of,
    transpose,
    walk,
)
from symgrad.reading import read_model, read_question

SHAPES = (
    "A: n n, B: n n, S: n n, C: n n, X: m n, Y: m n, W: k n, V: n n, P: n n, "
    "x: n, y: n, b: n, u: m, z: k, p: n, t: n, e: n, s:, c:, r:, k2:"
)
ASSUME = (
    "S: symmetric, A: invertible, P: positive_definite, p: prob, t: binary, e: positive, s: positive, "
    "k2: positive_integer"
)

QUESTIONS: list[tuple[Kind, str, str, str]] = [
    ("gradient", "x @ A @ x", "x", "(A + A.T) @ x"),
    ("gradient", "x @ S @ x + b @ x", "x", "2 * S @ x + b"),
    ("gradient", "norm(X @ x - u)**2 / 2", "x", "X.T @ (X @ x - u)"),
    ("gradient", "norm(X @ x - u)**2 / m + s * norm(x)**2", "x", "2 * X.T @ (X @ x - u) / m + 2 * s * x"),
    ("gradient", "norm(X @ x - u)", "x", "X.T @ (X @ x - u) / norm(X @ x - u)"),
    ("gradient", "tr(A @ V @ B)", "V", "A.T @ B.T"),
    ("gradient", "tr(V.T @ A @ V)", "V", "(A + A.T) @ V"),
    ("gradient", "tr(matrix_power(V, 3))", "V", "3 * (V @ V).T"),
    ("gradient", "tr(matrix_power(V, k2))", "V", "k2 * matrix_power(V.T, k2 - 1)"),
    ("gradient", "tr(inv(A) @ B)", "A", "-(inv(A) @ B @ inv(A)).T"),
    ("gradient", "b @ inv(A) @ y", "A", "-inv(A).T @ outer(b, y) @ inv(A).T"),
    ("gradient", "logdet(A)", "A", "inv(A).T"),
    ("gradient", "det(A)", "A", "det(A) * inv(A).T"),
    ("gradient", "logdet(P) + tr(inv(P) @ S)", "P", "inv(P) - inv(P) @ S @ inv(P)"),
    ("gradient", "u @ X @ x", "X", "outer(u, x)"),
    ("gradient", "norm(X @ V - Y)**2", "V", "2 * X.T @ (X @ V - Y)"),
    ("gradient", "sum(X * Y * Y)", "Y", "2 * X * Y"),
    ("gradient", "sum(tanh(W @ x))", "W", "outer(1 - tanh(W @ x)**2, x)"),
    ("gradient", "z @ sigmoid(W @ x)", "x", "W.T @ (z * sigmoid(W @ x) * (1 - sigmoid(W @ x)))"),
    ("gradient", "sum(softplus(X @ x)) - u @ X @ x", "x", "X.T @ (sigmoid(X @ x) - u)"),
    ("gradient", "z @ relu(W @ x)", "x", "W.T @ (z * (W @ x > 0))"),
    ("gradient", "sum(abs(W @ x - z))", "x", "W.T @ sign(W @ x - z)"),
    ("gradient", "logsumexp(W @ x)", "x", "W.T @ softmax(W @ x)"),
    ("gradient", "-p @ log_softmax(x)", "x", "softmax(x) - p"),
    (
        "gradient",
        "-sum(Y * log_softmax(X, axis=1))",
        "X",
        "softmax(X, axis=1) * outer(Y @ ones(n), ones(n)) - Y",
    ),
    ("gradient", "x @ y / (x @ x)", "x", "y / (x @ x) - 2 * (x @ y) * x / (x @ x)**2"),
    ("gradient", "x @ S @ x / (x @ x)", "x", "2 * (S @ x) / (x @ x) - 2 * (x @ S @ x) * x / (x @ x)**2"),
    ("gradient", "exp(-x @ P @ x / 2)", "x", "-exp(-x @ P @ x / 2) * P @ x"),
    ("gradient", "sum(e * log(e)) + c * sum(e)", "e", "log(e) + 1 + c * ones(n)"),
    ("gradient", "sum(sin(x) * y)", "x", "cos(x) * y"),
    ("gradient", "sum(sqrt(e))", "e", "1 / (2 * sqrt(e))"),
    ("gradient", "sum(f(W @ x) * z)", "W", "outer(f'(W @ x) * z, x)"),
    ("gradient", "tr(kron(A, B))", "A", "tr(B) * eye(n)"),
    ("gradient", "b @ diag(x) @ A @ y", "x", "b * (A @ y)"),
    ("gradient", "max(x)**2", "x", "2 * max(x) * (x >= max(x))"),
    ("gradient", "s**2 * c + exp(s)", "s", "2 * s * c + exp(s)"),
    ("jacobian", "W @ x", "x", "W"),
    ("jacobian", "tanh(W @ x)", "x", "diag(1 - tanh(W @ x)**2) @ W"),
    ("jacobian", "softmax(x)", "x", "diag(softmax(x)) - outer(softmax(x), softmax(x))"),
    ("jacobian", "(x @ y) * x", "x", "(x @ y) * eye(n) + outer(x, y)"),
    ("jacobian", "x / norm(x)", "x", "eye(n) / norm(x) - outer(x, x) / norm(x)**3"),
    ("jacobian", "inv(A + s * B) @ x", "s", "-inv(A + s * B) @ B @ inv(A + s * B) @ x"),
    ("hessian", "x @ A @ x", "x", "A + A.T"),
    ("hessian", "logsumexp(x)", "x", "diag(softmax(x)) - outer(softmax(x), softmax(x))"),
    ("hessian", "sum(softplus(X @ x))", "x", "X.T @ diag(sigmoid(X @ x) * (1 - sigmoid(X @ x))) @ X"),
    ("differential", "V @ B @ V", "V", "dV @ B @ V + V @ B @ dV"),
    ("differential", "inv(A)", "A", "-inv(A) @ dA @ inv(A)"),
    ("differential", "logdet(A)", "A", "tr(inv(A) @ dA)"),
]
MOST = 14


def read(text: str) -> tuple[Model, Expr]:
    shapes = SHAPES + ", dV: n n, dA: n n"
    return read_question(text, shapes=shapes, assume=ASSUME, functions=["f"])


Edit = Callable[[], Expr]


def here(e: Expr, names: list[Expr]) -> Iterator[Edit]:
    """What an edit at the top of an expression makes of it; some make no formula."""
    kind, args = type(e), e.args
    if is_leaf(e):
        yield from (lambda o=o: o for o in names if o != e and shape_of(o) == shape_of(e))
        if is_matrix(e) and same_size(*e.shape):
            yield lambda: transpose(e)
        return
    if kind in (MatAdd, Add):
        for n in range(len(args)):
            rest = args[:n] + args[n + 1 :]
            yield lambda rest=rest: add(*rest)
            yield lambda rest=rest, n=n: add(*rest, negate(args[n]))
    if kind is MatMul:
        matrices = [a for a in args if is_matrix(a)]
        front = [a for a in args if not is_matrix(a)]
        for n in range(len(matrices) - 1):
            turned = (*matrices[:n], matrices[n + 1], matrices[n], *matrices[n + 2 :])
            yield lambda turned=turned: matmul(*front, *turned)
        if len(matrices) == 2:
            yield lambda: scale(matmul(*front), hadamard(*matrices)) if front else hadamard(*matrices)
    if kind in (MatMul, Mul, HadamardProduct):
        for n in range(len(args)):
            rest = args[:n] + args[n + 1 :]
            yield lambda rest=rest: rebuild(e, rest) if len(rest) > 1 else rest[0]
    if kind is HadamardProduct and len(args) == 2:
        yield lambda: matmul(*args)
    if kind in (Transpose, Inverse, DiagMatrix):
        yield lambda: args[0]
    if kind in (Pow, HadamardPower, MatPow) and args[1].is_number:
        yield lambda: power(args[0], args[1] + 1) if kind is not MatPow else matmul(e, args[0])
    if kind is Elementwise:
        yield lambda: apply("tanh" if e.name == "sigmoid" else "sigmoid", e.arg)
        yield lambda: e.arg
    if kind in (Identity, OneMatrix):
        yield lambda: scale(2, e)


def edits(e: Expr, names: list[Expr]) -> Iterator[Expr]:
    """Every expression that is one edit away."""
    for edit in here(e, names):
        with suppress(SymgradError, TypeError, ValueError, IndexError):
            yield edit()
    if is_leaf(e) or isinstance(e, Identity | OneMatrix):
        return
    for n, a in enumerate(e.args):
        if isinstance(a, Expr):
            for changed in edits(a, names):
                with suppress(SymgradError, TypeError, ValueError, AttributeError, IndexError):
                    yield rebuild(e, [*e.args[:n], changed, *e.args[n + 1 :]])


def faults(answer: Expr) -> Iterator[Expr]:
    """Edits of the same shape, the whole of it scaled, negated and transposed among them."""
    yield from (negate(answer), scale(2, answer))
    if is_matrix(answer) and same_size(*answer.shape):
        yield transpose(answer)
    found = list(dict.fromkeys(edits(answer, list(leaves(answer)))))
    step = max(1, len(found) // MOST)  # from all over the answer
    yield from islice((e for e in found[::step] if shape_of(e) == shape_of(answer)), MOST)


def differ(model: Model, a: Expr, b: Expr) -> bool:
    """Whether two expressions have different values at every one of several random points."""
    points = Points(model, (a, b), seed=5)
    gaps = []
    for which in (0, 1):
        for point in islice(points(which), 3):
            with np.errstate(all="ignore"):
                x, y = (np.asarray(point.at(concrete(e, point.sizes))) for e in (a, b))
            gaps.append(np.max(np.abs(x - y)) / max(1e-6, float(np.max(np.abs(x)))))
    return all(g > 1e-4 for g in gaps if np.isfinite(g))


def found_by_proof(model: Model, kind: Kind, f: Expr, x: Expr, answer: Expr) -> bool:
    prover = Prover(model)
    if kind == "jacobian":
        return prover.jacobian_equals(f, x, answer) is True
    if kind == "hessian":
        return prover.hessian_equals(f, x, answer) is True
    if kind == "differential":
        return prover.differential_equals(f, x, differential(x), answer) is True
    return prover.gradient_equals(f, x, answer) is True


def found_by_test(model: Model, kind: Kind, f: Expr, x: Expr, answer: Expr) -> bool:
    test = FieldTest(model)
    if kind == "jacobian":
        return test.jacobian_equals(f, x, answer) is not None
    if kind == "hessian":
        return test.hessian_equals(f, x, answer) is not None
    if kind == "differential":
        return test.differential_equals(f, x, differential(x), answer) is not None
    return test.gradient_equals(f, x, answer) is not None


@pytest.mark.parametrize(("kind", "f", "wrt", "answer"), QUESTIONS)
def test_right_answers_are_accepted_and_their_faults_are_not(
    kind: Kind, f: str, wrt: str, answer: str
) -> None:
    model, function = read(f)
    variable = model.symbols[wrt]
    assert isinstance(variable, Expr)
    right = read(answer)[1]
    assert found_by_test(model, kind, function, variable, right)
    assert compare(model, function, variable, right, kind=kind).level in ("proved", "verified")
    rejected = 0
    for n, fault in enumerate(faults(right)):
        if not differ(model, right, fault):
            continue
        rejected += 1
        assert not found_by_proof(model, kind, function, variable, fault), fault
        assert not found_by_test(model, kind, function, variable, fault), fault
        if n % 4 == 0:
            assert isinstance(compare(model, function, variable, fault, kind=kind), Refutation), fault
    assert rejected >= 2, list(walk(right))


def test_there_are_many_faults() -> None:
    assert sum(1 for *_, answer in QUESTIONS for _ in faults(read(answer)[1])) > 500


MODELS = [
    (
        "phi : function\nW[l] : n[l] n[l-1]\nx : n[0]\ny : n[L]\nX[0] = x\nfor l in 1..L:\n"
        "    Z[l] = W[l] @ X[l-1]\n    X[l] = phi(Z[l])\nJ = norm(X[L] - y)**2 / 2\n",
        "W[l]",
        None,
    ),
    ("w :\nx :\ny :\nX[0] = x\nfor l in 1..L:\n    X[l] = w * X[l-1]\nJ = (X[L] - y)**2 / 2\n", "X[0]", None),
    ("W : m n\nX : n\nb : m\ny : m\nZ = W @ X + b\nJ = norm(Z - y)**2 / 2\n", "W", "components"),
    ("W : m n\nX : n\ny : m\nA = tanh(W @ X)\nJ = norm(A - y)**2 / 2\n", "W", "differential"),
    ("W : m n\nX : n\ny : m\nZ = W @ X\nA = tanh(Z)\nJ = norm(A - y)**2 / 2\n", "X", "backprop"),
]


@pytest.mark.parametrize(("text", "wrt", "method"), MODELS)
def test_steps_are_proved_and_their_faults_are_not(text: str, wrt: str, method: Method | None) -> None:
    derived = derive(read_model(text), wrt, of="J", method=method)
    assert {s.evidence.level for s in derived.steps} == {"proved"} or method == "differential"
    by_number = {s.number: s for s in derived.steps}
    rejected = 0
    for step in derived.steps:
        given = {by_number[p].left: by_number[p].right for p in step.premises if p in by_number}
        given = {k: v for k, v in given.items() if k != step.left} | dict(step.given)
        for fault in islice(faults(step.right), 4):
            equation = (*step.equation[:-1], fault)
            try:  # in numbers alone, which knows nothing of the proof
                numbers_only(derived.model, equation, derived.wrt)
                continue
            except IndexError:  # an entry that is not there
                continue
            except CheckError:
                rejected += 1
            evidence = None
            try:
                evidence = Equations(derived.model, [equation], derived.wrt).check(equation, given)
            except CheckError:
                continue
            raise AssertionError(f"{equation} is {evidence}")
    assert rejected > 5


def numbers_only(model: Model, equation: tuple[Expr, ...], wrt: Expr) -> None:
    """Compare the two last expressions of an equation at random points.

    Raises   CheckError if they differ
    """
    checker = Equations(model, [equation], wrt)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checker, "_proved", lambda *_: False)
        patch.setattr(checker._field, "equal", lambda *_: None)
        checker.check(equation[-2:], {})


@pytest.mark.parametrize("broken", ["proof", "test"])
def test_a_checker_that_says_yes_to_everything_is_found_out(
    broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer is compared with differences of the function even where it is proved or tested exactly."""
    if broken == "proof":
        monkeypatch.setattr(Prover, "gradient_equals", lambda *_: True)
    else:
        monkeypatch.setattr(Prover, "gradient_equals", lambda *_: None)
        monkeypatch.setattr(FieldTest, "gradient_equals", lambda *_: Evidence("verified"))
    model, f = read("x @ A @ x")
    x = model.symbols["x"]
    assert isinstance(x, Expr)
    assert isinstance(compare(model, f, x, read("2 * A @ x")[1]), Refutation)
    assert isinstance(compare(model, f, x, read("(A + A.T) @ x")[1]), Evidence)


def test_a_fault_planted_in_the_field_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where transposes are lost, what is true is no longer verified, and what is false is refuted all the same."""
    monkeypatch.setitem(field_values._METHODS, Transpose, lambda scope, e: scope.at(e.args[0]))
    model, f = read("x @ A @ x")
    x = model.symbols["x"]
    assert isinstance(x, Expr)
    assert FieldTest(model).gradient_equals(f, x, read("(A + A.T) @ x")[1]) is None
    assert isinstance(compare(model, f, x, read("2 * A @ x")[1]), Refutation)
