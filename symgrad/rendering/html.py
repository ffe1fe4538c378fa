"""HTML as one file: KaTeX with its fonts inside, no network.

With the extra `html` formulas are set when the file is made, so that it can be read without JavaScript; without the
extra, the KaTeX inside sets them in the browser.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from symgrad.errors import UnsupportedError
from symgrad.rendering.document import Document
from symgrad.rendering.formats import write_document
from symgrad.rendering.templates import Rendered, asset_folder

__all__ = ["has_quickjs", "typeset", "write_html"]

_MATH = re.compile(r'<span class="math" data-(inline|display)>(.*?)</span>', re.DOTALL)
_RARE = {  # fonts that only these macros use
    "Caligraphic": r"\mathcal",
    "Fraktur": r"\mathfrak",
    "SansSerif": r"\mathsf",
    "Script": r"\mathscr",
    "Typewriter": r"\mathtt",
}


def has_quickjs() -> bool:
    """Whether the extra `html` is installed."""
    try:
        import quickjs  # noqa: F401
    except ImportError:
        return False
    return True


def write_html(document: Document, folders: Sequence[Path] = (), *, static: bool | None = None) -> str:
    """The document as one HTML file; `static` says whether formulas are set now, by default if that is possible.

    Raises   UnsupportedError for a formula that KaTeX cannot set, RecipeError for a template that cannot be used
    """
    now = has_quickjs() if static is None else static
    body = write_document(document, "html", folders, {"style": Rendered(), "script": Rendered()})
    extra = {
        "style": Rendered(_style(body)),
        "script": Rendered("" if now else f"<script>{_asset('katex.min.js')}</script>"),
    }
    text = write_document(document, "html", folders, extra)
    return _MATH.sub(lambda m: typeset(html.unescape(m[2]), m[1] == "display"), text) if now else text


@cache
def typeset(latex: str, display: bool) -> str:
    """A formula as HTML and MathML, by KaTeX.

    Raises   UnsupportedError for a formula that KaTeX cannot set
    """
    done = json.loads(_katex()(latex, display))
    if "error" in done:
        raise UnsupportedError(f"KaTeX cannot set {latex}: {done['error']}")
    text: str = done["html"]
    return text


@cache
def _katex() -> Callable[[str, bool], str]:
    import quickjs

    context = quickjs.Context()
    context.eval(_asset("katex.min.js"))
    # The result goes through JSON: the library cannot hand over every kind of JavaScript string.
    function: Callable[[str, bool], str] = context.eval(
        "(function(tex, display) { try { return JSON.stringify({html: katex.renderToString(tex, "
        "{displayMode: display, throwOnError: true, strict: 'ignore'})}) } "
        "catch (e) { return JSON.stringify({error: String(e.message)}) } })"
    )
    return function


@cache
def _asset(name: str) -> str:
    return (asset_folder() / "katex" / name).read_text(encoding="utf-8")


def _style(text: str) -> str:
    """KaTeX's style with the fonts that the text needs put in."""

    def embedded(match: re.Match[str]) -> str:
        name = match[1]
        if any(rare in name and macro not in text for rare, macro in _RARE.items()):
            return "src:local('none')"
        data = base64.b64encode((asset_folder() / "katex" / "fonts" / name).read_bytes()).decode()
        return f"src:url(data:font/woff2;base64,{data}) format('woff2')"

    return re.sub(r"src:url\(fonts/([\w-]+\.woff2)\)[^;}]*", embedded, _asset("katex.min.css"))
