"""Stage 7: expressions and derivations as text, LaTeX and documents."""

from symgrad.rendering.latex import to_latex
from symgrad.rendering.notation import Notation
from symgrad.rendering.numpy import to_numpy
from symgrad.rendering.sympy_out import to_sympy
from symgrad.rendering.text import to_text

__all__ = ["Notation", "to_latex", "to_numpy", "to_sympy", "to_text"]
