"""The same questions in SymPy, for its own `diff`: what it answers, as numbers."""

from __future__ import annotations

import ast
from typing import Any

import numpy as np
import oracle
import sympy
from sympy import HadamardProduct, Identity, Inverse, MatrixSymbol, OneMatrix, Symbol, Trace


class NotWritableError(Exception):
    """The question has no SymPy spelling."""


_SCALAR = {
    "exp": sympy.exp,
    "log": sympy.log,
    "sin": sympy.sin,
    "cos": sympy.cos,
    "tanh": sympy.tanh,
    "sqrt": sympy.sqrt,
}


def _is_matrix(e: Any) -> bool:
    return bool(getattr(e, "is_Matrix", False))


def _read(node: ast.expr, names: dict[str, Any]) -> Any:
    def read(n: ast.expr) -> Any:
        return _read(n, names)

    if isinstance(node, ast.Constant):
        return sympy.nsimplify(node.value)
    if isinstance(node, ast.Name):
        return names.setdefault(node.id, Symbol(node.id))
    if isinstance(node, ast.UnaryOp):
        return -read(node.operand)
    if isinstance(node, ast.Attribute):
        return read(node.value).T
    if isinstance(node, ast.BinOp):
        a, b = read(node.left), read(node.right)
        if isinstance(node.op, ast.MatMult):
            if a.shape[1] != b.shape[0]:
                a = a.T
            return a * b
        if isinstance(node.op, ast.Mult):
            return HadamardProduct(a, b) if _is_matrix(a) and _is_matrix(b) and a.shape == b.shape else a * b
        if isinstance(node.op, ast.Div):
            if _is_matrix(b) and b.shape != (1, 1):
                raise NotWritableError
            return a / (b[0, 0] if _is_matrix(b) else b)
        if isinstance(node.op, ast.Pow):
            return (
                (a[0, 0] if _is_matrix(a) and a.shape == (1, 1) else a) ** b
                if not _is_matrix(a) or a.shape == (1, 1)
                else a.applyfunc(lambda t: t**b)
            )
        pair = [
            x[0, 0] if _is_matrix(x) and x.shape == (1, 1) and not _is_matrix(y) else x
            for x, y in ((a, b), (b, a))
        ]
        return pair[0] + pair[1] if isinstance(node.op, ast.Add) else pair[0] - pair[1]
    if isinstance(node, ast.Call) and not node.keywords:
        name = node.func.id  # type: ignore[attr-defined]
        args = [read(a) for a in node.args]
        x = args[0]
        if name in _SCALAR:
            return (
                x.applyfunc(_SCALAR[name])
                if _is_matrix(x) and x.shape != (1, 1)
                else _SCALAR[name](x[0, 0] if _is_matrix(x) else x)
            )
        if name in ("tr", "trace"):
            return Trace(x)
        if name == "det":
            return sympy.Determinant(x)
        if name == "logdet":
            return sympy.log(sympy.Determinant(x))
        if name == "inv":
            return Inverse(x)
        if name == "eye":
            return Identity(x)
        if name == "ones":
            return OneMatrix(x, args[1] if len(args) == 2 else 1)
        if name == "outer":
            return x * args[1].T
        if name == "sum":
            return OneMatrix(1, x.shape[0]) * x * OneMatrix(x.shape[1], 1)
        if name == "norm":
            return sympy.sqrt((x.T * x)[0, 0]) if x.shape[1] == 1 else sympy.sqrt(Trace(x.T * x))
        if name == "kron":
            return sympy.KroneckerProduct(*args)
        if name == "matrix_power":
            return x ** args[1]
        if name == "diag" and x.shape[1] == 1:
            return sympy.DiagMatrix(x)
    raise NotWritableError


def derivative(case: dict[str, Any]) -> Any:
    """SymPy's derivative of the question's function."""
    if case.get("kind", "gradient") == "differential" or case.get("structure") or case.get("definitions"):
        raise NotWritableError
    names: dict[str, Any] = {}
    for shape in case["shapes"].values():
        for s in shape:
            names.setdefault(str(s), Symbol(str(s), integer=True, positive=True))
    for name, shape in case["shapes"].items():
        sizes = [names[str(s)] for s in shape]
        names[name] = (
            MatrixSymbol(name, sizes[0], sizes[1] if len(sizes) == 2 else 1) if sizes else Symbol(name)
        )
    f = _read(oracle.parse(case["f"]), names)
    x = names[case["wrt"]]
    result = f.diff(x)
    return result.diff(x) if case.get("kind") == "hessian" else result


def value(e: Any, case: dict[str, Any], at: dict[str, Any]) -> Any:
    """The derivative at a point, in the shape in which the book's answer has it."""
    sizes = {Symbol(n, integer=True, positive=True): v for n, v in at.items() if isinstance(v, int)}
    numbers: dict[Any, Any] = {}
    e = sympy.sympify(e).subs(sizes)
    for s in e.free_symbols:
        v = at[s.name] if isinstance(s, Symbol) else np.atleast_2d(np.asarray(at[str(s.name)]))
        if isinstance(s, Symbol):
            numbers[s] = sympy.Float(float(v))
        else:
            v = v.reshape([int(n) for n in s.shape])
            numbers[s] = sympy.ImmutableDenseMatrix(v)
    done = e.xreplace(numbers).doit()
    done = done.as_explicit() if hasattr(done, "as_explicit") else done
    result = np.array(done.tolist() if hasattr(done, "tolist") else done, dtype=float)
    expected = np.asarray(oracle.evaluate(case["answer"], at))
    if case.get("kind") in ("jacobian", "hessian") and result.ndim == 2 and case.get("kind") == "jacobian":
        result = result.T if result.T.shape == expected.shape else result
    return result.reshape(expected.shape) if result.size == expected.size else result
