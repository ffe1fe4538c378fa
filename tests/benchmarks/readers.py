"""The same formulas through other readers of LaTeX, and the same slips through Math-Verify.

A reader is asked generously: a reading counts as right if its right side has the value of the formula where every
size is one, so that orders, transposes and sums over entries cannot be missed. Symbols are told by their letters and digits.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import oracle
import sympy
from cases import limit
from timing import peer, row

__all__ = ["math_verify", "readers"]

_ALIASES = {"lambda": "lam", "epsilon": "eps", "phi": "Phi"}


def readers(cases: list[dict[str, Any]]) -> None:
    """How many formulas each reader reads right, reads as something else, and refuses."""
    for name, reader in (("SymPy's parse_latex", _sympy()), ("latex2sympy2_extended", _latex2sympy())):
        if reader is None:
            continue
        found = Counter(_outcome(reader, case) for case in cases)
        row(f"{len(cases)} formulas, {name}", _counted(found), "ours: the table above")


def math_verify(pairs: list[tuple[str, str]]) -> None:
    """How many slips Math-Verify takes for the right formula, both printed in the same notation."""
    module = peer("math_verify")
    if module is None:
        return
    accepted = sum(
        bool(module.verify(module.parse(f"${right}$"), module.parse(f"${slip}$"))) for right, slip in pairs
    )
    row(f"{len(pairs)} slips, Math-Verify", f"{accepted} accepted", "ours: none")


def _counted(found: Counter[str]) -> str:
    return ", ".join(f"{k} {n}" for k, n in found.most_common())


def _sympy() -> Callable[[str], Any] | None:
    from sympy.parsing.latex import parse_latex

    for backend, module in (("antlr", "antlr4"), ("lark", "lark")):
        try:
            __import__(module)
            parse_latex("x", backend=backend)
        except Exception as error:  # another release of the runtime than its parser was made with
            row(f"SymPy's parse_latex by {backend}: {type(error).__name__}", "", "")
        else:
            return lambda text: parse_latex(text, backend=backend)
    row("SymPy's parse_latex needs antlr4-python3-runtime 4.11 or lark: skipped", "", "")
    return None


def _latex2sympy() -> Callable[[str], Any] | None:
    module = peer("latex2sympy2_extended")
    return None if module is None else module.latex2sympy


def _outcome(reader: Callable[[str], Any], case: Mapping[str, Any]) -> str:
    """right, misread, or unread."""
    text = case["claim_latex"]
    read = next((e for e in (_read(reader, t) for t in (text, _sides(text)[-1])) if e is not None), None)
    if read is None:
        return "unread"
    right = read.rhs if isinstance(read, sympy.Equality) else read
    try:
        with limit(20), np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return "right" if all(_fits(right, case, seed) for seed in (1, 2)) else "misread"
    except Exception:  # a symbol or a function that is none of the question
        return "misread"


def _read(reader: Callable[[str], Any], text: str) -> Any:
    try:
        with limit(20), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return reader(text)
    except Exception:  # what it says of itself is no figure here
        return None


def _sides(text: str) -> list[str]:
    """The sides of an equation: what stands between the = outside braces."""
    depth, start, sides = 0, 0, []
    for i, c in enumerate(text):
        depth += (c in "{[(") - (c in "}])")
        if c == "=" and depth == 0:
            sides.append(text[start:i])
            start = i + 1
    return [*sides, text[start:]]


def _fits(read: Any, case: Mapping[str, Any], seed: int) -> bool:
    context = case["context"]
    question = {
        "shapes": context["shapes"],
        "definitions": context.get("definitions") or (),
        "assume": context.get("assume") or {},
    }
    names = {
        n for shape in question["shapes"].values() for s in shape for n in re.findall(r"[A-Za-z_]\w*", str(s))
    }
    at = oracle.point(question, dict.fromkeys(names, 1), np.random.default_rng(seed))
    expected = np.ravel(np.asarray(oracle.evaluate(case["answer"], at), float))
    numbers = {s: sympy.Float(_number(str(s), at)) for s in read.free_symbols}
    value = complex(read.subs(numbers).doit().evalf())
    return bool(abs(value - expected[0]) <= 1e-6 * max(1.0, abs(expected[0])))


def _number(name: str, at: Mapping[str, Any]) -> float:
    """The value of a symbol: by its letters and digits, or by those before its subscript."""
    for spelt in (name, name.split("_", maxsplit=1)[0]):
        plain = re.sub(r"(mathbf|boldsymbol|mathcal|mathrm|text|hat)|[^A-Za-z0-9]", "", spelt)
        for key in (plain, _ALIASES.get(plain, plain)):
            found = next(
                (v for k, v in at.items() if re.sub(r"[^A-Za-z0-9]", "", k) == key and not callable(v)), None
            )
            if found is not None:
                return float(np.ravel(np.asarray(found, float))[0])
    raise KeyError(name)
