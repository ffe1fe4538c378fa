"""Stage 5: to the form that a textbook prints; every rewrite is a named step."""

from symgrad.simplifying.cost import operations
from symgrad.simplifying.products import PREPARING
from symgrad.simplifying.rewrites import REWRITES
from symgrad.simplifying.simplify import Simplification, Simplifier

__all__ = ["PREPARING", "REWRITES", "Simplification", "Simplifier", "operations"]
