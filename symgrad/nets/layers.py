"""The layers: what each computes, with the sizes of an example and a source.

Vectors are columns, matrices of samples have one sample a row; channels and heads are the first index of a tensor.
"""

from __future__ import annotations

from symgrad.nets.row import Row

__all__ = ["LAYERS"]

_EPS = "eps : positive"
_HEADS = """
_S[b,h,i,j] = sum(a, Q[b,h,i,a] * K[b,h,j,a]) / sqrt(size(K, axis=3)){mask}
_A[b,h,i,j] = exp(_S[b,h,i,j]) / sum(l, exp(_S[b,h,i,l]))
sum(j, _A[b,h,i,j] * V[b,h,j,e])
"""

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
        Row("reglu", "u v", "relu(u) * v", "u: n, v: n", "u v", "Shazeer 2020", "n"),
        Row("geglu", "u v", "gelu(u) * v", "u: n, v: n", "u v", "Shazeer 2020", "n"),
        Row("swiglu", "u v", "silu(u) * v", "u: n, v: n", "u v", "Shazeer 2020", "n"),
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
            "layer_norm_rows",
            "X g c",
            """
            _C = X - mean(X, axis=1, keepdims=True)
            _s = sqrt(mean(_C**2, axis=1) + eps)
            _N = diag(1 / _s) @ _C
            _N * g + c
            """,
            "X: s n, g: n, c: n",
            "X g c",
            "Ba, Kiros and Hinton 2016; one sample a row",
            "s n",
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
            "weight_norm_dense",
            "x V g b",
            """
            _r = sqrt(sum(V**2, axis=1))
            g * (V @ x) / _r + b
            """,
            "x: n, V: m n, g: m, b: m",
            "V g x b",
            "Salimans and Kingma 2016; every output has a direction and a length",
            "m",
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
            "embedding_rows",
            "E T",
            "T @ E",
            "E: v d, T: s v",
            "E",
            "Mikolov et al. 2013; one token a row, one-hot",
            "s d",
            "T: prob_rows",
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
            "conv1d_channels",
            "X K b",
            "sum(c, u, K[o,c,u] * X[c,stride*i+u]) + b[o]",
            "X: m w, K: n m p, b: n",
            "K X b",
            "LeCun et al. 1989; valid, channels first",
            "n, w - p + 1",
            options={"stride": "1"},
            index="o, i",
            letters="o i c u",
        ),
        Row(
            "conv1d_channels_full",
            "X K b",
            "sum(c, u, K[o,c,u] * X[c,i-u] * inrange(i-u, size(X, axis=1))) + b[o]",
            "X: m w, K: n m p, b: n",
            "K X b",
            "LeCun et al. 1989; full, channels first",
            "n, w + p - 1",
            index="o, i in 0..size(X, axis=1)+size(K, axis=2)-2",
            letters="o i c u",
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
            "conv2d_full",
            "X K",
            "convolve2(X, K)",
            "X: h w, K: p q",
            "K X",
            "LeCun et al. 1989; full, one channel",
            "h + p - 1, w + q - 1",
        ),
        Row(
            "conv2d_channels",
            "X K b",
            "sum(c, u, v, K[o,c,u,v] * X[c,stride*i+u,stride*j+v]) + b[o]",
            "X: m h w, K: n m p q, b: n",
            "K X b",
            "LeCun et al. 1989; valid, channels first",
            "n, h - p + 1, w - q + 1",
            options={"stride": "1"},
            index="o, i, j",
            letters="o i j c u v",
        ),
        Row(
            "conv2d_channels_full",
            "X K b",
            "sum(c, u, v, K[o,c,u,v] * X[c,i-u,j-v] * inrange(i-u, size(X, axis=1))"
            " * inrange(j-v, size(X, axis=2))) + b[o]",
            "X: m h w, K: n m p q, b: n",
            "K X b",
            "LeCun et al. 1989; full, channels first",
            "n, h + p - 1, w + q - 1",
            index="o, i in 0..size(X, axis=1)+size(K, axis=2)-2, j in 0..size(X, axis=2)+size(K, axis=3)-2",
            letters="o i j c u v",
        ),
        Row(
            "average_pool", "X", "mean(X, axis=1)", "X: r p", "X", "LeCun et al. 1989; one window a row", "r"
        ),
        Row(
            "average_pool1d",
            "X",
            "mean(u in 0..window-1, X[c,stride*i+u])",
            "X: m w",
            "X",
            "LeCun et al. 1989; channels first",
            "",
            options={"window": "2", "stride": "window"},
            index="c, i",
            letters="c i u",
        ),
        Row(
            "average_pool2d",
            "X",
            "mean(u in 0..height-1, v in 0..width-1, X[c,stride*i+u,stride*j+v])",
            "X: m h w",
            "X",
            "LeCun et al. 1989; channels first",
            "",
            options={"height": "2", "width": "height", "stride": "height"},
            index="c, i, j",
            letters="c i j u v",
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
            "max_pool1d",
            "X",
            "max(u in 0..window-1, X[c,stride*i+u])",
            "X: m w",
            "X",
            "Riesenhuber and Poggio 1999; channels first",
            "",
            options={"window": "2", "stride": "window"},
            index="c, i",
            letters="c i u",
        ),
        Row(
            "max_pool2d",
            "X",
            "max(u in 0..height-1, v in 0..width-1, X[c,stride*i+u,stride*j+v])",
            "X: m h w",
            "X",
            "Riesenhuber and Poggio 1999; channels first",
            "",
            options={"height": "2", "width": "height", "stride": "height"},
            index="c, i, j",
            letters="c i j u v",
        ),
        Row(
            "attention",
            "Q K V",
            """
            _S = Q @ K.T / sqrt(size(K, axis=1))
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
            _S = Q @ K.T / sqrt(size(K, axis=1)) + M
            _A = softmax(_S, axis=1)
            _A @ V
            """,
            "Q: s d, K: s d, V: s e, M: s s",
            "Q K V",
            "Vaswani et al. 2017; M is 0 on and below the diagonal, and very negative above it",
            "s e",
        ),
        Row(
            "heads",
            "X W",
            "sum(c, X[b,i,c] * W[h,c,a])",
            "X: b s n, W: r n d",
            "W X",
            "Vaswani et al. 2017; the queries, keys or values of all heads; samples first, then heads",
            "b r s d",
            index="b, h, i, a",
            letters="b h i a c",
        ),
        Row(
            "multi_head_attention",
            "Q K V",
            _HEADS.format(mask=""),
            "Q: b r s d, K: b r t d, V: b r t e",
            "Q K V",
            "Vaswani et al. 2017; samples first, then heads, one query a row",
            "b r s e",
            index="b, h, i, e",
            letters="b h i j l a e",
        ),
        Row(
            "causal_multi_head_attention",
            "Q K V M",
            _HEADS.format(mask=" + M[i,j]"),
            "Q: b r s d, K: b r s d, V: b r s e, M: s s",
            "Q K V",
            "Vaswani et al. 2017; M is 0 on and below the diagonal, and very negative above it",
            "b r s e",
            index="b, h, i, e",
            letters="b h i j l a e",
        ),
        Row(
            "merge_heads",
            "O W",
            "sum(h, e, O[b,h,i,e] * W[h,e,c])",
            "O: b r s e, W: r e n",
            "W O",
            "Vaswani et al. 2017; what the heads say, added by an output matrix each",
            "b s n",
            index="b, i, c",
            letters="b h i e c",
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
