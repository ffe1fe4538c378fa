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
            {"T": (40, 60), "U": (40, 10), "V": (60, 10)}, lambda T, U, V: 2 * V.T @ V,
            lambda m, T, U, V: m.sum((T - U @ V.T) ** 2), "hessian", "hessian_parts_U"),
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
    found, by_hand = _called(ours, inputs), problem.by_hand(**inputs)
    if not np.allclose(found, by_hand):
        raise ValueError(f"{problem.name}: the generated code is wrong")
    a, b = interleaved([lambda: _called(ours, inputs), lambda: problem.by_hand(**inputs)])
    row(
        f"{problem.name}: NumPy against the formula by hand", f"{a / b:.2f}x ({a * 1e3:.2f} ms)", problem.goal
    )
    for form in forms:
        _against(problem, form, derivation, name, inputs)


def _called(function: Callable[..., Any], inputs: dict[str, Any]) -> Any:
    code = function.__code__
    return function(*(inputs[p] for p in code.co_varnames[: code.co_argcount]))


def _against(problem: Problem, form: str, derivation: Any, name: str, inputs: dict[str, Any]) -> None:
    """Generated code of JAX (jitted) and PyTorch against their automatic differentiation."""
    generated_one = functions(derivation.to_code(form))[name]
    names = list(inputs)
    at = names.index(problem.wrt)
    hessian = problem.kind == "hessian"
    if form == "jax":
        import jax
        import jax.numpy as jnp

        arrays = [jnp.asarray(v) for v in inputs.values()]

        def jax_loss(*values: Any) -> Any:
            return problem.loss(jnp, **dict(zip(names, values, strict=True)))

        ours = jax.jit(lambda *values: _called(generated_one, dict(zip(names, values, strict=True))))
        theirs = jax.jit((jax.hessian if hessian else jax.grad)(jax_loss, at))
        actions = [
            lambda: jax.block_until_ready(ours(*arrays)),
            lambda: jax.block_until_ready(theirs(*arrays)),
        ]
    else:
        import torch

        tensors = {k: torch.as_tensor(v) for k, v in inputs.items()}

        def torch_loss(x: Any) -> Any:
            return problem.loss(torch, **{**tensors, problem.wrt: x})

        derive_it = torch.func.hessian if hessian else torch.func.grad
        actions = [
            lambda: _called(generated_one, tensors),
            lambda: derive_it(torch_loss)(tensors[problem.wrt]),
        ]
    a, b = interleaved(actions, 1 if hessian else 20)
    what = ("jax.hessian" if form == "jax" else "torch.func.hessian") if hessian else f"{form}'s gradient"
    row(f"{problem.name}: {what} takes", f"{b / a:.1f}x as long", "above 1x" if hessian else "")
