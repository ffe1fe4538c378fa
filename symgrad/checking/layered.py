"""Claims about networks whose depth is a symbol: a general layer, and numbers of layers."""

from __future__ import annotations

from collections.abc import Callable

from sympy import Expr

from symgrad.checking.equality import Finding, Refutation, Undecided, equal
from symgrad.deriving.steps import LEVELS, Evidence
from symgrad.errors import UnsupportedError
from symgrad.expr import gradient, is_scalar
from symgrad.reading.claim import Claim

__all__ = ["in_layers"]


def in_layers(claim: Claim, seconds: Callable[[], float]) -> tuple[Finding, int | None]:
    """What is known of a claim over a loop; for a refutation also the number of the wrong link.

    Raises   UnsupportedError for a derivative other than a gradient
    """
    if claim.kind == "identity":
        left, *links = claim.links
        first = 1
    else:
        if claim.kind != "gradient" or claim.of is None or claim.wrt is None or not is_scalar(claim.of):
            raise UnsupportedError("of a loop of symbolic length only gradients and identities are checked")
        left, links, first = gradient(claim.of, claim.wrt), list(claim.links), 0
    found = [_one(claim, left, link, seconds()) for link in links]
    for n, f in enumerate(found):
        if not isinstance(f, Evidence):
            return f, n + first if isinstance(f, Refutation) else None
    weakest = max((f for f in found if isinstance(f, Evidence)), key=lambda f: LEVELS.index(f.level))
    return (Undecided("nothing was compared") if weakest.level == "none" else weakest), None


def _one(claim: Claim, left: Expr, link: Expr, seconds: float) -> Finding:
    return equal(claim.model, left, link, seconds=max(seconds, 0.1))
