"""The proof of a claim that agrees in numbers."""

from __future__ import annotations

from collections.abc import Sequence

from sympy import Expr

from symgrad.checking.budget import check_time
from symgrad.checking.equality import compare, equal
from symgrad.checking.normal_form import Prover
from symgrad.deriving.backprop import backprop, expand
from symgrad.deriving.steps import LEVELS, Evidence
from symgrad.errors import SymgradError
from symgrad.expr import differential, is_matrix, same_size, shape_of, transpose
from symgrad.reading.claim import KINDS, Claim, Layout

__all__ = ["PROOF", "proved"]

PROOF = "equal normal forms"
_LONGEST = 600


def proved(claim: Claim, layout: Layout | None) -> Evidence | None:
    """The evidence that every link of a claim is right: a proof, or an exact test; None if neither is found."""
    prover = Prover(claim.model)
    links = claim.links[1:] if claim.kind == "identity" else claim.links
    found = [_link(prover, claim, link, layout) for link in links]
    if any(e is None for e in found):
        return None
    return max((e for e in found if e is not None), key=lambda e: LEVELS.index(e.level))


def _link(prover: Prover, claim: Claim, link: Expr, layout: Layout | None) -> Evidence | None:
    """The evidence for one link, as far as `agrees` is not all there is."""
    check_time()
    if claim.indices or claim.wrt_entry is not None or claim.of_entry is not None:
        return Evidence("proved", PROOF) if _components(prover, claim, link) else None
    if claim.kind == "identity":
        proof, asked = prover.equal(claim.links[0], link) is True, None
    else:
        proof, asked = _derivative(prover, claim, link, layout)
    if proof:
        return Evidence("proved", PROOF)
    check_time()
    if asked is None:
        evidence = equal(claim.model, claim.links[0], link, seconds=None)
    else:
        assert claim.of is not None and claim.wrt is not None and claim.kind in KINDS  # noqa: S101
        evidence = compare(claim.model, claim.of, claim.wrt, asked, kind=claim.kind, seconds=None)
    return evidence if isinstance(evidence, Evidence) and evidence.level in ("proved", "verified") else None


def _components(prover: Prover, claim: Claim, link: Expr) -> bool:
    """Whether a claim about entries is proved, in index form or not at all."""
    of, wrt = claim.of, claim.wrt
    if claim.kind == "identity":
        return claim.of_entry is claim.wrt_entry is None and prover.equal(claim.links[0], link) is True
    if claim.kind not in ("gradient", "jacobian") or of is None or wrt is None or is_matrix(link):
        return False
    return prover.component_equals(of, claim.of_entry or (), wrt, claim.wrt_entry or (), link) is True


def _derivative(prover: Prover, claim: Claim, link: Expr, layout: Layout | None) -> tuple[bool, Expr]:
    """Whether a proof is found that the link is the derivative; the link in the standard layout."""
    of, wrt = claim.of, claim.wrt
    assert of is not None and wrt is not None  # noqa: S101 - kinds with both
    if claim.kind == "gradient":
        link = _in_shape(link, shape_of(wrt), layout == "numerator")
        return prover.gradient_equals(of, wrt, link) is True or _by_derivation(prover, claim, link), link
    if claim.kind == "jacobian":
        link = transpose(link) if layout == "gradient" else link
        return prover.jacobian_equals(of, wrt, link) is True, link
    if claim.kind == "hessian":
        return prover.hessian_equals(of, wrt, link) is True, link
    return prover.differential_equals(of, wrt, differential(wrt), link) is True, link


def _in_shape(link: Expr, shape: Sequence[Expr], turned: bool) -> Expr:
    """The link in the shape of the variable; a row may stand for a column."""
    if not is_matrix(link):
        return link
    own = shape_of(link)
    fits = all(same_size(a, b) for a, b in zip(own, shape, strict=False))
    return transpose(link) if turned or not fits else link


def _by_derivation(prover: Prover, claim: Claim, link: Expr) -> bool:
    """Through the derived gradient: it is proved, and equal to the link once every name is written out.

    This settles links that name the variable's own definition, as sigma'(W x + b) for a derivative by z = W x + b.
    """
    check_time()
    assert claim.wrt is not None and claim.of is not None  # noqa: S101
    try:
        sweep = backprop(claim.model, claim.of, [claim.wrt])
    except SymgradError:
        return False
    answer = expand(sweep.adjoints[claim.wrt], sweep, _LONGEST)
    if answer is None or prover.equal(answer, link) is not True:
        return False
    return prover.gradient_equals(claim.of, claim.wrt, answer) is True
