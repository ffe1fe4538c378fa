"""Every rule of the table: pullback against differences, differential against the pullback, planted mistakes caught."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sympy import Expr, S

from symgrad.checking.numeric import check_equation, check_gradient
from symgrad.deriving.backprop import backprop
from symgrad.deriving.differential import differential_of
from symgrad.errors import CheckError, UnsupportedError
from symgrad.expr import (
    Model,
    add,
    apply,
    differential,
    gradient,
    hadamard,
    inner,
    is_scalar,
    leaves,
    matmul,
    matrix,
    negate,
    ones,
    scale,
    softmax,
    transpose,
    vector,
)
from symgrad.reading import read_question
from symgrad.rules import RULES, Rule, rule_for

ELEMENTWISE = [
    "exp",
    "log",
    "sin",
    "cos",
    "tan",
    "sinh",
    "cosh",
    "tanh",
    "arctan",
    "sqrt",
    "abs",
    "sign",
    "erf",
    "relu",
    "leaky_relu",
    "elu",
    "gelu",
    "silu",
    "softplus",
    "sigmoid",
    "f",
]

FORWARD_ONLY = {"kronecker of matrices", "vectorisation"}


def example(rule: Rule) -> tuple[Model, Expr, list[Expr]]:
    """A rule's example with its leaves."""
    model, e = read_question(rule.example, shapes=rule.shapes, assume=rule.assume or None)
    return model, e, [leaf for leaf in leaves(e) if not leaf.is_integer]


def weighed(e: Expr) -> Expr:
    """A scalar with a random adjoint: under an adjoint of ones the softmax gradient would vanish."""
    if is_scalar(e):
        return e**2
    return inner(matrix("G", *e.shape), e)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("rule", RULES.values(), ids=lambda r: r.name)
def test_a_pullback_agrees_with_differences(rule: Rule, seed: int) -> None:
    model, e, inputs = example(rule)
    f = weighed(e)
    assert inputs
    if rule.name in FORWARD_ONLY:
        with pytest.raises(UnsupportedError, match="no matrix form"):
            backprop(model, f, inputs)
        return
    for x in inputs:
        answer = backprop(model, f, [x]).adjoints[x]
        evidence = check_gradient(model, f, x, answer, seed=seed)
        assert evidence.level == "agrees", evidence.method
        assert evidence.points >= 3


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda r: r.name)
def test_a_differential_agrees_with_the_pullback(rule: Rule) -> None:
    model, e, inputs = example(rule)
    f = weighed(e)
    increments = {x: differential(x) for x in inputs}
    forward = differential_of(f, increments)
    if rule.name in FORWARD_ONLY:
        for x, dx in increments.items():
            slope = inner(gradient(f, x), dx)
            assert check_equation(model, (differential_of(f, {x: dx}), slope)).level == "agrees"
        return
    sweep = backprop(model, f, inputs)
    reverse = add(*(inner(sweep.adjoints[x], dx) for x, dx in increments.items()))
    assert check_equation(model, (forward, reverse)).level == "agrees"


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_every_elementwise_function_agrees_with_differences(name: str) -> None:
    words = {"Z": ["positive"]} if name in ("log", "sqrt", "tan") else {}
    parameter = ", s" if name in ("leaky_relu", "elu") else ""
    f = read_question(
        f"sum(G * {name}(Z{parameter}))", shapes="Z: m n, G: m n, s:", assume=words or None, functions=["f"]
    )
    model, e = f
    for x in leaves(e):
        if x.name in ("Z", "s"):
            answer = backprop(model, e, [x]).adjoints[x]
            assert check_gradient(model, e, x, answer).level == "agrees"


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda r: r.name)
def test_a_rule_says_what_it_does_and_where_it_is_from(rule: Rule) -> None:
    assert rule.says.strip().endswith(".")
    assert rule.cites
    assert any(rule_for(node) is rule for node in _nodes(example(rule)[1]))


def _nodes(e: Expr) -> list[Expr]:
    from symgrad.expr import is_leaf, walk

    nodes = []
    for n in walk(e):
        try:
            if not is_leaf(n) and n.args:
                rule_for(n)
                nodes.append(n)
        except UnsupportedError:
            continue
    return nodes


Z = matrix("Z", "m", "n")
A, B = matrix("A", "m", "k"), matrix("B", "k", "n")
G = matrix("G", "m", "n")
x, g = vector("x", "n"), vector("g", "n")

WRONG: dict[str, tuple[Expr, Expr, Callable[[], Expr]]] = {
    "tanh: the input where the output belongs": (
        inner(G, apply("tanh", Z)),
        Z,
        lambda: hadamard(G, add(ones("m", "n"), negate(hadamard(Z, Z)))),
    ),
    "sigmoid: a factor missing": (inner(G, apply("sigmoid", Z)), Z, lambda: hadamard(G, apply("sigmoid", Z))),
    "product: a factor of two": (
        inner(G, matmul(A, B)),
        B,
        lambda: scale(2, matmul(transpose(A), G)),
    ),
    "product: a sign": (inner(G, matmul(A, B)), A, lambda: negate(matmul(G, transpose(B)))),
    "product: the adjoint elsewhere": (
        inner(G, matmul(A, B)),
        A,
        lambda: matmul(add(G, scale(S(1) / 1000, ones("m", "n"))), transpose(B)),
    ),
    "softmax: taken entry by entry": (
        inner(g, softmax(x)),
        x,
        lambda: hadamard(g, softmax(x), add(ones("n"), negate(softmax(x)))),
    ),
    "relu: derivative one everywhere": (inner(G, apply("relu", Z)), Z, lambda: G),
    "squared norm: the two forgotten": (inner(Z, Z), Z, lambda: Z),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_rule_is_caught(name: str) -> None:
    f, variable, build = WRONG[name]
    with pytest.raises(CheckError, match="differ"):
        check_gradient(Model(()), f, variable, build())


def test_an_operation_without_a_rule_is_refused() -> None:
    from symgrad.expr import Commutation, size

    with pytest.raises(UnsupportedError, match="no rule for Commutation"):
        rule_for(Commutation(size("m"), size("n")))
