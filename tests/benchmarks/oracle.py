"""The text language with NumPy, straight from Python's syntax tree: shares nothing with the package.

Evaluates formulas at random points, takes differences of functions, counts operations. For judging answers.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from itertools import permutations
from typing import Any

import numpy as np

Values = Mapping[str, Any]
_STEP = 2e-4


@cache
def parse(text: str) -> ast.expr:
    """The syntax tree of a formula."""
    return ast.parse(text, mode="eval").body


def operations(text: str) -> int:
    """The operations that a reader counts: signs, products, sums, transposes, functions and powers."""
    total = 0
    for node in ast.walk(parse(text)):
        if isinstance(node, ast.BinOp | ast.Compare | ast.Attribute):
            total += 1
        elif isinstance(node, ast.Call):
            total += node.func.id not in ("ones", "eye", "zeros")  # type: ignore[attr-defined]
        elif isinstance(node, ast.UnaryOp):
            total += not isinstance(node.operand, ast.Constant)
    return total


def evaluate(text: str, values: Values) -> Any:
    """The value of a formula: a number or an array."""
    return _value(parse(text), values)


def _value(node: ast.expr, v: Values) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        return math.pi if node.id == "pi" and "pi" not in v else v[node.id]
    if isinstance(node, ast.UnaryOp):
        value = _value(node.operand, v)
        return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.Attribute):
        m = _value(node.value, v)
        return m[None, :] if np.ndim(m) == 1 else m.T
    if isinstance(node, ast.Subscript):
        return _value(node.value, v)[_index(node.slice, v)]
    if isinstance(node, ast.Compare):
        a, b = _value(node.left, v), _value(node.comparators[0], v)
        return {ast.Gt: np.greater, ast.Lt: np.less, ast.GtE: np.greater_equal, ast.LtE: np.less_equal}[
            type(node.ops[0])
        ](a, b) * 1.0
    if isinstance(node, ast.BinOp):
        return _binary(node.op, _value(node.left, v), _value(node.right, v))
    if isinstance(node, ast.Call):
        keywords = {str(k.arg): _value(k.value, v) for k in node.keywords}
        name = node.func.id  # type: ignore[attr-defined]
        return (v[name] if callable(v.get(name)) else FUNCTIONS[name])(
            *(_value(a, v) for a in node.args), **keywords
        )
    raise SyntaxError(ast.dump(node))


def _index(node: ast.expr, v: Values) -> Any:
    if isinstance(node, ast.Tuple):
        return tuple(int(_value(e, v)) for e in node.elts)
    return int(_value(node, v))


def _binary(op: ast.operator, a: Any, b: Any) -> Any:
    if isinstance(op, ast.MatMult):
        if np.ndim(b) == 2 and b.shape[0] == 1 and np.ndim(a) == 1:
            return np.outer(a, b)
        out = a @ b
        return out[0] if np.ndim(a) == 2 and a.shape[0] == 1 and np.ndim(b) == 1 else out
    return {
        ast.Add: lambda: a + b,
        ast.Sub: lambda: a - b,
        ast.Mult: lambda: a * b,
        ast.Div: lambda: a / b,
        ast.Pow: lambda: a**b,
    }[type(op)]()


def _softmax(x: Any, axis: int = -1) -> Any:
    e = np.exp(x)
    return e / e.sum(axis=axis, keepdims=True)


def _logsumexp(x: Any, axis: int = -1) -> Any:
    return np.log(np.exp(x).sum(axis=axis))


def _commutation(m: int, n: int) -> Any:
    """K with K vec(A) = vec(A^T) for A of shape m x n."""
    k = np.zeros((m * n, m * n))
    for i in range(m):
        for j in range(n):
            k[i * n + j, j * m + i] = 1.0
    return k


def _power(m: Any, k: Any) -> Any:
    return np.linalg.matrix_power(m, int(k))


def _regular(m: Any) -> Any:
    """The matrix, if it has an inverse that numbers can tell from none."""
    if np.linalg.cond(m) > 1e10:
        raise np.linalg.LinAlgError("nearly singular")
    return m


def sigmoid(t: Any) -> Any:
    return 1 / (1 + np.exp(-t))


erf = np.vectorize(math.erf)
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "exp": np.exp, "log": np.log, "sin": np.sin, "cos": np.cos, "tan": np.tan, "sinh": np.sinh, "cosh": np.cosh,
    "tanh": np.tanh, "arctan": np.arctan, "sqrt": np.sqrt, "abs": np.abs, "sign": np.sign, "erf": erf,
    "relu": lambda t: np.maximum(t, 0.0),
    "leaky_relu": lambda t, a=0.01: np.where(t > 0, t, a * t),
    "elu": lambda t, a=1.0: np.where(t > 0, t, a * (np.exp(t) - 1)),
    "gelu": lambda t: t * (1 + erf(t / math.sqrt(2))) / 2,
    "silu": lambda t: t * sigmoid(t), "softplus": lambda t: np.log1p(np.exp(t)), "sigmoid": sigmoid,
    "sum": np.sum, "mean": np.mean, "max": np.max,
    "norm": lambda x, order=2: np.abs(x).sum() if order == 1 else np.sqrt((np.asarray(x) ** 2).sum()),
    "tr": np.trace, "trace": np.trace, "det": np.linalg.det, "logdet": lambda m: np.linalg.slogdet(_regular(m))[1],
    "inv": lambda m: np.linalg.inv(_regular(m)), "matrix_power": _power, "diag": np.diag, "outer": np.outer, "kron": np.kron,
    "vec": lambda m: np.asarray(m).reshape(-1, order="F"), "softmax": _softmax,
    "log_softmax": lambda x, axis=-1: np.log(_softmax(x, axis)), "logsumexp": _logsumexp,
    "eye": lambda n: np.eye(int(n)), "ones": lambda *n: np.ones([int(k) for k in n]),
    "zeros": lambda *n: np.zeros([int(k) for k in n]), "where": np.where, "commutation": _commutation,
    "correlate": lambda x, w: np.correlate(x, w, "valid"), "convolve": np.convolve,
}  # fmt: skip


# --- points ------------------------------------------------------------------------------------------


def point(question: Mapping[str, Any], sizes: Mapping[str, int], rng: np.random.Generator) -> dict[str, Any]:
    """Random values for all names of a question, sizes and increments among them, as its assumptions ask."""
    values: dict[str, Any] = dict(sizes)
    for name, shape in question["shapes"].items():
        dims = [int(evaluate(str(s), sizes)) for s in shape]
        words = question.get("assume", {}).get(name, [])
        values[name] = _value_of(dims, [words] if isinstance(words, str) else words, rng)
        values["d" + name] = rng.normal(size=dims) if dims else float(rng.normal())
    for line in question.get("definitions", ()):
        name, text = line.split("=", 1)
        values[name.strip()] = evaluate(text.strip(), values)
    return values


def _value_of(dims: list[int], words: list[str], rng: np.random.Generator) -> Any:
    w = set(words)
    if not dims:
        if "positive_integer" in w:
            return int(rng.integers(3, 6))
        if "in01" in w:
            return float(rng.uniform(0.1, 0.9))
        return float(rng.uniform(0.5, 1.5)) * (1 if "positive" in w else float(rng.choice([-1, 1])))
    if w & {"onehot", "onehot_rows"}:
        return np.eye(dims[-1])[rng.integers(dims[-1], size=dims[:-1])]
    x = rng.uniform(0.3, 1.5, dims)
    if "in01" in w:
        x = rng.uniform(0.1, 0.9, dims)
    elif "binary" in w:
        x = rng.integers(0, 2, dims) * 1.0
    elif not w & {"positive", "prob", "prob_rows", "sums_to_one"}:
        x = x * rng.choice([-1.0, 1.0], dims)
    if w & {"prob", "sums_to_one"}:
        return x / x.sum()
    if "prob_rows" in w:
        return x / x.sum(axis=1, keepdims=True)
    if "pm1" in w:
        return np.sign(x)
    if "unit_norm" in w:
        return x / np.linalg.norm(x)
    if "diagonal" in w:
        return np.diag(np.diag(x) + np.sign(np.diag(x)))
    if "orthogonal" in w:
        return np.linalg.qr(x)[0]
    if "positive_definite" in w:
        return x @ x.T / dims[0] + np.eye(dims[0]) / 2
    if "symmetric" in w:
        x = (x + x.T) / 2
    if "invertible" in w:
        x = 0.4 * x + 2 * np.eye(dims[0])
    return x


def sizes_of(question: Mapping[str, Any], which: int) -> Iterator[dict[str, int]]:
    """Sizes, all different and larger than 2, one above 6; sizes that are said to be equal are equal.

    One order of them after another: some formulas need more rows than columns, others fewer.
    """
    names = dict.fromkeys(
        n.id
        for shape in question["shapes"].values()
        for s in shape
        for n in ast.walk(parse(str(s)))
        if isinstance(n, ast.Name)
    )
    pool = [(7, 4, 3, 5, 6, 8), (3, 7, 4, 6, 5, 8)][which][: len(names)]
    for order in permutations(pool):
        sizes = dict(zip(names, order, strict=True))
        for a, b in question.get("dims_equal", ()):
            sizes[b] = sizes[a]
        yield sizes


def points(question: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Two random points in each of two sets of sizes, all harmless: the function is finite and far from a pole."""
    for which in (0, 1):
        for seed in (0, 1):
            rng = np.random.default_rng([seed, which, *map(ord, str(question["id"]))])
            draws = (point(question, s, rng) for s in sizes_of(question, which) for _ in range(400))
            found = next((at for at in draws if _harmless(question, at)), None)
            if found is None:
                raise ValueError(f"no point at which {question['id']} can be judged")
            yield found


def _harmless(question: Mapping[str, Any], at: Values) -> bool:
    try:
        sizes = [np.abs(evaluate(question[text], at)).max() for text in ("f", "answer")]
    except np.linalg.LinAlgError:
        return False
    return all(np.isfinite(s) and s < 1e12 for s in sizes)


# --- differences ---------------------------------------------------------------------------------------

_STENCIL = ((1, 2 / 3), (-1, -2 / 3), (2, -1 / 12), (-2, 1 / 12))  # fourth order


def _along(f: Callable[[Any], Any], x: Any, direction: Any) -> Any:
    return sum(w * f(x + k * _STEP * direction) for k, w in _STENCIL) / _STEP


def _unit(x: Any, at: tuple[int, ...]) -> Any:
    e = np.zeros(np.shape(x))
    e[at] = 1.0
    return e


def _partials(f: Callable[[Any], Any], x: Any, order: str = "C") -> list[Any]:
    """The derivative of f by every entry of x."""
    if not np.ndim(x):
        return [_along(f, x, 1.0)]
    places = list(np.ndindex(np.shape(x)))
    if order == "F":
        places.sort(key=lambda p: p[::-1])
    return [_along(f, x, _unit(x, p)) for p in places]


def _flat(y: Any) -> Any:
    return np.asarray(y).reshape(-1, order="F")


def differences(question: Mapping[str, Any], values: Values) -> Any:
    """The derivative that a question asks for, by differences of its function."""
    x = np.asarray(values[question["wrt"]], float)
    names = [line.split("=", 1)[0].strip() for line in question.get("definitions", ())]

    def f(value: Any) -> Any:
        at = dict(values) | {question["wrt"]: value if np.ndim(value) else float(value)}
        for name, line in zip(names, question.get("definitions", ()), strict=True):
            if name != question["wrt"]:
                at[name] = evaluate(line.split("=", 1)[1].strip(), at)
        return evaluate(question["f"], at)

    kind = question.get("kind", "gradient")
    if kind == "differential":
        return _along(f, x, np.asarray(values["d" + question["wrt"]]))
    if kind == "hessian":
        rows = _partials(lambda at: np.array(_partials(f, at, "F")).reshape(-1), x, "F")
        return np.array(rows).T if np.ndim(x) else float(rows[0][0])
    if kind == "jacobian":
        if not np.ndim(x):
            return _along(f, x, 1.0)
        jacobian = np.array([_flat(p) for p in _partials(f, x, "F")]).T
        return jacobian.T if question.get("layout") == "denominator" else jacobian
    g = np.array(_partials(f, x)).reshape(np.shape(x))
    structure = question.get("structure")
    if structure == "symmetric-subspace":
        return (g + g.T) / 2
    if structure == "symmetric-entries":
        return g + g.T - np.diag(np.diag(g))
    if structure == "diagonal-entries":
        return np.diag(np.diag(g))
    return g.T if question.get("layout") == "numerator" else g


def equal(a: Any, b: Any, tolerance: float = 1e-8) -> bool:
    """Whether two values agree in shape and in numbers; a number stands for a constant array."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    if a.shape != b.shape and a.ndim and b.ndim:
        return False
    if a.shape != b.shape and not (a.ndim == 0 or b.ndim == 0):
        return False
    scale = max(1.0, float(np.abs(b).max(initial=0.0)))
    return bool(np.all(np.abs(a - b) <= tolerance * scale))
