"""The public function `verify`: a formula somebody wrote in, a verdict out."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sympy import Expr
from sympy.matrices.exceptions import ShapeError as NotAligned

from symgrad.api import derive
from symgrad.deriving.steps import Evidence
from symgrad.errors import ReadError, ShapeError, SymgradError
from symgrad.expr import Model, substitute
from symgrad.reading.claim import Claim, Context, Kind, Layout, is_latex, read_claim, separate_claims
from symgrad.reading.context import Shapes, Words

if TYPE_CHECKING:  # the checkers bring NumPy along and are imported on use
    from symgrad.checking.counterexample import Counterexample
    from symgrad.checking.diagnose import Slip
    from symgrad.checking.domains import Condition
    from symgrad.checking.verdict import Judgement, Note, Word

__all__ = ["Verdict", "verdict_on", "verify"]


@dataclass(frozen=True)
class Verdict:
    """What is known about a claim.

    verdict      proved (equal normal forms, for all sizes), verified (an exact randomised test), agrees (numbers at
                 random points: no proof), refuted, or undecided
    claim        what was read; `claim.read_as` is it in words of the text language
    layout       in which the claim is right, where that matters
    link         which of the claim's links is wrong, counted from zero
    slip         for a refuted claim: the kind of slip, and the claim without it (`slip.repaired`)
    expected     for a refuted claim: the right formula, as `derive` finds it; None where that is out of reach
    counterexample   small fractions at which anyone can see that it is wrong
    conditions   where the formula has a meaning
    notes        what else has to be said
    names        names that stand for a derivative that the claim itself holds, as dLdz for dL/dz
    """

    claim: Claim
    text: str
    verdict: Word
    evidence: Evidence
    layout: Layout | None = None
    link: int | None = None
    slip: Slip | None = None
    expected: Expr | None = None
    counterexample: Counterexample | None = None
    conditions: tuple[Condition, ...] = ()
    notes: tuple[Note, ...] = ()
    names: Mapping[Expr, Expr] = field(default_factory=dict)
    seconds: float = field(default=0.0, compare=False)

    @property
    def is_right(self) -> bool:
        """Whether the claim was found to be true, on whatever evidence."""
        return self.verdict in ("proved", "verified", "agrees")

    @property
    def kind(self) -> str | None:
        """The kind of slip, None where none is known."""
        return None if self.slip is None else self.slip.kind

    @property
    def suggestion(self) -> Expr | None:
        """What should stand there: the claim without its slip, else the right formula."""
        if self.slip is None:
            return None
        return self.expected if self.slip.repaired is None else self.slip.repaired

    def as_written(self, e: Expr) -> Expr:
        """An expression with the claim's own derivatives in place of the names that stand for them."""
        return substitute(e, self.names) if self.names else e

    def written_out(self, e: Expr) -> Expr:
        """An expression with the values of the claim's own derivatives in it."""
        values = {d.symbol: d.value for d in self.claim.model.definitions() if d.symbol in self.names}
        return substitute(e, values) if values else e

    def to_json(self, lang: str = "en") -> dict[str, Any]:
        """The verdict as data, as the batch files hold it."""
        from symgrad.rendering.verdict import to_json

        return to_json(self, lang)

    def _repr_markdown_(self) -> str:
        from symgrad.rendering.verdict import render

        return render(self, "md")

    def _repr_latex_(self) -> str:
        from symgrad.rendering.verdict import latex_block

        return latex_block(self)

    def __str__(self) -> str:
        from symgrad.rendering.verdict import render

        return render(self, "text")


def verify(
    claim: str,
    model: Model | None = None,
    *,
    of: str | None = None,
    wrt: str | None = None,
    f: str | None = None,
    given: Iterable[str] = (),
    shapes: Shapes = None,
    assume: Words = None,
    dims_equal: Iterable[Sequence[str]] = (),
    functions: Iterable[str] = (),
    symbols: Mapping[str, str] | None = None,
    kind: Kind | None = None,
    layout: Layout | None = None,
    seconds: float = 10.0,
) -> Verdict:
    """Is the formula right? The claim is LaTeX or text; what its left side leaves open is said by `of` and `wrt`.

    `given` are definitions that come before it, in LaTeX or text, or give a `Model`. A named intermediate in the claim
    stands for its definition. `layout` is gradient (the shape of the variable) or numerator; where it is not said, a
    claim that is right in one of them is accepted, and the layout is named.

    Raises   SymgradError if the claim cannot be read or nothing can be worked out

    >>> v = verify("dL/dw = X.T @ (X @ w - y)", given=["L = norm(X @ w - y)**2"], shapes="X: n d, w: d, y: n")
    >>> v.verdict, v.kind
    ('refuted', 'wrong factor')
    >>> verify("2 * X.T @ (X @ w - y)", of="L", wrt="w", given=["L = norm(X @ w - y)**2"],
    ...        shapes="X: n d, w: d, y: n").verdict
    'proved'
    """
    if not isinstance(claim, str):
        raise ReadError(f"a claim is text, and no {type(claim).__name__}")
    if model is not None and not isinstance(model, Model):
        raise ReadError(
            f"the model is no {type(model).__name__}", hint='give definitions as given=["L = x @ x"]'
        )
    definitions = tuple([given] if isinstance(given, str) else given)
    in_latex = bool(definitions) and any(is_latex(d) for d in definitions)
    context = Context(
        definitions=() if in_latex else definitions,
        definitions_latex=definitions if in_latex else (),
        shapes=shapes,
        assume=assume,
        dims_equal=tuple(dims_equal),
        functions=tuple(functions),
        symbols=dict(symbols or {}),
        target=of,
        f=f,
        wrt=wrt,
        kind=kind,
        layout=layout,
        model=model,
    )
    return verdict_on(claim, context, seconds=seconds)


def verdict_on(text: str, context: Context, *, seconds: float = 10.0, shapes_said: bool = True) -> Verdict:
    """The verdict on a claim in a context; the time is a budget for reading, judging and diagnosing together.

    `shapes_said` is false where nobody said what is a matrix: a formula that holds for scalars is then called so.

    Raises   SymgradError if the claim cannot be read or nothing can be worked out
    """
    from symgrad.checking.budget import OutOfTime, alarm, time_limit
    from symgrad.checking.verdict import Note

    start = time.perf_counter()
    try:
        with time_limit(seconds), alarm(seconds):
            separate = separate_claims(text, context)
            if len(separate) == 1:
                claim = read_claim(text, context)
        if len(separate) > 1:
            share = seconds / len(separate)
            return _weakest(
                [verdict_on(t, c, seconds=share, shapes_said=shapes_said) for t, c in separate], text
            )
    except OutOfTime as out:
        note = Note("budget.time", {"budget": str(out)})
        return Verdict(Claim(Model(()), (), read_as=text), text, "undecided", Evidence("none"), notes=(note,))
    try:
        return _found(claim, text, seconds, start, shapes_said)
    except (NotAligned, IndexError) as error:  # numbers were put into what does not fit
        raise (claim.misfit or ShapeError("the sizes in the claim do not fit")) from error


def _weakest(verdicts: Sequence[Verdict], text: str) -> Verdict:
    """The verdict on a text of several claims: the first that is wrong or not decided, else the weakest evidence."""
    order = ("refuted", "undecided", "agrees", "verified", "proved")
    worst = min(verdicts, key=lambda v: order.index(v.verdict))
    read_as = "; ".join(v.claim.read_as for v in verdicts)
    claim = worst.claim if worst.verdict == "refuted" else replace(worst.claim, read_as=read_as)
    return replace(worst, claim=claim, text=text, seconds=sum(v.seconds for v in verdicts))


def _found(claim: Claim, text: str, seconds: float, start: float, shapes_said: bool) -> Verdict:
    from symgrad.checking.diagnose import diagnose
    from symgrad.checking.verdict import judge

    judgement = judge(claim, seconds=seconds)
    slip = None
    expected = None
    if judgement.word == "refuted":
        left = seconds - (time.perf_counter() - start)
        share = max(min(left, seconds / 3), 0.2)
        expected = _expected(judgement, share)
        slip = diagnose(judgement, share, expected=expected, shapes_said=shapes_said)
    return Verdict(
        judgement.claim,
        text,
        judgement.word,
        judgement.evidence,
        judgement.layout,
        judgement.link,
        slip,
        expected,
        judgement.counterexample,
        judgement.conditions,
        judgement.notes,
        judgement.names,
        time.perf_counter() - start,
    )


def _expected(judgement: Judgement, seconds: float) -> Expr | None:
    """The right formula, in the layout of the claim; None where it cannot be derived in time."""
    from symgrad.checking.budget import OutOfTime, alarm, time_limit

    claim = judgement.claim
    kind = claim.kind
    if claim.of is None or claim.wrt is None or kind == "identity" or kind == "definition":
        return None
    layout = claim.layout if claim.layout == "numerator" and claim.kind == "gradient" else "gradient"
    try:
        with time_limit(seconds), alarm(seconds):
            found = derive(
                claim.model,
                claim.wrt,
                of=claim.of,
                kind=kind,
                layout=layout,
                check=False,
            )
    except (SymgradError, OutOfTime, RecursionError):
        return None
    return found.answer
