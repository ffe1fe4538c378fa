"""The text language: what is read, what is refused and where, and that nothing else ever happens."""

from __future__ import annotations

import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st
from sympy import Expr, Rational, Symbol

from symgrad import derive, verify
from symgrad.errors import NameUnknownError, ReadError, ShapeError, SymgradError, TooLargeError
from symgrad.expr import (
    AsScalar,
    EntrySum,
    Family,
    Loop,
    Model,
    Norm,
    OrderedProduct,
    add,
    apply,
    axis_sum,
    convolve,
    correlate,
    det,
    diag,
    divide,
    entry_max,
    eye,
    flip,
    hadamard,
    inverse,
    kron,
    log_softmax,
    logdet,
    logsumexp,
    matmul,
    matpower,
    matrix,
    negate,
    norm,
    ones,
    outer,
    power,
    scale,
    size,
    softmax,
    subtract,
    trace,
    transpose,
    vec,
    vector,
    zeros,
)
from symgrad.reading import read_assumptions, read_model, read_question, read_shapes
from symgrad.reading.spellings import FUNCTIONS_ELSEWHERE
from symgrad.rendering import to_numpy

SHAPES = "A: m n, B: n k, C: m n, Q: n n, x: n, y: n, u: m, s:, t:, K: a b, w: k, v: p+k-1"
A, B, C, Q = matrix("A", "m", "n"), matrix("B", "n", "k"), matrix("C", "m", "n"), matrix("Q", "n", "n")
x, y, u, w = vector("x", "n"), vector("y", "n"), vector("u", "m"), vector("w", "k")
s, t = Symbol("s", real=True), Symbol("t", real=True)
n, m = size("n"), size("m")
row = matmul(ones("m"), transpose(x))


def read(text: str, **options: object) -> Expr:
    return read_question(text, shapes=SHAPES, **options)[1]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("A @ x", matmul(A, x)),
        ("u @ A", matmul(transpose(A), u)),
        ("x @ y", matmul(transpose(x), y)),
        ("x.T @ Q @ y", matmul(transpose(x), Q, y)),
        ("x @ Q @ y", matmul(transpose(x), Q, y)),
        ("x @ y.T", outer(x, y)),
        ("outer(u, x)", outer(u, x)),
        ("A @ B", matmul(A, B)),
        ("A.T", transpose(A)),
        ("A * C", hadamard(A, C)),
        ("A / C", hadamard(A, power(C, -1))),
        ("2 * x - y / 3", subtract(scale(2, x), scale(Rational(1, 3), y))),
        ("0.5 * s", s / 2),
        ("1e-3 * s", s / 1000),
        ("-x", negate(x)),
        ("--x", x),
        ("+x", x),
        ("x ** 2", power(x, 2)),
        ("-x ** 2", negate(power(x, 2))),
        ("s ** -2", s**-2),
        ("2 ** x", apply("exp", scale(sympy.log(2), x))),
        ("A + x", add(A, row)),
        ("x + A", add(row, A)),
        ("A + s", add(A, scale(s, ones("m", "n")))),
        ("1 - x", subtract(ones("n"), x)),
        ("A * x", matmul(A, diag(x))),
        ("A - sum(A, axis=1, keepdims=True)", subtract(A, matmul(A, ones("n"), transpose(ones("n"))))),
        ("A * sum(A, axis=1, keepdims=True)", matmul(diag(matmul(A, ones("n"))), A)),
        ("A / max(A, axis=1, keepdims=True)", None),
        ("x > 0", apply("step", x)),
        ("x >= y", subtract(ones("n"), apply("step", subtract(y, x)))),
        ("s < t", apply("step", t - s)),
        ("where(x > 0, x, y)", None),
        ("sum(x)", EntrySum(x)),
        ("sum(A, axis=0)", axis_sum(A, 0)),
        ("sum(A, axis=-1)", axis_sum(A, 1)),
        ("mean(A)", divide(EntrySum(A), m * n)),
        ("mean(A, axis=0)", scale(1 / m, axis_sum(A, 0))),
        ("max(x)", entry_max(x)),
        ("norm(A)", Norm(A)),
        ("norm(x, 1)", norm(x, 1)),
        ("tr(Q)", trace(Q)),
        ("trace(Q)", trace(Q)),
        ("det(Q)", det(Q)),
        ("logdet(Q)", logdet(Q)),
        ("inv(Q)", inverse(Q)),
        ("matrix_power(Q, 3)", matpower(Q, 3)),
        ("diag(x)", diag(x)),
        ("diag(Q)", diag(Q)),
        ("kron(x, y)", kron(x, y)),
        ("kron(A, B)", kron(A, B)),
        ("kron(outer(x, ones(1)), Q)", kron(x, Q)),
        ("vec(A)", vec(A)),
        ("softmax(x)", softmax(x)),
        ("softmax(A)", softmax(A, 1)),
        ("softmax(A, axis=0)", softmax(A, 0)),
        ("log_softmax(A)", log_softmax(A, 1)),
        ("logsumexp(x)", logsumexp(x)),
        ("logsumexp(A, axis=1)", logsumexp(A, 1)),
        ("eye(n)", eye("n")),
        ("ones(m, n)", ones("m", "n")),
        ("zeros(n)", zeros("n")),
        ("correlate(v, w)", correlate(vector("v", size("p") + size("k") - 1), w)),
        ("convolve(x, w)", convolve(x, w)),
        ("flip(x)", flip(x)),
        ("exp(log(sin(cos(tan(x)))))", None),
        ("leaky_relu(x, s)", apply("leaky_relu", x, s)),
        ("f(A @ x)", apply("f", matmul(A, x))),
        ("f'(x)", apply("f'", x)),
        ("sum(x) / n", EntrySum(x) / n),
        ("prod(k2 in 1..3, Q)", None),
        ("x[0]", None),
        ("A[1, 2]", None),
        ("sqrt(2) * pi * s", sympy.sqrt(2) * sympy.pi * s),
        ("(s +\n t)", s + t),
    ],
)
def test_what_is_read(text: str, wanted: Expr | None) -> None:
    e = read(text, functions=["f"])
    assert wanted is None or e == wanted
    assert isinstance(e, Expr)


def test_what_comes_out_one_by_one_is_a_scalar() -> None:
    assert isinstance(read("x @ Q @ x"), AsScalar)
    one = read_question("W @ x + b", shapes="W: 1 n, x: n, b: 1")[1]
    assert not one.is_Matrix


@pytest.mark.parametrize(
    ("text", "error", "says", "column"),
    [
        ("A @ u", ShapeError, "inner sizes n and m differ", 5),
        ("x + y @ A", ShapeError, "inner sizes", 9),
        ("x + u", ShapeError, "sizes n and m differ", 5),
        ("A * Q", ShapeError, "sizes m and n differ", 5),
        ("s @ x", ShapeError, "one side of it is a scalar", 5),
        ("tr(A)", ShapeError, "square", 1),
        ("tr(x)", ShapeError, "matrix is needed, not a n", 4),
        ("softmax(s)", ShapeError, "not a scalar", 9),
        ("outer(A, x)", ShapeError, "outer takes vectors", 7),
        ("x + x.T", ShapeError, "a row and a vector", 5),
        ("sum(x, axis=1)", ShapeError, "no axis 1", 13),
        ("x ** y", ShapeError, "exponent", 1),
        ("A[1]", ShapeError, "one index for a m x n", 1),
        ("softmx(x)", NameUnknownError, "no function softmx", 1),
        ("x(s)", NameUnknownError, "no function x", 1),
        ("sum", ReadError, "sum is a function", 1),
        ("sum(x, y, s)", ReadError, "takes", 1),
        ("softmax(x, dim=1)", ReadError, "no argument called dim", 1),
        ("tr(Q", ReadError, "never closed", 3),
        ("tr(Q))", ReadError, "closes nothing", 6),
        ("(x]", ReadError, "is closed by", 3),
        ("x @", ReadError, "ends too early", 4),
        ("x y", ReadError, "unexpected 'y'", 3),
        ("x ^ 2", ReadError, "unexpected character '\\^'", 3),
        ("x @ 'a'", ReadError, "unexpected character", 5),
        ("α * x", ReadError, "U\\+03B1", 1),
        ("where(x, x, y)", ReadError, "comparison first", 7),
        ("x ** 2000", TooLargeError, "beyond", 6),
        ("2 ** 999 ** 2", TooLargeError, "long number|beyond", None),
        ("9" * 60, TooLargeError, "60 digits", 1),
        ("(" * 90 + "x" + ")" * 90, TooLargeError, "brackets inside", None),
        ("-" * 200 + "x", TooLargeError, "run of signs", 1),
        ("x" + " + x" * 9000, TooLargeError, "characters", 1),
        ("   ", ReadError, "empty", None),
    ],
)
def test_what_is_refused_and_where(
    text: str, error: type[SymgradError], says: str, column: int | None
) -> None:
    with pytest.raises(error, match=says) as caught:
        read(text)
    if column is not None:
        assert caught.value.column == column
        assert caught.value.line == 1


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("softmx(x)", "did you mean softmax"),
        ("A @ u", "the left side transposed is n x m and would fit"),
        ("x y", "an operator is missing"),
        ("x ^ 2", r"a power is written \*\*"),
        ("s @ x", r"write \* instead"),
        ("xx + x", "xx"),
        ("np.dot(x, x)", r"exp\(x\), not np.exp\(x\)"),
        ("dot(x, x)", "write x @ y"),
        ("ln(s)", r"write log\(x\)"),
        ("x' @ A @ x", r"a transpose is written \.T; a prime is"),
        ("||x||", r"norm\(\.\.\)"),
    ],
)
def test_messages_say_what_would_fit(text: str, hint: str) -> None:
    with pytest.raises(SymgradError) as caught:
        read(text)
    import re

    assert re.search(hint, caught.value.hint or ""), caught.value.hint


def test_what_others_spell_is_read_here_as_the_hint_says() -> None:
    """A hint must not lead to a second error."""
    shapes_of = {"A": "n n", "B": "n n", "x": "n", "X": "m n", "y": "n", "b": "n"}
    shapes = ", ".join(f"{name}: {dims}" for name, dims in shapes_of.items()) + ", a: , c: "
    for called, instead in FUNCTIONS_ELSEWHERE.items():
        with pytest.raises(SymgradError, match=f"no function {called}"):
            read_question(f"{called}(x)", shapes=shapes)
        if called in ("clip", "cov"):
            instead = instead.replace(", b)", ", c)").replace("/ n", "/ m")
        if "[" in instead:
            read_question("x", definitions=[instead], shapes=shapes)
        else:
            read_question(instead, shapes=shapes)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("L = x @ A @ x", "(A + A.T) @ x"),
        ("z = A @ x\nL = norm(z)**2", "2 * A.T @ z"),
        ("z = A @ x\nnorm(z)**2", "2 * A.T @ z"),
        ("sum(A,\n axis=0) @ x", "sum(A, axis=0)"),
    ],
)
def test_an_expression_may_bring_its_definitions(text: str, answer: str) -> None:
    assert derive(text, "x", shapes="A: n n, x: n").to_numpy() == answer


# --- shapes that are not declared -------------------------------------------------------------------


def test_a_shape_is_found_where_one_reading_fits() -> None:
    model, e = read_question("tr(X @ X)")
    (leaf,) = (v for v in model.symbols.values() if str(v) == "X")
    assert leaf.shape[0] == leaf.shape[1]
    assert e == trace(matmul(leaf, leaf))


@pytest.mark.parametrize("text", ["X @ w", "norm(q)", "A @ x + b", "p * x"])
def test_a_shape_is_asked_for_where_several_readings_fit(text: str) -> None:
    with pytest.raises(SymgradError, match=r"can be|have no|has no|not declared") as caught:
        read_question(text, shapes="A: m n, x: n")
    assert "--shapes" in (caught.value.hint or "")


def test_the_question_is_shown_where_a_shape_is_missing() -> None:
    with pytest.raises(ShapeError) as caught:
        read_question("norm(A @ q)", definitions=["z = x"], shapes="A: m n, x: n")
    assert "norm(A @ q)\n" + " " * (len("  at     line 1, column 10: ") + 9) + "^" in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [{"functions": ["f"]}, {"assume": "f: function"}, {"shapes": "x: n, f: function"}],
    ids=lambda o: next(iter(o)),
)
def test_a_function_can_be_declared_beside_the_text(options: dict[str, object]) -> None:
    _, value = read_question("f(x) @ x", **{"shapes": "x: n", **options})  # type: ignore[arg-type]
    assert to_numpy(value) == "f(x) @ x"


def test_sizes_follow_from_the_operators() -> None:
    _, e = read_question("det(X)", shapes="y: n")
    assert e.args[0].shape[0] == e.args[0].shape[1]
    _, e = read_question("A @ x", shapes={"A": ["m", "n"], "x": ["k"]}, dims_equal=[["n", "k"]])
    assert e == matmul(A, x)


# --- models ------------------------------------------------------------------------------------------------

NETWORK = """
# a network of symbolic depth
W : n n
b : n
x : n
phi : function

a[0] = x
for l in 1..L:
    z[l] = W[l] @ a[l-1] + b[l]   # affine
    a[l] = phi(z[l])
loss = sum((a[L] - y)**2) / 2
y : n
"""


def test_a_model_with_a_loop() -> None:
    model = read_model(NETWORK)
    first, loop, last = model.items
    assert isinstance(loop, Loop)
    assert (str(loop.index), loop.lower, str(loop.upper)) == ("l", 1, "L")
    assert isinstance(model.symbols["W"], Family)
    assert [d.name for d in model.definitions()] == ["a", "z", "a", "loss"]
    assert (first.line, loop.line, last.line) == (8, 9, 12)


def test_sizes_may_depend_on_the_layer() -> None:
    model = read_model(
        "a[0] = x\nfor l in 1..L:\n    a[l] = tanh(W[l] @ a[l-1])\n", shapes="W: n[l] n[l-1], x: n[0]"
    )
    loop = model.items[1]
    assert isinstance(loop, Loop)
    assert str(loop.body[0].symbol.shape[0]) == "n[l]"


@pytest.mark.parametrize(
    ("text", "says", "line"),
    [
        ("z = W @ x\nW = x\n", "defined or used", 2),
        ("z = q2 + x\nq2 = x\n", "before it is defined", 1),
        ("z = x\nz = x\n", "defined or used on line 1", 2),
        ("sum = sum(x)\n", "is a function", 1),
        ("x + 1\n", "definition", 1),
        ("a[0] = x\nfor l in 1..L:\n    a[l] = W @ a[l-1]\n", "every layer must hand on|formula is m", 3),
        ("a[0] = x\nfor l in 1..0:\n    a[l] = x\n", "no layers", 2),
        ("for l in 1..L:\nz = x\n", "no body", 1),
        ("for l in 1..L:\n    z = x\n", "defined again by every layer", 2),
        ("for l in 1..L:\n    a[l+1] = x\n", "inside the loop a\\[l\\] is defined", 2),
        ("for l in x..L:\n    a[l] = x\n", "not a number of layers", 1),
        ("for l in 1..L:\n    for k in 1..3:\n        a[k] = x\n", "loop inside a loop|no body|indent", 2),
        ("z : n m 3 n m 3 n m 3\nf = x\n", "9 indices", None),
        ("# nothing\n", "no definitions", None),
    ],
)
def test_models_that_are_refused(text: str, says: str, line: int | None) -> None:
    with pytest.raises(SymgradError, match=says) as caught:
        read_model(text, shapes="W: m n, x: n")
    error = caught.value
    assert line is None or error.line in (line, None), error
    assert line is None or error.line == line or "loop" in text


def test_a_declared_shape_must_be_that_of_the_formula() -> None:
    with pytest.raises(ShapeError, match="declared m, but its formula is n"):
        read_model("x : n\nu : m\nu = x\n")


def test_options_as_text() -> None:
    assert read_shapes("X: n d, lam:, s: 3") == {"X": ["n", "d"], "lam": [], "s": ["3"]}
    assert read_assumptions("S: symmetric invertible") == {"S": ["symmetric", "invertible"]}
    for bad in ("X n d", "1x: n", ": n"):
        with pytest.raises(ReadError, match="cannot be read"):
            read_shapes(bad)
    with pytest.raises(ReadError, match="symmetric"):
        read_question("x @ x", shapes="x: n", assume={"x": "symmetrc"})


def test_assumptions_reach_the_scalars() -> None:
    model, _ = read_question(
        "log(s) * k + x @ x", shapes="s:, k:, x: n", assume="s: positive, k: positive_integer"
    )
    assert model.symbols["s"].is_positive  # type: ignore[union-attr]
    assert model.symbols["k"].is_integer  # type: ignore[union-attr]


def test_ranges_are_read_as_products_and_sums() -> None:
    model = read_model(
        "a[0] = x\nfor l in 1..L:\n    a[l] = W[l] @ a[l-1]\nloss = norm(a[L])\n", shapes="W: n n, x: n"
    )
    _, e = read_question("prod(k in 1..L, W[k].T) @ a[L]", model=model)
    (product,) = (p for p in e.args if isinstance(p, OrderedProduct))
    assert product.direction == 1
    assert to_numpy(e) == "prod(k in 1..L, W[k].T) @ a[L]"


def test_a_long_explicit_model_is_read() -> None:
    lines = [f"h{i + 1} = tanh(W @ h{i})" for i in range(400)]
    model = read_model("\n".join(lines), shapes="W: n n, h0: n")
    assert len(model.items) == 400


# --- anything else ------------------------------------------------------------------------------------------

PIECES = [
    *(
        "x",
        "A",
        "Q",
        "s",
        "W",
        "n",
        "(",
        ")",
        "[",
        "]",
        "@",
        "*",
        "**",
        "+",
        "-",
        "/",
        ".T",
        ",",
        "=",
        "..",
        ":",
    ),
    *(
        "1",
        "2.5",
        "1e9",
        "sum",
        "tr",
        "inv",
        "for",
        "in",
        ">",
        "<=",
        "axis",
        "'",
        "#",
        "\n",
        "    ",
        "prod",
        "f",
    ),
]


@settings(max_examples=250, deadline=None)
@given(st.one_of(st.text(max_size=60), st.lists(st.sampled_from(PIECES), max_size=25).map(" ".join)))
def test_random_text_is_read_or_refused(text: str) -> None:
    for reader in (lambda: read(text), lambda: read_model(text, shapes=SHAPES)):
        try:
            found = reader()
        except SymgradError as error:
            assert str(error)
        else:
            assert isinstance(found, Expr | Model)


ATOMS = [
    "x",
    "y",
    "A @ x",
    "Q @ y",
    "tanh(x)",
    "x * y",
    "2 * x",
    "x / 3",
    "s * y",
    "(1 - x)",
    "x ** 2",
    "softmax(x)",
]
TEMPLATES = [
    "sum({a})",
    "norm({a} - {b})**2",
    "{a2} @ {b2}",
    "exp({a2} @ {b2}) * s",
    "outer({a2}, {b2})",
    "Q @ ({a2}) + {b2}",
    "diag({a2}) @ Q",
    "log({a2}) - {b2} / s",
    "({a2}) * ({b2})",
    "logsumexp({a2})",
]


@st.composite
def formulas(draw: st.DrawFn) -> str:
    flat = [a for a in ATOMS if "A @" not in a]
    choose = {
        "a": draw(st.sampled_from(flat)),
        "b": draw(st.sampled_from(flat)),
        "a2": f"({draw(st.sampled_from(flat))})",
        "b2": f"({draw(st.sampled_from(flat))})",
    }
    return draw(st.sampled_from(TEMPLATES)).format(**choose)


@settings(max_examples=120, deadline=None)
@given(formulas())
def test_printing_then_reading_gives_the_same_expression(text: str) -> None:
    e = read(text)
    again = read(to_numpy(e))
    assert again == e or sorted(map(str, again.args)) == sorted(map(str, e.args))


@pytest.mark.parametrize(
    ("f", "gradient"),
    [
        ("sum(a * maximum(x, 0))", "a * (x > 0)"),
        ("sum(a * maximum(x, b))", "a * (x > b)"),
        ("sum(a * minimum(x, 1))", "a * (1 - x > 0)"),
    ],
)
def test_the_larger_and_the_smaller_go_entry_by_entry(f: str, gradient: str) -> None:
    found = derive(f, "x", shapes="a: n, b: n, x: n")
    assert found.evidence.level == "proved"
    assert found.to_numpy() == gradient


def test_max_of_an_array_and_a_number_is_no_guess() -> None:
    with pytest.raises(ReadError, match="two ways"):
        derive("sum(max(x, 0))", "x", shapes="x: n")
    assert derive("max(s, t)", "s", shapes="s:, t:").to_numpy() == "(s > t)"


def test_a_column_that_keeps_its_axis_keeps_it_under_a_name() -> None:
    """NumPy repeats such a column along rows; where the matrix is square, a vector would fit as well."""
    rows = "s = sum(C, axis=1, keepdims=True)\nD = C / s\nL = sum(G * D)"
    named = derive(read_model(rows, shapes="C: n n, G: n n"), "C", of="L")
    whole = derive("sum(G * (C / sum(C, axis=1, keepdims=True)))", "C", shapes="C: n n, G: n n")
    assert named.evidence.level == whole.evidence.level == "proved"
    given = rows.splitlines()
    for axis, verdict in ((1, "proved"), (0, "refuted")):
        claim = f"dL/dC = (G - sum(G * C, axis={axis}, keepdims=True) / s) / s"
        assert verify(claim, given=given, shapes="C: n n, G: n n").verdict == verdict


@pytest.mark.parametrize(
    "f", ["sum((X + b)**2)", "sum((X * b)**2)", "sum(exp(X / b))", "sum((X + 2 * b)**2)"]
)
def test_a_declared_column_is_not_repeated_where_both_ways_fit(f: str) -> None:
    with pytest.raises(ShapeError, match="b is declared n x 1"):
        derive(f, "b", shapes="X: n n, b: n 1")
    assert derive("b.T @ X @ b", "b", shapes="X: n n, b: n 1").to_numpy() == "(X + X.T) @ b"
