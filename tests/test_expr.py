"""The constructors: what they build, what they normalise, what they refuse."""

from __future__ import annotations

import pickle

import pytest
import sympy
from sympy import S, Symbol

from symgrad.errors import DeriveError, ShapeError
from symgrad.expr import (
    AsScalar,
    Definition,
    Elementwise,
    Family,
    Loop,
    MatrixSum,
    Model,
    OrderedProduct,
    Softmax,
    add,
    apply,
    correlate,
    dependents,
    diag,
    entry_sum,
    eye,
    hadamard,
    inner,
    inverse,
    kron,
    leaves,
    logsumexp,
    matmul,
    matpower,
    matrix,
    negate,
    norm,
    ones,
    outer,
    power,
    printed_size,
    rebuild,
    scalar,
    scale,
    size,
    softmax,
    split_scale,
    substitute,
    subtract,
    trace,
    transpose,
    vector,
    walk,
    zeros,
)
from symgrad.expr.entrywise import lift, lower

A, B = matrix("A", "m", "n"), matrix("B", "n", "k")
Q = matrix("Q", "n", "n")
x, y, z = vector("x", "n"), vector("y", "n"), vector("z", "m")
s, t = scalar("s"), scalar("t")
l, L = Symbol("l", integer=True, positive=True), size("L")  # noqa: E741 - the layer is l everywhere


@pytest.mark.parametrize(
    ("built", "wanted"),
    [
        (matmul(A, matmul(B, eye("k"))), matmul(A, B)),
        (matmul(scale(2, A), scale(3, B)), scale(6, matmul(A, B))),
        (matmul(A, zeros("n", "k")), zeros("m", "k")),
        (matmul(eye("n"), eye("n")), eye("n")),
        (add(x, zeros("n")), x),
        (add(zeros("n"), zeros("n")), zeros("n")),
        (add(add(x, y), x).args, (x, y, x)),
        (scale(0, x), zeros("n")),
        (scale(1, x), x),
        (negate(negate(x)), x),
        (transpose(transpose(A)), A),
        (transpose(scale(s, A)), scale(s, transpose(A))),
        (transpose(eye("n")), eye("n")),
        (transpose(ones("n", "k")), ones("k", "n")),
        (transpose(diag(x)), diag(x)),
        (hadamard(x, ones("n"), y), hadamard(x, y)),
        (hadamard(scale(2, x), scale(3, y)), scale(6, hadamard(x, y))),
        (power(x, 1), x),
        (power(x, 0), ones("n")),
        (power(power(x, 2), 3), power(x, 6)),
        (power(scale(-1, x), 2), power(x, 2)),
        (matpower(Q, 0), eye("n")),
        (matpower(Q, -1), inverse(Q)),
        (inverse(inverse(Q)), Q),
        (inverse(scale(2, Q)), scale(sympy.Rational(1, 2), inverse(Q))),
        (diag(diag(x)), x),
        (diag(ones("n")), eye("n")),
        (trace(eye("n")), size("n")),
        (entry_sum(ones("m", "n")), size("m") * size("n")),
        (entry_sum(scale(3, x)), 3 * entry_sum(x)),
        (inner(x, y), matmul(transpose(x), y)),
        (outer(z, x).shape, A.shape),
        (kron(scale(2, x), y), scale(2, kron(x, y))),
        (correlate(vector("u", size("p") + size("k") - 1), vector("w", "k")).shape, (size("p"), 1)),
        (subtract(s, t), s - t),
    ],
)
def test_constructors_normalise_what_is_always_wanted(built: object, wanted: object) -> None:
    assert built == wanted


def test_a_one_by_one_product_is_a_scalar() -> None:
    quadratic = matmul(transpose(x), Q, x)
    assert isinstance(quadratic, AsScalar)
    assert not getattr(quadratic, "is_Matrix", False)
    assert (quadratic + 1).is_Add


def test_scalars_keep_a_number_in_front_of_a_sum() -> None:
    assert scale(sympy.Rational(1, 2), s + t).is_Mul


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: matmul(A, A), "inner sizes n and m differ"),
        (lambda: add(x, z), "shapes n and m differ"),
        (lambda: add(x, s), "differ"),
        (lambda: hadamard(A, B), "differ"),
        (lambda: trace(A), "square"),
        (lambda: inverse(A), "square"),
        (lambda: matpower(A, 2), "square"),
        (lambda: diag(A), "square"),
        (lambda: outer(A, x), "vectors"),
        (lambda: softmax(s), "scalar"),
        (lambda: power(s, x), "exponent"),
        (lambda: scale(x, y), "not a scalar"),
        (lambda: size(0), "positive"),
        (lambda: size(-3), "positive"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(build: object, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        build()  # type: ignore[operator]


def test_a_product_that_does_not_fit_says_what_would() -> None:
    with pytest.raises(ShapeError) as caught:
        matmul(A, z)
    assert caught.value.hint == "the left factor transposed is n x m and would fit"


NODES = [
    apply("tanh", A),
    Elementwise("leaky_relu", x, s),
    softmax(A, 1),
    logsumexp(x),
    logsumexp(A, 0),
    norm(A),
    OrderedProduct(Family("W", (size("n"), size("n")), l)[l], l, S.One, L, -1),
    MatrixSum(Family("b", (size("n"), S.One), l)[l], l, S.One, L),
    matmul(transpose(x), Q, y),
    entry_sum(hadamard(x, y)),
    correlate(vector("u", 7), vector("w", 3)),
]


@pytest.mark.parametrize("node", NODES, ids=lambda n: type(n).__name__)
def test_nodes_rebuild_substitute_and_pickle(node: sympy.Expr) -> None:
    assert node.func(*node.args) == node
    assert pickle.loads(pickle.dumps(node)) == node  # noqa: S301 - our own bytes
    assert rebuild(node, node.args) == node
    assert substitute(node, {}) == node
    assert getattr(node, "shape", ()) == getattr(node.func(*node.args), "shape", ())


def test_substitution_reaches_into_every_node_and_keeps_the_form() -> None:
    w = vector("w", "n")
    e = matmul(transpose(A), apply("tanh", matmul(A, add(x, y))))
    assert substitute(e, {y: w}) == matmul(transpose(A), apply("tanh", matmul(A, add(x, w))))
    assert y in leaves(e)
    assert y not in leaves(substitute(e, {y: w}))


def test_entries_of_small_explicit_matrices() -> None:
    v = vector("v", 3)
    entries = softmax(v).as_explicit()
    total = sympy.simplify(sum(entries))
    assert total == 1
    assert Softmax(matrix("M", 2, 3), 1).as_explicit().shape == (2, 3)


def test_ordered_products_know_their_shape_from_their_ends() -> None:
    n = sympy.IndexedBase("n", integer=True, positive=True)
    W = Family("W", (n[l], n[l - 1]), l)
    k = Symbol("k", integer=True, positive=True)
    forwards = OrderedProduct(transpose(W[k]), k, S.One, L, 1)
    assert forwards.shape == (n[0], n[L])
    backwards = OrderedProduct(W[k], k, S.One, L, -1)
    assert backwards.shape == (n[L], n[0])
    assert backwards.at(3) == W[3]
    assert k not in forwards.free_symbols


def test_a_bound_index_is_left_alone_by_substitution() -> None:
    k = Symbol("k", integer=True, positive=True)
    b = Family("b", (size("n"), S.One), l)
    total = MatrixSum(b[k], k, S.One, L)
    assert total.subs(k, 5) == total
    assert total.subs(L, 5).bounds == (1, 5)


def test_lower_and_lift_are_inverse() -> None:
    e = hadamard(x, add(ones("n"), negate(power(x, 2))), apply("tanh", y))
    entry, atoms = lower(e)
    again, more = lower(lift(entry, atoms, x.shape))
    rename = {p: q for p in more for q in atoms if more[p] == atoms[q]}
    assert sympy.expand(again.xreplace(rename) - entry) == 0


def test_walk_visits_shared_parts_once() -> None:
    shared = apply("tanh", x)
    e = add(shared, hadamard(shared, y))
    assert sum(node == shared for node in walk(e)) == 1
    assert printed_size(e) > len(list(walk(e)))
    assert dependents(e, {y}) == {e, hadamard(shared, y), y}


def _chain() -> Model:
    n = size("n")
    W, a = Family("W", (n, n), l), Family("a", (n, S.One), l)
    body = (Definition(a[l], apply("tanh", matmul(W[l], a[l - 1]))),)
    loss = scalar("loss")
    return Model(
        (Definition(a[S.Zero], x), Loop(l, S.One, L, body), Definition(loss, norm(a[L]))),
        {"W": W, "a": a, "loss": loss, "x": x},
    )


def test_a_loop_is_written_out_for_a_number_of_repetitions() -> None:
    model = _chain()
    assert model.has_loops
    flat = model.unrolled({L: 3})
    assert not flat.has_loops
    assert [str(d.name) for d in flat.definitions()] == ["a", "a", "a", "a", "loss"]
    assert model.inputs()[0] == x


def test_a_loop_without_a_number_is_not_written_out() -> None:
    with pytest.raises(DeriveError, match="no number"):
        _chain().unrolled({})


def test_unknown_names_are_named() -> None:
    with pytest.raises(DeriveError, match="the model has no los"):
        _chain().symbol("los")
    with pytest.raises(DeriveError, match="family"):
        _chain().symbol("W")
    assert split_scale(scale(2, x)) == (2, x)
