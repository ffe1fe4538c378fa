"""Loops of symbolic length against loops of a number of layers: an LSTM through time, and closed forms with their proofs."""

from __future__ import annotations

from timing import row

from symgrad.api import derive
from symgrad.reading import read_model

_LSTM = """
F : n n
I : n n
G : n n
O : n n
x : n
y : n
h[0] = x
c[0] = x
for t in 1..{length}:
    f[t] = sigmoid(F @ h[t-1])
    i[t] = sigmoid(I @ h[t-1])
    g[t] = tanh(G @ h[t-1])
    o[t] = sigmoid(O @ h[t-1])
    c[t] = f[t] * c[t-1] + i[t] * g[t]
    h[t] = o[t] * tanh(c[t])
loss = norm(h[{length}] - y)**2 / 2
"""
_CLOSED = {
    "deep supervision": (
        "W : n n\nR : k n\nx : n\ny : k\na[0] = x\nfor l in 1..L:\n    a[l] = tanh(W[l] @ a[l-1])\n"
        "    o[l] = R[l] @ a[l]\nloss = sum(l in 1..L, norm(o[l] - y)**2) / 2",
        "W[l]",
    ),
    "recurrent, tied weights": (
        "W : n n\nU : n d\nV : k n\nx[t] : d\ny[t] : k\nh0 : n\nh[0] = h0\nfor t in 1..T:\n"
        "    h[t] = tanh(W @ h[t-1] + U @ x[t])\n    o[t] = V @ h[t]\nloss = sum(t in 1..T, norm(o[t] - y[t])**2)",
        "W",
    ),
    "residual, tied weights": (
        "W : n n\nx : n\ny : n\na[0] = x\nfor l in 1..L:\n    a[l] = a[l-1] + W @ a[l-1]\nloss = norm(a[L] - y)**2",
        "W",
    ),
}


def lengths() -> None:
    """Time and steps; the symbolic length says as much as any number of steps."""
    for length, unrolled in (("T", False), ("100", True)):
        model = read_model(_LSTM.format(length=length))
        if unrolled:
            model = model.unrolled({})
        d = derive(model, "F", of="loss", check=False)
        name = f"LSTM through {'100 explicit' if unrolled else 'symbolic T'} steps, unchecked"
        row(name, f"{d.seconds:.2f} s, {len(d.steps)} steps", "")
    for name, (text, wrt) in _CLOSED.items():
        model = read_model(text)
        d = derive(model, wrt, of="loss")
        proved = sum(s.evidence.level == "proved" for s in d.steps)
        compared = len(d.evidence.sizes)
        row(
            f"closed form, {name}",
            f"{d.seconds:.2f} s with checks, {proved} of {len(d.steps)} steps proved, {compared} instances",
            "all proved",
        )
