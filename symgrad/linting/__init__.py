"""Documents checked formula by formula: every displayed formula is a definition, a claim, or skipped with a reason."""

from symgrad.linting.checker import lint
from symgrad.linting.findings import Finding, Report
from symgrad.linting.report import CODES, render

__all__ = ["CODES", "Finding", "Report", "lint", "render"]
