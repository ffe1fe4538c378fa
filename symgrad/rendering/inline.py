"""A line of words and formulas in each format: words are escaped here, and nowhere else."""

from __future__ import annotations

import html
import re

from symgrad.rendering.document import Formula, Inline, Reference, Sign, Strong
from symgrad.rendering.profiles import PORTABLE, Profile
from symgrad.rendering.templates import Rendered

__all__ = [
    "escape_html",
    "escape_md",
    "escape_tex",
    "escape_typ",
    "inline_html",
    "inline_md",
    "inline_tex",
    "inline_text",
    "inline_typ",
    "line_start_md",
    "shown_tex",
]

_FULL_WIDTH = "，。；：！？、（）“”‘’《》"
_TEX = {
    **{c: f"\\{c}" for c in "{}$&#_%"},
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "⊤": r"$\top$",
}


def printable(text: str) -> str:
    """One line without control characters."""
    return "".join(c if c.isprintable() else " " for c in text)


def escape_md(text: str) -> str:
    r"""Prose in portable Markdown.

    >>> escape_md("5 * 3_a [x]")
    '5 \\* 3\\_a \\[x\\]'
    """
    return re.sub(r"([\\`*_\[\]<>#$|~])", r"\\\1", printable(text))


def escape_tex(text: str) -> str:
    r"""Prose in LaTeX.

    >>> escape_tex("100% of a_b")
    '100\\% of a\\_b'
    """
    return "".join(_TEX.get(c, c) for c in printable(text))


def escape_typ(text: str) -> str:
    r"""Prose in Typst, as a string that is put in: nothing in it can be markup.

    >>> print(escape_typ('a "b" #c'))
    #"a \"b\" #c";
    """
    if not text:
        return ""
    quoted = printable(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'#"{quoted}";'


def escape_html(text: str) -> str:
    """Prose and attributes in HTML.

    >>> escape_html("a < b & 'c'")
    'a &lt; b &amp; &#x27;c&#x27;'
    """
    return html.escape(printable(text))


def line_start_md(text: str, profile: Profile = PORTABLE) -> Rendered:
    """A paragraph must not begin like a list or a rule."""
    text = re.sub(r"^([-+=])", r"\\\1", profile.line_start(text))
    return Rendered(re.sub(r"^(\d+)([.)])", r"\1\\\2", text))


def _is_wordlike(char: str) -> bool:
    return bool(char) and (char.isalnum() or char in "\\_*(（“‘《")


def inline_md(content: Inline, profile: Profile = PORTABLE, document: str = "") -> Rendered:
    """Words and formulas in a line: an ASCII space before every formula, never a letter right after it.

    References point to the labels of the document, where the profile has any.
    """
    out = ""
    after_formula = False
    for piece in content:
        if isinstance(piece, Formula):
            if out and not out[-1].isspace():
                out += " "
            out += profile.math(piece.latex)
            after_formula = True
            continue
        text = profile.escape(escape_md(piece.text))
        if isinstance(piece, Strong):
            text = f"**{text}**"
        elif isinstance(piece, Reference):
            text = profile.reference(piece, text, document)
        if after_formula and _is_wordlike(text[:1]):
            out += " "
        out += text
        after_formula = False
    return Rendered(out)


def _tight(out: str, space: str) -> str:
    """Without the space between full-width punctuation and a formula."""
    before = out[: -len(space)][-1:] if out.endswith(space) else ""
    return out[: -len(space)] if before and before in _FULL_WIDTH else out


def inline_tex(content: Inline, style: str = "") -> Rendered:
    """Words and formulas in a line; no space between full-width punctuation and a formula."""
    out = ""
    for piece in content:
        if isinstance(piece, Formula):
            out = f"{_tight(out, ' ')}${style}{piece.latex}$"
        elif isinstance(piece, Strong):
            out += rf"\textbf{{{escape_tex(piece.text)}}}"
        elif isinstance(piece, Reference):
            out += rf"\hyperref[{piece.kind}:{piece.number}]{{{escape_tex(piece.text)}}}"
        elif isinstance(piece, Sign):
            out += f"${piece.latex}$"
        else:
            out += escape_tex(piece.text)
    return Rendered(out)


def shown_tex(content: Inline) -> Rendered:
    """A cell of a table, with its fractions in full size; a formula alone is made to fit."""
    shown = inline_tex(content, r"\displaystyle ")
    alone = len(content) == 1 and isinstance(content[0], Formula)
    return Rendered(rf"\fit{{{shown}}}") if alone else shown


def inline_text(content: Inline) -> Rendered:
    """Words and formulas for a terminal."""
    out = ""
    for piece in content:
        text = piece.text if isinstance(piece, Formula) else printable(piece.text)
        out = (_tight(out, " ") if isinstance(piece, Formula) else out) + text
    return Rendered(out)


def inline_typ(content: Inline) -> Rendered:
    """Words and formulas in a line of Typst."""
    out = ""
    words = ""
    for piece in content:
        if isinstance(piece, Formula):
            out += escape_typ(_tight(words, " "))
            words = ""
            # A fraction in a line does not move the lines apart by itself.
            out += f"#tall[${piece.typst}$]" if "frac(" in piece.typst else f"${piece.typst}$"
        elif isinstance(piece, Strong | Reference | Sign):
            out += escape_typ(words)
            words = ""
            text = escape_typ(piece.text)
            if isinstance(piece, Strong):
                out += f"#strong[{text}]"
            elif isinstance(piece, Reference):
                out += f"#link(<{piece.kind}-{piece.number}>)[{text}]"
            else:
                out += f"#sign[{text}]"
        else:
            words += piece.text
    return Rendered(out + escape_typ(words))


def inline_html(content: Inline) -> Rendered:
    """Words and formulas in a line of HTML; a formula is an element that holds its LaTeX."""
    out = ""
    for piece in content:
        if isinstance(piece, Formula):
            out = _tight(out, " ") + str(math_html(piece.latex, display=False))
        elif isinstance(piece, Strong):
            out += f"<strong>{escape_html(piece.text)}</strong>"
        elif isinstance(piece, Reference):
            out += f'<a href="#{piece.kind}-{piece.number}">{escape_html(piece.text)}</a>'
        elif isinstance(piece, Sign):
            says = escape_html(piece.says)
            out += f'<span class="sign" role="img" aria-label="{says}" title="{says}">{escape_html(piece.text)}</span>'
        else:
            out += escape_html(piece.text)
    return Rendered(out)


def math_html(latex: str, *, display: bool) -> Rendered:
    """A formula that waits for KaTeX; its LaTeX is what is shown until then."""
    kind = "display" if display else "inline"
    return Rendered(f'<span class="math" data-{kind}>{escape_html(latex)}</span>')
