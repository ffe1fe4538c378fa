"""Stage 5: to the form that a textbook prints; every rewrite is a named step."""

from symgrad.simplifying import (
    centring,
    entries,
    exponentials,
    kronecker,
    products,
    scalars,
    sums,
    transposes,
)
from symgrad.simplifying.cost import operations
from symgrad.simplifying.kronecker import PREPARING
from symgrad.simplifying.simplify import Simplification, Simplifier
from symgrad.simplifying.table import REWRITES

__all__ = ["PREPARING", "REWRITES", "Simplification", "Simplifier", "operations"]

_TOPICS = (
    transposes,
    products,
    scalars,
    entries,
    exponentials,
    centring,
    sums,
    kronecker,
)  # importing them fills the table
