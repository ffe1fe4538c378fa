"""A verdict in a format: terminal text, Markdown, LaTeX, JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sympy import Expr

from symgrad.checking.domains import Condition
from symgrad.checking.verdict import Note
from symgrad.errors import SymgradError, UnsupportedError
from symgrad.expr import Differential, ScalarDifferential, gradient, is_matrix, is_scalar, jacobian
from symgrad.reading.claim import Claim
from symgrad.rendering.document import (
    Document,
    Equation,
    Formula,
    Inline,
    Items,
    Paragraph,
    Row,
    Words,
)
from symgrad.rendering.formats import write_document
from symgrad.rendering.inline import escape_tex, inline_text
from symgrad.rendering.latex import to_latex
from symgrad.rendering.numpy import to_numpy
from symgrad.rendering.phrases import Catalogue, Filling, load
from symgrad.rendering.snippet import snippet
from symgrad.rendering.text import to_text
from symgrad.rendering.typst import to_typst

if TYPE_CHECKING:
    from symgrad.verifying import Verdict

__all__ = ["diagnosis", "latex_block", "message", "render", "shown", "spelt", "to_json"]

_SHOWN_CONDITIONS = 6


def render(verdict: Verdict, form: str = "text", lang: str = "en") -> str:
    """The verdict for a terminal (`text`), as Markdown (`md`) or as a LaTeX document (`tex`).

    Raises   UnsupportedError for another format, RecipeError for a language without phrases
    """
    if form == "text":
        return _text(verdict, load(lang))
    if form in ("md", "tex"):
        return write_document(_document(verdict, lang), "md" if form == "md" else "tex")
    raise UnsupportedError(f"there is no format {form!r}", hint="formats: text, md, tex, json")


def message(verdict: Verdict, lang: str = "en") -> str:
    """The verdict in a sentence or two: what is wrong, or how it is known to be right."""
    words = load(lang)
    parts = [inline_text(i) for i in (*diagnosis(verdict, words), *_notes(verdict, words))]
    if not parts:
        parts = [inline_text(_evidence(verdict, words))] if verdict.is_right else []
    return str(("" if lang == "zh" else " ").join(parts))


def to_json(verdict: Verdict, lang: str = "en") -> dict[str, Any]:
    """The verdict as data: what a batch file holds, and the words beside it."""
    evidence, example = verdict.evidence, verdict.counterexample
    suggestion = verdict.suggestion
    return {
        "verdict": verdict.verdict,
        "kind": verdict.kind,
        "read_as": verdict.claim.read_as,
        "expected": None if verdict.expected is None else spelt(verdict.written_out(verdict.expected)),
        "suggestion": None if suggestion is None else spelt(verdict.written_out(suggestion)),
        "suggestion_latex": None if suggestion is None else to_latex(verdict.as_written(suggestion)),
        "layout": verdict.layout,
        "message": message(verdict, lang),
        "counterexample": None
        if example is None
        else {
            "sizes": example.sizes,
            "inputs": example.inputs,
            "indices": example.indices,
            "entry": list(example.entry),
            "link": example.link,
            "claimed": example.claimed,
            "right": example.right,
            "numpy": snippet(verdict),
        },
        "evidence": {
            "method": evidence.method,
            "sizes": dict(evidence.sizes[0]) if evidence.sizes else {},
            "all_sizes": [dict(s) for s in evidence.sizes],
            "points": evidence.points,
            "error_bound": evidence.error_bound,
            "max_error": evidence.max_error,
        },
        "conditions": [str(inline_text(c)) for c in _conditions(verdict.conditions, load(lang))],
        "seconds": round(verdict.seconds, 4),
    }


def latex_block(verdict: Verdict) -> str:
    r"""The claim with its verdict, for a notebook: `$\displaystyle ...$`."""
    word = str(inline_text(load("en")(f"verdict.word.{verdict.verdict}")))
    sides = [to_latex(e) for e in _sides(verdict)] or [rf"\text{{{escape_tex(verdict.claim.read_as)}}}"]
    return rf"$\displaystyle {' = '.join(sides)}\quad\text{{({word})}}$"


def spelt(e: Expr | None) -> str | None:
    """An expression in the text language, where that can say it."""
    if e is None:
        return None
    try:
        return to_numpy(e)
    except (SymgradError, AttributeError):
        return None


def shown(e: Expr) -> str:
    """An expression for a terminal: in the text language, or in Unicode where that cannot say it."""
    return spelt(e) or to_text(e)


# --- parts ------------------------------------------------------------------------------------------------


def _formula(e: Expr | str | int) -> Formula | str | int:
    """An expression in LaTeX, and in the text language for a terminal."""
    if not isinstance(e, Expr):
        return e
    return _shown(e)


def _filled(terms: Mapping[str, Expr | str | int]) -> dict[str, Filling]:
    return {name: _formula(value) for name, value in terms.items()}


def diagnosis(verdict: Verdict, words: Catalogue) -> list[Inline]:
    """What slipped, as a sentence; nothing if nothing is known of it."""
    slip = verdict.slip
    if slip is None:
        return []
    terms = {k: verdict.as_written(e) if isinstance(e, Expr) else e for k, e in slip.terms.items()}
    if slip.key == "holds_if":
        terms["word"] = str(inline_text(words(f"assumption.{terms['word']}")))
    return [words(f"slip.{slip.key}", **_filled(terms))]


def _notes(verdict: Verdict, words: Catalogue) -> list[Inline]:
    return [_note(note, words) for note in verdict.notes]


def _note(note: Note, words: Catalogue) -> Inline:
    return words(f"verdict.note.{note.key.replace('.', '_')}", **_filled(note.terms))


def _conditions(conditions: tuple[Condition, ...], words: Catalogue) -> list[Inline]:
    found = []
    for c in conditions[:_SHOWN_CONDITIONS]:
        of = _formula(c.of)
        found.append(words(f"verdict.condition.{c.key}", of=of))
    return found


def _evidence(verdict: Verdict, words: Catalogue) -> Inline:
    evidence = verdict.evidence
    sizes = "; ".join(", ".join(f"{k} = {n}" for k, n in s.items()) for s in evidence.sizes) or "-"
    return words(
        f"verdict.evidence.{evidence.level}",
        sizes=sizes,
        points=evidence.points,
        error=f"{evidence.max_error or 0:.1e}",
        bound=f"{evidence.error_bound or 0:.1e}",
    )


def _counterexample(verdict: Verdict, words: Catalogue) -> Inline | None:
    example = verdict.counterexample
    if example is None:
        return None
    inputs = ", ".join(f"{name} = {_plain(value)}" for name, value in example.inputs.items())
    given = {"inputs": inputs, "claimed": f"{example.claimed:.6g}", "right": f"{example.right:.6g}"}
    if not example.entry:
        return words("verdict.counterexample.at", **given)
    return words("verdict.counterexample.entry", entry=str(list(example.entry)), **given)


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_plain(v) for v in value) + "]"
    return f"{value:g}"


def _shown(e: Expr) -> Formula:
    """An expression in every notation; on a terminal the text language, which can be read back."""
    return Formula(to_latex(e), shown(e), to_typst(e))


def _left(claim: Claim) -> Expr | None:
    """The unevaluated derivative that a claim is about; None for an identity."""
    of, wrt = claim.of, claim.wrt
    if of is None or wrt is None:
        return None
    if claim.kind == "hessian":
        return jacobian(gradient(of, wrt), wrt)
    if claim.kind == "differential":
        return (Differential if is_matrix(of) else ScalarDifferential)(of)
    return (gradient if is_scalar(of) else jacobian)(of, wrt)


def _sides(verdict: Verdict) -> tuple[Expr, ...]:
    """The left side and the links; nothing where the claim has no printed form of its own."""
    claim = verdict.claim
    if claim.misfit is not None or claim.indices or claim.wrt_entry is not None:
        return ()
    left, links = _left(claim), tuple(map(verdict.as_written, claim.links))
    return links if left is None else (left, *links)


def _equation(left: Expr | None, right: Expr) -> Equation:
    """`left = right`, or the right side alone."""
    if left is None:
        return Equation((Row(None, _shown(right), Formula("", "", "")),))
    return Equation((Row(_shown(left), _shown(right)),))


def _text(verdict: Verdict, words: Catalogue) -> str:
    """One labelled line a part, for a terminal."""

    def label(key: str) -> str:
        return str(inline_text(words(f"verdict.label.{key}")))

    rows: list[tuple[str, str]] = [("verdict", str(inline_text(words(f"verdict.word.{verdict.verdict}"))))]
    if verdict.kind is not None:
        rows.append(("kind", verdict.kind))
    rows.append(("read_as", verdict.claim.read_as))
    rows += [("diagnosis", str(inline_text(i))) for i in diagnosis(verdict, words)]
    if verdict.slip is not None and verdict.slip.repaired is not None:
        repaired = verdict.as_written(verdict.slip.repaired)
        rows.append(("suggestion", shown(repaired)))
    if verdict.expected is not None:
        rows.append(("expected", shown(verdict.expected)))
    if verdict.is_right:
        rows.append(("evidence", str(inline_text(_evidence(verdict, words)))))
    example = _counterexample(verdict, words)
    if example is not None:
        rows.append(("counterexample", str(inline_text(example))))
    rows += [("note", str(inline_text(i))) for i in _notes(verdict, words)]
    if verdict.is_right and verdict.conditions:
        rows.append(
            ("conditions", "; ".join(str(inline_text(c)) for c in _conditions(verdict.conditions, words)))
        )
    width = max(_width(label(key)) for key, _ in rows)
    lines = [label(key) + " " * (width - _width(label(key)) + 2) + text for key, text in rows]
    program = snippet(verdict)
    if program is not None:
        lines += [f"{label('snippet')}:", *("    " + line for line in program.splitlines())]
    return "\n".join(lines) + "\n"


def _width(text: str) -> int:
    """Chinese characters are two columns wide."""
    return sum(2 if ord(c) > 0x2E80 else 1 for c in text)


def _document(verdict: Verdict, lang: str) -> Document:
    words = load(lang)
    sides = _sides(verdict)
    blocks: list[Any] = [_equation(sides[0], e) for e in sides[1:]]
    if not sides:
        blocks.append(Paragraph((Words(verdict.claim.read_as),)))

    def lead(key: str) -> Inline:
        label = str(inline_text(words(f"verdict.label.{key}")))
        return (Words(label + ("：" if lang == "zh" else ":")),)

    for part in diagnosis(verdict, words):
        blocks.append(Paragraph(part, lead("diagnosis")))
    for key, e in (("suggestion", verdict.slip and verdict.slip.repaired), ("expected", verdict.expected)):
        if e is not None:
            blocks += [
                Paragraph((), lead(key)),
                _equation(_left(verdict.claim), verdict.as_written(e)),
            ]
    if verdict.is_right:
        blocks.append(Paragraph(_evidence(verdict, words), lead("evidence")))
    if (example := _counterexample(verdict, words)) is not None:
        blocks.append(Paragraph(example, lead("counterexample")))
    if notes := _notes(verdict, words):
        blocks.append(Items(tuple(notes)))
    if verdict.is_right and verdict.conditions:
        listed: list[Any] = []
        for n, c in enumerate(_conditions(verdict.conditions, words)):
            listed += [Words("; ")] * bool(n) + list(c)
        blocks.append(Paragraph(tuple(listed), lead("conditions")))
    return Document(words(f"verdict.word.{verdict.verdict}"), tuple(blocks), lang)
