"""symgrad derives gradients step by step, checks every step, and typesets the derivation."""

__version__ = "0.1.0"
