"""How mathematics is written: the choices a lecturer makes once for a document."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from sympy import Expr

__all__ = ["Name", "Notation", "split_name"]


@dataclass(frozen=True)
class Notation:
    """The choices of a document.

    transpose  `top` (X^T with a serifed sign), `T` or `prime`
    layer      how a member of a family is marked: W^(l), W^[l] or W_l
    digits     what a number at the end of a name is: an index (W_1) or a layer (written as `layer` says)
    bold       matrices and vectors in bold type
    layout     which layout results are in; printed where it matters
    called     expressions that are printed as a name, e.g. the loss of a one-line question as f
    increments names that are increments of another name, printed with an upright d
    """

    transpose: Literal["top", "T", "prime"] = "top"
    layer: Literal["(l)", "[l]", "_l"] = "(l)"
    digits: Literal["index", "layer"] = "index"
    bold: bool = False
    layout: Literal["gradient", "numerator", "denominator"] = "gradient"
    called: Mapping[Expr, str] = field(default_factory=dict)
    increments: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Name:
    """A name taken apart: the letters, an accent, subscripts."""

    letters: str
    accent: str | None = None
    subscripts: tuple[str, ...] = ()
    primes: int = 0


GREEK = (
    *("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu"),
    *("nu", "xi", "omicron", "pi", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega"),
    *("Gamma", "Delta", "Theta", "Lambda", "Xi", "Pi", "Sigma", "Upsilon", "Phi", "Psi", "Omega"),
)
_SHORT = {"lam": "lambda", "eps": "epsilon", "lamda": "lambda"}
_ACCENTS = ("hat", "bar", "tilde")


def split_name(name: str) -> Name:
    """The letters, accent and subscripts of a name.

    >>> split_name("W1")
    Name(letters='W', accent=None, subscripts=('1',), primes=0)
    >>> split_name("yhat")
    Name(letters='y', accent='hat', subscripts=(), primes=0)
    """
    primes = len(name) - len(name.rstrip("'"))
    head, *subscripts = [part for part in name.rstrip("'").split("_") if part] or [name]
    match = re.fullmatch(r"(.*?[A-Za-z])(\d+)", head)
    if match:
        head, digits = match[1], match[2]
        subscripts.insert(0, digits)
    accent = None
    for mark in _ACCENTS:
        if head.endswith(mark) and len(head) > len(mark):
            head, accent = head[: -len(mark)], mark
            break
    return Name(_SHORT.get(head, head), accent, tuple(subscripts), primes)
