"""The gallery: every file of output/, made anew. Read as diffs, it shows what a change does to results."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from symgrad.api import derive
from symgrad.reading import read_model

__all__ = ["NETWORKS", "QUESTIONS", "make_gallery", "samples", "stale"]

QUESTIONS: dict[str, tuple[str, str, str]] = {
    "least_squares": (
        """
        X : n d
        w : d
        y : n
        loss = norm(X @ w - y)**2 / n
        """,
        "loss",
        "w",
    ),
    "logistic_regression": (
        """
        X : n d
        w : d
        y : n binary
        p = sigmoid(X @ w)
        loss = -sum(y * log(p) + (1 - y) * log(1 - p)) / n
        """,
        "loss",
        "w",
    ),
    "two_layer_network": (
        """
        W1 : h d
        b1 : h
        W2 : k h
        b2 : k
        x : d
        y : k
        z1 = W1 @ x + b1
        a1 = sigmoid(z1)
        z2 = W2 @ a1 + b2
        loss = norm(z2 - y)**2 / 2
        """,
        "loss",
        "W1",
    ),
    "softmax_cross_entropy": (
        """
        W : k d
        b : k
        x : d
        y : k onehot
        z = W @ x + b
        p = softmax(z)
        loss = -sum(y * log(p))
        """,
        "loss",
        "W",
    ),
    "deep_linear_chain": (
        """
        W : n n
        x : n
        y : n
        a[0] = x
        for l in 1..L:
            a[l] = W[l] @ a[l-1]
        loss = norm(a[L] - y)**2 / 2
        """,
        "loss",
        "W[l]",
    ),
    "deep_chain_with_activation": (
        """
        W : n n
        b : n
        x : n
        y : n
        phi : function
        a[0] = x
        for l in 1..L:
            z[l] = W[l] @ a[l-1] + b[l]
            a[l] = phi(z[l])
        loss = norm(a[L] - y)**2 / 2
        """,
        "loss",
        "W[l]",
    ),
    "convolution_with_channels": (
        """
        X : m h w
        W : n m k l
        u : n
        G : n h-k+1 w-l+1
        Y[o,i,j] = sum(c, a, b, W[o,c,a,b] * X[c,i+a,j+b]) + u[o]
        loss = sum(o, i, j, G[o,i,j] * Y[o,i,j])
        """,
        "loss",
        "X",
    ),
    "attention_with_heads": (
        """
        Q : r m q
        K : r n q
        V : r n v
        G : r m v
        S[h,i,j] = sum(d, Q[h,i,d] * K[h,j,d]) / sqrt(q)
        P[h,i,j] = exp(S[h,i,j]) / sum(l, exp(S[h,i,l]))
        O[h,i,e] = sum(j, P[h,i,j] * V[h,j,e])
        loss = sum(h, i, e, G[h,i,e] * O[h,i,e])
        """,
        "loss",
        "Q",
    ),
}
"""The single derivations: the model, of what, by what."""

NETWORKS: dict[str, tuple[str, str]] = {
    "mlp": (
        """
        y : n onehot
        out = mlp(x, depth=L, width=n, activation=tanh)
        loss = cross_entropy(out, y)
        """,
        "W[l]",
    ),
    "rnn": (
        """
        W : n n
        U : n d
        V : k n
        x[t] : d
        y[t] : k
        h0 : n
        h[0] = h0
        for t in 1..T:
            z[t] = W @ h[t-1] + U @ x[t]
            h[t] = tanh(z[t])
            o[t] = V @ h[t]
        loss = sum(t in 1..T, norm(o[t] - y[t])**2) / 2
        """,
        "W",
    ),
    "lstm": ("y : n\nout = lstm(x, length=T, width=n, inputs=d)\nloss = squared_error(out, y)", "W_f"),
    "residual_network": (
        "y : n\nout = resnet(x, depth=L, width=n, hidden=m, activation=relu)\nloss = squared_error(out, y)",
        "W[l]",
    ),
    "deep_linear_tied": (
        """
        Q : n n orthogonal
        lam : n
        x : n
        y : n
        W = Q @ diag(lam) @ Q.T
        a[0] = x
        for l in 1..L:
            a[l] = W @ a[l-1]
        loss = norm(a[L] - y)**2 / 2
        """,
        "W",
    ),
    "batch_norm": ("", "X"),
    "layer_norm": ("", "x"),
    "attention": ("", "Q"),
    "conv2d": ("", "K"),
}
"""Networks and, without a text, the examples of layers: by what the loss is derived."""


def make_gallery() -> Iterator[tuple[str, str]]:
    """The files of the gallery, name and text."""
    from inspect import cleandoc

    from symgrad.catalogue import catalogue_markdown
    from symgrad.rendering.derivation import render, to_json
    from symgrad.rendering.handout import build, load_recipe
    from symgrad.rendering.recipe_reader import ready_recipes

    for name, (text, of, wrt) in QUESTIONS.items():
        derivation = derive(read_model(cleandoc(text)), wrt, of=of)
        yield f"{name}.md", render(derivation, "md")
        yield f"{name}.tex", render(derivation, "tex")
        data = {k: v for k, v in to_json(derivation).items() if k != "seconds"}
        yield f"{name}.json", json.dumps(data, ensure_ascii=False, indent=2) + "\n"
    yield from _networks()
    yield "rules.md", catalogue_markdown()
    for recipe, _ in ready_recipes():
        formats = ["md", "tex"] if recipe == "gradients" else ["md"]
        for name, content in build(load_recipe(recipe), ["en", "zh"], formats).items():
            if isinstance(content, str):  # pictures are samples
                yield f"{recipe}/{name}", content


def samples() -> Iterator[tuple[str, bytes]]:
    """The pictures of the notes in LaTeX, and one recipe as PDF, for students in Chinese and for instructors in English.

    Their bytes depend on the releases of matplotlib and Typst, so `stale` does not look at them.
    """
    from symgrad.rendering.handout import Choice, build, load_recipe, made
    from symgrad.rendering.pdf import has_typst

    for name, content in build(load_recipe("gradients"), ["en", "zh"], ["tex"]).items():
        if isinstance(content, bytes):
            yield f"gradients/{name}", content
    if not has_typst():
        return
    recipe = load_recipe("softmax")
    for choice in (Choice(["zh"], ["pdf"]), Choice(["en"], ["pdf"], ("instructor",))):
        for name, content in made(recipe, choice):
            if isinstance(content, bytes):
                yield f"softmax/{name}", content


def _networks() -> Iterator[tuple[str, str]]:
    """Derivations through networks and layers in both languages, and a stability sheet."""
    from inspect import cleandoc

    from symgrad import nets
    from symgrad.analysing import analyse
    from symgrad.analysing.comparison import compare, comparison_document, picture
    from symgrad.analysing.page import document_of
    from symgrad.rendering.derivation import render
    from symgrad.rendering.formats import write_document
    from symgrad.rendering.phrases import REVIEWED

    for name, (text, wrt) in NETWORKS.items():
        model = read_model(cleandoc(text)) if text else nets.example(name)
        derivation = derive(model, wrt, of="loss")
        for lang in REVIEWED:
            yield f"networks/{name}.{lang}.md", render(derivation, "md", lang)
    sheet = analyse(nets.mlp(activation="tanh"), bias_variance=0.05, depth=20, width=128, networks=16)
    for lang in REVIEWED:
        yield f"networks/stability.{lang}.md", write_document(document_of(sheet, lang), "md")
    relu = analyse(nets.resnet(activation="relu"), depth=20, width=128, networks=16)
    found = compare()
    for lang in REVIEWED:
        yield f"networks/stability_residual.{lang}.md", write_document(document_of(relu, lang), "md")
        name = f"theory_and_measurement.{lang}"
        page = write_document(comparison_document(found, lang), "md")
        drawn = picture(found, lang)
        title = page.partition("\n")[0].removeprefix("# ")
        yield f"networks/{name}.md", f"{page}\n![{title}]({name}.svg)\n"
        yield f"networks/{name}.svg", drawn


def stale(files: Mapping[str, str], folder: Path) -> list[str]:
    """The files that are missing, different, or no longer made."""
    outdated = []
    for name, text in files.items():
        path = folder / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            outdated.append(name)
    made = {folder / name for name in files}
    outdated += [
        str(p.relative_to(folder))
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p not in made and p.suffix != ".pdf"
    ]
    return outdated
