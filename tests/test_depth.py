"""Networks of any depth: recurrences with one or several states, several loops, sums over layers, shared weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import sympy
from sympy import Expr
from sympy.matrices.expressions.matpow import MatPow
from sympy.matrices.expressions.transpose import Transpose

from symgrad import derive, read_model
from symgrad.api import Derivation
from symgrad.checking.answers import check_answer
from symgrad.checking.induction import LoopProver
from symgrad.checking.layers import apart
from symgrad.cli import run
from symgrad.deriving.steps import INDUCTION
from symgrad.errors import CheckError, DeriveError, NameUnknownError, SymgradError, UnsupportedError
from symgrad.expr import (
    Loop,
    MatrixSum,
    Member,
    OrderedProduct,
    add,
    matrix,
    scale,
    substitute,
    transpose,
    walk,
    written_out,
)
from symgrad.rendering.numpy import to_numpy

RECURRENT = """
W : n n
U : n d
V : k n
x[t] : d
y[t] : k
h0 : n
h[0] = h0
for t in 1..T:
    z[t] = W @ h[t-1] + U @ x[t]
    h[t] = tanh(z[t])
    o[t] = V @ h[t]
loss = sum(t in 1..T, norm(o[t] - y[t])**2) / 2
"""
ADDED_UP = """
W : n n
x : n
y[t] : n
h[0] = x
c[0] = 0
for t in 1..T:
    h[t] = tanh(W @ h[t-1])
    c[t] = c[t-1] + norm(h[t] - y[t])**2
loss = c[T]
"""
TWO_LOOPS = """
W : n n
V : n n
x : n
y : n
a[0] = x
for l in 1..L:
    a[l] = tanh(W[l] @ a[l-1])
s[0] = a[L]
for t in 1..T:
    s[t] = tanh(V @ s[t-1])
loss = norm(s[T] - y)**2 / 2
"""
STACKED = """
W : n n
V : n n
U : n n
x : n
y : n
h[0] = x
s[0] = x
for t in 1..T:
    h[t] = tanh(W @ h[t-1])
    s[t] = tanh(V @ s[t-1] + U @ h[t])
loss = norm(s[T] - y)**2 / 2
"""
DECAY = """
W : n n
x : n
y : n
lam : positive
a[0] = x
for l in 1..L:
    a[l] = relu(W[l] @ a[l-1])
loss = norm(a[L] - y)**2 / 2 + lam * sum(l in 1..L, norm(W[l])**2)
"""
ROWS = """
W : n n
X : m n
Y : m n
A[0] = X
for l in 1..L:
    Z[l] = A[l-1] @ W[l]
    A[l] = tanh(Z[l])
loss = norm(A[L] - Y)**2 / 2
"""
CELL = """
F : n n
G : n n
x : n
y : n
h[0] = x
c[0] = x
for t in 1..T:
    f[t] = sigmoid(F @ h[t-1])
    g[t] = tanh(G @ h[t-1])
    c[t] = f[t] * c[t-1] + g[t]
    h[t] = tanh(c[t])
loss = norm(h[T] - y)**2 / 2
"""

LSTM = """
Wf : n n
Wi : n n
Wo : n n
Wg : n n
Ug : n d
x[t] : d
y : n
h0 : n
c0 : n
h[0] = h0
c[0] = c0
for t in 1..T:
    f[t] = sigmoid(Wf @ h[t-1])
    i[t] = sigmoid(Wi @ h[t-1])
    o[t] = sigmoid(Wo @ h[t-1])
    g[t] = tanh(Wg @ h[t-1] + Ug @ x[t])
    c[t] = f[t] * c[t-1] + i[t] * g[t]
    h[t] = o[t] * tanh(c[t])
loss = norm(h[T] - y)**2 / 2
"""
MOMENTUM = """
A : n n symmetric
b : n
eta :
beta :
w0 : n
w[0] = w0
v[0] = zeros(n)
for t in 1..T:
    v[t] = beta * v[t-1] + A @ w[t-1] - b
    w[t] = w[t-1] - eta * v[t]
loss = w[T] @ A @ w[T] / 2 - b @ w[T]
"""


def rules(d: Derivation) -> list[str]:
    return [s.rule for s in d.steps]


TIED = """
x : n
y : n
a[0] = x
for l in 1..L:
    a[l] = W @ a[l-1]
loss = norm(a[L] - y)**2 / 2
"""
EIGEN = "Q : n n orthogonal\nlam : n\nW = Q @ diag(lam) @ Q.T" + TIED
RESIDUAL = "W : n n" + TIED.replace("a[l] = W", "a[l] = a[l-1] + W")

CARRIED = "sum(j in t..T, prod(i in t+1..j, W.T @ diag(1 - h[i]**2)) @ V.T @ (o[j] - y[j]))"


@pytest.mark.parametrize(
    ("text", "wrt", "answer"),
    [
        (RECURRENT, "V", "sum(t in 1..T, outer(o[t] - y[t], h[t]))"),
        (RECURRENT, "h[t]", CARRIED),
        (RECURRENT, "W", f"sum(t in 1..T, outer({CARRIED} * (1 - h[t]**2), h[t-1]))"),
        (RECURRENT, "x[t]", f"U.T @ ({CARRIED} * (1 - h[t]**2))"),
        (RECURRENT, "h[T]", "V.T @ (o[T] - y[T])"),
        (ADDED_UP, "h[t]", "sum(j in t..T, 2 * prod(k in t+1..j, W.T @ diag(1 - h[k]**2)) @ (h[j] - y[j]))"),
        (
            TWO_LOOPS,
            "a[l]",
            "prod(k in l+1..L, W[k].T @ diag(1 - a[k]**2)) @ prod(k in 1..T, V.T @ diag(1 - s[k]**2)) @ (s[T] - y)",
        ),
        (
            STACKED,
            "V",
            "sum(t in 1..T, outer((prod(k in t+1..T, V.T @ diag(1 - s[k]**2)) @ (s[T] - y)) * (1 - s[t]**2), s[t-1]))",
        ),
        (
            "W : n n" + TIED,
            "W",
            "sum(l in 1..L, outer(matrix_power(W.T, L - l) @ (a[L] - y), x) @ matrix_power(W.T, l - 1))",
        ),
        (
            EIGEN,
            "W",
            "Q @ ((outer(Q.T @ (a[L] - y), x) @ Q) * sum(l in 1..L, outer(lam**(L - l), lam**(l - 1)))) @ Q.T",
        ),
        (RESIDUAL, "x", "matrix_power(eye(n) + W.T, L) @ (a[L] - y)"),
        ("w :\nx :\na[0] = x\nfor l in 1..L:\n    a[l] = w * a[l-1]\nloss = a[L]", "w", "x * L * w**(L - 1)"),
        (
            DECAY,
            "W[L]",
            "outer((a[L] - y) * (W[L] @ a[L-1] > 0), a[L-1]) + 2 * lam * W[L]",
        ),
    ],
)
def test_closed_forms(text: str, wrt: str, answer: str) -> None:
    d = derive(read_model(text), wrt, of="loss")
    assert d.to_numpy() == answer
    assert d.evidence.level in ("proved", "agrees")
    lengths = {n for sizes in d.evidence.sizes for n in sizes.values()}
    assert set(range(1, 9)) <= lengths


@pytest.mark.parametrize(
    ("text", "wrt", "said"),
    [
        (RECURRENT, "W", {"depth.affine", "depth.affine_base", "depth.affine_step", "depth.shared"}),
        (ADDED_UP, "W", {"depth.constant", "depth.affine_step"}),
        (TWO_LOOPS, "x", {"depth.closed", "depth.base", "depth.step", "depth.ends"}),
        (ROWS, "W[l]", {"depth.recurrence_vec", "depth.vec", "depth.vec_base", "depth.vec_step"}),
        (ROWS.replace("tanh(Z[l])", "Z[l] @ W[l]"), "X", {"depth.sides", "depth.sides_step"}),
        (EIGEN, "W", {"depth.forward_step", "depth.spectral", "depth.divided_apart", "depth.divided_equal"}),
        (CELL, "F", {"depth.eliminated", "depth.closed", "depth.step", "depth.shared"}),
        (LSTM, "h0", {"depth.coupled", "depth.closed", "depth.base", "depth.step", "depth.ends"}),
        (MOMENTUM, "w0", {"depth.coupled", "depth.closed", "depth.base", "depth.step", "depth.ends"}),
    ],
)
def test_what_is_proved_on_the_way(text: str, wrt: str, said: set[str]) -> None:
    d = derive(read_model(text), wrt, of="loss")
    assert said <= set(rules(d))
    assert all(s.evidence.level != "none" for s in d.steps)


def test_states_that_need_each_other_are_handed_back_by_a_matrix_of_blocks() -> None:
    d = derive(read_model(MOMENTUM), "w0", of="loss")
    handed = "block([[beta * eye(n) - eta * A, -eta * eye(n)], [A, eye(n)]])"
    last = "block([[-eta * (A @ w[T] - b)], [A @ w[T] - b]])"
    assert d.to_numpy() == f"block([[zeros(n, n), eye(n)]]) @ matrix_power({handed}, T) @ {last}"
    assert d.evidence.level == "proved" and {s["T"] for s in d.evidence.sizes} == set(range(1, 9))
    again = read_model(MOMENTUM + f"answer = {d.to_numpy()}").definition_of(matrix("answer", "n", 1))
    assert again is not None and to_numpy(again.value) == d.to_numpy()
    wrong = d.answer.xreplace({d.answer.args[1]: transpose(d.answer.args[1])})
    with pytest.raises(CheckError):
        check_answer(d, wrong)


def test_a_state_that_no_layer_before_needs_is_left_out_of_the_stack() -> None:
    d = derive(read_model(CELL), "F", of="loss")
    (closed,) = [s for s in d.steps if s.rule == "depth.closed" and s.given == {} and len(s.equation) == 3]
    assert to_numpy(closed.left) == "grad(loss, c[t])"
    assert d.answer is not None and d.evidence.level == "proved"


def test_a_long_matrix_of_blocks_has_a_name_where_it_is_used() -> None:
    shown = str(derive(read_model(LSTM), "h0", of="loss"))
    assert "[∂loss/∂c[t−1]; ∂loss/∂h[t−1]] = M[t] [∂loss/∂c[t]; ∂loss/∂h[t]]" in shown
    assert "[∏→_{k=1..T} M[k]]" in shown and shown.count("M[t] = [") == 1


def test_a_matrix_of_samples_has_its_gradient_by_layers() -> None:
    d = derive(read_model(ROWS), "W[l]", of="loss")
    assert to_numpy(d.result) == "A[l-1].T @ grad(loss, Z[l])"
    stated = next(s for s in d.steps if s.rule == "depth.vec")
    assert to_numpy(stated.right).startswith("prod(k in l+1..L, kron(W[k], eye(m)) @ diag(vec(1 - A[k]**2)))")


@pytest.mark.parametrize(
    ("body", "wrt"),
    [
        # the part y^T belongs to no layer, and gets no adjoint from one layer alone
        ("for l in 1..L:\n    a[l] = (y @ a[l-1]) * a[l-1]\nloss = x @ a[L]", "y"),
        # indices that a closed form binds are kept apart from those that are put in
        (
            "b[0] = x\nfor l in 1..L:\n    a[l] = tanh(W[l] @ a[l-1])\n"
            "for k in 1..L:\n    b[k] = tanh(V @ b[k-1] + a[k])\nloss = norm(b[L])",
            "a[l]",
        ),
        ("for l in 1..L:\n    a[l] = W[l] @ a[l-1]\nz = W[L+1] @ a[L]\nloss = norm(z)**2", "W[l]"),
        ("for l in 1..L:\n    a[l] = V @ a[l-1]\nloss = norm(V @ a[L])**2", "V"),
    ],
)
def test_what_layers_share_is_told_from_what_they_own(body: str, wrt: str) -> None:
    d = derive(read_model("W : n n\nV : n n\nx : n\ny : n\na[0] = x\n" + body), wrt, of="loss")
    assert d.evidence.level in ("proved", "agrees")


@pytest.mark.parametrize("text", [RECURRENT, ADDED_UP, STACKED])
def test_a_wrong_answer_is_caught(text: str) -> None:
    d = derive(read_model(text), "W", of="loss", check=False)
    assert d.answer is not None
    with pytest.raises(CheckError):
        check_answer(d, scale(2, d.answer))


CHAIN = "W : n n\nx : n\na[0] = x\nfor l in 1..L:\n    a[l] = W[l] @ a[l-1]\n"


@pytest.mark.parametrize(
    ("text", "wrt", "error", "message", "place"),
    [
        (CHAIN + "loss = a[L]\n", "x", DeriveError, "a scalar, and loss is a n", (6, 1)),
        (CHAIN + "loss = norm(a[L+1])\n", "x", DeriveError, r"a\[L\+1\] is outside the loop", (6, 13)),
        (CHAIN + "loss = norm(a[L])\n", "W[L+1]", DeriveError, "outside the loop", None),
        (CHAIN + "loss = norm(a[L])\n", "a[-1]", DeriveError, "outside the loop", None),
        (CHAIN + "loss = norm(a[L])\n", "W[0]", DeriveError, "outside the loop", None),
        (CHAIN + "loss = W[L]\n", "x", DeriveError, "a scalar, and loss is a n x n", (6, 1)),
        (CHAIN + "a[L] = x\nloss = norm(a[L])\n", "x", DeriveError, r"a\[L\] is defined again", (6, 1)),
        (CHAIN.replace("1..L", "1..10**9"), "x", SymgradError, "a bound is a number", (4, 13)),
        (
            CHAIN.replace("1..L", "1..900") + "loss = norm(a[900])",
            "x",
            UnsupportedError,
            "900 layers",
            (4, 1),
        ),
        (
            CHAIN.replace("1..L", "1..x") + "loss = norm(a[L])\n",
            "x",
            SymgradError,
            "not a number of",
            (4, 13),
        ),
        (
            CHAIN.replace("a[l-1]", "a[l]") + "loss = norm(a[L])\n",
            "x",
            DeriveError,
            "used before",
            (5, 19),
        ),
        (CHAIN.replace("1..L", "1..0") + "loss = norm(a[L])\n", "x", SymgradError, "no layers", (4, 13)),
        (CHAIN.replace("1..L", "1..-2") + "loss = norm(a[L])\n", "x", SymgradError, "no layers", (4, 13)),
        (CHAIN.replace("a[l-1]", "a[l+1]") + "loss = norm(a[L])\n", "x", DeriveError, "later", (5, 19)),
        (
            CHAIN.replace("a[l-1]", "a[l-2]") + "loss = norm(a[L])\n",
            "x",
            UnsupportedError,
            "layer before",
            (5, 19),
        ),
        (
            CHAIN.replace("    a[l]", "    b[l] = c[l]\n    c[l] = a[l-1]\n    a[l]") + "loss = norm(a[L])\n",
            "x",
            NameUnknownError,
            "c is used before it is defined",
            (5, 12),
        ),
        ("loss = norm(a[L])\n" + CHAIN, "x", NameUnknownError, "a is used before", (1, 13)),
        (CHAIN + "loss = norm(a[L]) + norm(a[2])\n", "x", UnsupportedError, "one layer's among many", None),
        (
            CHAIN + "loss = sum(l in 3..L, norm(a[l]))\n",
            "x",
            UnsupportedError,
            "not the layers of the loop",
            None,
        ),
        (
            CHAIN + "loss = norm(a[L]) + norm(W[1])\n",
            "W[l]",
            UnsupportedError,
            "in the loop and on its own",
            None,
        ),
        (
            CHAIN.replace("W[l]", "W[l-1]") + "loss = norm(a[L])\n",
            "W[l]",
            DeriveError,
            "outside the loop",
            None,
        ),
    ],
)
def test_what_makes_no_sense_is_refused_where_it_stands(
    text: str, wrt: str, error: type[SymgradError], message: str, place: tuple[int, int] | None
) -> None:
    with pytest.raises(error, match=message) as caught:
        derive(read_model(text), wrt, of="loss")
    if place is not None:
        assert (caught.value.line, caught.value.column) == place


def test_a_layer_that_does_not_fit_its_own_state_is_refused() -> None:
    with pytest.raises(SymgradError, match="its formula is m") as caught:
        read_model("W : m n\nx : n\na[0] = x\nfor l in 1..L:\n    a[l] = W[l] @ a[l-1]\nloss = norm(a[L])\n")
    assert caught.value.line == 5


# --- proofs, and that they can fail ------------------------------------------------------------------------

SUPERVISED = """
W : n n
R : k n
x : n
y : k
a[0] = x
for l in 1..L:
    a[l] = tanh(W[l] @ a[l-1])
    o[l] = R[l] @ a[l]
loss = sum(l in 1..L, norm(o[l] - y)**2) / 2
"""
AFFINE_SCALAR = "w :\nb :\nx :\na[0] = x\nfor l in 1..L:\n    a[l] = w * a[l-1] + b\nloss = a[L]**2 / 2"
SYSTEM = """
A : n n
B : n m
C : k n
u[t] : m
y[t] : k
x0 : n
x[0] = x0
for t in 1..T:
    x[t] = A @ x[t-1] + B @ u[t]
    e[t] = C @ x[t] - y[t]
loss = sum(t in 1..T, norm(e[t])**2) / 2
"""


@pytest.mark.parametrize(
    ("text", "wrt"),
    [
        (RECURRENT, "W"),
        (RECURRENT, "h0"),
        (SUPERVISED, "W[l]"),
        (SUPERVISED, "x"),
        (STACKED, "V"),
        (TWO_LOOPS, "x"),
        (DECAY, "W[L]"),
        ("W : n n" + TIED, "W"),
        ("W : n n\nb : n" + TIED.replace("@ a[l-1]", "@ a[l-1] + b"), "b"),
        (RESIDUAL, "W"),
        (AFFINE_SCALAR, "b"),
        (SYSTEM, "A"),
        (CELL, "F"),
    ],
)
def test_every_step_is_proved_for_any_length(text: str, wrt: str) -> None:
    d = derive(read_model(text), wrt, of="loss")
    assert [(s.number, s.rule) for s in d.steps if s.evidence.level != "proved"] == []
    assert (d.evidence.level, d.evidence.method.split(",")[0]) == ("proved", INDUCTION)
    assert d.evidence.points >= 4 and d.evidence.max_error is not None and d.evidence.max_error < 1e-6


def slips(e: Expr) -> dict[str, Expr]:
    """The formula with one mistake, for each kind of mistake: a bound, an order, a transpose, an exponent, a layer."""
    found = {"factor": scale(2, e)}
    for n in walk(e):
        wrong: dict[str, Expr] = {}
        if isinstance(n, OrderedProduct | MatrixSum):
            for low, high in ((1, 0), (-1, 0), (0, 1), (0, -1)):
                lower, upper = n.bounds[0] + low, n.bounds[1] + high
                wrong[f"{type(n).__name__} {low} {high}"] = n.func(n.body, n.index, lower, upper, *n.args[4:])
        if isinstance(n, OrderedProduct):
            wrong["order"] = OrderedProduct(n.body, n.index, *n.bounds, -n.direction)
        if isinstance(n, Transpose) and n.shape[0] == n.shape[1]:
            wrong["transpose"] = n.arg
        if isinstance(n, MatPow) and not n.args[1].is_number:
            wrong["exponent"] = MatPow(n.args[0], n.args[1] + 1)
        if isinstance(n, Member) and not isinstance(n.index, sympy.Integer):
            wrong["layer"] = Member(n.name, n.index + 1, *n.shape)
        for kind, m in wrong.items():
            found.setdefault(kind, substitute(e, {n: m}))
    return found


@pytest.mark.parametrize(
    ("text", "wrt"),
    [
        (CHAIN + "loss = norm(a[L])\n", "W[l]"),
        ("W : n n" + TIED, "W"),
        (RESIDUAL, "x"),
        (SYSTEM, "A"),
    ],
)
def test_a_slip_in_a_closed_form_is_not_proved(text: str, wrt: str) -> None:
    model = read_model(text)
    d = derive(model, wrt, of="loss", check=False)
    prover = LoopProver(model)
    tried: set[str] = set()
    for s in d.steps:
        if not s.rule.startswith("depth.") or s.rule.endswith("base"):
            continue
        given = {p.left: p.right for p in d.steps if p.number < s.number and p.left != s.left} | dict(s.given)
        if s.rule == "depth.tied":
            given |= {p.left: p.right for p in d.steps if p.rule == "depth.shared"}
        assert prover.link(s.equation[-2], s.right, given, s.left), s.rule
        for kind, wrong in slips(s.right).items():
            # A sum over layers of sums from there on has nothing to add when it goes one further.
            if wrong != s.right and (kind, s.rule) != ("MatrixSum 0 1", "depth.shared"):
                assert not prover.link(s.equation[-2], wrong, given, s.left), (s.rule, kind, wrong)
                tried.add(kind)
    assert {"factor", "layer"} <= tried


def test_a_wrong_base_is_not_proved() -> None:
    model = read_model(RECURRENT)
    d = derive(model, "W", of="loss", check=False)
    stated = next(s for s in d.steps if s.rule == "depth.affine")
    base = next(s for s in d.steps if s.rule == "depth.affine_base")
    prover = LoopProver(model)
    given = {s.left: s.right for s in d.steps if s.number < stated.number}
    assert prover.link(stated.left, stated.right, given)
    assert not prover.link(
        stated.left, add(stated.right, base.right), given
    )  # right in its step, wrong at the end
    assert not prover.link(base.left, scale(2, base.right), given)


@pytest.mark.parametrize("layers", [1, 2])
def test_an_instance_is_proved_by_the_chain_rule_over_all_paths(layers: int) -> None:
    model = read_model(RECURRENT)
    d = derive(model, "W", of="loss", check=False)
    assert d.answer is not None
    (length,) = (item.upper for item in model.items if isinstance(item, Loop))
    at = {length: sympy.Integer(layers)}
    (loop,) = (item for item in model.items if isinstance(item, Loop))
    loss, answer = (apart(e, loop.index).xreplace(at) for e in (d.of, d.answer))
    prover = LoopProver(model.unrolled({length: layers}))
    assert prover.written_out_equals(loss, d.wrt, written_out(answer))
    assert not prover.written_out_equals(loss, d.wrt, scale(2, written_out(answer)))


@pytest.mark.parametrize(
    ("text", "code", "word"),
    [
        (CHAIN + "loss = norm(a[L])\n", 0, ""),
        (CHAIN.replace("1..L", "1..0") + "loss = norm(a[L])\n", 2, "error"),
        (CHAIN + "loss = a[L]\n", 2, "error"),
        (CHAIN.replace("a[l-1]", "a[l-2]") + "loss = norm(a[L])\n", 3, "unsupported"),
        (CHAIN.replace("1..L", "1..900") + "loss = norm(a[900])\n", 3, "unsupported"),
    ],
)
def test_exit_codes_of_network_files(
    text: str, code: int, word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "network.sg"
    path.write_text(text, encoding="utf-8")
    assert run(["derive", str(path), "--of", "loss", "--wrt", "x", "--format", "expr"]) == code
    out, err = capsys.readouterr()
    assert err.startswith(word) and bool(out) == (code == 0) and "Traceback" not in err
