"""A counterexample as a NumPy program of its own: it prints the claimed value and the right one.

The right one is a difference quotient of the function, so that nothing has to be taken on trust.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sympy import Expr, Integer

from symgrad.errors import SymgradError
from symgrad.expr import Definition, is_column, is_matrix, is_scalar, leaf_name, leaves
from symgrad.rendering.numpy import to_numpy

if TYPE_CHECKING:
    from symgrad.verifying import Verdict

__all__ = ["snippet"]

_SAME = (
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
    "outer",
    "diag",
)
_HELPERS = {
    **{name: f"{name} = np.{name}" for name in (*_SAME, "eye", "kron", "sum", "max", "mean")},
    "pi": "pi = np.pi",
    "ones": "def ones(*sizes): return np.ones(sizes)",
    "zeros": "def zeros(*sizes): return np.zeros(sizes)",
    "norm": "norm = np.linalg.norm",
    "inv": "inv = np.linalg.inv",
    "det": "det = np.linalg.det",
    "matrix_power": "matrix_power = np.linalg.matrix_power",
    "logdet": "def logdet(m): return np.linalg.slogdet(m)[1]",
    "tr": "tr = np.trace",
    "vec": "def vec(m): return m.T.reshape(-1)",
    "flip": "def flip(w): return np.flip(w)",
    "erf": "from math import erf as _erf\nerf = np.vectorize(_erf)",
    "sigmoid": "def sigmoid(t): return 1 / (1 + np.exp(-t))",
    "relu": "def relu(t): return np.maximum(t, 0)",
    "leaky_relu": "def leaky_relu(t, slope=0.01): return np.where(t > 0, t, slope * t)",
    "elu": "def elu(t, alpha=1): return np.where(t > 0, t, alpha * np.expm1(t))",
    "gelu": "from math import erf as _gauss\n"
    "def gelu(t): return t * (1 + np.vectorize(_gauss)(t / np.sqrt(2))) / 2",
    "silu": "def silu(t): return t / (1 + np.exp(-t))",
    "softplus": "def softplus(t): return np.logaddexp(0, t)",
    "softmax": "def softmax(x, axis=-1):\n"
    "    e = np.exp(x - np.max(x, axis=axis, keepdims=True))\n"
    "    return e / np.sum(e, axis=axis, keepdims=True)",
    "log_softmax": "def log_softmax(x, axis=-1):\n"
    "    top = np.max(x, axis=axis, keepdims=True)\n"
    "    return x - top - np.log(np.sum(np.exp(x - top), axis=axis, keepdims=True))",
    "logsumexp": "def logsumexp(x, axis=-1):\n"
    "    top = np.max(x, axis=axis, keepdims=True)\n"
    "    return np.log(np.sum(np.exp(x - top), axis=axis)) + np.squeeze(top, axis)",
    "where": "where = np.where",
    "correlate": "def correlate(x, w): return np.correlate(x, w, 'valid')",
    "convolve": "def convolve(x, w): return np.convolve(x, w, 'full')",
}
_FUNCTION_NAMES = ("f", "function", "function_of")
_WORD = re.compile(r"[A-Za-z_]\w*(?=\s*\()|\bpi\b")


def snippet(verdict: Verdict) -> str | None:
    """The program; None where there is no counterexample, or the text language cannot say one of the formulas."""
    example, claim = verdict.counterexample, verdict.claim
    if example is None or claim.kind not in ("gradient", "jacobian", "identity"):
        return None
    if claim.kind == "jacobian" and (claim.indices or not _is_flat(claim.of) or not _is_flat(claim.wrt)):
        return None
    link = claim.links[example.link].xreplace(
        {i: Integer(example.indices[str(i)]) for i in claim.indices if str(i) in example.indices}
    )
    try:
        body = _identity(verdict, link) if claim.kind == "identity" else _derivative(verdict, link)
    except SymgradError:
        return None
    used = {w for line in body for w in _WORD.findall(line)}
    if unknown := {w for w in used if w not in _HELPERS} - {
        "array",
        "print",
        "zeros_like",
        "float",
        *_FUNCTION_NAMES,
    }:
        return None if unknown else ""
    lines = ["import numpy as np", *(_HELPERS[name] for name in _HELPERS if name in used)]
    lines += [f"{name} = {size}" for name, size in example.sizes.items()]
    for name, value in example.inputs.items():
        lines.append(f"{name} = np.array({value})" if isinstance(value, list) else f"{name} = {value}")
    return "\n".join([*lines, *body]) + "\n"


def _is_flat(e: Expr | None) -> bool:
    return e is not None and (is_scalar(e) or is_column(e))


def _identity(verdict: Verdict, link: Expr) -> list[str]:
    lines = _assigned(list(verdict.claim.model.definitions()))
    example = verdict.counterexample
    assert example is not None  # noqa: S101 - asked before
    at = _at(example.entry) if is_matrix(link) else ""
    left = to_numpy(verdict.claim.links[0])
    return [*lines, f"print(({to_numpy(link)}){at}, ({left}){at})"]


def _derivative(verdict: Verdict, link: Expr) -> list[str]:
    claim, example = verdict.claim, verdict.counterexample
    assert example is not None and claim.of is not None and claim.wrt is not None  # noqa: S101
    definitions = list(claim.model.definitions())
    variable = leaf_name(claim.wrt)
    moved = {claim.wrt}
    inside: list[Definition] = []
    for d in definitions:
        if d.symbol != claim.wrt and any(leaf in moved for leaf in leaves(d.value)):
            moved.add(d.symbol)
            inside.append(d)
    f = next(
        n
        for n in _FUNCTION_NAMES
        if n not in {*(d.name for d in definitions), *example.inputs, *example.sizes}
    )
    lines = _assigned(_needed(definitions, inside, [link, claim.of, claim.wrt]))
    lines += [
        f"def {f}({variable}):",
        *(f"    {line}" for line in _assigned(inside)),
        f"    return {to_numpy(claim.of)}",
    ]
    shape = to_numpy(link)
    component = bool(claim.indices) or claim.wrt_entry is not None
    entry = example.entry
    if claim.kind == "gradient":
        place = entry[::-1] if verdict.layout == "numerator" and len(entry) == 2 and not component else entry
        claimed = shape if component or is_scalar(link) else f"({shape}){_at(entry)}"
        right = ""
    else:
        i, j = (entry if len(entry) == 2 else (entry[0], 0)) if entry else (0, 0)
        if verdict.layout == "gradient":
            i, j = j, i
        place = (j,) if is_matrix(claim.wrt) else ()
        right = _at((i,)) if is_matrix(claim.of) else ""
        claimed = f"({shape}){_at(entry)}" if is_matrix(link) else shape
    if is_matrix(claim.wrt):
        lines += ["h = 1e-6", f"step = np.zeros_like({variable}, dtype=float)", f"step{_at(place)} = h"]
    else:
        lines += ["h = 1e-6", "step = h"]
    lines += [
        f"claimed = {claimed}",
        f"right = (({f}({variable} + step) - {f}({variable} - step)) / (2 * h)){right}",
        "print(float(claimed), float(right))",
    ]
    return lines


def _needed(definitions: list[Definition], inside: list[Definition], shown: list[Expr]) -> list[Definition]:
    """The definitions that the formulas read, and those that the function has no lines for."""
    own = {d.symbol for d in inside}
    claim, of, variable = shown
    needed = {*leaves(claim), variable}
    needed |= {leaf for e in (of, *(d.value for d in inside)) for leaf in leaves(e) if leaf not in own}
    found: list[Definition] = []
    for d in reversed(definitions):
        if d.symbol in needed:
            needed |= set(leaves(d.value))
            found.append(d)
    return found[::-1]


def _assigned(definitions: list[Definition]) -> list[str]:
    return [f"{d.name} = {to_numpy(d.value)}" for d in definitions]


def _at(entry: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, entry))}]" if entry else ""
