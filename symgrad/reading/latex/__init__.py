r"""LaTeX, as people write it in lecture notes and homework: formulas in, claims, definitions and expressions out.

The way through: `scanner` and `tree` (what is written), `marks` to `scope` (what a symbol stands for), `powers` to
`meaning` (values, by shapes), `explore` (every reading), `left` and `claims` (claims), `notes` and `definitions` (the
context), `reader`.
"""

from symgrad.reading.latex.reader import claims_in, read_claim, read_expression

__all__ = ["claims_in", "read_claim", "read_expression"]
