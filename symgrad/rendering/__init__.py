"""Stage 7: expressions and derivations as text, LaTeX and documents."""

from symgrad.rendering.numpy import to_numpy

__all__ = ["to_numpy"]
