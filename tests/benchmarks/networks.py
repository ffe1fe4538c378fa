"""Gradients of deep networks, depth 2 to 32, against SymPy's derivative, JAX's tracing and tensorgrad.

A peer derives in a process of its own, which is ended when its time is up: `python networks.py PEER NETWORK WHAT DEPTH`
prints the seconds that one derivation takes, without the imports.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from timing import best, peer, row

from symgrad.api import derive, gradients
from symgrad.expr import Definition, Model, add, apply, matmul, matrix, norm, scalar, subtract, vector
from symgrad.reading import read_model

DEPTHS = (2, 4, 8, 16, 32)
LIMIT = 60.0  # seconds that a peer has for one derivation
_STARTING = 30.0  # and for its imports


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
    return network("residual", layers)


def network(kind: str, layers: int) -> Model:
    """Layers h <- tanh(W h), or h <- h + tanh(W h) in a residual one, and the loss h^T h."""
    skip = "h{0} + " if kind == "residual" else ""
    lines = [f"h{i + 1} = {skip.format(i)}tanh(W{i} @ h{i})" for i in range(layers)]
    shapes = {f"W{i}": ["n", "n"] for i in range(layers)} | {"h0": ["n"]}
    return read_model("\n".join([*lines, f"loss = norm(h{layers})**2"]), shapes=shapes)


def against_peers() -> None:
    """First-layer gradients with checks and all gradients; peers derive the same of the same networks."""
    for kind in NETWORKS:
        ours(kind)
    for name in PEERS:
        if peer(name.split()[0]) is None:
            continue
        for kind in NETWORKS:
            for what in WHAT:
                _sweep(name, kind, what)


def ours(name: str) -> None:
    """Seconds by depth, with and without checks."""
    checked, unchecked, everything = {}, {}, {}
    for layers in DEPTHS:
        model, parameters = network(name, layers), [f"W{i}" for i in range(layers)]
        checked[layers] = best(lambda m=model: derive(m, "W0", of="loss"))  # type: ignore[misc]
        unchecked[layers] = best(lambda m=model: derive(m, "W0", of="loss", check=False))  # type: ignore[misc]
        everything[layers] = best(lambda m=model, p=parameters: gradients(m, "loss", p))  # type: ignore[misc]
    row(f"{name}, first layer, with checks, by depth", _figures(checked), "depth 32 below 1 s")
    row(f"{name}, time per layer, 32 against 8", f"{checked[32] / 4 / checked[8]:.2f}x", "linear")
    row(f"{name}, first layer, unchecked", _figures(unchecked), "")
    row(f"{name}, all gradients, unchecked", _figures(everything), "")


def _figures(seconds: dict[int, float]) -> str:
    return ", ".join(f"{layers}: {t:.3f} s" for layers, t in seconds.items())


def _sweep(name: str, kind: str, what: str) -> None:
    """A peer by depth, until it takes too long or gives up."""
    figures = []
    for layers in DEPTHS:
        question = [sys.executable, __file__, name, kind, what, str(layers)]
        try:
            done = subprocess.run(
                question, capture_output=True, text=True, timeout=LIMIT + _STARTING, check=False
            )
            seconds = float(done.stdout) if done.returncode == 0 else None
        except subprocess.TimeoutExpired:
            seconds = LIMIT + 1
        if seconds is None:  # what a peer cannot do is a finding
            last = done.stderr.strip().splitlines()[-1:] or ["no answer"]
            figures.append(f"{layers}: {last[0].split(':')[0]}")
            break
        if seconds > LIMIT:
            figures.append(f"{layers}: over {LIMIT:.0f} s")
            break
        figures.append(f"{layers}: {seconds:.3f} s")
    row(
        f"{kind}, {WHAT[what]}, {PEERS[name][0]}",
        ", ".join(figures),
        "",
    )


def _sympy(kind: str, layers: int) -> Callable[[int], object]:
    from sympy import MatrixSymbol, Symbol, tanh

    n = Symbol("n", integer=True, positive=True)
    x, weights = MatrixSymbol("h0", n, 1), [MatrixSymbol(f"W{i}", n, n) for i in range(layers)]
    h: Any = x
    for w in weights:
        z = (w * h).applyfunc(tanh)
        h = h + z if kind == "residual" else z
    loss = h.T * h
    return lambda i: loss.diff(weights[i] if i >= 0 else x)


def _sympy_scalar(kind: str, layers: int) -> Callable[[int], object]:
    """The network with one unit a layer, which SymPy can derive."""
    from sympy import symbols, tanh

    x, *weights = symbols(f"h0 w0:{layers}")
    h: Any = x
    for w in weights:
        z = tanh(w * h)
        h = h + z if kind == "residual" else z
    loss = h**2
    return lambda i: loss.diff(weights[i] if i >= 0 else x)


def _jax(kind: str, layers: int) -> Callable[[int], object]:
    import jax
    import jax.numpy as jnp

    def loss(weights: list[Any], h: Any) -> Any:
        for w in weights:
            z = jnp.tanh(w @ h)
            h = h + z if kind == "residual" else z
        return h @ h

    return lambda i: jax.make_jaxpr(jax.grad(loss, 1 if i < 0 else 0))(
        [jnp.zeros((8, 8))] * layers, jnp.zeros(8)
    )


def _tensorgrad(kind: str, layers: int) -> Callable[[int], object]:
    from sympy import symbols
    from tensorgrad import Derivative, Variable
    from tensorgrad.functions import tanh

    n = symbols("n")
    x = h = Variable("h0", n0=n)
    weights: list[Any] = []
    for i in range(layers):
        w = Variable(f"W{i}", **{f"n{i}": n, f"n{i + 1}": n})
        weights.append(w)
        z = tanh(w @ h)
        h = h.rename(**{f"n{i}": f"n{i + 1}"}) + z if kind == "residual" else z
    loss = h @ h
    return lambda i: Derivative(loss, weights[i] if i >= 0 else x).simplify()


PEERS: dict[str, tuple[str, Callable[[str, int], Callable[[int], object]]]] = {
    "sympy": ("SymPy", _sympy),
    "sympy n=1": ("SymPy, one unit a layer", _sympy_scalar),
    "jax": ("traced by JAX", _jax),
    "tensorgrad": ("tensorgrad, unexpanded", _tensorgrad),
}
NETWORKS = ("tanh", "residual")
WHAT = {"input": "by the input", "first": "first layer", "all": "all gradients"}


def _asked(name: str, kind: str, what: str, layers: int) -> float:
    """The seconds that a peer takes for the first time, after one layer that loads what is imported on use."""

    def asked(depth: int) -> object:
        by = {"input": [-1], "first": [0], "all": list(range(depth))}[what]
        derive_one = PEERS[name][1](kind, depth)
        return [derive_one(i) for i in (by[:1] if name == "jax" else by)]  # JAX traces all gradients at once

    with contextlib.suppress(ValueError):
        asked(1)
    start = time.perf_counter()
    asked(layers)
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.setrecursionlimit(20000)
    print(_asked(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
