"""Generated code against the textbook formula by hand, jax.grad, jax.hessian and torch.func, on the same inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from timing import interleaved, peer, row

from symgrad.api import derive


@dataclass(frozen=True)
class Problem:
    """A function by text, its inputs, and the gradient as a textbook prints it, written by hand for NumPy."""

    name: str
    f: str
    wrt: str
    shapes: str
    sizes: dict[str, tuple[int, ...]]
    by_hand: Callable[..., Any]
    loss: Callable[..., Any]  # (numpy-like module, inputs) -> scalar
    kind: str = "gradient"
    function: str = ""
    goal: str = "at most 1.1x"


def _sigmoid(z: Any) -> Any:
    return 1 / (1 + np.exp(-z))


def _logistic(m: Any, X: Any, w: Any, y: Any) -> Any:
    z = X @ w
    return m.sum(m.logaddexp(z, 0 * z)) - y @ z


def _two_layers(x: Any, W1: Any, b: Any, W2: Any, y: Any) -> Any:
    a = np.tanh(W1 @ x + b)
    return np.outer((W2.T @ (W2 @ a - y)) * (1 - a**2), x)


def _logistic_hessian(X: Any, w: Any, y: Any) -> Any:
    p = _sigmoid(X @ w)
    return X.T @ ((p * (1 - p))[:, None] * X)


def _logistic_product(X: Any, w: Any, v: Any) -> Any:
    p = _sigmoid(X @ w)
    return X.T @ (p * (1 - p) * (X @ v))


def _logsumexp(m: Any, z: Any) -> Any:
    return m.log(m.sum(m.exp(z)))


def _softmax_parts(z: Any) -> Any:
    e = np.exp(z - z.max())
    p = e / e.sum()
    return p, -p, p


def _softmax_hessian(z: Any) -> Any:
    p = _softmax_parts(z)[0]
    return np.diag(p) - np.outer(p, p)


TWO = "norm(W2 @ tanh(W1 @ x + b) - y)**2 / 2"
SAMPLES = {"X": (4000, 200), "w": (200,), "y": (4000,)}
FEWER = {"X": (1000, 60), "w": (60,), "y": (1000,)}
FACTORS = {"T": (300, 400), "U": (300, 20), "V": (400, 20)}
PROBLEMS = [
    Problem("x^T A x", "x @ A @ x", "x", "x: n, A: n n", {"x": (1500,), "A": (1500, 1500)},
            lambda x, A: (A + A.T) @ x, lambda m, x, A: x @ A @ x),
    Problem("logistic regression", "sum(softplus(X @ w)) - y @ X @ w", "w", "X: n d, w: d, y: n", SAMPLES,
            lambda X, w, y: X.T @ (_sigmoid(X @ w) - y), _logistic),
    Problem("matrix factorisation", "norm(T - U @ V.T)**2", "U", "T: m n, U: m k, V: n k", FACTORS,
            lambda T, U, V: -2 * (T - U @ V.T) @ V, lambda m, T, U, V: m.sum((T - U @ V.T) ** 2)),
    Problem("two-layer network", TWO, "W1", "W2: k m, W1: m n, x: n, b: m, y: k",
            {"x": (400,), "W1": (300, 400), "b": (300,), "W2": (50, 300), "y": (50,)},
            _two_layers, lambda m, x, W1, b, W2, y: m.sum((W2 @ m.tanh(W1 @ x + b) - y) ** 2) / 2),
    Problem("logistic regression, Hessian", "sum(softplus(X @ w)) - y @ X @ w", "w", "X: n d, w: d, y: n",
            FEWER, _logistic_hessian, _logistic, "hessian"),
    Problem("x^T A x, Hessian", "x @ A @ x", "x", "x: n, A: n n", {"x": (500,), "A": (500, 500)},
            lambda x, A: A + A.T, lambda m, x, A: x @ A @ x, "hessian"),
    Problem("matrix factorisation, Hessian as I kron M", "norm(T - U @ V.T)**2", "U", "T: m n, U: m k, V: n k",
            {"T": (20, 1000), "U": (20, 60), "V": (1000, 60)}, lambda T, U, V: 2 * V.T @ V,
            lambda m, T, U, V: m.sum((T - U @ V.T) ** 2), "hessian", "hessian_parts_U"),
    # Written 2 * V.T @ V, the product is no V^T V to NumPy: half the speed for large V, a third of a microsecond less here.
    Problem("the same, 60 x 10", "norm(T - U @ V.T)**2", "U", "T: m n, U: m k, V: n k",
            {"T": (40, 60), "U": (40, 10), "V": (60, 10)}, lambda T, U, V: 2 * (V.T @ V),
            lambda m, T, U, V: m.sum((T - U @ V.T) ** 2), "hessian", "hessian_parts_U"),
    Problem("log-sum-exp, Hessian as diagonal plus low rank", "logsumexp(z)", "z", "z: n", {"z": (600,)},
            _softmax_parts, _logsumexp, "hessian", "hessian_parts_z"),
    Problem("log-sum-exp, Hessian", "logsumexp(z)", "z", "z: n", {"z": (600,)},
            _softmax_hessian, _logsumexp, "hessian"),
    Problem("logistic regression, Hessian times a vector", "sum(softplus(X @ w)) - y @ X @ w", "w",
            "X: n d, w: d, y: n", {**SAMPLES, "v": (200,)}, _logistic_product, _logistic, "hessian", "hessian_product_w"),
]  # fmt: skip


def functions(code: str) -> dict[str, Any]:
    """The functions of generated code."""
    namespace: dict[str, Any] = {}
    exec(compile(code, "<generated>", "exec"), namespace)  # noqa: S102 - what is measured
    return namespace


def generated() -> None:
    """Ratios of one run: how many times as long the others take."""
    jax, torch = peer("jax"), peer("torch")
    if jax is not None:
        jax.config.update("jax_enable_x64", True)
    for problem in PROBLEMS:
        _measure(problem, [form for module, form in ((jax, "jax"), (torch, "torch")) if module is not None])


def _measure(problem: Problem, forms: list[str]) -> None:
    """One problem: NumPy against the formula by hand, then the others against their automatic differentiation."""
    rng = np.random.default_rng(0)
    inputs = {k: rng.normal(size=s) / s[-1] ** 0.5 for k, s in problem.sizes.items()}
    derivation = derive(problem.f, problem.wrt, shapes=problem.shapes, kind=problem.kind, check=False)  # type: ignore[arg-type]
    name = problem.function or f"{problem.kind}_{problem.wrt}"
    ours = functions(derivation.to_code("numpy"))[name]
    actions = [_call(ours, inputs), _call(problem.by_hand, inputs)]
    if not _same(*(action() for action in actions)):
        raise ValueError(f"{problem.name}: the generated code is wrong")
    a, b = interleaved(actions)
    row(
        f"{problem.name}: NumPy against the formula by hand", f"{a / b:.2f}x ({a * 1e3:.2f} ms)", problem.goal
    )
    for form in forms:
        _against(problem, form, derivation, name, inputs)


def _call(function: Callable[..., Any], inputs: dict[str, Any]) -> Callable[[], Any]:
    """The function with its arguments, in its own order; the search for them is not timed."""
    code = function.__code__
    arguments = [inputs[p] for p in code.co_varnames[: code.co_argcount]]
    return lambda: function(*arguments)


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, tuple):
        return len(a) == len(b) and all(_same(x, y) for x, y in zip(a, b, strict=True))
    return a.shape == b.shape and np.allclose(a, b)


def _against(problem: Problem, form: str, derivation: Any, name: str, inputs: dict[str, Any]) -> None:
    """Generated code of JAX (jitted) and PyTorch against their automatic differentiation."""
    generated_one = functions(derivation.to_code(form))[name]
    at = {k: v for k, v in inputs.items() if k != "v"}
    actions = (_jax_actions if form == "jax" else _torch_actions)(problem, generated_one, inputs, at)
    slow = problem.kind == "hessian" and "v" not in inputs
    a, b = interleaved(actions)
    module = {"jax": "jax", "torch": "torch.func"}[form]
    what = f"{module}.hessian" if slow else f"{module}.jvp of grad" if "v" in inputs else f"{module}.grad"
    row(
        f"{problem.name}: {what} takes",
        f"{b / a:.1f}x as long",
        "above 1x" if problem.kind == "hessian" else "",
    )


def _jax_actions(
    problem: Problem, ours: Callable[..., Any], inputs: dict[str, Any], at: dict[str, Any]
) -> list[Callable[[], Any]]:
    import jax
    import jax.numpy as jnp

    arrays = {k: jnp.asarray(v) for k, v in inputs.items()}

    def loss(x: Any, values: dict[str, Any]) -> Any:
        return problem.loss(jnp, **{k: x if k == problem.wrt else values[k] for k in at})

    def product(x: Any, values: dict[str, Any]) -> Any:
        return jax.jvp(lambda x: jax.grad(loss)(x, values), (x,), (values["v"],))[1]

    theirs = jax.jit(
        product if "v" in inputs else (jax.hessian if problem.kind == "hessian" else jax.grad)(loss)
    )
    compiled = jax.jit(lambda values: _call(ours, values)())
    x = arrays[problem.wrt]
    return [
        lambda: jax.block_until_ready(compiled(arrays)),
        lambda: jax.block_until_ready(theirs(x, arrays)),
    ]


def _torch_actions(
    problem: Problem, ours: Callable[..., Any], inputs: dict[str, Any], at: dict[str, Any]
) -> list[Callable[[], Any]]:
    import torch

    tensors = {k: torch.as_tensor(v) for k, v in inputs.items()}

    def loss(x: Any) -> Any:
        return problem.loss(torch, **{k: x if k == problem.wrt else tensors[k] for k in at})

    x = tensors[problem.wrt]
    if "v" in inputs:
        return [_call(ours, tensors), lambda: torch.func.jvp(torch.func.grad(loss), (x,), (tensors["v"],))[1]]
    derive_it = torch.func.hessian if problem.kind == "hessian" else torch.func.grad
    return [_call(ours, tensors), lambda: derive_it(loss)(x)]
