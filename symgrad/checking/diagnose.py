"""Which slip was made: the smallest edit of a wrong claim that makes it true.

Candidates are first held against the truth at the points that refuted the claim. A repaired claim is only named when
it agrees at all of them; it is then judged like any other claim.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from sympy import Add, Expr, Pow, Rational, S
from sympy.matrices.expressions.matadd import MatAdd

from symgrad.checking.budget import OutOfTime, alarm, check_time, time_limit
from symgrad.checking.counterexample import points_at
from symgrad.checking.edits import (
    Edit,
    Vocabulary,
    alike,
    edited,
    fits,
    order_and_transposes,
    terms_of,
    turned,
    whole_shape,
)
from symgrad.checking.truth import Sample, Truth
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
from symgrad.reading.claim import Layout
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
_MAYBE_A_SLOPE = (
    "wrong exponent",
    "wrong sign",
    "wrong variable",
    "wrong layer index",
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


def _named(judgement: Judgement, truth: Truth, link: Expr, slip: Slip | None, shapes_said: bool) -> Slip:
    """The slip that was found; where none was, what else can be said of the claim."""
    if slip is None:
        misfit = judgement.claim.misfit is not None or any(
            n.key.startswith("shape.") for n in judgement.notes
        )
        slip = Slip("shape mismatch", "shape_mismatch") if misfit else Slip("other", "other")
    if slip.repaired is None and (needed := _assumption_needed(truth, link, judgement.layout)) is not None:
        return Slip("other", "holds_if", {"name": needed[0], "word": needed[1]})
    matrices_only = not shapes_said and slip.kind in ("missing transpose", "swapped order")
    if (matrices_only or slip.repaired is None) and holds_for_scalars(truth, link):
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
    if not sizes:
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


class _Search:
    """Looks for edits of one link."""

    def __init__(self, truth: Truth, link: Expr, layout: Layout | None, expected: Expr | None = None) -> None:
        self.truth, self.link, self.layout, self.expected = truth, link, layout, expected
        self.claim = truth.claim
        self.samples: list[Sample] = truth.samples
        self.words = Vocabulary(
            truth.model, () if self.claim.misfit else self.claim.links, self.claim.indices
        )
        self.found: list[tuple[int, Slip]] = []
        with any_shapes():
            self.tried: set[Expr] = {link, turned(link), transpose(link)}

    def run(self) -> Slip | None:
        """The best slip that is found."""
        if not self.samples:
            return None
        if self.claim.misfit is None:
            self._by_factor()
            self._by_terms()
        self._collect(self._one_edit(), 1)
        if not self.found:
            self._missing_terms()
        if not self.found:
            self._collect(self._two_edits(), 2)
        return self.best()

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
        if named in _MAYBE_A_SLOPE and self.words.slopes_in(repaired) - self.words.slopes_in(self.link):
            kind = named = "wrong activation derivative"
            key = key if "before" in terms and "after" in terms else "two"
            terms = {"before": self.link, "after": repaired, **terms}
        rank = KINDS_OF_SLIP.index(named)
        self.found.append(
            (rank, Slip(named, key or _KEYS.get(kind, kind.replace(" ", "_")), terms, repaired, edits))
        )

    def _collect(self, edits: Iterable[Edit], count: int) -> None:
        for edit in edits:
            check_time()
            if self.is_true(edit.value):
                if count > 1:
                    self._note(edit.kind, edit.value, count, "two", before=self.link, after=edit.value)
                    return
                self._note(edit.kind, edit.value, count, before=edit.before, after=edit.after)

    def is_true(self, e: Expr) -> bool:
        """Whether a candidate agrees with the truth at every point."""
        if e in self.tried:
            return False
        self.tried.add(e)
        return all(self._agrees(e, s) for s in self.samples)

    def _agrees(self, e: Expr, sample: Sample) -> bool:
        try:
            gap = self.truth.gap(e, sample, self.layout)
        except (SymgradError, ValueError, TypeError, IndexError, AttributeError, KeyError):
            return False
        return gap is not None and gap.error <= sample.tolerance

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

    def _two_edits(self) -> Iterator[Edit]:
        """An edit and a factor; an edit in each of two places."""
        first = list(self._one_edit())
        for edit in first:
            check_time()
            ratio = self._ratio(edit.value)
            if ratio is not None and ratio != 1:
                value = scale(ratio, edit.value)
                self.tried.discard(value)
                yield replace(edit, value=value)
        for edit in first:
            yield from self._whole(edit.value)
        for edit in first:
            yield from self._edits_of(edit.value)

    # --- factors and terms --------------------------------------------------------------------------------

    def _values(self, e: Expr, sample: Sample) -> tuple[Array, Array] | None:
        """The claimed and the true values at a point, as two lines of numbers."""
        with np.errstate(all="ignore"):
            try:
                if self.claim.indices or self.claim.wrt_entry is not None or self.claim.of_entry is not None:
                    claimed, right = self.truth.entries(e, sample)
                else:
                    claimed = np.asarray(self.truth.value(e, sample), dtype=float)
                    right = self.truth.right(sample, self.layout)
            except (SymgradError, ValueError, TypeError, IndexError, ArithmeticError):
                return None
        if claimed.shape != right.shape or not (np.isfinite(claimed).all() and np.isfinite(right).all()):
            return None
        return np.ravel(claimed), np.ravel(right)

    def _ratio(self, e: Expr) -> Expr | None:
        """The factor by which a candidate has to be multiplied, the same at all points."""
        numbers = []
        for sample in self.samples:
            values = self._values(e, sample)
            if values is None or not np.any(values[0]):
                return None
            claimed, right = values
            c = float(claimed @ right / (claimed @ claimed))
            if np.max(np.abs(c * claimed - right)) > 1e-7 * max(float(np.max(np.abs(right))), 1e-3):
                return None
            numbers.append(c)
        return self._coefficient(numbers)

    def _coefficient(
        self, numbers: Sequence[float], samples: Sequence[Sample] | None = None, names: bool = True
    ) -> Expr | None:
        """A number of small parts, or one times a size, a scalar or its inverse; None if it is none of these."""
        samples = self.samples if samples is None else samples
        scalars: list[tuple[Expr, list[float]]] = [(S.One, [1.0] * len(numbers))]
        for s in sorted(self.truth.points.symbols, key=str):
            at = [float(sample.point.sizes[s]) for sample in samples]
            scalars += [(Pow(s, -1), [1 / a for a in at]), (s, at)]
        for name in self.words.names if names else ():
            if is_scalar(name) and name not in (self.claim.of, self.claim.wrt):
                values = [float(np.asarray(self.truth.value(name, s))) for s in samples]
                scalars.append((name, values))
                if all(values):
                    scalars.append((Pow(name, -1), [1 / v for v in values]))
        for factor, values in scalars:
            ratios = [c / v if v else float("nan") for c, v in zip(numbers, values, strict=True)]
            small = Fraction(ratios[0]).limit_denominator(16) if np.isfinite(ratios[0]) else Fraction(0)
            if small and abs(small) <= 64 and all(abs(r - small) < 1e-7 * abs(small) for r in ratios):
                return Rational(small.numerator, small.denominator) * factor
        return None

    def _by_factor(self) -> None:
        ratio = self._ratio(self.link)
        if ratio is None:
            self._missing_factor()
        elif ratio != 1:
            kind = self._kind_of(ratio)
            key = {"1/N missing": "n_missing", "wrong sign": "wrong_sign"}.get(kind, "wrong_factor")
            self._note(kind, scale(ratio, self.link), 1, key, factor=ratio)

    def _missing_factor(self) -> None:
        """A scalar of the right formula, such as a norm or a trace, that is missing or too much."""
        if self.expected is None:
            return
        factors = [n for n in walk(self.expected) if is_scalar(n) and not is_leaf(n) and not n.is_number]
        for factor in factors[:_MOST_FACTORS]:
            check_time()
            for value in (factor, Pow(factor, -1)):
                ratio = self._ratio(scale(value, self.link))
                if ratio is not None and ratio.is_Rational:
                    whole = scale(ratio, value)
                    self._note("wrong factor", scale(whole, self.link), 1, "missing_factor", after=whole)
                    return

    def _kind_of(self, ratio: Expr) -> str:
        if ratio == -1:
            return "wrong sign"
        if any(ratio == Pow(s, -1) for s in self.truth.points.symbols):
            return "1/N missing"
        return "wrong factor"

    def _by_terms(self) -> None:
        """One term of a sum with a wrong factor, a wrong sign, or one that has no place there."""
        as_written = self.link.args if isinstance(self.link, MatAdd | Add) else ()
        for terms in dict.fromkeys((as_written, terms_of(self.link))):
            if len(terms) > 1 and not self.found:
                self._one_term(terms)

    def _one_term(self, terms: Sequence[Expr]) -> None:
        found = self._fit(terms, None)
        if found is None:
            return
        wrong = [(n, c) for n, c in enumerate(found) if c != 1]
        if len(wrong) != 1:
            return
        (n, c) = wrong[0]
        repaired = add(*(scale(k, t) for k, t in zip(found, terms, strict=True) if k != 0))
        if c == 0:
            self._note("extra term", repaired, 1, before=terms[n])
        else:
            kind = self._kind_of(c)
            key = {"1/N missing": "term_n_missing", "wrong sign": "term_wrong_sign"}.get(
                kind, "term_wrong_factor"
            )
            self._note(kind, repaired, 1, key, factor=c, before=terms[n])

    def _missing_terms(self) -> None:
        """Terms of the right formula that are not there."""
        if self.claim.misfit is not None or self.claim.indices or self.claim.wrt_entry is not None:
            return
        terms = () if self.expected is None else terms_of(self.expected)
        if self.expected is None or not alike(self.expected, self.link):
            return
        if len(terms) < 2:
            return
        found = self._fit(terms, self.link)
        if found is None:
            missing = self._all_but_one(terms)
        else:
            missing = (
                [t for c, t in zip(found, terms, strict=True) if c == 1]
                if set(found) <= {S.Zero, S.One}
                else []
            )
        if missing and len(missing) < len(terms):
            lost = add(*missing)
            lost = Simplifier(self.claim.model.assumptions).shortest(lost)
            if self.is_true(add(self.link, lost)):
                self._note("missing term", add(self.link, lost), 1, after=lost)

    def _all_but_one(self, terms: Sequence[Expr]) -> list[Expr]:
        """The other terms, where the claim is one of them; the term, where the claim is all but that one."""
        for n, t in enumerate(terms):
            others = [*terms[:n], *terms[n + 1 :]]
            if self._same(t, self.link):
                return others
            if self.is_true(add(self.link, t)):
                self.tried.discard(add(self.link, t))
                return [t]
        return []

    def _same(self, a: Expr, b: Expr) -> bool:
        """Whether two expressions have the same values at all points."""
        for sample in self.samples:
            one, other = self._values(a, sample), self._values(b, sample)
            if one is None or other is None or not np.allclose(one[0], other[0], rtol=1e-9, atol=1e-12):
                return False
        return True

    def _fit(self, terms: Sequence[Expr], base: Expr | None) -> list[Expr] | None:
        """Coefficients with which terms add up to the truth (less `base`), alike at all points of one size.

        They may depend on the sizes, as 1/N does. None where the terms cannot be told apart or do not suffice.
        """
        columns: list[list[float]] = [[] for _ in terms]
        groups = self._groups(len(terms))
        for group in groups:
            tables, rights = [], []
            for sample in group:
                rows = [self._values(t, sample) for t in terms]
                known = self._values(terms[0] if base is None else base, sample)
                if known is None or any(r is None for r in rows):
                    return None
                tables.append(np.stack([r[0] for r in rows if r is not None], axis=1))
                rights.append(known[1] - (0.0 if base is None else known[0]))
            table, right = np.concatenate(tables), np.concatenate(rights)
            found, _, rank, _ = np.linalg.lstsq(table, right, rcond=None)
            size = max(float(np.max(np.abs(right))), 1e-3)
            if rank < len(terms) or np.max(np.abs(table @ found - right)) > 1e-7 * size:
                return None
            for column, c in zip(columns, found, strict=True):
                column.append(0.0 if abs(c) < 1e-8 else float(c))
        firsts = [group[0] for group in groups]
        result = [
            S.Zero if not any(column) else self._coefficient(column, firsts, names=False)
            for column in columns
        ]
        return None if any(c is None for c in result) else [c for c in result if c is not None]

    def _groups(self, unknowns: int) -> list[list[Sample]]:
        """Points by their sizes, with enough numbers in each group to tell the terms apart."""
        by_size: dict[int, list[Sample]] = {}
        for sample in self.samples:
            by_size.setdefault(sample.which, []).append(sample)
        for which, group in by_size.items():
            wanted = min(unknowns + 2, 12)
            for n, point in enumerate(self.truth.points(which)):
                if len(group) * max(group[0].value.size, 1) >= 2 * unknowns or n > wanted:
                    break
                if n >= len(group) and (more := self.truth.sample(which, point)) is not None:
                    group.append(more)
        return list(by_size.values())
