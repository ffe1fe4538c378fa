r"""The vocabulary of LaTeX: commands that are read, that fall away, and that are refused."""

from __future__ import annotations

__all__ = [
    "ACCENTS",
    "BOLD",
    "CONJUNCTIONS",
    "DELIMITERS",
    "DROPPED_WITH_ARGUMENT",
    "ENVIRONMENTS",
    "FONTS",
    "FUNCTIONS",
    "GREEK",
    "LETTERS",
    "OPERATORS",
    "PREFIXES",
    "RELATIONS",
    "SINGLE",
    "SIZES",
    "SPACES",
    "SWITCHES",
    "TEXTS",
    "UNICODE",
    "UNSAFE",
    "VARIANTS",
    "WRAPPERS",
]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())

    # fmt: off


GREEK = [
    "alpha",
    "beta",
    "gamma",
    "delta",
    "epsilon",
    "zeta",
    "eta",
    "theta",
    "iota",
    "kappa",
    "lambda",
    "mu",
    "nu",
    "xi",
    "omicron",
    "pi",
    "rho",
    "sigma",
    "tau",
    "upsilon",
    "phi",
    "chi",
    "psi",
    "omega",
    "Gamma",
    "Delta",
    "Theta",
    "Lambda",
    "Xi",
    "Pi",
    "Sigma",
    "Upsilon",
    "Phi",
    "Psi",
    "Omega",
]


VARIANTS = {
    "varepsilon": "epsilon",
    "vartheta": "theta",
    "varrho": "rho",
    "varsigma": "sigma",
    "varphi": "phi",
    "varpi": "pi",
    "varkappa": "kappa",
    "ell": "ell",
    "hslash": "hbar",
}
LETTERS = {**{g: g for g in GREEK}, **VARIANTS}
OPERATORS = {
    "cdot": "CDOT",
    "times": "TIMES",
    "ast": "STAR",
    "star": "STAR",
    "odot": "ODOT",
    "circ": "ODOT",
    "otimes": "OTIMES",
    "oslash": "OSLASH",
    "div": "SLASH",
    "bullet": "ODOT",
    "boxdot": "ODOT",
}
RELATIONS = {
    "equiv": ":=",
    "triangleq": ":=",
    "coloneqq": ":=",
    "coloneq": ":=",
    "doteq": ":=",
    "le": "<=",
    "leq": "<=",
    "leqslant": "<=",
    "ge": ">=",
    "geq": ">=",
    "geqslant": ">=",
    "lt": "<",
    "gt": ">",
    "ne": "!=",
    "neq": "!=",
    "in": "in",
    "to": "to",
    "rightarrow": "to",
    "leftarrow": "<-",
    "gets": "<-",
    "approx": "~",
    "sim": "~",
    "propto": "~",
    "simeq": "~",
    "mapsto": "to",
    "Rightarrow": "=>",
    "implies": "=>",
    "Longrightarrow": "=>",
    "iff": "=>",
    "Leftrightarrow": "=>",
    "eqqcolon": "=:",
    "subset": "in",
    "notin": "in",
}
SPACES = _words(
    "! , : ; > Big Bigg Biggl Biggr Bigl Bigr allowbreak big bigg biggl biggr bigl bigr break displaystyle "
    "enskip enspace hfil hfill limits mathstrut medspace middle negthinspace noindent nolimits nonumber notag "
    "relax scriptscriptstyle scriptstyle strut textstyle thickspace thinspace "
)
SIZES = _words("Big Bigg Biggl Biggr Bigl Bigm Bigr big bigg biggl biggr bigl bigm bigr middle ")
FONTS = _words(
    "bm boldmath boldsymbol emph hbox mathbb mathbbm mathbf mathcal mathds mathfrak mathit mathnormal "
    "mathop mathrm mathscr mathsf mathtt mbox operatorname pmb symbf symbfit symit symup text "
    "textbf textit textnormal textrm textsf texttt textup "
)
BOLD = _words("bm boldsymbol mathbf mathbfit symbf ")
TEXTS = _words("emph hbox mbox text textbf textit textnormal textrm textsf texttt textup ")
SWITCHES = _words("bf bfseries cal it mit rm rmfamily sf tt ")
ACCENTS = {
    "hat": "hat",
    "widehat": "hat",
    "bar": "bar",
    "overline": "bar",
    "tilde": "tilde",
    "widetilde": "tilde",
    "dot": "dot",
    "ddot": "ddot",
    "vec": "",
    "overrightarrow": "",
    "underline": "",
    "check": "check",
    "breve": "breve",
    "acute": "acute",
    "grave": "grave",
    "mathring": "ring",
}
FUNCTIONS = _words(
    "Pr arccos arcsin arctan arg argmax argmin cos cosh cot coth csc csch deg det dim exp gcd hom inf ker lg lim "
    "ln log max min sec sech sin sinh sup tan tanh "
)
WRAPPERS = _words(
    "mathbin mathord mathrel boxed ensuremath fbox mathclose mathinner mathopen mathpunct smash"
)
DROPPED_WITH_ARGUMENT = _words("color hskip hspace kern label mspace tag vspace ")
UNSAFE = _words(
    "DeclareMathOperator ShellEscape afterassignment catcode closein closeout csname def directlua "
    "documentclass edef everymath expandafter futurelet gdef href immediate include includegraphics input "
    "jobname lccode let loop lstinline luaexec mathcode newcommand newenvironment newread newwrite openin "
    "openout providecommand read renewcommand special uccode url usepackage verb write xdef "
)
ENVIRONMENTS = {
    "cases": "CASES",
    "dcases": "CASES",
    "rcases": "CASES",
    "matrix": "MATRIX",
    "pmatrix": "MATRIX",
    "bmatrix": "MATRIX",
    "Bmatrix": "MATRIX",
    "vmatrix": "MATRIX",
    "Vmatrix": "MATRIX",
    "smallmatrix": "MATRIX",
    "align": "LINES",
    "aligned": "LINES",
    "alignat": "LINES",
    "alignedat": "LINES",
    "gather": "LINES",
    "gathered": "LINES",
    "split": "LINES",
    "equation": "LINES",
    "eqnarray": "LINES",
    "multline": "LINES",
    "displaymath": "LINES",
    "math": "LINES",
    "subequations": "LINES",
}
UNICODE = {
    "−": "-",
    "–": "-",
    "·": "\\cdot ",
    "⋅": "\\cdot ",
    "×": "\\times ",
    "⊙": "\\odot ",
    "∘": "\\circ ",
    "⊗": "\\otimes ",
    "∂": "\\partial ",
    "∇": "\\nabla ",
    "∑": "\\sum ",
    "∏": "\\prod ",
    "≤": "\\le ",
    "≥": "\\ge ",
    "≠": "\\ne ",
    "∈": "\\in ",
    "⊤": "\\top ",
    "ᵀ": "^\\top ",
    "′": "'",
    "‖": "\\|",
    "→": "\\to ",
    "←": "\\leftarrow ",
    "≡": "\\equiv ",
    "≜": "\\triangleq ",
    "∗": "*",
    "ℓ": "\\ell ",
    "²": "^2",
    "³": "^3",
    "₀": "_0",
    "₁": "_1",
    "₂": "_2",
    "₃": "_3",
    "₄": "_4",
    "ᵢ": "_i",
    "ⱼ": "_j",
    "ₖ": "_k",
    "⟨": "\\langle ",
    "⟩": "\\rangle ",
    "⊘": "\\oslash ",
    "√": "\\sqrt ",
    "½": "\\frac12 ",
    "𝟏": "\\mathbf{1}",
    "，": ",",
    "。": ".",
    "；": ";",
    "：": ":",
    "（": "(",
    "）": ")",
    "、": ",",
    "\xa0": " ",
    "\u3000": " ",
    "…": "\\ldots ",
    "“": " ",
    "”": " ",
    "α": "\\alpha ",
    "β": "\\beta ",
    "γ": "\\gamma ",
    "δ": "\\delta ",
    "ε": "\\epsilon ",
    "ζ": "\\zeta ",
    "η": "\\eta ",
    "θ": "\\theta ",
    "ι": "\\iota ",
    "κ": "\\kappa ",
    "λ": "\\lambda ",
    "μ": "\\mu ",
    "ν": "\\nu ",
    "ξ": "\\xi ",
    "π": "\\pi ",
    "ρ": "\\rho ",
    "σ": "\\sigma ",
    "τ": "\\tau ",
    "υ": "\\upsilon ",
    "φ": "\\phi ",
    "χ": "\\chi ",
    "ψ": "\\psi ",
    "ω": "\\omega ",
    "Γ": "\\Gamma ",
    "Δ": "\\Delta ",
    "Θ": "\\Theta ",
    "Λ": "\\Lambda ",
    "Ξ": "\\Xi ",
    "Π": "\\Pi ",
    "Σ": "\\Sigma ",
    "Φ": "\\Phi ",
    "Ψ": "\\Psi ",
    "Ω": "\\Omega ",
    "ϵ": "\\epsilon ",
    "ϕ": "\\phi ",
    "ϑ": "\\theta ",
}
SINGLE = {
    "+": "SIGN",
    "-": "SIGN",
    "*": "STAR",
    "/": "SLASH",
    "(": "LPAR",
    ")": "RPAR",
    "[": "LSQB",
    "]": "RSQB",
    ",": "COMMA",
    ";": "SEMI",
    ":": "COLON",
    "!": "BANG",
    ".": "PERIOD",
    "'": "PRIME",
    "|": "BAR",
    "_": "SUB",
    "^": "SUP",
    "{": "LBRACE",
    "}": "RBRACE",
}
DELIMITERS = {
    "{": ("LCURLY", "{"),
    "}": ("RCURLY", "}"),
    "|": ("NORM", "||"),
    "lbrace": ("LCURLY", "{"),
    "rbrace": ("RCURLY", "}"),
    "lvert": ("LBAR", "|"),
    "rvert": ("RBAR", "|"),
    "vert": ("BAR", "|"),
    "mid": ("BAR", "|"),
    "lVert": ("LNORM", "||"),
    "rVert": ("RNORM", "||"),
    "Vert": ("NORM", "||"),
    "parallel": ("NORM", "||"),
    "langle": ("LANGLE", "<"),
    "rangle": ("RANGLE", ">"),
    "lbrack": ("LSQB", "["),
    "rbrack": ("RSQB", "]"),
}
CONJUNCTIONS = _words(
    "also and as else finally for hence if let likewise or otherwise similarly since so then therefore thus when "
    "where with "
)
PREFIXES = _words(
    "ReLU cos cosh det diag erf exp log max min relu sigmoid sign sin sinh softmax tanh tr vec "
)
# fmt: on
