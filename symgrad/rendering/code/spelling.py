"""How NumPy, JAX and PyTorch spell the operations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

from symgrad.rendering.code.graph import Node, walk_nodes

__all__ = ["SPELLINGS", "Spelling"]

_HELPERS = {
    "sigmoid": """def _sigmoid(x):
    e = np.exp(-np.abs(x))
    return np.maximum(e, x >= 0) / (1.0 + e)
""",
    "softmax": """def _softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()
""",
    "log_softmax": """def _log_softmax(x):
    shifted = x - x.max()
    return shifted - np.log(np.exp(shifted).sum())
""",
    "logsumexp": """def _logsumexp(x):
    top = x.max()
    return top + np.log(np.exp(x - top).sum())
""",
}
_BY_AXIS = {
    "softmax": """def _softmax(x, axis=-1):
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)
""",
    "log_softmax": """def _log_softmax(x, axis=-1):
    shifted = x - x.max(axis=axis, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))
""",
    "logsumexp": """def _logsumexp(x, axis=-1):
    top = x.max(axis=axis, keepdims=True)
    return np.squeeze(top, axis=axis) + np.log(np.exp(x - top).sum(axis=axis))
""",
}


@dataclass
class Spelling:
    """NumPy's spelling; JAX and PyTorch say what differs. `imports` and `helpers` collect what the code needs."""

    name: str = "numpy"
    module: str = "np"
    axis: str = "axis"
    imports: set[str] = field(default_factory=set)
    helpers: dict[str, str] = field(default_factory=dict)
    like: str | None = None  # the array that says dtype and device, for PyTorch

    first_import: ClassVar[str] = "import numpy as np"
    vector_first: ClassVar[bool] = False  # x @ A where a textbook has A^T x
    convention: ClassVar[tuple[str, ...]] = (
        "Arrays of floats; a vector has one axis. One point a call. Needs NumPy{scipy} only.",
    )

    # --- calls ----------------------------------------------------------------------------------------

    def call(self, name: str, *args: str) -> str:
        """module.name(args)."""
        return f"{self.module}.{name}({', '.join(args)})"

    def linalg(self, name: str, *args: str) -> str:
        """module.linalg.name(args)."""
        return f"{self.module}.linalg.{name}({', '.join(args)})"

    def helper(self, name: str, *args: str) -> str:
        """A function that is written out above the code, with an axis if it is called with one."""
        if len(args) > 1:
            self.helpers[name] = _BY_AXIS[name]
        self.helpers.setdefault(name, _HELPERS[name])
        return f"_{name}({', '.join(args)})"

    def scipy(self, place: str, name: str, *args: str) -> str:
        """A function of SciPy."""
        self.imports.add(f"from scipy.{place} import {name}")
        return f"{name}({', '.join(args)})"

    def along(self, axis: int | None) -> tuple[str, ...]:
        """The axis as an argument."""
        return () if axis is None else (f"{self.axis}={axis}",)

    def helper_texts(self) -> list[str]:
        """The functions that the code uses."""
        return [self.helpers[name] for name in sorted(self.helpers)]

    # --- functions of entries -------------------------------------------------------------------------

    def function(self, name: str, node: Node, x: str, *parameters: str) -> str:
        """f(x), entry by entry, without overflow where the value is finite."""
        table: dict[str, Callable[[], str]] = {
            "arctan": lambda: self.call("arctan", x),
            "erf": lambda: self.erf(x),
            "sigmoid": lambda: self.sigmoid(x),
            "softplus": lambda: self.softplus(x),
            "relu": lambda: self.call("maximum", x, "0.0"),
            "nonpositive": lambda: self.call("minimum", x, "0.0"),
            "leaky_relu": lambda: self.where(x, x, f"{parameters[0] if parameters else '0.01'} * {_atom(x)}"),
            "elu": lambda: self.where(
                x, x, self.times(parameters, self.call("expm1", self.function("nonpositive", node, x)))
            ),
            "silu": lambda: f"{_atom(x)} * {self.sigmoid(x)}",
            "gelu": lambda: f"0.5 * {_atom(x)} * (1.0 + {self.erf(f'{_atom(x)} / 2**0.5')})",
        }
        return table[name]() if name in table else self.call(name, x)

    def times(self, factors: tuple[str, ...], x: str) -> str:
        """The product."""
        return " * ".join([*map(_atom, factors), x])

    def erf(self, x: str) -> str:
        """The error function."""
        return self.scipy("special", "erf", x)

    def sigmoid(self, x: str) -> str:
        """1 / (1 + exp(-x))."""
        return self.helper("sigmoid", x)

    def softplus(self, x: str) -> str:
        """log(1 + exp(x))."""
        return self.call("logaddexp", "0.0", x)

    def where(self, condition: str, yes: str, no: str) -> str:
        """Yes where the condition is positive, else no."""
        return self.call("where", f"{condition} > 0", yes, no)

    def indicator(self, x: str) -> str:
        """1 where x is positive, else 0."""
        return self.call("where", f"{x} > 0", "1.0", "0.0")

    # --- arrays ---------------------------------------------------------------------------------------

    def by_axis(self, name: str, x: str, axis: int | None) -> str:
        """Softmax, log_softmax, logsumexp."""
        return self.helper(name, x, *self.along(axis))

    def maximum(self, x: str, axis: int | None) -> str:
        """The largest entry, of all or along an axis."""
        return self.call("max", x, *self.along(axis))

    def constant(self, name: str, sizes: tuple[str, ...]) -> str:
        """Ones, zeros, the identity."""
        shape = sizes[0] if len(sizes) == 1 else f"({', '.join(sizes)})"
        return self.call(name, shape)

    def cholesky(self, a: str) -> str:
        """A Cholesky factor in the form that cho_solve takes."""
        return self.scipy("linalg", "cho_factor", a)

    def cho_solve(self, factor: str, b: str, rank: int) -> str:
        """The solution of a positive definite system."""
        return self.scipy("linalg", "cho_solve", factor, b)

    def cholesky_diagonal(self, factor: str) -> str:
        """The diagonal of the factor."""
        return self.call("diag", f"{factor}[0]")

    def flip(self, x: str, rank: int) -> str:
        """Reversed along every axis."""
        return self.call("flip", x)

    def correlate(self, x: str, w: str, rank: int) -> str:
        """Valid cross-correlation."""
        if rank == 1:
            return self.call("correlate", x, w, 'mode="valid"')
        return self.scipy("signal", "correlate2d", x, w, 'mode="valid"')

    def convolve(self, x: str, w: str, rank: int) -> str:
        """Full convolution."""
        return self.call("convolve", x, w) if rank == 1 else self.scipy("signal", "convolve2d", x, w)

    def kron(self, a: str, b: str) -> str:
        """The Kronecker product."""
        return self.call("kron", a, b)

    def scalar(self, node: Node, text: str) -> str:
        """A scalar as the argument of a function."""
        return text


class _Jax(Spelling):
    def _nn(self, name: str, *args: str) -> str:
        self.imports.add("import jax")
        return f"jax.nn.{name}({', '.join(args)})"

    first_import = "import jax.numpy as jnp"
    vector_first = True  # the compiler would write out A^T
    convention = (
        "JAX arrays of floats; a vector has one axis. One point a call.",
        "A pure function: works under jax.jit, jax.grad and jax.vmap (batches).",
    )

    def scipy(self, place: str, name: str, *args: str) -> str:
        self.imports.add(f"import jax.scipy.{place}")
        return f"jax.scipy.{place}.{name}({', '.join(args)})"

    def sigmoid(self, x: str) -> str:
        return self._nn("sigmoid", x)

    def softplus(self, x: str) -> str:
        return self._nn("softplus", x)

    def by_axis(self, name: str, x: str, axis: int | None) -> str:
        return self._nn(name, x, *self.along(axis))


class _Torch(Spelling):
    first_import = "import torch"
    convention = (
        "Tensors of one float dtype and device, which the result has; a vector has one axis; a scalar",
        "is a number or a tensor. One point a call; works under torch.func.vmap (batches).",
    )

    def function(self, name: str, node: Node, x: str, *parameters: str) -> str:
        x = self.scalar(node.args[0], x)
        if name == "relu":
            return self.call("relu", x)
        if name == "nonpositive":
            return self.call("clamp", x, "max=0.0")
        return super().function(name, node, x, *parameters)

    def erf(self, x: str) -> str:
        return self.call("erf", x)

    def sigmoid(self, x: str) -> str:
        return self.call("sigmoid", x)

    def softplus(self, x: str) -> str:
        return self.call("logaddexp", f"torch.zeros_like({x})", x)

    def indicator(self, x: str) -> str:
        if x.isidentifier():
            return f"({x} > 0).to({x}.dtype)"
        return self.call("heaviside", x, f"torch.zeros_like({x})")

    def by_axis(self, name: str, x: str, axis: int | None) -> str:
        return self.call(name, x, f"dim={0 if axis is None else axis}")

    def maximum(self, x: str, axis: int | None) -> str:
        return self.call("amax", x, *self.along(axis))

    def _made(self) -> tuple[str, ...]:
        return (
            (f"dtype={self.like}.dtype", f"device={self.like}.device")
            if self.like
            else ("dtype=torch.float64",)
        )

    def constant(self, name: str, sizes: tuple[str, ...]) -> str:
        return self.call(name, *sizes, *self._made())

    def cholesky(self, a: str) -> str:
        return self.linalg("cholesky", a)

    def cho_solve(self, factor: str, b: str, rank: int) -> str:
        if rank == 1:
            return f"torch.cholesky_solve({_atom(b)}[:, None], {factor})[:, 0]"
        return f"torch.cholesky_solve({b}, {factor})"

    def cholesky_diagonal(self, factor: str) -> str:
        return self.call("diag", factor)

    def flip(self, x: str, rank: int) -> str:
        return self.call("flip", x, f"dims={tuple(range(rank))}")

    def kron(self, a: str, b: str) -> str:
        # PyTorch refuses some transposed matrices here
        return self.call("kron", *(f"{_atom(x)}.contiguous()" for x in (a, b)))

    def _conv(self, x: str, w: str, rank: int, *padding: str) -> str:
        self.imports.add("import torch.nn.functional")
        ends = "[None, None]"
        arguments = ", ".join((f"{_atom(x)}{ends}", f"{_atom(w)}{ends}", *padding))
        return f"torch.nn.functional.conv{rank}d({arguments})[0, 0]"

    def correlate(self, x: str, w: str, rank: int) -> str:
        return self._conv(x, w, rank)

    def convolve(self, x: str, w: str, rank: int) -> str:
        around = ", ".join(f"{_atom(w)}.shape[{i}] - 1" for i in range(rank))
        return self._conv(
            x, self.flip(w, rank), rank, f"padding=({around},)" if rank == 1 else f"padding=({around})"
        )

    def scalar(self, node: Node, text: str) -> str:
        numbers = all(n.rank == 0 for n in walk_nodes(node))
        return self.call("as_tensor", text, *self._made()) if numbers else text


def _atom(text: str) -> str:
    """In brackets unless it is a name, a number or a call."""
    plain = text.replace(".", "").replace("_", "")
    if plain.isalnum() or (text[-1:] in ")]" and _is_one_call(text)):
        return text
    return f"({text})"


def _is_one_call(text: str) -> bool:
    """Whether the first bracket, after a name, closes at the end."""
    start = next((i for i, c in enumerate(text) if c in "(["), len(text))
    if not text[:start].replace(".", "").replace("_", "").isalnum() and start:
        return False
    depth = 0
    for i, c in enumerate(text):
        depth += (c in "([") - (c in ")]")
        if depth == 0 and i >= start:
            return i == len(text) - 1
    return False


SPELLINGS: dict[str, Callable[[], Spelling]] = {
    "numpy": Spelling,
    "jax": lambda: _Jax("jax", "jnp"),
    "torch": lambda: _Torch("torch", "torch", "dim"),
}
