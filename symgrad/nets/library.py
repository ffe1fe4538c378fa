"""The layers and losses: what each computes, in the text language, with the sizes of an example and a source.

A row is written out where it is called: `h = layer_norm(x, g, c)` becomes definitions of h and of the quantities that
have a name of their own in the row (`_c` is called h_c). Vectors are columns, matrices of samples have one sample a row.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BLOCKS", "LAYERS", "LOSSES", "ROWS", "Block", "Row"]


@dataclass(frozen=True)
class Row:
    """A layer or a loss.

    `body` are definitions, one a line, the last line being the value; names that begin with an underscore are the row's
    own. `shapes` are those of the arguments in the example, `out` that of the value (nothing for a scalar), `by` what the
    example is derived by, `declares` names that the body needs besides its arguments.
    """

    name: str
    arguments: str
    body: str
    shapes: str
    by: str
    source: str
    out: str = ""
    assume: str = ""
    declares: str = ""

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of the arguments."""
        return tuple(self.arguments.split())

    @property
    def lines(self) -> tuple[str, ...]:
        """The definitions and, last, the value."""
        return tuple(line.strip() for line in self.body.strip().splitlines())


_EPS = "eps : positive"

LAYERS: dict[str, Row] = {
    row.name: row
    for row in (
        Row(
            "dense",
            "x W b",
            "W @ x + b",
            "x: n, W: m n, b: m",
            "W x b",
            "Goodfellow et al. 2016, section 6",
            "m",
        ),
        Row(
            "dense_rows",
            "X W b",
            "X @ W + b",
            "X: s n, W: n m, b: m",
            "W X b",
            "Goodfellow et al. 2016, section 6; one sample a row",
            "s m",
        ),
        Row("identity", "x", "x", "x: n", "x", "Goodfellow et al. 2016, section 6", "n"),
        Row("prelu", "x a", "where(x > 0, x, a * x)", "x: n, a:", "x a", "He et al. 2015", "n"),
        Row("glu", "u v", "u * sigmoid(v)", "u: n, v: n", "u v", "Dauphin et al. 2017", "n"),
        Row(
            "dropout",
            "x m p",
            "m * x / (1 - p)",
            "x: n, m: n, p:",
            "x",
            "Srivastava et al. 2014",
            "n",
            "m: binary, p: in01",
        ),
        Row(
            "layer_norm",
            "x g c",
            """
            _c = x - mean(x)
            _s = sqrt(mean(_c**2) + eps)
            g * _c / _s + c
            """,
            "x: n, g: n, c: n",
            "x g c",
            "Ba, Kiros and Hinton 2016",
            "n",
            declares=_EPS,
        ),
        Row(
            "rms_norm",
            "x g",
            """
            _s = sqrt(mean(x**2) + eps)
            g * x / _s
            """,
            "x: n, g: n",
            "x g",
            "Zhang and Sennrich 2019",
            "n",
            declares=_EPS,
        ),
        Row(
            "batch_norm",
            "X g c",
            """
            _C = X - mean(X, axis=0)
            _v = mean(_C**2, axis=0)
            _N = _C / sqrt(_v + eps)
            _N * g + c
            """,
            "X: s n, g: n, c: n",
            "X g c",
            "Ioffe and Szegedy 2015; statistics of the batch",
            "s n",
            declares=_EPS,
        ),
        Row(
            "weight_norm",
            "x v g",
            """
            _w = g * v / norm(v)
            _w @ x
            """,
            "x: n, v: n, g:",
            "v g x",
            "Salimans and Kingma 2016",
            "",
        ),
        Row(
            "residual_block",
            "x W V",
            """
            _h = tanh(W @ x)
            x + V @ _h
            """,
            "x: n, W: m n, V: n m",
            "x W V",
            "He et al. 2016",
            "n",
        ),
        Row(
            "prenorm_block",
            "x W V g c",
            """
            _n = layer_norm(x, g, c)
            _h = gelu(W @ _n)
            x + V @ _h
            """,
            "x: n, W: m n, V: n m, g: n, c: n",
            "x W g",
            "Xiong et al. 2020",
            "n",
        ),
        Row(
            "embedding",
            "E t",
            "E.T @ t",
            "E: v d, t: v",
            "E",
            "Mikolov et al. 2013; t is one-hot",
            "d",
            "t: onehot",
        ),
        Row(
            "conv1d",
            "x k b",
            "correlate(x, k) + b",
            "x: n, k: p, b:",
            "k x b",
            "LeCun et al. 1989; valid",
            "n - p + 1",
        ),
        Row(
            "conv1d_full",
            "x k",
            "convolve(x, k)",
            "x: n, k: p",
            "k x",
            "LeCun et al. 1989; full",
            "n + p - 1",
        ),
        Row(
            "conv2d",
            "X K b",
            "correlate2(X, K) + b",
            "X: h w, K: p q, b:",
            "K X b",
            "LeCun et al. 1989; valid, one channel",
            "h - p + 1, w - q + 1",
        ),
        Row(
            "average_pool", "X", "mean(X, axis=1)", "X: r p", "X", "LeCun et al. 1989; one window a row", "r"
        ),
        Row(
            "max_pool",
            "X",
            "max(X, axis=1)",
            "X: r p",
            "X",
            "Riesenhuber and Poggio 1999; one window a row",
            "r",
        ),
        Row(
            "attention",
            "Q K V",
            """
            _S = Q @ K.T / sqrt(d)
            _A = softmax(_S, axis=1)
            _A @ V
            """,
            "Q: s d, K: t d, V: t e",
            "Q K V",
            "Vaswani et al. 2017; one head, one query a row",
            "s e",
        ),
        Row(
            "causal_attention",
            "Q K V M",
            """
            _S = Q @ K.T / sqrt(d) + M
            _A = softmax(_S, axis=1)
            _A @ V
            """,
            "Q: s d, K: s d, V: s e, M: s s",
            "Q K V",
            "Vaswani et al. 2017; M is 0 on and below the diagonal, and very negative above it",
            "s e",
        ),
        Row(
            "lora",
            "x W A B a",
            "W @ x + a * B @ (A @ x)",
            "x: n, W: m n, A: r n, B: m r, a:",
            "A B x",
            "Hu et al. 2021",
            "m",
        ),
        Row(
            "rnn_cell",
            "h x W U b",
            """
            _z = W @ h + U @ x + b
            tanh(_z)
            """,
            "h: n, x: d, W: n n, U: n d, b: n",
            "W U h x b",
            "Elman 1990",
            "n",
        ),
        Row(
            "lstm_cell",
            "h c x W_f W_i W_o W_g U_f U_i U_o U_g",
            """
            _f = sigmoid(W_f @ h + U_f @ x)
            _i = sigmoid(W_i @ h + U_i @ x)
            _o = sigmoid(W_o @ h + U_o @ x)
            _g = tanh(W_g @ h + U_g @ x)
            _c = _f * c + _i * _g
            _o * tanh(_c)
            """,
            "h: n, c: n, x: d, W_f: n n, W_i: n n, W_o: n n, W_g: n n, U_f: n d, U_i: n d, U_o: n d, U_g: n d",
            "W_f U_i h c x",
            "Hochreiter and Schmidhuber 1997; Gers et al. 2000; _c is the new cell state",
            "n",
        ),
        Row(
            "gru_cell",
            "h x W_r W_z W_n U_r U_z U_n",
            """
            _r = sigmoid(W_r @ h + U_r @ x)
            _z = sigmoid(W_z @ h + U_z @ x)
            _n = tanh(W_n @ (_r * h) + U_n @ x)
            (1 - _z) * _n + _z * h
            """,
            "h: n, x: d, W_r: n n, W_z: n n, W_n: n n, U_r: n d, U_z: n d, U_n: n d",
            "W_r U_n h x",
            "Cho et al. 2014",
            "n",
        ),
        Row(
            "graph_convolution",
            "A X W",
            """
            _Z = A @ X @ W
            relu(_Z)
            """,
            "A: s s, X: s n, W: n m",
            "W X A",
            "Kipf and Welling 2017; A is the normalised adjacency matrix",
            "s m",
        ),
    )
}
"""Layers by name."""

LOSSES: dict[str, Row] = {
    row.name: row
    for row in (
        Row("squared_error", "z y", "norm(z - y)**2 / 2", "z: n, y: n", "z", "Legendre 1805"),
        Row("mean_squared_error", "z y", "mean((z - y)**2)", "z: n, y: n", "z", "Bishop 2006, section 3.1"),
        Row(
            "cross_entropy",
            "z y",
            "-sum(y * log_softmax(z))",
            "z: n, y: n",
            "z",
            "Bishop 2006, section 4.3.4; y sums to one",
            assume="y: prob",
        ),
        Row(
            "cross_entropy_rows",
            "Z Y",
            "-sum(Y * log_softmax(Z, axis=1)) / s",
            "Z: s n, Y: s n",
            "Z",
            "Bishop 2006, section 4.3.4; one sample a row",
            assume="Y: prob_rows",
        ),
        Row(
            "label_smoothing",
            "z y a",
            """
            _y = (1 - a) * y + a / n
            -sum(_y * log_softmax(z))
            """,
            "z: n, y: n, a:",
            "z",
            "Szegedy et al. 2016",
            assume="y: onehot, a: in01",
        ),
        Row(
            "binary_cross_entropy",
            "z y",
            "sum(softplus(z) - y * z)",
            "z: n, y: n",
            "z",
            "Bishop 2006, section 4.3.2; with logits",
            assume="y: in01",
        ),
        Row(
            "hinge",
            "z y",
            """
            _m = 1 + z - z @ y
            sum(relu(_m)) - 1
            """,
            "z: n, y: n",
            "z",
            "Weston and Watkins 1999; y is one-hot, the margin is one",
            assume="y: onehot",
        ),
        Row(
            "huber",
            "z y d",
            """
            _r = z - y
            sum(where(abs(_r) > d, d * abs(_r) - d**2 / 2, _r**2 / 2))
            """,
            "z: n, y: n, d:",
            "z",
            "Huber 1964",
            assume="d: positive",
        ),
        Row(
            "focal",
            "z y g",
            """
            _p = softmax(z)
            -sum(y * (1 - _p)**g * log(_p))
            """,
            "z: n, y: n, g:",
            "z",
            "Lin et al. 2017",
            assume="y: onehot, g: positive",
        ),
        Row(
            "kl_divergence",
            "z q",
            """
            _p = softmax(z)
            sum(_p * (log(_p) - log(q)))
            """,
            "z: n, q: n",
            "z",
            "Kullback and Leibler 1951; of softmax(z) from q",
            assume="q: prob",
        ),
        Row(
            "gaussian_nll",
            "m v y",
            "sum(log(v) + (y - m)**2 / v) / 2",
            "m: n, v: n, y: n",
            "m v",
            "Nix and Weigend 1994; v is the variance",
            assume="v: positive",
        ),
        Row(
            "info_nce",
            "U V t",
            """
            _S = U @ V.T / t
            -(tr(_S) - sum(logsumexp(_S, axis=1))) / s
            """,
            "U: s n, V: s n, t:",
            "U V t",
            "van den Oord et al. 2018; row i of U belongs to row i of V",
            assume="t: positive",
        ),
        Row(
            "triplet",
            "a p q m",
            "relu(norm(a - p)**2 - norm(a - q)**2 + m)",
            "a: n, p: n, q: n, m:",
            "a p q",
            "Schroff et al. 2015",
            assume="m: positive",
        ),
        Row(
            "policy_gradient",
            "z u r",
            "-r * (u @ log_softmax(z))",
            "z: n, u: n, r:",
            "z",
            "Williams 1992; u is the action, one-hot, r the return",
            assume="u: onehot",
        ),
        Row("l1_penalty", "W", "sum(abs(W))", "W: m n", "W", "Tibshirani 1996"),
        Row("l2_penalty", "W", "norm(W)**2 / 2", "W: m n", "W", "Hoerl and Kennard 1970"),
    )
}
"""Losses and penalties by name; `z` are logits or outputs, `y` what they should be."""

ROWS: dict[str, Row] = {**LAYERS, **LOSSES}


@dataclass(frozen=True)
class Block:
    """A network of symbolic length: the options with their defaults, and its lines with {places} for them."""

    name: str
    options: dict[str, str]
    text: str


BLOCKS: dict[str, Block] = {
    block.name: block
    for block in (
        Block(
            "mlp",
            {"depth": "L", "width": "n", "activation": "tanh"},
            """
            W[{l}] : {width} {width}
            b[{l}] : {width}
            {x} : {width}
            a[0] = {x}
            for {l} in 1..{depth}:
                z[{l}] = W[{l}] @ a[{l}-1] + b[{l}]
                a[{l}] = {activation}(z[{l}])
            {out} = a[{depth}]
            """,
        ),
        Block(
            "resnet",
            {"depth": "L", "width": "n", "hidden": "m", "activation": "tanh"},
            """
            W[{l}] : {hidden} {width}
            V[{l}] : {width} {hidden}
            {x} : {width}
            a[0] = {x}
            for {l} in 1..{depth}:
                z[{l}] = W[{l}] @ a[{l}-1]
                a[{l}] = a[{l}-1] + V[{l}] @ {activation}(z[{l}])
            {out} = a[{depth}]
            """,
        ),
        Block(
            "rnn",
            {"length": "T", "width": "n", "inputs": "d", "activation": "tanh"},
            """
            W : {width} {width}
            U : {width} {inputs}
            b : {width}
            {x}[{t}] : {inputs}
            h0 : {width}
            h[0] = h0
            for {t} in 1..{length}:
                z[{t}] = W @ h[{t}-1] + U @ {x}[{t}] + b
                h[{t}] = {activation}(z[{t}])
            {out} = h[{length}]
            """,
        ),
        Block(
            "lstm",
            {"length": "T", "width": "n", "inputs": "d"},
            """
            W_f : {width} {width}
            W_i : {width} {width}
            W_o : {width} {width}
            W_g : {width} {width}
            U_f : {width} {inputs}
            U_i : {width} {inputs}
            U_o : {width} {inputs}
            U_g : {width} {inputs}
            {x}[{t}] : {inputs}
            h0 : {width}
            c0 : {width}
            h[0] = h0
            c[0] = c0
            for {t} in 1..{length}:
                z_f[{t}] = W_f @ h[{t}-1] + U_f @ {x}[{t}]
                z_i[{t}] = W_i @ h[{t}-1] + U_i @ {x}[{t}]
                z_o[{t}] = W_o @ h[{t}-1] + U_o @ {x}[{t}]
                z_g[{t}] = W_g @ h[{t}-1] + U_g @ {x}[{t}]
                f[{t}] = sigmoid(z_f[{t}])
                i[{t}] = sigmoid(z_i[{t}])
                o[{t}] = sigmoid(z_o[{t}])
                g[{t}] = tanh(z_g[{t}])
                c[{t}] = f[{t}] * c[{t}-1] + i[{t}] * g[{t}]
                h[{t}] = o[{t}] * tanh(c[{t}])
            {out} = h[{length}]
            """,
        ),
        Block(
            "gru",
            {"length": "T", "width": "n", "inputs": "d"},
            """
            W_r : {width} {width}
            W_z : {width} {width}
            W_n : {width} {width}
            U_r : {width} {inputs}
            U_z : {width} {inputs}
            U_n : {width} {inputs}
            {x}[{t}] : {inputs}
            h0 : {width}
            h[0] = h0
            for {t} in 1..{length}:
                r[{t}] = sigmoid(W_r @ h[{t}-1] + U_r @ {x}[{t}])
                z[{t}] = sigmoid(W_z @ h[{t}-1] + U_z @ {x}[{t}])
                g[{t}] = tanh(W_n @ (r[{t}] * h[{t}-1]) + U_n @ {x}[{t}])
                h[{t}] = (1 - z[{t}]) * g[{t}] + z[{t}] * h[{t}-1]
            {out} = h[{length}]
            """,
        ),
    )
}
"""Networks of symbolic length by name; called as `out = mlp(x, depth=L, width=n, activation=tanh)`."""
