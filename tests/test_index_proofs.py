"""Proofs and exact tests in index notation, and of Kronecker products: what is right is found, and no fault is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sympy import Expr, KroneckerDelta, S, Sum
from sympy.matrices.expressions.matexpr import MatrixElement

from symgrad import derive, verify
from symgrad.api import Kind
from symgrad.checking.entries import check_array, check_in_indices
from symgrad.checking.equality import Refutation, compare
from symgrad.checking.equations import Equations
from symgrad.checking.finite_field import FieldTest
from symgrad.checking.normal_form import Prover
from symgrad.checking.numeric import check_gradient
from symgrad.deriving.by_entries import InIndices
from symgrad.errors import CheckError, SymgradError
from symgrad.expr import (
    InRange,
    Model,
    PartialDerivative,
    ScalarGradient,
    TensorElement,
    from_entries,
    gradient,
    jacobian,
    shape_of,
    walk,
    zeros,
)
from symgrad.reading import read_question

ROW = ("Y[i] = sum(k, W[k] * X[i+k])",)
ATTENTION = (
    "S[h,i,j] = sum(d, Q[h,i,d] * K[h,j,d])",
    "P[h,i,j] = exp(S[h,i,j]) / sum(l, exp(S[h,i,l]))",
    "O[h,i,e] = sum(j, P[h,i,j] * V[h,j,e])",
)
HEADS = "Q: r m q, K: r n q, V: r n v, G: r m v"
CONVOLUTION = ("Y[o,i,j] = sum(c, a, b, W[o,c,a,b] * X[c,i+a,j+b]) + d[o]",)
CHANNELS = "W: n m k l, X: m h w, d: n, G: n h-k+1 w-l+1"
FACTORS = "sum(i, j, k, (T[i,j,k] - sum(r, A[i,r] * B[j,r] * C[k,r]))**2)"
QUESTIONS: list[tuple[Kind, str, tuple[str, ...], str, str]] = [
    (
        "gradient",
        "sum(t, i, k, Z[t,i,k]**2)",
        ("Z[t,i,k] = sum(j, A[t,i,j] * B[t,j,k])",),
        "A: s m n, B: s n p",
        "A",
    ),
    *(("gradient", "sum(o, i, j, G[o,i,j] * Y[o,i,j])", CONVOLUTION, CHANNELS, v) for v in ("W", "X", "d")),
    *(("gradient", "sum(h, i, e, G[h,i,e] * O[h,i,e])", ATTENTION, HEADS, v) for v in ("V", "K")),
    ("gradient", FACTORS, (), "T: l m n, A: l q, B: m q, C: n q", "A"),
    ("gradient", "sum(i, G[i] * Y[i])", ("Y[i] = sum(k, W[k] * X[2*i+k])",), "W: w, X: n", "X"),
    ("gradient", "sum(i in 1..n-1, (x[i] - x[i-1])**2)", (), "x: n", "x"),
    ("jacobian", "A @ X @ B", (), "A: m n, X: n p, B: p q", "X"),
    ("jacobian", "X @ X.T", (), "X: n p", "X"),
    ("jacobian", "inv(X)", (), "X: n n", "X"),
    ("jacobian", "X @ w", (), "X: n p, w: p", "X"),
    ("jacobian", "softmax(X)", (), "X: n p", "X"),
    ("jacobian", "Y", ROW, "W: w, X: n", "X"),
    ("hessian", "tr(A @ X @ B @ X.T)", (), "A: n n, X: n p, B: p p", "X"),
    ("hessian", "logdet(X)", (), "X: n n", "X"),
    ("hessian", "norm(X @ W - Y)**2", (), "X: n p, W: p q, Y: n q", "W"),
    ("hessian", "sum(i, Y[i]**2)", ROW, "W: w, X: n", "X"),
    ("hessian", "sum(i, Y[i]**2)", ROW, "W: w, X: n", "W"),
]


def entry_faults(e: Expr) -> Iterator[Expr]:
    """Indices exchanged, a shift off by one, a delta or an indicator lost, a border moved, a factor."""
    yield from (-e, 2 * e)
    for n in walk(e):
        if isinstance(n, MatrixElement | TensorElement):
            places = [i for i in n.args[1:] if not (i == 0 and n.args[0].shape[-1] == 1)]
            column = [S.Zero] * (len(n.args) - 1 - len(places))
            for a in range(len(places)):
                turned = [*places]
                for b in range(a):
                    turned[a], turned[b] = places[b], places[a]
                    yield e.xreplace({n: n.func(n.args[0], *turned, *column)})
                    turned = [*places]
                if not places[a].is_number:
                    turned[a] = places[a] + 1
                    yield e.xreplace({n: n.func(n.args[0], *turned, *column)})
        elif isinstance(n, KroneckerDelta | InRange):
            yield e.xreplace({n: S.One})
        elif isinstance(n, Sum):
            (k, low, high), rest = n.limits[0], n.limits[1:]
            yield e.xreplace({n: Sum(n.function, (k, low + 1, high), *rest)})
            yield e.xreplace({n: Sum(n.function, (k, low, high - 1), *rest)})


def is_right(model: Model, f: Expr, x: Expr, entry: Expr, found: InIndices) -> bool:
    """Whether an array agrees with differences of the function."""
    array = from_entries(entry, [k for k, _ in found.indices], [n for _, n in found.indices])
    try:
        if shape_of(f):
            check_array(model, f, x, array)
        elif found.first is not None and found.first.array is not None:
            check_array(model, found.first.array, x, array)
        else:
            check_gradient(model, f, x, array, count=1, sets=1)
    except (CheckError, SymgradError, IndexError, ValueError):
        return False
    return True


@pytest.mark.parametrize(("kind", "f", "given", "shapes", "wrt"), QUESTIONS, ids=lambda v: str(v)[:30])
def test_entries_are_proved_and_their_faults_are_not(
    kind: Kind, f: str, given: tuple[str, ...], shapes: str, wrt: str
) -> None:
    derivation = derive(f, wrt, given=given, shapes=shapes, kind=kind, check=False)
    derivation = derivation.entrywise or derivation
    found, model, x = derivation.indices, derivation.model, derivation.wrt
    assert found is not None and found.entry is not None
    prover, twice = Prover(model), kind == "hessian"
    assert prover.entries_equal(derivation.of, x, found.entry, found.indices, twice=twice) is True
    faults = [e for e in dict.fromkeys(entry_faults(found.entry)) if e != found.entry]
    rejected = 0
    for fault in faults:
        if prover.entries_equal(derivation.of, x, fault, found.indices, twice=twice) is True:
            assert is_right(model, derivation.of, x, fault, found), fault  # a symmetry of the answer
        else:
            rejected += 1
    assert rejected >= max(2, len(faults) * 2 // 3)


KRONECKER: list[tuple[Kind, str, str, str, tuple[str, ...]]] = [
    # kind, f, the variable, the answer, faults of it
    (
        "jacobian",
        "A @ X @ B",
        "X",
        "kron(B.T, A)",
        (
            "kron(A, B.T)",
            "2*kron(B.T, A)",
            "kron(B.T, A) @ commutation(m, n)",
            "kron(B, A.T).T @ eye(m*n) * 3",
        ),
    ),
    ("jacobian", "X.T", "X", "commutation(m, n)", ("commutation(n, m)", "eye(m*n)")),
    (
        "jacobian",
        "X.T @ X",
        "X",
        "(eye(n*n) + commutation(n, n)) @ kron(eye(n), X.T)",
        ("(eye(n*n) - commutation(n, n)) @ kron(eye(n), X.T)", "2*kron(eye(n), X.T)"),
    ),
    ("jacobian", "kron(x, y)", "x", "kron(eye(m), outer(y, ones(1)))", ("kron(outer(y, ones(1)), eye(m))",)),
    (
        "jacobian",
        "inv(S)",
        "S",
        "-kron(inv(S).T, inv(S))",
        ("-kron(inv(S), inv(S))", "kron(inv(S).T, inv(S))"),
    ),
    (
        "hessian",
        "tr(X.T @ A2 @ X @ S)",
        "X",
        "kron(S.T, A2) + kron(S, A2.T)",
        ("2*kron(S, A2)", "kron(S, A2) + kron(S, A2.T)", "kron(A2, S.T) + kron(A2.T, S)"),
    ),
    ("gradient", "a @ kron(x, y)", "x", "kron(eye(m), y.T) @ a", ("kron(y.T, eye(m)) @ a", "a[0] * x")),
    ("gradient", "a @ kron(x, y)", "a", "kron(x, y)", ("kron(y, x)", "2*kron(x, y)")),
    ("gradient", "logdet(kron(S, T))", "S", "m*inv(S).T", ("n*inv(S).T", "m*inv(S)", "inv(S).T")),
    ("gradient", "det(S @ inv(R))", "S", "det(S) / det(R) * inv(S).T", ("det(S) / det(R) * inv(S)",)),
]
SIZES = "A: p m, B: n q, X: m n, S: n n, R: n n, T: m m, A2: m m, x: m, y: n, a: m*n"


@pytest.mark.parametrize(("kind", "f", "wrt", "answer", "faults"), KRONECKER)
def test_kronecker_products_are_proved_and_their_faults_are_not(
    kind: Kind, f: str, wrt: str, answer: str, faults: tuple[str, ...]
) -> None:
    model, function = read_question(f, shapes=SIZES)
    x = model.symbols[wrt]
    assert isinstance(x, Expr)
    assert compare(model, function, x, read_question(answer, shapes=SIZES)[1], kind=kind).level == "proved"
    for fault in faults:
        try:
            wrong = read_question(fault, shapes=SIZES)[1]
        except SymgradError:
            continue
        prover = Prover(model)
        check = {"jacobian": prover.jacobian_equals, "hessian": prover.hessian_equals}.get(
            kind, prover.gradient_equals
        )
        assert check(function, x, wrong) is not True, fault
        assert isinstance(compare(model, function, x, wrong, kind=kind), Refutation), fault


IDENTITIES = [
    # equal or not
    ("vec(A @ X @ B)", "kron(B.T, A) @ vec(X)", True),
    ("vec(A @ X @ B)", "kron(A, B.T) @ vec(X)", False),
    ("kron(x, y)", "vec(outer(y, x))", True),
    ("kron(x, y)", "vec(outer(x, y))", False),
    ("commutation(m, n) @ vec(X)", "vec(X.T)", True),
    ("commutation(n, m) @ commutation(m, n)", "eye(m*n)", True),
    ("commutation(n, n) @ kron(S, R)", "kron(R, S) @ commutation(n, n)", True),
    ("commutation(n, n) @ kron(S, R)", "kron(S, R) @ commutation(n, n)", False),
    ("tr(kron(S, T))", "tr(S) * tr(T)", True),
    ("tr(kron(S, R))", "tr(S @ R)", False),
    ("inv(kron(S, T))", "kron(inv(S), inv(T))", True),
    ("inv(S @ R)", "inv(R) @ inv(S)", True),
    ("inv(S @ R)", "inv(S) @ inv(R)", False),
    ("inv(S.T)", "inv(S).T", True),
    ("inv(S.T)", "inv(S)", False),
    ("tanh(X.T)", "tanh(X).T", True),
    ("tanh(S.T)", "tanh(S)", False),
    ("exp(S + S.T)", "exp(S + S.T).T", True),
    ("det(S @ R)", "det(S) * det(R)", True),
    ("det(kron(S, T))", "det(S)**m * det(T)**n", True),
    ("det(kron(S, T))", "det(S)**n * det(T)**m", False),
    ("sum((S + S.T)**2)", "4*sum(S**2)", False),
    ("flip(flip(X))", "X", True),
    ("sum(i, j, S[i,j] * S[j,i])", "tr(S @ S)", True),
    ("sum(i, j, S[i,j] * S[j,i])", "sum(S * S)", False),
    ("sum(i in 1..n-1, y[i] * y[i-1])", "sum(i in 0..n-2, y[i+1] * y[i])", True),
    ("sum(i in 1..n-1, y[i] * y[i-1])", "sum(i in 0..n-2, y[i] * y[i])", False),
    ("sum(i in 0..n-1, y[n-1-i] * y[i])", "sum(i in 0..n-1, y[i] * y[i])", False),
    ("sum(i in 0..n-1, y[n-1-i]**2)", "y @ y", True),
    ("sum(i in 0..n-2, y[i])", "sum(i in 0..n-1, y[i]) - y[n-1]", False),  # true, and beyond this proof
]


@pytest.mark.parametrize(("a", "b", "proved"), IDENTITIES)
def test_identities_of_pairs_and_shifts(a: str, b: str, proved: bool) -> None:
    model, left = read_question(a, shapes=SIZES)
    right = read_question(b, shapes=SIZES)[1]
    assert (Prover(model).equal(left, right) is True) == proved


def shifted_answers() -> Iterator[tuple[Model, Expr, Expr, Expr, bool, str]]:
    """Answers to one question about a window, and whether their entries all lie inside of their arrays."""
    model, f = read_question("sum(i, G[i] * sum(k, W[k] * X[i+k]))", shapes="W: w, X: n, G: n-w+1")
    x = model.symbols["X"]
    assert isinstance(x, Expr)
    for answer, right in (
        ("D[p] = sum(k in max(0,p+w-n)..min(p,w-1), G[p-k] * W[k])", True),
        ("D[p] = sum(k, G[p-k] * W[k] * inrange(p-k, n-w+1))", True),
        ("D[p] = sum(k in 0..w-1, G[p-k] * W[k])", False),
        ("D[p] = sum(k in 0..min(p,w-1), G[p-k] * W[k])", False),
        ("D[p] = sum(k in max(0,p+w-n)..w-1, G[p-k] * W[k])", False),
        ("D[p] = sum(k, G[p-k] * W[k] * inrange(p-k, n-w))", False),
        ("D[p] = sum(k, G[p-k] * W[k] * inrange(p-k+1, n-w+1))", False),
    ):
        try:
            claim, _ = read_question("sum(X)", definitions=[answer], shapes="W: w, X: n, G: n-w+1, D: n")
        except SymgradError:
            assert not right
            continue
        (d,) = claim.definitions()
        yield model, f, x, d.value, right, answer


def test_an_entry_beside_its_array_is_not_taken_for_zero() -> None:
    """Without its border or its indicator the answer has no value where the place lies outside of the array."""
    for model, f, x, value, right, answer in shifted_answers():
        assert (Prover(model).gradient_equals(f, x, value) is True) == right, answer


POWERS: list[tuple[Kind, str, str, str, str, tuple[str, ...]]] = [
    # kind, f, what is assumed, the variable, the answer, faults of it
    ("gradient", "a**b", "a: positive", "b", "a**b * log(a)", ("0*a", "b * a**(b - 1)", "a**b")),
    ("gradient", "sum(y**b)", "y: positive", "b", "sum(y**b * log(y))", ("0*b", "sum(y**b)")),
    (
        "hessian",
        "sum(sqrt(y**2 + c))",
        "c: positive",
        "y",
        "c * diag(1 / (y**2 + c)**(3/2))",
        ("diag(1 / (y**2 + c)**(3/2))", "c * diag(1 / sqrt(y**2 + c))"),
    ),
    ("gradient", "norm(y)**c / c", "c: positive", "y", "norm(y)**(c - 2) * y", ("norm(y)**(c - 1) * y", "y")),
    (
        "gradient",
        "tr(matrix_power(S @ R, k))",
        "k: positive_integer",
        "R",
        "k * (matrix_power(S @ R, k - 1) @ S).T",
        (
            "k * (matrix_power(S @ R, k) @ S).T",
            "k * matrix_power(S @ R, k - 1) @ S",
            "(matrix_power(S @ R, k - 1) @ S).T",
        ),
    ),
    (
        "gradient",
        "det(eye(n) + 2*outer(S @ y, z))",
        "",
        "y",
        "2 * S.T @ z",
        ("2 * S @ z", "S.T @ z", "2 * S.T @ y"),
    ),
    (
        "gradient",
        "logdet(eye(n) + outer(y, z))",
        "",
        "y",
        "z / (1 + y @ z)",
        ("z", "z / (1 - y @ z)", "y / (1 + y @ z)"),
    ),
    (
        "gradient",
        "(y @ z) / sqrt((y @ S @ y) * (z @ R @ z))",
        "S: positive_definite, R: positive_definite",
        "y",
        "(z - (y @ z) / (y @ S @ y) * S @ y) / sqrt((y @ S @ y) * (z @ R @ z))",
        (
            "(z - (y @ z) / (y @ S @ y) * S @ y) / sqrt(y @ S @ y)",
            "(z - (y @ z) / (y @ R @ y) * S @ y) / sqrt((y @ S @ y) * (z @ R @ z))",
            "(z + (y @ z) / (y @ S @ y) * S @ y) / sqrt((y @ S @ y) * (z @ R @ z))",
        ),
    ),
]


@pytest.mark.parametrize(("kind", "f", "assume", "wrt", "answer", "faults"), POWERS)
def test_powers_and_determinants_are_proved_and_their_faults_are_not(
    kind: Kind, f: str, assume: str, wrt: str, answer: str, faults: tuple[str, ...]
) -> None:
    shapes = "a:, b:, c:, k:, y: n, z: n, S: n n, R: n n"
    model, function = read_question(f, shapes=shapes, assume=assume or None)
    x = model.symbols[wrt]
    assert isinstance(x, Expr)
    prover = Prover(model)
    check = prover.hessian_equals if kind == "hessian" else prover.gradient_equals
    assert check(function, x, read_question(answer, shapes=shapes, assume=assume or None)[1]) is True
    for fault in faults:
        assert (
            check(function, x, read_question(fault, shapes=shapes, assume=assume or None)[1]) is not True
        ), fault


def test_roots_are_taken_apart_only_where_signs_are_known() -> None:
    for a, b, assume, proved in (
        ("sqrt(a*b)", "sqrt(a)*sqrt(b)", None, False),
        ("sqrt(a*b)", "sqrt(a)*sqrt(b)", "a: positive", True),
        ("sqrt(a**2)", "a", None, False),
        ("sqrt(a**2 * b)", "a*sqrt(b)", None, False),
        ("sqrt((y @ S @ y)*b)", "sqrt(y @ S @ y)*sqrt(b)", None, False),
        ("sqrt((y @ S @ y)*b)", "sqrt(y @ S @ y)*sqrt(b)", "S: positive_definite", True),
        ("sqrt((y @ S @ z)*b)", "sqrt(y @ S @ z)*sqrt(b)", "S: positive_definite", False),
        ("(a**(1/2))**3", "a**(3/2)", None, True),
        ("(a**2)**(3/2)", "a**3", None, False),
    ):
        shapes = "a:, b:, y: n, z: n, S: n n"
        model, left = read_question(a, shapes=shapes, assume=assume)
        right = read_question(b, shapes=shapes, assume=assume)[1]
        assert (Prover(model).equal(left, right) is True) == proved, (a, b, assume)


COMPONENTS = [
    # a claim about entries, the definitions and the shapes it speaks of, whether it is right
    (r"\frac{\partial z_i}{\partial W_{jk}} = \delta_{ij} x_k", "z = W @ x", "W: n m, x: m", True),
    (r"\frac{\partial z_i}{\partial W_{jk}} = \delta_{ij} x_j", "z = W @ x", "W: n n, x: n", False),
    (r"\frac{\partial z_i}{\partial W_{jk}} = x_k", "z = W @ x", "W: n m, x: m", False),
    (r"\frac{\partial y_i}{\partial x_i} = y_i (1 - y_i)", "y = softmax(x)", "x: m", True),
    (r"\frac{\partial y_i}{\partial x_i} = y_i (1 + y_i)", "y = softmax(x)", "x: m", False),
    (
        r"\frac{\partial Y_{ij}}{\partial X_{kl}} = A_{ik} B_{lj}",
        "Y = A @ X @ B",
        "A: p m, X: m n, B: n q",
        True,
    ),
    (
        r"\frac{\partial Y_{ij}}{\partial X_{kl}} = A_{ik} B_{jl}",
        "Y = A @ X @ B",
        "A: n n, X: n n, B: n n",
        False,
    ),
]


@pytest.mark.parametrize(("claim", "given", "shapes", "right"), COMPONENTS)
def test_claims_about_entries_are_proved_or_refuted(claim: str, given: str, shapes: str, right: bool) -> None:
    assert verify(claim, given=[given], shapes=shapes).verdict == ("proved" if right else "refuted")


# --- the exact test ---

EXACT: list[tuple[Kind, str, tuple[str, ...], str, str, str]] = [
    # kind, the function, its definitions, shapes, what is assumed, the variable
    ("gradient", "sum(t,i, max(j, X[t,i,j]) * G[t,i])", (), "X: s m n, G: s m", "", "X"),
    ("gradient", "sum(t,i,j, where(X[t,i,j] > 0, X[t,i,j]**2, 0))", (), "X: s m n", "", "X"),
    ("gradient", "sum(t,i,j, abs(X[t,i,j] - X[t,j,i]))", (), "X: s n n", "", "X"),
    ("gradient", "sum(t,i, log(sum(j, exp(X[t,i,j]))) * G[t,i])", (), "X: s m n, G: s m", "", "X"),
    ("gradient", "sum(t,i,j, sigmoid(X[t,i,j]) * G[t,i,j])", (), "X: s m n, G: s m n", "", "X"),
    (
        "gradient",
        "sum(t,i,j, X[t,i,j] * log(X[t,i,j] / sum(k, X[t,i,k])))",
        (),
        "X: s m n",
        "X: positive",
        "X",
    ),
    ("gradient", "sum(t,i, X[t,i,0] / sum(j, X[t,i,j]**2))", (), "X: s m n", "", "X"),
    (
        "gradient",
        "sum(t, i, k, Z[t,i,k]**2)",
        ("Z[t,i,k] = sum(j, A[t,i,j] * S[j,k])",),
        "A: s m n, S: n n",
        "S: symmetric",
        "A",
    ),
    (
        "gradient",
        "sum(i, G[i] * Y[i])",
        ("Y[i] = sum(k, W[k] * X[2*i+k])",),
        "W: w, X: n",
        "",
        "X",
    ),
    ("gradient", "sum(i in 1..n-1, (x[i] - x[i-1])**2)", (), "x: n", "", "x"),
    ("jacobian", "Y", ("Y[i] = tanh(sum(k, W[k] * X[i+k]))",), "W: w, X: n", "", "X"),
    ("hessian", "sum(i, Y[i]**2)", ("Y[i] = sum(k, W[k] * X[i+k])",), "W: w, X: n", "", "W"),
]


@pytest.mark.parametrize(("kind", "f", "given", "shapes", "assume", "wrt"), EXACT, ids=lambda v: str(v)[:30])
def test_entries_are_verified_and_their_faults_are_not(
    kind: Kind, f: str, given: tuple[str, ...], shapes: str, assume: str, wrt: str
) -> None:
    d = derive(f, wrt, given=given, shapes=shapes, assume=assume or None, kind=kind, check=False)
    d = d.entrywise or d
    found, x, twice = d.indices, d.wrt, kind == "hessian"
    assert found is not None
    assert found.entry is not None

    def verified(entry: Expr) -> bool:
        array = from_entries(entry, [k for k, _ in found.indices], [n for _, n in found.indices])
        evidence = FieldTest(d.model).array_equals(d.of, x, array, twice=twice)
        if evidence is not None:
            assert evidence.level == "verified"
            assert evidence.error_bound is not None
            assert evidence.error_bound < 1e-6
            for sizes in evidence.sizes:
                assert len(set(sizes.values())) == len(sizes)
                assert min(sizes.values()) > 2
        return evidence is not None

    assert verified(found.entry)
    faults = [e for e in dict.fromkeys(entry_faults(found.entry)) if e != found.entry]
    accepted = [e for e in faults if verified(e)]
    for fault in accepted:  # a symmetry of the answer, or an index that the rest of it bounds as well
        assert is_right(d.model, d.of, x, fault, found), fault
    assert len(accepted) <= len(faults) // 3


def test_an_answer_that_no_normal_form_decides_is_verified_with_its_bound() -> None:
    d = derive("sum(t,i, max(j, X[t,i,j]) * G[t,i])", "X", shapes="X: s m n, G: s m")
    evidence = check_in_indices(d, d.steps)
    assert evidence.level == "verified"
    assert evidence.error_bound is not None
    assert evidence.error_bound <= 1e-12
    assert any(max(sizes.values()) > 6 for sizes in evidence.sizes)
    assert all(s.evidence.level in ("proved", "verified") for s in d.steps)


ROWS_OF_HEADS = (
    "S[h,i,j] = sum(a, Q[h,i,a] * K[h,j,a])",
    "P[h,i,j] = exp(S[h,i,j]) / sum(l, exp(S[h,i,l]))",
    "O[h,i,e] = sum(j, P[h,i,j] * V[h,j,e])",
)
HEADS_OF_A_ROW = "Q: r m q, K: r n q, V: r n v, G: r m v"


def test_steps_of_the_chain_rule_hold_for_any_adjoints_and_their_faults_do_not() -> None:
    d = derive(
        "sum(h, i, e, G[h,i,e] * O[h,i,e])", "Q", given=ROWS_OF_HEADS, shapes=HEADS_OF_A_ROW, check=False
    )
    checked = 0
    for step in d.steps:
        test = FieldTest(d.model)
        left, right = step.left, step.right
        if isinstance(left, PartialDerivative):
            decide = test.partial_equals
        elif isinstance(left, ScalarGradient):

            def decide(a: Expr, b: Expr, test: FieldTest = test) -> object:
                return test.local_gradient_equals(a.args[0], a.args[1], b)

        else:
            continue
        checked += 1
        if step.rule != "components.chain":  # its sums over partial derivatives are for the normal form
            assert decide(left, right) is not None, right
        for fault in (2 * right, -right):
            assert decide(left, fault) is None, fault
    assert checked > 5


def test_a_lost_term_or_another_tensor_in_a_step_is_not_verified() -> None:
    d = derive(
        "sum(h, i, e, G[h,i,e] * O[h,i,e])", "K", given=ROWS_OF_HEADS, shapes=HEADS_OF_A_ROW, check=False
    )
    equations = Equations(d.model, [s.equation for s in d.steps], d.wrt)
    last = d.steps[-1]
    swapped = {
        n: TensorElement(n.args[0], n.args[1], n.args[3], n.args[2])
        for n in walk(last.right)
        if isinstance(n, TensorElement)
    }
    for fault in (last.right.xreplace({n: m}) for n, m in swapped.items()):
        assert equations._exact(last.left, fault, {}, last.left) is None


def test_a_second_derivative_is_not_taken_of_an_adjoint_that_may_be_anything() -> None:
    """Inside another derivative a gradient is no array of its own, whose derivative would be zero."""
    model, f = read_question("x.T @ A @ x", shapes="x: n, A: n n")
    x = model.symbols["x"]
    assert isinstance(x, Expr)
    n = x.shape[0]
    assert FieldTest(model).equal(jacobian(gradient(f, x), x), zeros(n, n)) is None


def test_an_entry_outside_of_its_array_is_not_verified() -> None:
    for model, f, x, value, right, answer in shifted_answers():
        assert (FieldTest(model).array_equals(f, x, value) is not None) == right, answer
