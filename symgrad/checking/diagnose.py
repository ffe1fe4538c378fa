"""Which slip was made: the smallest edit of a wrong claim that makes it true.

Candidates are first held against the truth at the points that refuted the claim. A repaired claim is only named when
it agrees at all of them; it is then judged like any other claim.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from sympy import Add, Expr, Pow, S
from sympy.matrices.expressions.matadd import MatAdd

from symgrad.checking.budget import OutOfTime, alarm, check_time, time_limit
from symgrad.checking.counterexample import points_at
from symgrad.checking.edits import (
    Edit,
    alike,
    edited,
    fits,
    order_and_transposes,
    terms_of,
    turned,
    whole_shape,
)
from symgrad.checking.fitting import Fitting
from symgrad.checking.insertions import insertions
from symgrad.checking.truth import Truth
from symgrad.checking.verdict import Judgement
from symgrad.errors import SymgradError
from symgrad.expr import (
    add,
    any_shapes,
    is_leaf,
    is_matrix,
    is_scalar,
    leaf_name,
    leaves,
    printed_size,
    same_size,
    scale,
    shape_of,
    transpose,
    walk,
)
from symgrad.reading.claim import Claim, Layout
from symgrad.simplifying import Simplifier

__all__ = ["KINDS_OF_SLIP", "Slip", "diagnose"]

Array = NDArray[np.float64]

KINDS_OF_SLIP: tuple[str, ...] = (
    "softmax treated as elementwise",
    "missing activation derivative",
    "wrong activation derivative",
    "batch sum missing",
    "bias broadcast",
    "1/N missing",
    "wrong axis",
    "elementwise vs matrix product",
    "wrong layer index",
    "missing transpose",
    "extra transpose",
    "swapped order",
    "wrong index",
    "wrong sign",
    "missing term",
    "wrong factor",
    "wrong exponent",
    "wrong variable",
    "wrong layout",
    "right only for scalars",
    "shape mismatch",
    "other",
)
"""The most specific first: of two edits that are equally small the earlier kind is named."""

_MOST_FACTORS = 24
# A diagnosis is a help: whatever a strange candidate does to it, the verdict stands without it.
_STOPPED = (
    OutOfTime,
    RecursionError,
    SymgradError,
    ValueError,
    TypeError,
    ArithmeticError,
    LookupError,
    AttributeError,
)
_OTHER = ("kernel not flipped", "extra factor", "extra term")
_FOR_SCALARS = ("missing term", "wrong factor", "wrong exponent", "other")
_KIN = {"missing factor": "wrong factor"}
_OF_ENTRIES = ("missing transpose", "extra transpose", "swapped order", "wrong layout")
_MAYBE_A_SLOPE = (
    "wrong exponent",
    "wrong sign",
    "wrong variable",
    "wrong factor",
    "other",
)
_KEYS = {"wrong factor": "number_wrong_factor", "shape mismatch": "made_to_fit", "other": "replaced"}


@dataclass(frozen=True)
class Slip:
    """What went wrong: the kind, the phrase that says it, the parts it speaks of, and the claim without the slip.

    `repaired` is the link as it should have been, None where no small edit was found; `edits` counts them.
    """

    kind: str
    key: str
    terms: Mapping[str, Expr | str] = field(default_factory=dict)
    repaired: Expr | None = None
    edits: int = 0


def diagnose(
    judgement: Judgement, seconds: float = 3.0, *, expected: Expr | None = None, shapes_said: bool = True
) -> Slip | None:
    """The smallest edit that makes a refuted claim true; None if the claim was not refuted or nothing is known of it.

    One edit is looked for, then two, until the time is up; then the kind is `other`, or what the shapes say. Where the
    writer never said what is a matrix (`shapes_said` is false), a formula that holds for scalars is called so.
    `expected` is the right formula, in the layout of the claim, where it is known: it says what is missing.
    """
    truth, link_number = judgement.truth, judgement.link
    if judgement.word != "refuted" or link_number is None:
        return None
    if truth is None or not judgement.claim.links:
        return Slip("shape mismatch", "shape_mismatch")
    if any(n.key == "layout.mixed" for n in judgement.notes):
        return Slip("wrong layout", "mixed_layouts")
    link = judgement.claim.links[link_number]
    if any(n.key == "layout.other" for n in judgement.notes) and _by_a_vector(judgement.claim):
        return Slip("wrong layout", "wrong_layout", {}, turned(link), 1)
    search = _Search(truth, link, judgement.layout, expected)
    try:
        with time_limit(seconds), alarm(seconds):
            slip = search.run()
    except _STOPPED:
        slip = search.best()
    try:
        with time_limit(seconds), alarm(seconds):
            return _named(judgement, truth, link, slip, shapes_said)
    except _STOPPED:
        return slip or Slip("other", "other")


def _by_a_vector(claim: Claim) -> bool:
    """Whether it is about the gradient by a vector, of which only a row and a column can be confused."""
    return claim.kind == "gradient" and claim.wrt is not None and 1 in shape_of(claim.wrt)


def _named(judgement: Judgement, truth: Truth, link: Expr, slip: Slip | None, shapes_said: bool) -> Slip:
    """The slip that was found; where none was, what else can be said of the claim."""
    if slip is None:
        misfit = judgement.claim.misfit is not None or any(
            n.key.startswith("shape.") for n in judgement.notes
        )
        slip = Slip("shape mismatch", "shape_mismatch") if misfit else Slip("other", "other")
    far = slip.repaired is None or slip.edits > 1
    if far and (needed := _assumption_needed(truth, link, judgement.layout)) is not None:
        return Slip("other", "holds_if", {"name": needed[0], "word": needed[1]})
    matrices_only = not shapes_said and slip.kind in ("missing transpose", "swapped order")
    if slip.repaired is not None and slip.kind not in _FOR_SCALARS:
        far = False
    if (matrices_only or far) and holds_for_scalars(truth, link):
        meant = slip.terms.get("after", slip.repaired)
        if meant is None:
            return replace(slip, kind="right only for scalars", key="only_scalars")
        return replace(
            slip, kind="right only for scalars", key="right_only_for_scalars", terms={"after": meant}
        )
    return slip


def _assumption_needed(truth: Truth, link: Expr, layout: Layout | None) -> tuple[str, str] | None:
    """A name and what would have to be assumed of it for the claim to be right; None if nothing single helps."""
    if truth.claim.misfit is not None or not truth.samples:
        return None
    model = truth.model
    defined = {d.symbol for d in model.definitions()}
    used = [truth.claim.of, link, *(d.value for d in model.definitions())]
    for leaf in dict.fromkeys(leaf for e in used if e is not None for leaf in leaves(e)):
        name = leaf_name(leaf)
        said = model.assumptions.get(name, frozenset())
        if not is_matrix(leaf) or leaf in defined:
            continue
        words: tuple[str, ...] = ("prob", "unit_norm") if leaf.shape[1] == 1 else ("prob_rows", "prob_cols")
        if same_size(*leaf.shape):
            words = ("symmetric", "orthogonal")
        for word in words:
            if said & {word, "diagonal", "positive_definite"}:
                continue
            check_time()
            assumed = {**model.assumptions, name: said | {word}}
            other = Truth(replace(truth.claim, model=replace(model, assumptions=assumed)))
            gaps = [other.gap(link, s, layout) for s in other.samples]
            if gaps and all(
                g is not None and g.error <= s.tolerance for g, s in zip(gaps, other.samples, strict=True)
            ):
                return name, word
    return None


def holds_for_scalars(truth: Truth, link: Expr) -> bool:
    """Whether a claim is right where every size is one."""
    sizes = dict.fromkeys(truth.points.symbols, 1)
    if not sizes or max(truth.points.least.values(), default=1) > 1:
        return False
    seen = False  # that both sides are zero says nothing
    for point in islice(points_at(truth, sizes, 0), 3):
        try:
            sample = truth.sample(0, point)
            value = None if sample is None else np.asarray(truth.value(link, sample), dtype=float)
        except (SymgradError, ValueError, TypeError, ArithmeticError, IndexError):
            return False
        if sample is None or value is None or value.size != 1 or sample.value.size != 1:
            return False
        claimed, right = float(value.reshape(())), float(sample.value.reshape(()))
        if abs(claimed - right) > 1e-6:
            return False
        seen = seen or abs(right) > 1e-6
    return seen


@dataclass(frozen=True)
class _Mended:
    """A formula that lacks nothing but coefficients and terms: what is amiss in it, and how many things are."""

    kind: str
    key: str
    value: Expr
    terms: Mapping[str, Expr | str]
    count: int = 1


def _rank(kind: str) -> int:
    """How specific a kind is: the smaller the more."""
    return KINDS_OF_SLIP.index("other" if kind in _OTHER else _KIN.get(kind, kind))


class _Search(Fitting):
    """Looks for edits of one link."""

    def __init__(self, truth: Truth, link: Expr, layout: Layout | None, expected: Expr | None = None) -> None:
        super().__init__(truth, link, layout)
        self.link, self.expected = link, expected
        self.indexed = bool(self.claim.indices) or self.claim.wrt_entry is not None
        self.found: list[tuple[int, Slip]] = []
        self.seen: set[Expr] = set()
        with any_shapes():
            self.tried: set[Expr] = {link, turned(link), transpose(link)}

    def run(self) -> Slip | None:
        """The best slip that is found."""
        if not self.samples:
            return None
        whole = self._mended(self.link) if self.claim.misfit is None else None
        if whole is not None and whole.count == 1:
            self._note(whole.kind, whole.value, 1, whole.key, **whole.terms)
        self._collect(self._one_edit(), 1)
        if not self.found or self.best_kind == "missing term":
            self._collect(self._insertions(self.link), 1)
        if not self.found and whole is not None:
            value = self._shorter(whole.value)
            self._note(whole.kind, value, 2, "two", before=self.link, after=value)
        if not self.found:
            self._collect(self._two_edits(), 2)
        return self.best()

    @property
    def best_kind(self) -> str | None:
        best = self.best()
        return None if best is None else best.kind

    def best(self) -> Slip | None:
        """The smallest, then the most specific."""
        if not self.found:
            return None

        def size(slip: Slip) -> int:
            return 0 if slip.repaired is None else printed_size(slip.repaired)

        return min(self.found, key=lambda f: (f[1].edits, f[0], size(f[1])))[1]

    # --- candidates -----------------------------------------------------------------------------------------

    def _note(self, kind: str, repaired: Expr, edits: int, key: str = "", **terms: Expr | str) -> None:
        named = "other" if kind in _OTHER else kind
        gained = self.words.slopes_in(repaired) - self.words.slopes_in(self.link)
        if kind == "missing factor":
            named = "missing activation derivative" if gained else "wrong factor"
        elif self.claim.by_entries and named in _OF_ENTRIES:
            named = "wrong index"
        if named in _MAYBE_A_SLOPE and kind != "missing factor" and gained:
            kind = named = "wrong activation derivative"
            key = key if "before" in terms and "after" in terms else "two"
            terms = {"before": self.link, "after": repaired, **terms}
        self.found.append(
            (
                _rank(named),
                Slip(named, key or _KEYS.get(kind, kind.replace(" ", "_")), terms, repaired, edits),
            )
        )

    def _collect(self, edits: Iterable[Edit], count: int) -> None:
        for edit in edits:
            check_time()
            if self.is_true(edit.value):
                if count > 1:
                    value = self._shorter(edit.value)
                    self._note(edit.kind, value, count, "two", before=self.link, after=value)
                    return
                self._note(edit.kind, edit.value, count, before=edit.before, after=edit.after)

    def _shorter(self, e: Expr) -> Expr:
        """What was found, or the right formula if that is shorter."""
        right = None if self.indexed else self.expected
        return e if right is None or printed_size(e) <= printed_size(right) else right

    def is_true(self, e: Expr) -> bool:
        """Whether a candidate that was not tried yet agrees with the truth at every point."""
        if e in self.tried:
            return False
        self.tried.add(e)
        return self.agrees(e)

    def _one_edit(self) -> Iterator[Edit]:
        yield from self._whole(self.link)
        yield from self._edits_of(self.link)

    def _whole(self, e: Expr) -> Iterator[Edit]:
        """Edits of the claim as a whole: its transpose, its order, its shape."""
        shape = self._shape()
        if is_matrix(e) and shape is not None:
            kind = "wrong layout" if self.claim.kind == "jacobian" else "swapped order"
            if self.claim.misfit is None:
                self.tried.discard(turned(e))
                yield Edit(kind, turned(e), e, turned(e))
            yield from whole_shape(e, shape)
            yield from order_and_transposes(e, shape)
        elif shape:
            yield from whole_shape(e, shape)
            for name in self.words.names:
                if is_matrix(name) and len(shape_of(name)) == len(shape):
                    value = scale(e, name)
                    yield Edit("shape mismatch", value, e, value)

    def _shape(self) -> tuple[Expr, ...] | None:
        if self.claim.kind == "gradient" and self.claim.wrt is not None and self.claim.wrt_entry is None:
            shape = shape_of(self.claim.wrt)
            return shape[::-1] if self.layout == "numerator" else shape
        if self.claim.kind == "jacobian" and self.claim.of is not None and self.claim.wrt is not None:
            sizes = [s[0] * s[1] if s else S.One for s in (shape_of(self.claim.of), shape_of(self.claim.wrt))]
            return (sizes[0], sizes[1])
        return None

    def _edits_of(self, e: Expr) -> Iterator[Edit]:
        for edit in edited(e, self.words):
            if self.claim.misfit is None:
                yield edit
                continue
            if fits(edit.value):
                yield edit

    def _insertions(self, e: Expr) -> Iterator[Edit]:
        """What the right formula has and this one lacks."""
        if self.expected is None or self.indexed:
            return
        for edit in insertions(e, self.expected, [a.slope for a in self.words.activations]):
            if self.claim.misfit is None or fits(edit.value):
                yield edit

    def _two_edits(self) -> Iterator[Edit]:
        """An edit and coefficients or terms; an edit in each of two places."""
        first = [e for e in self._one_edit() if e.kind not in _OTHER]
        for edit in () if self.indexed else (*first, *self._insertions(self.link)):
            check_time()
            mended = self._mended(edit.value)
            if mended is not None and mended.count == 1:
                self.tried.discard(mended.value)
                kind = min(edit.kind, mended.kind, key=_rank)
                yield replace(edit, kind=kind, value=mended.value)
        for edit in first:
            yield from self._whole(edit.value)
        for edit in first:
            yield from self._edits_of(edit.value)
        if self.claim.misfit is not None:  # a first edit need not fit, if the second does
            with any_shapes():
                unfit = [e.value for e in edited(self.link, self.words) if not fits(e.value)]
            for value in unfit:
                yield from self._edits_of(value)

    # --- factors and terms --------------------------------------------------------------------------------

    def _mended(self, e: Expr) -> _Mended | None:
        """What is amiss if only coefficients or terms are: of the whole, of its terms, of the right formula's terms."""
        if e in self.seen:
            return None
        self.seen.add(e)
        try:
            return self._amiss(e)
        except (SymgradError, ValueError, TypeError, AttributeError):
            return None

    def _amiss(self, e: Expr) -> _Mended | None:
        ratio = self.ratio(e)
        if ratio == 1:
            return None
        if ratio is not None:
            kind = self._kind_of(ratio)
            key = {"1/N missing": "n_missing", "wrong sign": "wrong_sign"}.get(kind, "wrong_factor")
            return _Mended(kind, key, scale(ratio, e), {"factor": ratio})
        return self._by_a_scalar(e) or self._by_own_terms(e) or self._by_right_terms(e)

    def _by_a_scalar(self, e: Expr) -> _Mended | None:
        """A scalar of the right formula, such as a norm or a trace, that is missing or too much."""
        if self.expected is None:
            return None
        factors = [n for n in walk(self.expected) if is_scalar(n) and not is_leaf(n) and not n.is_number]
        for factor in factors[:_MOST_FACTORS]:
            check_time()
            for value in (factor, Pow(factor, -1)):
                ratio = self.ratio(scale(value, e))
                if ratio is not None and ratio.is_Rational:
                    whole = scale(ratio, value)
                    return _Mended("wrong factor", "missing_factor", scale(whole, e), {"after": whole})
        return None

    def _kind_of(self, ratio: Expr) -> str:
        if ratio == -1:
            return "wrong sign"
        if any(ratio == Pow(s, -1) for s in self.truth.points.symbols):
            return "1/N missing"
        return "wrong factor"

    def _by_own_terms(self, e: Expr) -> _Mended | None:
        """Terms of a sum with a wrong factor or a wrong sign, or one that has no place there."""
        as_written = e.args if isinstance(e, MatAdd | Add) else ()
        for terms in dict.fromkeys((as_written, terms_of(e))):
            if len(terms) < 2 or (found := self.fit(terms)) is None:
                continue
            wrong = [(n, c) for n, c in enumerate(found) if c != 1]
            value = add(*(scale(c, t) for c, t in zip(found, terms, strict=True) if c != 0))
            kinds = ["extra term" if c == 0 else self._kind_of(c) for _, c in wrong]
            if len(wrong) == 2:
                return _Mended(min(kinds, key=_rank), "two", value, {"before": e, "after": value}, 2)
            if len(wrong) != 1:
                continue
            (n, c), kind = wrong[0], kinds[0]
            if c == 0:
                return _Mended(kind, "extra_term", value, {"before": terms[n]})
            key = {"1/N missing": "term_n_missing", "wrong sign": "term_wrong_sign"}
            return _Mended(kind, key.get(kind, "term_wrong_factor"), value, {"factor": c, "before": terms[n]})
        return None

    def _by_right_terms(self, e: Expr) -> _Mended | None:
        """Terms of the right formula that are not there, or are there with a factor."""
        expected = self.expected
        if expected is None or self.indexed or not alike(expected, e):
            return None
        terms = terms_of(expected)
        if len(terms) < 2 or (found := self.fit(terms, of=e)) is None:
            return self._all_but_one(e, terms) if len(terms) > 1 else None
        missing = [t for c, t in zip(found, terms, strict=True) if c == 0]
        wrong = [(c, t) for c, t in zip(found, terms, strict=True) if c not in (0, 1)]
        if len(missing) == len(terms) or not missing + wrong:
            return None
        if not wrong:
            lost = add(*missing)
            lost = Simplifier(self.claim.model.assumptions).shortest(lost)
            return _Mended("missing term", "missing_term", add(e, lost), {"after": lost})
        kinds = [self._kind_of(Pow(c, -1)) for c, _ in wrong] + ["missing term"] * bool(missing)
        if len(kinds) > 2:
            return None
        return _Mended(min(kinds, key=_rank), "two", expected, {"before": e, "after": expected}, len(kinds))

    def _all_but_one(self, e: Expr, terms: Sequence[Expr]) -> _Mended | None:
        """The other terms, where the claim is one of them; the term, where the claim is all but that one."""
        for n, t in enumerate(terms):
            others = [*terms[:n], *terms[n + 1 :]]
            lost = add(*others) if self.same(t, e) else t
            if lost is not t or self.agrees(add(e, t)):
                lost = Simplifier(self.claim.model.assumptions).shortest(lost)
                return _Mended("missing term", "missing_term", add(e, lost), {"after": lost})
        return None
