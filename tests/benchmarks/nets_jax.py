"""Every layer and loss against jax, in double precision: `python tests/benchmarks/nets_jax.py`.

The functions below are written anew in jax.numpy; nothing of the library is used but the names and the sizes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from sympy import Expr
from sympy.matrices.expressions.matexpr import MatrixElement

from symgrad import Derivation, derive, nets
from symgrad.checking.evaluate import Evaluator, concrete
from symgrad.checking.sampling import choose_sizes, sample
from symgrad.expr import TensorElement, from_entries, shape_of
from symgrad.nets.short import ROWS

jax.config.update("jax_enable_x64", True)
EPS = 0.37
nn = jax.nn


def layer_norm(x: Any, g: Any, c: Any) -> Any:
    return g * (x - x.mean()) / jnp.sqrt(x.var() + EPS) + c


def lstm(
    h: Any, c: Any, x: Any, wf: Any, wi: Any, wo: Any, wg: Any, uf: Any, ui: Any, uo: Any, ug: Any
) -> Any:
    f, i, o = (nn.sigmoid(w @ h + u @ x) for w, u in ((wf, uf), (wi, ui), (wo, uo)))
    return o * jnp.tanh(f * c + i * jnp.tanh(wg @ h + ug @ x))


def gru(h: Any, x: Any, wr: Any, wz: Any, wn: Any, ur: Any, uz: Any, un: Any) -> Any:
    r, z = nn.sigmoid(wr @ h + ur @ x), nn.sigmoid(wz @ h + uz @ x)
    return (1 - z) * jnp.tanh(wn @ (r * h) + un @ x) + z * h


def attention(q: Any, k: Any, v: Any, mask: Any = 0.0) -> Any:
    return nn.softmax(q @ k.T / jnp.sqrt(q.shape[1]) + mask, axis=1) @ v


def convolution2(x: Any, k: Any, b: Any) -> Any:
    return jax.lax.conv(x[None, None], k[None, None], (1, 1), "VALID")[0, 0] + b


def channels(padding: str) -> Callable[..., Any]:
    """Convolution with channels; jax correlates, so the kernel is turned for a full convolution."""

    def layer(x: Any, k: Any, b: Any) -> Any:
        axes = tuple(range(2, k.ndim))
        edge: Any = padding
        if padding == "FULL":
            edge, k = [(k.shape[a] - 1, k.shape[a] - 1) for a in axes], jnp.flip(k, axes)
        return jax.lax.conv_general_dilated(x[None], k, (1,) * len(axes), edge)[0] + b.reshape(
            -1, *(1,) * len(axes)
        )

    return layer


def pool(x: Any, how: Any, start: float) -> Any:
    """Windows of two, side by side, in all axes but the first."""
    window = (1,) + (2,) * (x.ndim - 1)
    return jax.lax.reduce_window(x, start, how, window, window, "VALID")


def hinge(z: Any, y: Any) -> Any:
    margins = jnp.maximum(0, 1 + z - jnp.sum(z * y))
    return jnp.sum(jnp.where(y > 0, 0.0, margins))


def focal(z: Any, y: Any, g: Any) -> Any:
    p = jnp.sum(nn.softmax(z) * y)
    return -((1 - p) ** g) * jnp.log(p)


def info_nce(u: Any, v: Any, t: Any) -> Any:
    return -jnp.mean(jnp.diag(nn.log_softmax(u @ v.T / t, axis=1)))


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "dense": lambda x, w, b: w @ x + b,
    "dense_rows": lambda x, w, b: x @ w + b,
    "identity": lambda x: x,
    "prelu": lambda x, a: jnp.where(x > 0, x, a * x),
    "reglu": lambda u, v: nn.relu(u) * v,
    "geglu": lambda u, v: nn.gelu(u, approximate=False) * v,
    "swiglu": lambda u, v: nn.silu(u) * v,
    "glu": lambda u, v: nn.glu(jnp.concatenate([u, v])),
    "dropout": lambda x, m, p: jnp.where(m > 0, x / (1 - p), 0.0),
    "layer_norm": layer_norm,
    "layer_norm_rows": lambda x, g, c: jax.vmap(lambda r: layer_norm(r, g, c))(x),
    "weight_norm_dense": lambda x, v, g, b: g * ((v / jnp.linalg.norm(v, axis=1, keepdims=True)) @ x) + b,
    "rms_norm": lambda x, g: g * x * jax.lax.rsqrt(jnp.mean(jnp.square(x)) + EPS),
    "batch_norm": lambda x, g, c: (x - x.mean(0)) / jnp.sqrt(x.var(0) + EPS) * g + c,
    "weight_norm": lambda x, v, g: jnp.dot(g * v / jnp.linalg.norm(v), x),
    "residual_block": lambda x, w, v: x + v @ jnp.tanh(w @ x),
    "prenorm_block": lambda x, w, v, g, c: x + v @ nn.gelu(w @ layer_norm(x, g, c), approximate=False),
    "embedding": lambda e, t: e[jnp.argmax(t)],
    "embedding_rows": lambda e, t: jnp.einsum("sv,vd->sd", t, e),
    "conv1d": lambda x, k, b: jnp.correlate(x, k, "valid") + b,
    "conv1d_full": lambda x, k: jnp.convolve(x, k, "full"),
    "conv1d_channels": channels("VALID"),
    "conv1d_channels_full": channels("FULL"),
    "conv2d": convolution2,
    "conv2d_full": lambda x, k: channels("FULL")(x[None], k[None, None], jnp.zeros(1))[0],
    "conv2d_channels": channels("VALID"),
    "conv2d_channels_full": channels("FULL"),
    "average_pool1d": lambda x: pool(x, jax.lax.add, 0.0) / 2,
    "average_pool2d": lambda x: pool(x, jax.lax.add, 0.0) / 4,
    "max_pool1d": lambda x: pool(x, jax.lax.max, -jnp.inf),
    "max_pool2d": lambda x: pool(x, jax.lax.max, -jnp.inf),
    "heads": lambda x, w: jnp.einsum("bsn,rnd->brsd", x, w),
    "merge_heads": lambda o, w: jnp.einsum("brse,ren->bsn", o, w),
    "multi_head_attention": jax.vmap(jax.vmap(attention)),
    "causal_multi_head_attention": jax.vmap(jax.vmap(attention, (0, 0, 0, None)), (0, 0, 0, None)),
    "average_pool": lambda x: x.mean(axis=1),
    "max_pool": lambda x: x.max(axis=1),
    "attention": attention,
    "causal_attention": attention,
    "lora": lambda x, w, a, b, s: (w + s * b @ a) @ x,
    "rnn_cell": lambda h, x, w, u, b: jnp.tanh(w @ h + u @ x + b),
    "lstm_cell": lstm,
    "gru_cell": gru,
    "graph_convolution": lambda a, x, w: nn.relu(a @ (x @ w)),
    "squared_error": lambda z, y: 0.5 * jnp.sum((z - y) ** 2),
    "mean_squared_error": lambda z, y: jnp.mean((z - y) ** 2),
    "cross_entropy": lambda z, y: -jnp.sum(y * nn.log_softmax(z)),
    "cross_entropy_rows": lambda z, y: -jnp.mean(jnp.sum(y * nn.log_softmax(z, axis=1), axis=1)),
    "label_smoothing": lambda z, y, a: -jnp.sum(((1 - a) * y + a / z.size) * nn.log_softmax(z)),
    "binary_cross_entropy": lambda z, y: -jnp.sum(y * nn.log_sigmoid(z) + (1 - y) * nn.log_sigmoid(-z)),
    "hinge": hinge,
    "binary_hinge": lambda z, y: jnp.sum(jnp.maximum(0, 1 - y * z)),
    "huber": lambda z, y, d: jnp.sum(
        jnp.where(jnp.abs(z - y) > d, d * (jnp.abs(z - y) - d / 2), (z - y) ** 2 / 2)
    ),
    "focal": focal,
    "kl_divergence": lambda z, q: jnp.sum(nn.softmax(z) * (nn.log_softmax(z) - jnp.log(q))),
    "gaussian_nll": lambda m, v, y: jnp.sum((jnp.log(v) + (y - m) ** 2 / v) / 2),
    "info_nce": info_nce,
    "triplet": lambda a, p, q, m: jnp.maximum(0, jnp.sum((a - p) ** 2) - jnp.sum((a - q) ** 2) + m),
    "policy_gradient": lambda z, u, r: -r * nn.log_softmax(z)[jnp.argmax(u)],
    "l1_penalty": lambda w: jnp.abs(w).sum(),
    "l2_penalty": lambda w: 0.5 * jnp.sum(w * w),
}


def compared(name: str, seed: int) -> float:
    """The largest relative difference of the gradients of one layer or loss at one random point."""
    row, model = ROWS[name], nets.example(name)
    symbols = {s: model.symbol(s) for s in row.parameters}
    if "R" in model.symbols:
        symbols["R"] = model.symbol("R")
    free = {s for e in symbols.values() for n in shape_of(e) for s in n.free_symbols}
    sizes = next(s for k in range(30) if _fit(symbols.values(), s := choose_sizes(free, seed + 2 * k)))
    rng = np.random.default_rng(seed)
    leaves = {s: concrete(e, sizes) for s, e in symbols.items()}
    values: dict[Any, Any] = {e: sample(e, model.assumptions, rng) for e in leaves.values()}
    values[model.symbols.get("eps")] = EPS
    given = {s: _plain(values[e], symbols[s]) for s, e in leaves.items()}
    evaluate = Evaluator()
    for d in model.definitions():
        values[concrete(d.symbol, sizes)] = evaluate(concrete(d.value, sizes), values)
    ours = {v: derive(model, v, of="loss", check=False) for v in row.by.split()}
    found = {v: _plain(evaluate(concrete(_whole(d), sizes), values), symbols[v]) for v, d in ours.items()}

    def scalar(arguments: dict[str, Any]) -> Any:
        out = FUNCTIONS[name](*(arguments[p] for p in row.parameters))
        return jnp.sum(given["R"] * out) if "R" in given else out

    theirs = jax.grad(scalar)({s: jnp.asarray(v) for s, v in given.items()})
    worst = 0.0
    for v, mine in found.items():
        other = np.asarray(theirs[v])
        size = max(float(np.max(np.abs(other))), 1e-12)
        worst = max(worst, float(np.max(np.abs(mine - other))) / size)
    return worst


def _whole(derivation: Derivation) -> Expr:
    """The answer as an array, also where it is an entry at free indices."""
    place = derivation.left.args[1]
    if not isinstance(place, TensorElement | MatrixElement):
        return derivation.answer
    at = [k for k in place.args[1:] if not k.is_Number]
    return from_entries(derivation.answer, at, [n for n in place.args[0].shape if n != 1])


def _fit(symbols: Iterable[Any], sizes: dict[Any, int]) -> bool:
    """Whether all sizes are positive, as for a kernel that is shorter than its input."""
    return all(int(n.xreplace(sizes)) > 0 for e in symbols for n in shape_of(e))


def _plain(value: Any, symbol: Expr) -> Any:
    """Columns as vectors."""
    array = np.asarray(value, dtype=float)
    column = array.ndim == 2 and shape_of(symbol)[1] == 1
    return array[:, 0] if column else array


def main() -> None:
    missing = sorted(set(ROWS) - set(FUNCTIONS))
    worst = {name: max(compared(name, seed) for seed in range(4)) for name in FUNCTIONS}
    for name, error in sorted(worst.items(), key=lambda pair: -pair[1]):
        print(f"{name:24} {error:.1e}")
    print(
        f"{len(worst)} layers and losses, worst {max(worst.values()):.1e}; not compared: {missing or 'none'}"
    )
    sys.exit(bool(missing) or max(worst.values()) > 1e-9)


if __name__ == "__main__":
    main()
