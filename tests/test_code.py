"""Generated code is run and compared with automatic differentiation of the same formula.

The formula is in the spelling of NumPy, so Python itself evaluates it, with PyTorch's functions, for `torch.func`;
JAX's `grad` is asked too where its cost is small.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from symgrad import Derivation, derive, read_model
from symgrad.errors import UnsupportedError

jax = pytest.importorskip("jax")
torch = pytest.importorskip("torch")
jax.config.update("jax_enable_x64", True)
import jax.numpy as jnp  # noqa: E402 - after the 64 bits

SIZES = {"n": 5, "m": 3, "d": 4, "k": 7}


def _along(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, axis=-1: f(x, dim=axis)


F = torch.nn.functional
NAMES: dict[str, Any] = {
    **{
        f: getattr(torch, f)
        for f in ("exp", "log", "sin", "cos", "tanh", "arctan", "sqrt", "abs", "outer", "kron")
    },
    **{f: getattr(torch, f) for f in ("sum", "mean", "diag", "sigmoid", "relu")},
    **{f: _along(getattr(torch, f)) for f in ("softmax", "log_softmax", "logsumexp")},
    **{f: getattr(torch.linalg, f) for f in ("norm", "det", "inv", "matrix_power")},
    **{f: getattr(F, f) for f in ("elu", "silu", "gelu", "leaky_relu")},
    "softplus": lambda x: torch.logaddexp(torch.zeros_like(x), x),
    "tr": torch.trace,
    "logdet": lambda m: torch.linalg.slogdet(m)[1],
    "eye": lambda n: torch.eye(n, dtype=torch.float64),
    "correlate": lambda x, w: F.conv1d(x[None, None], w[None, None])[0, 0],
    "phi": torch.sin,
}


@dataclass(frozen=True)
class Case:
    """A question, and what its code must or must not hold."""

    f: str
    wrt: str
    shapes: str
    kind: str = "gradient"
    assume: str = ""
    given: tuple[str, ...] = ()
    holds: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()
    large: float = 0.0  # inputs this many times as large are still right

    def __str__(self) -> str:
        return f"{self.kind} of {self.f} by {self.wrt}"


XWY = "X: n d, w: d, y: n"
NET = ("z = W1 @ x + b", "a = tanh(z)")
CASES = [
    Case("norm(X @ w - y)**2 / n", "w", XWY, lacks=("X.T @ X",)),
    Case("x @ A @ x", "x", "A: n n, x: n"),
    Case("x @ A @ x + b @ x", "x", "A: n n, x: n, b: n", "hessian", holds=("hessian_product_x",)),
    Case("a @ X @ B @ X.T @ c", "X", "a: n, X: n d, B: d d, c: n"),
    Case("sum(softplus(X @ w)) - y @ X @ w", "w", XWY, holds=("sigmoid",), large=1e3),
    Case(
        "sum(softplus(X @ w)) - y @ X @ w",
        "w",
        XWY,
        "hessian",
        holds=("hessian_product_w", "hessian_parts_w"),
        lacks=("diag(",),
        large=1e3,
    ),
    Case("-sum(log(sigmoid(y * (X @ w))))", "w", XWY, lacks=("log(",), large=1e3),
    Case("-(y @ log(sigmoid(X @ w)) + (1 - y) @ log(1 - sigmoid(X @ w)))", "w", XWY, assume="y: in01"),
    Case("sum(log(1 + exp(X @ w)))", "w", XWY, holds=("sigmoid(",), large=1e3),
    Case("sum(1 / (1 + exp(-(X @ w))))", "w", XWY, holds=("sigmoid(",), large=1e3),
    Case("log(sum(exp(z)))", "z", "z: n", holds=("softmax(",), lacks=("exp(z)",), large=1e3),
    Case("logsumexp(z)", "z", "z: n", "hessian", holds=("hessian_parts_z",), large=1e3),
    Case("a @ (exp(z) / sum(exp(z)))", "z", "a: n, z: n", holds=("softmax(",), large=1e3),
    Case("a @ softmax(z)", "z", "a: n, z: n", large=1e3),
    Case("-sum(Y * log_softmax(X @ W)) / n", "W", "X: n d, W: d k, Y: n k", large=1e3),
    Case("-y @ log(softmax(z))", "z", "z: n, y: n", lacks=(" / ",), large=1e3),
    Case("sum(logsumexp(X @ W, axis=1))", "W", "X: n d, W: d k", large=1e3),
    Case("a @ inv(A) @ b", "A", "A: n n, a: n, b: n", holds=("solve(",), lacks=("inv(A)",)),
    Case(
        "a @ inv(X.T @ X + lam * eye(d)) @ a",
        "a",
        "X: n d, a: d, lam:",
        holds=("solve(",),
        lacks=("linalg.inv",),
    ),
    Case(
        "a @ inv(S) @ a",
        "a",
        "S: n n, a: n",
        assume="S: positive_definite",
        holds=("cho",),
        lacks=("linalg.inv",),
    ),
    Case("logdet(S) + a @ inv(S) @ a", "a", "S: n n, a: n", "hessian", assume="S: positive_definite"),
    Case("y @ inv(X.T @ X) @ y", "y", "X: n d, y: d", assume="X: full_column_rank", holds=("cho",)),
    Case("logdet(X)", "X", "X: n n"),
    Case("logdet(A @ diag(x) @ A.T)", "x", "A: m n, x: n"),
    Case("a @ diag(v) @ M @ b", "M", "a: n, v: n, M: n d, b: d", lacks=("diag(",)),
    Case("sum(diag(v) @ M @ M.T * B)", "M", "v: n, M: n d, B: n n", lacks=("diag(",)),
    Case("norm(M - U @ V.T)**2", "U", "M: n d, U: n k, V: d k"),
    Case("tr(A @ X @ B @ X.T)", "X", "A: n n, X: n d, B: d d"),
    Case("tr(A @ X)**2", "X", "A: n m, X: m n", lacks=("trace(",)),
    Case("tr(matrix_power(X, 3))", "X", "X: n n"),
    Case("det(X)", "X", "X: n n"),
    Case("norm(x)", "x", "x: n", "hessian"),
    Case("(x @ A @ x) / (x @ x)", "x", "A: n n, x: n"),
    Case(
        "norm(W2 @ tanh(W1 @ x + b) - y)**2 / 2",
        "W1",
        "W2: k m, W1: m n, x: n, b: m, y: k",
        holds=("= np.tanh",),
    ),
    Case(
        "norm(W2 @ a - y)**2 / 2",
        "W1",
        "W2: k m, W1: m n, x: n, b: m, y: k",
        given=NET,
        holds=("a = np.tanh",),
    ),
    Case("y @ phi(W1 @ x)", "W1", "y: m, W1: m n, x: n, phi: function", holds=("d_phi",)),
    Case("y @ relu(W1 @ x)", "W1", "y: m, W1: m n, x: n", large=1e3),
    Case("y @ elu(W1 @ x)", "W1", "y: m, W1: m n, x: n", large=1e3),
    Case("y @ leaky_relu(W1 @ x)", "W1", "y: m, W1: m n, x: n", large=1e3),
    Case("y @ gelu(W1 @ x)", "W1", "y: m, W1: m n, x: n", large=1e3),
    Case("y @ silu(W1 @ x)", "W1", "y: m, W1: m n, x: n", large=1e3),
    Case("sum(sin(A * x))", "x", "A: m n, x: n"),
    Case("sum((X - mean(X, axis=0))**2)", "X", "X: n d"),
    Case("sum(X @ W + b)", "b", "X: n d, W: d k, b: k"),
    Case("norm(tanh(X @ W + b) - Y)**2", "b", "X: n d, W: d k, b: k, Y: n k"),
    Case("sum(exp(-lam * x))", "lam", "x: n, lam:"),
    Case("c @ correlate(x, w)", "w", "c: n-d+1, x: n, w: d"),
    Case("softmax(z)", "z", "z: n", "jacobian", large=1e3),
    Case("tanh(W @ x)", "x", "W: m n, x: n", "jacobian", lacks=("diag(",)),
    Case("x / norm(x)", "x", "x: n", "jacobian"),
    Case("norm(A @ X - B)**2", "X", "A: m n, X: n d, B: m d", "differential"),
    Case("x @ x", "x", "x: n", "hessian"),
    Case("norm(T - U @ V.T)**2", "U", "T: m n, U: m k, V: n k", "hessian", holds=("hessian_parts_U",)),
    Case("tr(X @ A @ X.T)", "X", "X: n d, A: d d", "hessian"),
    Case("tr(X @ X)", "X", "X: n n", "hessian"),
    Case("A @ X @ B", "X", "A: m n, X: n d, B: d k", "jacobian"),
    Case("W2 @ tanh(W1 @ x)", "W1", "W2: k m, W1: m n, x: n", "jacobian"),
]


def ask(case: Case) -> Derivation:
    return derive(
        case.f,
        case.wrt,
        shapes=case.shapes,
        kind=case.kind,
        assume=case.assume or None,
        given=case.given,
        check=False,  # type: ignore[arg-type]
    )


def load(code: str) -> dict[str, Callable[..., Any]]:
    """The functions of generated code."""
    namespace: dict[str, Any] = {}
    exec(compile(code, "<generated>", "exec"), namespace)  # noqa: S102 - what is tested
    return {k: v for k, v in namespace.items() if inspect.isfunction(v) and not k.startswith("_")}


def values(case: Case, scale: float = 1.0) -> dict[str, Any]:
    """Random inputs; what is assumed positive definite is."""
    rng = np.random.default_rng(3)
    found: dict[str, Any] = {}
    for entry in case.shapes.split(","):
        name, _, sizes = entry.partition(":")
        if "function" in sizes:
            continue
        shape = [int(eval(s, {}, SIZES)) for s in sizes.split()]  # noqa: S307 - our own sizes
        value = rng.normal(size=shape) * scale
        if f"{name.strip()}: positive_definite" in case.assume:
            value = value @ value.T + np.eye(len(value))
        if f"{name.strip()}: in01" in case.assume:
            value = 1 / (1 + np.exp(-value))
        found[name.strip()] = value if shape else abs(float(value))
    return found


def reference(case: Case, inputs: dict[str, Any]) -> tuple[Callable[[Any], Any], Any]:
    """The formula as a PyTorch function of the variable, and the variable's value."""
    plain = {k: torch.as_tensor(v, dtype=torch.float64) for k, v in inputs.items()}
    steps = [tuple(part.strip() for part in g.split("=", 1)) for g in case.given]

    def f(x: Any) -> Any:
        scope = {**NAMES, **SIZES, **plain, case.wrt: x}
        for name, formula in steps:
            scope[name] = eval(formula, {}, scope)  # noqa: S307 - our own formulas
        return eval(case.f, {}, scope)  # noqa: S307

    return f, plain[case.wrt]


def by_columns(derivative: Any) -> Any:
    """d vec(f) / d vec(x) for a matrix x: the last two axes as one, and those of a matrix f, column by column."""
    *front, m, k = derivative.shape
    turned = derivative.swapaxes(-1, -2).reshape(*front, m * k)
    if len(front) == 2:
        turned = turned.swapaxes(0, 1).reshape(front[0] * front[1], m * k)
    return turned


def expected(case: Case, inputs: dict[str, Any], increment: Any) -> Any:
    f, x = reference(case, inputs)
    if case.kind in ("hessian", "jacobian") and x.ndim == 2:
        return by_columns(torch.func.jacrev(torch.func.grad(f) if case.kind == "hessian" else f)(x))
    if case.kind == "hessian":
        return torch.func.jacrev(torch.func.grad(f))(x)
    if case.kind == "jacobian":
        return torch.func.jacrev(f)(x)
    if case.kind == "differential":
        return torch.sum(torch.func.grad(f)(x) * torch.as_tensor(increment))
    return torch.func.grad(f)(x)


PHI = {
    "numpy": {"phi": np.sin, "d_phi": np.cos},
    "jax": {"phi": jnp.sin, "d_phi": jnp.cos},
    "torch": {"phi": torch.sin, "d_phi": torch.cos},
}
TO = {"numpy": np.asarray, "jax": jnp.asarray, "torch": torch.as_tensor}


def called(function: Callable[..., Any], form: str, inputs: dict[str, Any]) -> Any:
    """The result of a generated function, its arguments found by name."""
    known = {k: TO[form](v) if np.ndim(v) else v for k, v in inputs.items()} | PHI[form]
    result = function(*(known[p] for p in inspect.signature(function).parameters))
    return np.asarray(result) if not isinstance(result, tuple) else tuple(map(np.asarray, result))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_generated_code_agrees_with_automatic_differentiation(case: Case) -> None:
    derivation = ask(case)
    inputs = values(case)
    increment = np.random.default_rng(7).normal(size=np.shape(inputs[case.wrt]))
    right = np.asarray(expected(case, inputs, increment))
    inputs[f"d{case.wrt}"] = increment
    for form in ("numpy", "jax", "torch"):
        code = derivation.to_code(form)  # type: ignore[arg-type]
        functions = load(code)
        found = called(functions[f"{case.kind}_{case.wrt}"], form, inputs)
        assert found.shape == right.shape, form
        np.testing.assert_allclose(found, right, rtol=1e-9, atol=1e-11, err_msg=form)
        if case.kind == "hessian" and np.ndim(increment):
            function = functions[f"hessian_product_{case.wrt}"]
            direction = list(inspect.signature(function).parameters)[-1]
            product = called(function, form, {**inputs, direction: increment})
            along = right @ increment.T.reshape(-1)
            along = along.reshape(increment.shape[::-1]).T if increment.ndim == 2 else along
            np.testing.assert_allclose(product, along, rtol=1e-9, atol=1e-11, err_msg=form)
            parts = functions.get(f"hessian_parts_{case.wrt}")
            if parts is not None and increment.ndim == 1:
                whole = dense(code, called(parts, form, inputs))
                np.testing.assert_allclose(whole, right, rtol=1e-9, atol=1e-11, err_msg=form)
    main = derivation.to_code("numpy").split("def hessian_product")[0]
    for text in case.holds:
        assert text in derivation.to_code("numpy"), main
    for text in case.lacks:
        assert text not in main.split('"""')[2], main


def dense(code: str, parts: tuple[Any, ...]) -> Any:
    """The Hessian from its parts, by the formula in the docstring."""
    formula = re.search(r"H = (.*)", code)
    assert formula
    scope: dict[str, Any] = {"diag": np.diag, "outer": np.outer, "kron": np.kron}
    listed = re.search(r"hessian_parts.*?Returns\n(.*?)\n\n", code, re.DOTALL)
    assert listed
    names = re.findall(r"^ +(\w+):", listed[1], re.MULTILINE)
    parts = parts if isinstance(parts, tuple) else (parts,)
    return eval(formula[1], {}, scope | dict(zip(names, parts, strict=True)))  # noqa: S307 - our own


def test_code_for_jax_is_what_jax_differentiates_jits_and_maps() -> None:
    derivation = derive("sum(softplus(X @ w)) - y @ X @ w", "w", shapes=XWY)
    gradient = load(derivation.to_code("jax"))["gradient_w"]
    rng = np.random.default_rng(0)
    X, w, y = (jnp.asarray(rng.normal(size=s)) for s in ((6, 4), (4,), (6,)))

    def loss(w: Any) -> Any:
        return jnp.sum(jax.nn.softplus(X @ w)) - y @ X @ w

    np.testing.assert_allclose(jax.jit(gradient)(X, w, y), jax.grad(loss)(w), rtol=1e-10)
    batch = jnp.stack([w, 2 * w])
    np.testing.assert_allclose(
        jax.vmap(gradient, (None, 0, None))(X, batch, y)[1], jax.grad(loss)(2 * w), rtol=1e-10
    )
    np.testing.assert_allclose(jax.jacobian(gradient, 1)(X, w, y), jax.hessian(loss)(w), rtol=1e-10)


@pytest.mark.parametrize("case", [c for c in CASES if c.large], ids=str)
def test_large_inputs_neither_overflow_nor_cancel(case: Case) -> None:
    derivation = ask(case)
    inputs = values(case, case.large)
    right = np.asarray(expected(case, inputs, None))
    for form in ("numpy", "jax", "torch"):
        functions = load(derivation.to_code(form))  # type: ignore[arg-type]
        with np.errstate(over="raise", invalid="raise", divide="raise"):
            found = called(functions[f"{case.kind}_{case.wrt}"], form, inputs)
        assert np.all(np.isfinite(found)), form
        if np.all(np.isfinite(right)):
            np.testing.assert_allclose(
                found, right, rtol=1e-7, atol=1e-7 * max(1.0, np.abs(right).max()), err_msg=form
            )


def test_the_compressed_hessian_by_a_matrix() -> None:
    for f, wrt, shapes in (
        ("norm(T - U @ V.T)**2", "U", "T: m n, U: m k, V: n k"),
        ("norm(T - U @ V)**2", "V", "T: m n, U: m k, V: k n"),
    ):
        case = Case(f, wrt, shapes, "hessian")
        inputs = values(case)
        code = ask(case).to_code("numpy")
        found = called(load(code)[f"hessian_parts_{wrt}"], "numpy", inputs)
        formula, eye = ("kron(M, eye)", np.eye(3)) if wrt == "U" else ("kron(eye, M)", np.eye(5))
        assert f"H = {formula}" in code
        whole = np.kron(found, eye) if wrt == "U" else np.kron(eye, found)
        np.testing.assert_allclose(whole, expected(case, inputs, None), rtol=1e-9, atol=1e-11)
        product = code.split("def hessian_product")[1].split("def ")[0]
        assert "kron" not in product


@pytest.mark.parametrize("form", ["numpy", "jax", "torch"])
def test_float32_stays_float32(form: str) -> None:
    derivation = derive("sum(softplus(X @ w)) - y @ X @ w", "w", shapes=XWY, kind="hessian", check=False)
    rng = np.random.default_rng(0)
    inputs = {
        k: rng.normal(size=s).astype(np.float32) for k, s in {"X": (6, 4), "w": (4,), "y": (6,)}.items()
    }
    hessian = load(derivation.to_code(form))["hessian_w"]  # type: ignore[arg-type]
    assert called(hessian, form, inputs).dtype == np.float32


def test_a_function_says_what_it_takes_and_what_it_rests_on() -> None:
    derivation = derive("x @ S @ x / 2", "x", shapes="S: n n, x: n", assume="S: symmetric")
    function = load(derivation.to_code("numpy"))["gradient_x"]
    assert list(inspect.signature(function).parameters) == ["x", "S"]
    text = inspect.getdoc(function) or ""
    for line in ("The gradient of", "S @ x", "x: n", "S: n x n", "S symmetric", "Arrays of floats"):
        assert line in text, text


@pytest.mark.parametrize(
    ("f", "wrt", "shapes", "name"),
    [
        ("lambda @ lambda", "lambda", "lambda: n", "lambda_"),
        ("np @ np", "np", "np: n", "np_"),
        ("t1 @ A @ t1", "t1", "A: n n, t1: n", "t1"),
    ],
)
def test_names_that_python_or_the_code_needs(f: str, wrt: str, shapes: str, name: str) -> None:
    derivation = derive(f, wrt, shapes=shapes, check=False)
    (function,) = load(derivation.to_code("numpy")).values()
    assert name in inspect.signature(function).parameters
    x = np.arange(3.0)
    found = function(**{p: x if p == name else np.eye(3) for p in inspect.signature(function).parameters})
    np.testing.assert_allclose(found, 2 * x)


def test_what_has_no_code_is_refused() -> None:
    model = "W : n n\nx : n\nphi : function\na[0] = x\nfor l in 1..L:\n    a[l] = phi(W[l] @ a[l-1])\nloss = norm(a[L])**2\n"
    with pytest.raises(UnsupportedError, match="symbolic length"):
        derive(read_model(model), "x", of="loss", check=False).to_code("numpy")
    with pytest.raises(UnsupportedError, match="fortran"):
        derive("x @ x", "x", shapes="x: n", check=False).to_code("fortran")  # type: ignore[arg-type]
