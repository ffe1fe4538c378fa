"""Whether a claim is true, and how that is known.

A claim is first held against the truth in numbers, at sizes that all differ. Where they agree it is proved, if a
proof is found; where they differ the place is sought out where that shows with small fractions. What is neither is not
decided.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from sympy import Expr
from sympy.matrices.expressions.matmul import MatMul
from sympy.matrices.expressions.special import OneMatrix

from symgrad.checking.budget import OutOfTime, alarm, check_time, time_limit
from symgrad.checking.counterexample import Counterexample, find
from symgrad.checking.domains import Condition, conditions
from symgrad.checking.edits import fits
from symgrad.checking.equality import Undecided
from symgrad.checking.layered import in_layers
from symgrad.checking.proof import proved
from symgrad.checking.truth import EXACT, Sample, Truth, resolved
from symgrad.deriving.steps import Evidence
from symgrad.errors import SymgradError, UnsupportedError
from symgrad.expr import is_matrix, is_scalar, shape_of, shape_text, transpose, walk
from symgrad.reading.claim import Claim, Layout

__all__ = ["Judgement", "Note", "judge"]

Word = Literal["proved", "verified", "agrees", "refuted", "undecided"]
_NONE = Evidence("none")
RIGHT: tuple[Word, ...] = ("proved", "verified", "agrees")


@dataclass(frozen=True)
class Note:
    """A sentence of the phrase catalogue with its places."""

    key: str
    terms: Mapping[str, Expr | str | int] = field(default_factory=dict)


@dataclass(frozen=True)
class Judgement:
    """What was found out about a claim.

    layout   in which the claim is right, where it is
    link     which right-hand side of a chain is wrong
    notes    what has to be said: the layout, a mixed chain, a budget that ran out
    conditions   where the formula has a meaning: domains, and kinks that are left out
    names    names that stand in the links for unevaluated derivatives
    """

    claim: Claim
    word: Word
    evidence: Evidence = _NONE
    layout: Layout | None = None
    link: int | None = None
    counterexample: Counterexample | None = None
    notes: tuple[Note, ...] = ()
    conditions: tuple[Condition, ...] = ()
    names: Mapping[Expr, Expr] = field(default_factory=dict)
    truth: Truth | None = field(default=None, compare=False, repr=False)
    seconds: float = field(default=0.0, compare=False)

    @property
    def is_right(self) -> bool:
        """Whether the claim was found to be true."""
        return self.word in RIGHT


def judge(claim: Claim, *, seconds: float = 10.0) -> Judgement:
    """What can be found out about a claim within a time.

    Two readings of one text must lead to the same answer, else it is not decided.

    Raises   SymgradError where something cannot be worked out at all
    """
    start = time.perf_counter()
    try:
        with time_limit(seconds), alarm(seconds):
            found = [_judged(replace(c, readings=()), seconds) for c in (claim, *claim.readings)]
    except OutOfTime as out:
        found = [Judgement(claim, "undecided", notes=(Note("budget.time", {"budget": str(out)}),))]
    except MemoryError:
        found = [Judgement(claim, "undecided", notes=(Note("budget.memory"),))]
    except RecursionError:
        found = [Judgement(claim, "undecided", notes=(Note("budget.depth"),))]
    agreed = _agreed(found)
    if claim.conditional and agreed.word == "refuted":
        agreed = Judgement(agreed.claim, "undecided", notes=(Note("conditional"),))
    return replace(agreed, seconds=time.perf_counter() - start)


def _agreed(found: Sequence[Judgement]) -> Judgement:
    """The finding that all readings share; the weakest of them if all are right."""
    first = found[0]
    if len(found) == 1:
        return first
    if all(f.is_right for f in found):
        return max(found, key=lambda f: RIGHT.index(f.word))
    if all(f.word == "refuted" for f in found):
        return first
    listed = "; ".join(f"{f.claim.read_as}: {f.word}" for f in found)
    return Judgement(first.claim, "undecided", notes=(Note("ambiguous", {"readings": listed}),))


def _judged(claim: Claim, seconds: float) -> Judgement:
    if claim.kind == "definition":
        raise UnsupportedError("a definition is no claim: there is nothing to check")
    if claim.kind == "identity" and len(claim.links) < 2:
        raise UnsupportedError("there is no left side to compare with")
    if claim.kind == "jacobian" and claim.of is not None and is_scalar(claim.of) and claim.indices == ():
        claim = replace(claim, kind="gradient", layout="numerator")
    said = conditions(claim)
    if claim.model.has_loops:
        return replace(_layered(claim, seconds), conditions=said)
    claim, names = resolved(claim)
    return replace(_found(claim), conditions=said, names=names)


def _found(claim: Claim) -> Judgement:
    """The finding about a claim in which every derivative is worked out."""
    if claim.misfit is not None:
        wrong = next((n for n, e in enumerate(claim.links) if not fits(e)), 0)
        note = Note("shape.inside", {"why": claim.misfit.message})
        return Judgement(claim, "refuted", link=wrong, notes=(note,), truth=_quiet_truth(claim))
    truth = Truth(claim)
    try:
        samples = truth.samples
    except UnsupportedError as error:
        raise UnsupportedError(f"the claim has no value: {error.message}", hint=error.hint) from error
    check_time()
    if len(samples) < (2 if truth.points.symbols else 1):
        return Judgement(claim, "undecided", notes=(Note("no_points"),), truth=truth)
    return replace(_in_one_layout(truth, samples), truth=truth)


def _quiet_truth(claim: Claim) -> Truth | None:
    try:
        return Truth(claim)
    except SymgradError:
        return None


def _layered(claim: Claim, seconds: float) -> Judgement:
    """A claim about a network of symbolic depth, by the checkers that know loops."""
    end = time.monotonic() + seconds
    if claim.misfit is not None:
        note = Note("shape.inside", {"why": claim.misfit.message})
        return Judgement(claim, "refuted", link=0, notes=(note,))
    found, link = in_layers(claim, lambda: end - time.monotonic())
    if isinstance(found, Evidence):
        word: Word = found.level if found.level != "none" else "undecided"
        return Judgement(claim, word, found)
    if isinstance(found, Undecided):
        return Judgement(claim, "undecided", notes=(Note("budget.time", {"budget": found.reason}),))
    example = None
    if found.left is not None and found.right is not None:
        inputs = {name: _flat(value) for name, value in found.inputs.items()}
        example = Counterexample(dict(found.sizes), inputs, found.entry, found.right, found.left, link or 0)
    return Judgement(claim, "refuted", link=link, counterexample=example)


def _flat(value: object) -> object:
    """A vector as a flat list."""
    if isinstance(value, list) and value and all(isinstance(v, list) and len(v) == 1 for v in value):
        return [v[0] for v in value]
    return value


# --- layouts -------------------------------------------------------------------------------------------------


def layouts(claim: Claim) -> tuple[Layout | None, ...]:
    """The layouts in which a claim may be right: the one that is said, else both.

    A vector that the model adds to the rows of a matrix is a row where that is written: both shapes are its own.
    """
    if claim.indices or claim.wrt_entry is not None or claim.of_entry is not None:
        return (None,)
    if claim.kind == "gradient" and claim.wrt is not None and is_matrix(claim.wrt):
        if claim.layout is None or _is_added_to_rows(claim):
            return ("gradient", "numerator") if claim.layout != "numerator" else ("numerator", "gradient")
        return (claim.layout,)
    if claim.kind == "jacobian":
        return ("numerator", "gradient") if claim.layout is None else (claim.layout,)
    return (None,)


def _is_added_to_rows(claim: Claim) -> bool:
    """Whether the variable is the b of X W + 1 b^T."""
    row = transpose(claim.wrt)
    return any(
        isinstance(node, MatMul) and isinstance(node.args[-2], OneMatrix) and node.args[-1] == row
        for d in claim.model.definitions()
        for node in walk(d.value)
        if len(node.args) > 1
    )


def _in_one_layout(truth: Truth, samples: Sequence[Sample]) -> Judgement:
    claim = truth.claim
    links = claim.links[1:] if claim.kind == "identity" else claim.links
    first = 1 if claim.kind == "identity" else 0
    options = layouts(claim)
    outcomes = {layout: [_outcome(truth, link, samples, layout) for link in links] for layout in options}
    check_time()
    for layout in options:
        if all(o == "equal" for o in outcomes[layout]):
            return _right(truth, samples, layout)
    if len(links) > 1 and all(any(outcomes[o][n] == "equal" for o in options) for n in range(len(links))):
        return Judgement(claim, "refuted", link=first, notes=(Note("layout.mixed"),))
    if any("unclear" in o for o in outcomes.values()):
        return Judgement(claim, "undecided", notes=(Note("unclear"),))
    layout = max(options, key=lambda o: sum(w == "equal" for w in outcomes[o]))
    wrong = next(n for n, o in enumerate(outcomes[layout]) if o != "equal")
    others = [o for o in _other_layouts(claim) if _outcome(truth, links[wrong], samples, o) == "equal"]
    notes: tuple[Note, ...] = ()
    if others and claim.kind == "jacobian" and claim.layout == "gradient":
        return Judgement(
            claim, "undecided", link=wrong, notes=(Note("layout.other", {"layout": others[0] or ""}),)
        )
    if others:
        notes = (Note("layout.other", {"layout": others[0] or ""}),)
    if outcomes[layout][wrong] == "shape":
        notes = (*notes, _shape_note(claim, links[wrong]))
    # A chain whose first links are right is right as far as it goes; the counterexample is for the first wrong link.
    example = (
        find(truth, links[wrong], layout, wrong + first) if outcomes[layout][wrong] == "differs" else None
    )
    evidence = Evidence("none", "values at random points", _sizes(truth, samples), len(samples))
    return Judgement(claim, "refuted", evidence, layout, wrong + first, example, notes)


def _other_layouts(claim: Claim) -> tuple[Layout, ...]:
    if claim.layout is None or claim.kind not in ("gradient", "jacobian") or claim.wrt_entry is not None:
        return ()
    return ("numerator",) if claim.layout == "gradient" else ("gradient",)


def _shape_note(claim: Claim, link: Expr) -> Note:
    assert claim.wrt is not None or claim.kind == "identity"  # noqa: S101
    wanted = claim.links[0] if claim.kind == "identity" else claim.wrt
    if claim.kind == "jacobian" or wanted is None:
        return Note("shape.jacobian", {"given": shape_text(shape_of(link))})
    return Note("shape.outer", {"given": shape_text(shape_of(link)), "wanted": shape_text(shape_of(wanted))})


def _outcome(truth: Truth, link: Expr, samples: Sequence[Sample], layout: Layout | None) -> str:
    """equal, shape, differs or unclear, for one link in one layout."""
    gaps = [(truth.gap(link, s, layout), s) for s in samples]
    known = [(g, s) for g, s in gaps if g is not None]
    if len(known) < min(2, len(samples)):
        return "unclear"
    if all(g.error == float("inf") for g, _ in known):
        return "shape"
    if all(g.error <= s.tolerance for g, s in known):
        return "equal"
    clear = [s for g, s in known if g.error > 1e-4 and s.tolerance <= EXACT]
    wide = [s for g, s in known if g.error > max(1e-6, 100 * s.tolerance)]
    return "differs" if clear or len(wide) >= 2 or len(wide) == len(known) else "unclear"


def _right(truth: Truth, samples: Sequence[Sample], layout: Layout | None) -> Judgement:
    """The finding for a claim that agrees in numbers, with a proof where one is found."""
    claim = truth.claim
    notes: tuple[Note, ...] = ()
    usual = "numerator" if claim.kind == "jacobian" else "gradient"
    if layout not in (None, usual, claim.layout) and _layout_matters(claim):
        notes = (Note("layout.named", {"layout": str(layout)}),)
    gaps = [g.error for link in claim.links for s in samples if (g := truth.gap(link, s, layout)) is not None]
    sizes = _sizes(truth, samples)
    try:
        evidence = proved(claim, layout)
    except OutOfTime as out:
        evidence, notes = None, (*notes, Note("budget.proof", {"budget": str(out)}))
    if evidence is None:
        error = max(gaps, default=0.0)
        evidence = Evidence("agrees", "values at random points", sizes, len(samples), error)
    elif not evidence.sizes:
        evidence = replace(evidence, sizes=sizes)
    word: Word = evidence.level if evidence.level != "none" else "agrees"
    return Judgement(claim, word, evidence, layout, notes=notes)


def _layout_matters(claim: Claim) -> bool:
    """Whether the layouts differ: a gradient by a matrix, a Jacobian of a vector by a vector."""
    if claim.kind == "jacobian":
        return claim.of is not None and claim.wrt is not None and is_matrix(claim.of) and is_matrix(claim.wrt)
    return claim.wrt is not None and is_matrix(claim.wrt)


def _sizes(truth: Truth, samples: Sequence[Sample]) -> tuple[Mapping[str, int], ...]:
    found: list[dict[str, int]] = []
    for s in samples:
        listed = {str(k): n for k, n in s.point.sizes.items() if k in truth.points.symbols}
        if listed not in found:
            found.append(listed)
    return tuple(found)
