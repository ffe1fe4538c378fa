"""Gradients of deep networks, depth 2 to 32, against SymPy's derivative, JAX's tracing and tensorgrad."""

from __future__ import annotations

import time
from collections.abc import Callable

from timing import best, peer, row

from symgrad.api import derive, gradients
from symgrad.expr import Definition, Model, add, apply, matmul, matrix, norm, scalar, subtract, vector
from symgrad.reading import read_model

DEPTHS = (2, 4, 8, 16, 32)
_PATIENCE = 20.0  # seconds after which a peer is not asked for more layers


def chain(layers: int) -> tuple[Model, list[str]]:
    """An explicit network of tanh layers, its parameters by name."""
    n = "n"
    a = vector("x", n)
    definitions, symbols, parameters = [], {"x": a, "y": vector("y", n)}, []
    for i in range(1, layers + 1):
        w, b, z, h = matrix(f"W{i}", n, n), vector(f"b{i}", n), vector(f"z{i}", n), vector(f"a{i}", n)
        definitions += [Definition(z, add(matmul(w, a), b)), Definition(h, apply("tanh", z))]
        symbols |= {w.name: w, b.name: b, z.name: z, h.name: h}
        parameters += [w.name, b.name]
        a = h
    loss = scalar("loss")
    definitions.append(Definition(loss, norm(subtract(a, symbols["y"])) ** 2 / 2))
    return Model(tuple(definitions), {**symbols, "loss": loss}), parameters


def residual(layers: int) -> Model:
    """h <- h + tanh(W h), all layers with weights of their own."""
    lines = [f"h{i + 1} = h{i} + tanh(W{i} @ h{i})" for i in range(layers)]
    shapes = {f"W{i}": ["n", "n"] for i in range(layers)} | {"h0": ["n"]}
    return read_model("\n".join([*lines, f"loss = norm(h{layers})**2"]), shapes=shapes)


def against_peers() -> None:
    """First-layer gradients with checks and all gradients; peers derive the same."""
    ours("tanh", lambda layers: (chain(layers)[0], "W1"))
    ours("residual", lambda layers: (residual(layers), "W0"))
    for name, residual_one in (("tanh", False), ("residual", True)):
        _sweep(f"{name}, first layer, SymPy", lambda k, r=residual_one: _sympy(k, r))  # type: ignore[misc]
    jax = peer("jax")
    if jax is not None:
        for name, residual_one in (("tanh", False), ("residual", True)):
            _sweep(f"{name}, all gradients, traced by JAX", lambda k, r=residual_one: _traced(jax, k, r))  # type: ignore[misc]
    if peer("tensorgrad") is not None:
        for name, residual_one in (("tanh", False), ("residual", True)):
            _sweep(f"{name}, first layer, tensorgrad unexpanded", lambda k, r=residual_one: _tensorgrad(k, r))  # type: ignore[misc]


def ours(name: str, make: Callable[[int], tuple[Model, str]]) -> None:
    """Seconds by depth, with and without checks."""
    checked, unchecked, everything = {}, {}, {}
    for layers in DEPTHS:
        model, first = make(layers)
        parameters = [n for n in model.symbols if n.startswith(("W", "b"))]
        checked[layers] = best(lambda m=model, w=first: derive(m, w, of="loss"))  # type: ignore[misc]
        unchecked[layers] = best(lambda m=model, w=first: derive(m, w, of="loss", check=False))  # type: ignore[misc]
        everything[layers] = best(lambda m=model, p=parameters: gradients(m, "loss", p))  # type: ignore[misc]
    row(f"{name}, first layer, with checks, by depth", _figures(checked), "depth 32 below 1 s")
    row(f"{name}, time per layer, 32 against 8", f"{checked[32] / 4 / checked[8]:.2f}x", "linear")
    row(f"{name}, first layer, unchecked", _figures(unchecked), "")
    row(f"{name}, all gradients, unchecked", _figures(everything), "")


def _figures(seconds: dict[int, float]) -> str:
    return ", ".join(f"{layers}: {t:.3f} s" for layers, t in seconds.items())


def _sweep(what: str, action: Callable[[int], object]) -> None:
    """A peer by depth, until it takes too long or gives up."""
    figures = []
    for layers in DEPTHS:
        start = time.perf_counter()
        try:
            action(layers)
        except Exception as error:  # what a peer cannot do is a finding
            figures.append(f"{layers}: {type(error).__name__}")
            break
        seconds = time.perf_counter() - start
        figures.append(f"{layers}: {seconds:.3f} s")
        if seconds > _PATIENCE:
            break
    row(what, ", ".join(figures), "")


def _sympy(layers: int, with_skips: bool) -> object:
    from sympy import MatrixSymbol, Symbol, tanh

    n = Symbol("n", integer=True, positive=True)
    h = MatrixSymbol("x", n, 1)
    for i in range(layers):
        z = (MatrixSymbol(f"W{i}", n, n) * h).applyfunc(tanh)
        h = h + z if with_skips else z
    return (h.T * h).diff(MatrixSymbol("W0", n, n))


def _traced(jax: object, layers: int, with_skips: bool) -> object:
    import jax as j
    import jax.numpy as jnp

    def loss(weights: list[object], x: object) -> object:
        for w in weights:
            z = jnp.tanh(w @ x)
            x = x + z if with_skips else z
        return jnp.sum(x**2)

    return j.make_jaxpr(j.grad(loss))([jnp.zeros((8, 8))] * layers, jnp.zeros(8))


def _tensorgrad(layers: int, with_skips: bool) -> object:
    from sympy import symbols
    from tensorgrad import Derivative, Variable
    from tensorgrad.functions import tanh

    n = symbols("n")
    h: object = Variable("x", n0=n)
    weights = []
    for i in range(layers):
        w = Variable(f"W{i}", **{f"n{i}": n, f"n{i + 1}": n})
        weights.append(w)
        z = tanh(w @ h)
        h = h.rename(**{f"n{i}": f"n{i + 1}"}) + z if with_skips else z  # type: ignore[attr-defined]
    return Derivative(h @ h, weights[0]).simplify()  # type: ignore[operator]
