"""Documents checked formula by formula: every displayed formula is a definition, a claim, or skipped with a reason."""

from symgrad.linting.checker import Finding, Report, lint
from symgrad.linting.report import CODES, render

__all__ = ["CODES", "Finding", "Report", "lint", "render"]
