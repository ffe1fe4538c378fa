"""The losses and penalties: what each computes, with the sizes of an example and a source."""

from __future__ import annotations

from symgrad.nets.row import Row

__all__ = ["LOSSES"]

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
            "-mean(sum(Y * log_softmax(Z, axis=1), axis=1))",
            "Z: s n, Y: s n",
            "Z",
            "Bishop 2006, section 4.3.4; one sample a row",
            assume="Y: prob_rows",
        ),
        Row(
            "label_smoothing",
            "z y a",
            """
            -sum(((1 - a) * y + a / size(z)) * log_softmax(z))
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
            "binary_hinge",
            "z y",
            "sum(relu(1 - y * z))",
            "z: n, y: n",
            "z",
            "Cortes and Vapnik 1995; labels are 1 and -1",
            assume="y: pm1",
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
            _l = y @ log_softmax(z)
            _t = exp(_l)
            -(1 - _t)**g * _l
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
            _r = log_softmax(z) - log(q)
            softmax(z) @ _r
            """,
            "z: n, q: n",
            "z",
            "Kullback and Leibler 1951; of softmax(z) from q",
            assume="q: prob",
        ),
        Row(
            "gaussian_nll",
            "m v y",
            "sum(log(v) + (m - y)**2 / v) / 2",
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
            mean(logsumexp(_S, axis=1) - diag(_S))
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
