"""symgrad derives gradients step by step, checks every step, and typesets the derivation.

>>> import symgrad
>>> symgrad.derive("x @ A @ x", "x", shapes="x: n, A: n n").to_numpy()
'(A + A.T) @ x'
"""

from symgrad.api import Derivation, derive, gradients
from symgrad.deriving.steps import Evidence, Step
from symgrad.errors import SymgradError
from symgrad.expr import Model
from symgrad.reading import read_model
from symgrad.verifying import Verdict, verify

__all__ = [
    "Derivation",
    "Evidence",
    "Model",
    "Step",
    "SymgradError",
    "Verdict",
    "derive",
    "gradients",
    "read_model",
    "verify",
]

__version__ = "0.1.0"
