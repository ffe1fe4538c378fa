"""Speed, in ratios of one run: `python tests/benchmarks/run.py [FILE.jsonl...]`. Not collected by pytest; judged by reading.

Each row says what was measured, the figure, and the goal. Files of questions with a book's answers are asked first,
SymPy's `diff` beside them. Peers that are not installed are skipped with a line.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tracemalloc
from pathlib import Path

from cases import report
from code_peers import generated
from handouts import handouts
from lengths import lengths
from networks import against_peers, chain, residual
from timing import best, row

from symgrad.api import derive, gradients
from symgrad.reading import read_model
from symgrad.reading.claim import Context, read_claim
from symgrad.reading.latex.tree import parse_statements


def process(*arguments: str) -> float:
    """The time of a whole process."""
    return best(lambda: subprocess.run([sys.executable, *arguments], check=True, capture_output=True), 7)


def chains() -> None:
    """All parameter gradients of an explicit network are linear in its depth."""
    per_layer = {}
    for layers in (10, 100, 1000):
        model, parameters = chain(layers)
        seconds = best(lambda m=model, p=parameters: gradients(m, "loss", p), 3 if layers < 1000 else 2)  # type: ignore[misc]
        per_layer[layers] = seconds / layers
        tracemalloc.start()
        kept = gradients(model, "loss", parameters)
        memory = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert len(kept) == 2 * layers
        row(
            f"all gradients, {layers} layers, unchecked",
            f"{seconds:.3f} s, {memory / layers / 1024:.1f} kB/layer",
            "3 s for 1000" if layers == 1000 else "",
        )
    row("time per layer, 1000 against 100 layers", f"{per_layer[1000] / per_layer[100]:.2f}x", "within 2x")


def starting() -> None:
    """Importing and one whole command, against importing SymPy."""
    sympy = process("-c", "import sympy")
    row("import sympy, whole process", f"{sympy:.3f} s", "")
    row("import symgrad", f"{process('-c', 'import symgrad') / sympy:.2f}x", "at most 1.5x")
    question = ["norm(X @ w - y)**2 / n", "--wrt", "w", "--shapes", "X: n d, w: d, y: n"]
    row(
        "symgrad derive of a one-liner, with checks",
        f"{process('-m', 'symgrad', 'derive', *question) / sympy:.2f}x",
        "at most 3x",
    )


def residual_chains() -> None:
    """One visit a distinct node: no swelling (SymPy takes 27 s at 10 layers, tensorgrad 30 s at 8)."""
    per_layer = {}
    for layers in (8, 100, 400):
        model = residual(layers)
        seconds = best(lambda m=model: gradients(m, "loss", ["h0"]))  # type: ignore[misc]
        per_layer[layers] = seconds / layers
        row(
            f"residual chain, {layers} layers", f"{seconds:.3f} s", "below 0.1 s" if layers == 8 else "linear"
        )
    row("time per layer, 400 against 100 layers", f"{per_layer[400] / per_layer[100]:.2f}x", "linear")


def depth() -> None:
    """A closed form for symbolic depth with its proof costs the same whatever depth is put in later."""
    model = read_model(
        "W : n n\nb : n\nx : n\ny : n\nphi : function\na[0] = x\nfor l in 1..L:\n    z[l] = W[l] @ a[l-1] + b[l]\n"
        "    a[l] = phi(z[l])\nloss = norm(a[L] - y)**2 / 2\n"
    )
    derive(model, "x", of="loss")
    seconds = best(lambda: derive(model, "x", of="loss"))
    row("symbolic depth: closed form, proof, lengths 1 to 6", f"{seconds:.3f} s", "below 0.5 s")
    unchecked = best(lambda: derive(model, "x", of="loss", check=False))
    row("symbolic depth: closed form alone", f"{unchecked:.3f} s", "")


def latex() -> None:
    """Formulas of lecture notes: the tree alone, and the claim with names and shapes."""
    lines = (
        (Path(__file__).parents[1] / "cases" / "latex_claims.txt").read_text(encoding="utf-8").splitlines()
    )
    formulas = [line for line in lines if line.startswith("\\")]
    seconds = best(lambda: [parse_statements(f) for f in formulas])
    row("LaTeX: formulas parsed in a second", f"{len(formulas) / seconds:.0f}", "above 800")
    start = lines.index("[mlp]")
    claims = [line for line in lines[start : start + 60] if line.startswith("\\")]
    context = Context(
        definitions=(
            "z1 = W1 @ x + b1", "a1 = sigmoid(z1)", "z2 = W2 @ a1 + b2", "yhat = softmax(z2)",
            "L = -sum(y * log(yhat))", "delta2 = yhat - y", "delta1 = (W2.T @ delta2) * a1 * (1 - a1)",
        ),
        shapes="x: d, W1: h d, b1: h, W2: k h, b2: k, y: k", target="L",
    )  # fmt: skip
    seconds = best(lambda: [read_claim(c, context) for c in claims])
    row("LaTeX: claims read in a second, names and shapes", f"{len(claims) / seconds:.0f}", "")


if __name__ == "__main__":
    questions = [
        json.loads(line) for f in sys.argv[1:] for line in Path(f).read_text(encoding="utf-8").splitlines()
    ]
    if questions:
        report(questions, with_sympy=True)
    generated()
    against_peers()
    chains()
    latex()
    residual_chains()
    depth()
    lengths()
    starting()
    handouts()
    row(
        "largest memory of this process",
        f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB",
        "",
    )
