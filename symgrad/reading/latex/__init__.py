r"""LaTeX, as people write it in lecture notes and homework: formulas in, claims, definitions and expressions out.

The way through: `tokens` and `tree` (what is written), `scope` (what a symbol stands for), `symbols` to `meaning`
(values, by shapes), `explore` (every reading), `left` and `claims` (claims), `notes` and `definitions` (the context).
"""

from symgrad.reading.latex.reader import claims_in, read_claim, read_expression

__all__ = ["claims_in", "read_claim", "read_expression"]
