"""Stage 6: what is known about an equation, and how.

`equal` and `compare` are the door for other rooms; what they find is `Evidence`, a `Refutation` or `Undecided`.
"""

from symgrad.checking.equality import Finding, Refutation, Undecided, compare, equal

__all__ = ["Finding", "Refutation", "Undecided", "compare", "equal"]
