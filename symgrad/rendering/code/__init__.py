"""Derivations as programs: complete functions for NumPy, JAX and PyTorch."""

from symgrad.rendering.code.functions import CODE_FORMATS, to_code

__all__ = ["CODE_FORMATS", "to_code"]
