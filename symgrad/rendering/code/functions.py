"""A derivation -> the text of a module: imports, helpers, and one function for each thing that can be computed.

A gradient, a Jacobian and a differential are one function. A Hessian is three: the matrix, its product with a vector
(which never builds the matrix), and its parts where it has a compressed form.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sympy import Expr, Mul, Symbol
from sympy.matrices.expressions.diagonal import DiagMatrix
from sympy.matrices.expressions.kronecker import KroneckerProduct
from sympy.matrices.expressions.matadd import MatAdd
from sympy.matrices.expressions.matmul import MatMul
from sympy.matrices.expressions.special import Identity

from symgrad.errors import SymgradError, UnsupportedError
from symgrad.expr import (
    Gradient,
    Model,
    ScalarGradient,
    add,
    is_matrix,
    leaf_name,
    leaves,
    matmul,
    matrix,
    ones,
    scale,
    shape_of,
    shape_text,
    split_scale,
    transpose,
    vec,
)
from symgrad.rendering.code.graph import Node, Shape
from symgrad.rendering.code.lowering import Lowering, array_shape
from symgrad.rendering.code.spelling import SPELLINGS, Spelling
from symgrad.rendering.code.stable import stable
from symgrad.rendering.code.writing import Writer, identifier
from symgrad.rendering.einsum import index_code
from symgrad.rendering.numpy import to_numpy
from symgrad.simplifying import Simplifier

__all__ = ["CODE_FORMATS", "to_code"]

CODE_FORMATS = tuple(SPELLINGS)


@dataclass(frozen=True)
class _Output:
    """One array that a function returns: what it is called in the docstring, and its value.

    `table` says that the value is vec of a matrix of that shape, which is returned.
    """

    expr: Expr
    says: str = ""
    table: tuple[Expr, Expr] | None = None

    @property
    def shape(self) -> Shape:
        """The shape of the array."""
        if self.table is not None:
            return self.table
        return array_shape(self.expr.shape) if is_matrix(self.expr) else ()

    def node(self, lowering: Lowering, tidy: Simplifier) -> Node:
        """How it is computed."""
        node = lowering(stable(self.expr, tidy))
        if self.table is not None:
            rows, cols = self.table
            node = lowering.ops.transpose(lowering.ops.reshape(node, cols, rows))
        return node


def to_code(derivation: Any, form: str = "numpy") -> str:
    '''The derivation as a module of NumPy, JAX or PyTorch.

    >>> from symgrad.api import derive
    >>> print(to_code(derive("x @ A @ x", "x", shapes="A: n n, x: n")))
    import numpy as np
    <BLANKLINE>
    <BLANKLINE>
    def gradient_x(x, A):
        """The gradient of x @ A @ x by x.
    <BLANKLINE>
            (A + A.T) @ x
    <BLANKLINE>
        Arguments
            x: n
            A: n x n
        Returns
            n
    <BLANKLINE>
        Arrays of floats; a vector has one axis. One point a call. Needs NumPy only.
        """
        return A @ x + A.T @ x
    <BLANKLINE>

    Raises   UnsupportedError for another format, and for what has no array code
    '''
    if form not in SPELLINGS:
        raise UnsupportedError(f"there is no code for {form!r}", hint=f"there is {', '.join(SPELLINGS)}")
    if derivation.model.has_loops:
        raise UnsupportedError(
            "a loop of symbolic length has no array code",
            hint="give the loop a number of repetitions, or write its layers as definitions",
        )
    if derivation.in_indices:
        return index_code(derivation, form)
    module = _Module(derivation, SPELLINGS[form]())
    final = derivation.final
    kind = derivation.kind
    module.function(kind, [_Output(final)], f"The {kind} of {{f}} by {{wrt}}.")
    if kind == "hessian" and is_matrix(derivation.wrt):
        module.hessian_parts()
    return module.text()


class _Module:
    """The text of a module, function by function."""

    def __init__(self, derivation: Any, spelling: Spelling) -> None:
        self.derivation = derivation
        self.spelling = spelling
        self.model: Model = derivation.model
        self._functions: list[str] = []
        self._values: dict[Expr, tuple[str, Expr]] = {}
        for d in self.model.definitions():
            self._values[d.symbol] = (leaf_name(d.symbol), d.value)
        for step in derivation.steps:
            left = step.left
            if isinstance(left, Gradient | ScalarGradient) and step.right != left:
                name = f"grad_{leaf_name(left.args[1])}" if hasattr(left.args[1], "name") else "grad"
                self._values[left] = (name, step.right)
        inputs = [s for s in self.model.inputs() if s not in self._values]
        inputs += [s for s in leaves(derivation.of) if s not in self._values and s not in inputs]
        self._inputs = _as_in_the_text([s for s in inputs if not _is_size(s)], self.model, derivation.of)

    def _is_new(self, s: Expr, inputs: Sequence[Expr]) -> bool:
        return s not in inputs and s not in self._values and not _is_size(s)

    def text(self) -> str:
        """The module."""
        heads = [self.spelling.first_import, *sorted(self.spelling.imports)]
        return "\n\n\n".join(["\n".join(heads), *self.spelling.helper_texts(), *self._functions]).replace(
            "\n\n\n\n", "\n\n\n"
        )

    def function(
        self, name: str, outputs: Sequence[_Output], title: str, extra: Sequence[Expr] = (), formula: str = ""
    ) -> None:
        """Write one function."""
        tidy = Simplifier(self.model.assumptions)
        lowering = Lowering(self._values, tidy)
        nodes = [o.node(lowering, tidy) for o in outputs]
        inputs = [*self._inputs, *(e for e in extra if e not in self._inputs)]
        inputs += [s for o in outputs for s in leaves(o.expr) if self._is_new(s, inputs)]
        parameters = _parameters(inputs)
        callables = [
            identifier(f + "'" * order) for f, most in lowering.functions.items() for order in range(most + 1)
        ]
        arrays = [n for n, shape in parameters.items() if shape]
        self.spelling.like = arrays[0] if arrays else None
        taken = [*parameters, *callables, *_reserved(self.spelling)]
        writer = Writer(lowering.graph, self.spelling, taken, nodes)
        results = [writer.value(n) for n in nodes]
        found, missing = _sizes(writer, parameters)
        signature = [*parameters, *callables, *missing]
        wrt = self._wrt()
        lines = [f"def {name}_{identifier(wrt)}({', '.join(signature)}):"]
        lines += self._docstring(title, outputs, parameters, callables, missing, tidy, formula)
        lines += [f"    {line}" for line in [*found, *writer.lines, f"return {', '.join(results)}"]]
        self._functions.append("\n".join(lines) + "\n")

    def hessian_parts(self) -> None:
        """The product with a vector, and the parts of a compressed form."""
        d = self.derivation
        shape = shape_of(d.wrt)
        v = self._direction()
        product = matmul(d.final, vec(v)) if shape[1] != 1 else matmul(d.final, v)
        what = "vector" if shape[1] == 1 else "matrix"
        says = f"The Hessian of {{f}} by {{wrt}} times the {what} {v.name}; the Hessian is not built."
        output = _Output(product, table=None if shape[1] == 1 else shape)
        self.function("hessian_product", [output], says, extra=[v], formula=f"H @ {v.name}")
        compressed = _compressed(d.final)
        if compressed is not None:
            formula, outputs = compressed
            self.function(
                "hessian_parts",
                outputs,
                "The parts of the Hessian of {f} by {wrt}.",
                formula=f"H = {formula}",
            )

    def _direction(self) -> Expr:
        names = {leaf_name(s) for s in self._inputs}
        name = next(n for n in ("v", "u", "direction", "v_") if n not in names)
        return matrix(name, *shape_of(self.derivation.wrt))

    # --- docstring ------------------------------------------------------------------------------------

    def _wrt(self) -> str:
        return leaf_name(self.derivation.wrt)

    def _docstring(
        self,
        title: str,
        outputs: Sequence[_Output],
        parameters: Mapping[str, tuple[Expr, ...]],
        callables: Sequence[str],
        missing: Sequence[str],
        tidy: Simplifier,
        formula: str,
    ) -> list[str]:
        d = self.derivation
        of = _spelt(d.of) or "f"
        lines = [title.format(f=of, wrt=self._wrt()), ""]
        shown = formula or _spelt(d.final)
        if shown is not None and len(shown) < 400:
            lines += [f"    {shown}", ""]
        lines += ["Arguments"]
        lines += [f"    {n}: {shape_text(shape) if shape else 'scalar'}" for n, shape in parameters.items()]
        lines += [f"    {n}: a function of the entries" + _derivative_of(n) for n in callables]
        lines += [f"    {n}: a whole number" for n in missing]
        lines += ["Returns"]
        for o in outputs:
            shape = o.shape
            lines.append(
                "    " + (f"{o.says}: " if o.says else "") + (shape_text(shape) if shape else "scalar")
            )
        assumed = sorted({*d.assumptions, *(f"{n} {w}" for n, w in tidy.properties.used)})
        if assumed:
            lines += ["Assumes", "    " + ", ".join(assumed)]
        if d.layout != "gradient" and d.kind in ("gradient", "jacobian"):
            lines += ["Layout", f"    {d.layout}"]
        scipy = " and SciPy" if any("scipy" in i for i in self.spelling.imports) else ""
        lines += ["", *(line.format(scipy=scipy) for line in self.spelling.convention)]
        body = [("    " + line).rstrip() for line in lines]
        return [f'    """{body[0].strip()}', *body[1:], '    """']


def _as_in_the_text(inputs: list[Expr], model: Model, of: Expr) -> list[Expr]:
    """The inputs in the order in which a reader meets them."""
    texts = [_spelt(d.value) or "" for d in model.definitions()]
    words = re.findall(r"[A-Za-z_]\w*", " ".join([*texts, _spelt(of) or ""]))
    place = {w: i for i, w in reversed(list(enumerate(words)))}
    return sorted(inputs, key=lambda s: place.get(leaf_name(s), len(words)))


def _derivative_of(name: str) -> str:
    order = (
        len(name) - len(name.lstrip("d"))
        if "_" in name and set(name.split("_", maxsplit=1)[0]) == {"d"}
        else 0
    )
    return f", derivative {order} of {name.split('_', 1)[1]}" if order else ""


def _spelt(e: Expr) -> str | None:
    try:
        return to_numpy(e)
    except SymgradError:
        return None


def _is_size(s: Expr) -> bool:
    return isinstance(s, Symbol) and bool(s.is_integer and s.is_positive)


def _parameters(inputs: Sequence[Expr]) -> dict[str, tuple[Expr, ...]]:
    """The arguments in order, each with the shape of its array; a family is one argument."""
    result: dict[str, tuple[Expr, ...]] = {}
    for s in inputs:
        shape = array_shape(shape_of(s)) if not hasattr(s, "index") else ()
        result.setdefault(identifier(leaf_name(s)), shape)
    return result


def _reserved(spelling: Spelling) -> list[str]:
    return [
        spelling.module,
        "sum",
        "range",
        *(f"_{h}" for h in ("sigmoid", "softmax", "logsumexp", "log_softmax")),
    ]


def _sizes(writer: Writer, parameters: Mapping[str, tuple[Expr, ...]]) -> tuple[list[str], list[str]]:
    """Statements that read the sizes off the arguments, and the names of those that no argument has."""
    found: list[str] = []
    wanted = dict(writer.sizes)
    for name, shape in parameters.items():
        new = [s for s in shape if s in wanted]
        if not new:
            continue
        if len(shape) == 2 and len(set(new)) == 2:
            found.append(f"{shape[0]}, {shape[1]} = {name}.shape")
        else:
            found.append(f"{new[0]} = {name}.shape[{shape.index(new[0])}]")
        for s in new:
            wanted.pop(s, None)
    return found, [str(s) for s in wanted]


# --- compressed Hessians -------------------------------------------------------------------------------


def _compressed(hessian: Expr) -> tuple[str, list[_Output]] | None:
    """The parts of I kron M, of X^T diag(d) X, and of a diagonal plus low rank."""
    c, rest = split_scale(hessian)
    if isinstance(rest, KroneckerProduct) and len(rest.args) == 2:
        for i, j, formula in ((0, 1, "kron(eye, M)"), (1, 0, "kron(M, eye)")):
            if isinstance(rest.args[i], Identity):
                return formula, [_Output(scale(c, rest.args[j]), "M")]
    if isinstance(rest, MatMul) and len(rest.args) == 3 and isinstance(rest.args[1], DiagMatrix):
        left, middle, right = rest.args
        if transpose(left) == right:
            return "X.T @ diag(d) @ X", [_Output(right, "X"), _Output(scale(c, middle.args[0]), "d")]
    return _diagonal_plus_low_rank(hessian)


def _diagonal_plus_low_rank(hessian: Expr) -> tuple[str, list[_Output]] | None:
    c, rest = split_scale(hessian)
    terms = list(rest.args) if isinstance(rest, MatAdd) else [rest]
    n = hessian.shape[0]
    diagonals: list[Expr] = []
    pairs: list[tuple[Expr, Expr]] = []
    for t in terms:
        own, m = split_scale(t)
        factor = Mul(c, own)
        if isinstance(m, Identity):
            diagonals.append(scale(factor, ones(n)))
        elif isinstance(m, DiagMatrix):
            diagonals.append(scale(factor, m.args[0]))
        elif isinstance(m, MatMul) and any(f.shape[0] == 1 for f in m.args[1:]):
            at = next(i for i, f in enumerate(m.args) if i and f.shape[0] == 1)
            pairs.append((scale(factor, matmul(*m.args[:at])), transpose(matmul(*m.args[at:]))))
        else:
            return None
    if not diagonals or any(u.shape[1] != 1 or v.shape[1] != 1 for u, v in pairs) or len(pairs) > 4:
        return None
    outputs = [_Output(add(*diagonals), "d")]
    formula = "diag(d)"
    for k, (u, v) in enumerate(pairs, 1):
        suffix = str(k) if len(pairs) > 1 else ""
        formula += f" + outer(u{suffix}, v{suffix})"
        outputs += [_Output(u, f"u{suffix}"), _Output(v, f"v{suffix}")]
    return formula, outputs
