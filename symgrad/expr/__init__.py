"""Stage 1: the value everything passes around.

SymPy objects, the classes that SymPy lacks, their constructors, sizes, and models of named definitions.
"""

from symgrad.expr.blocks import *  # noqa: F403
from symgrad.expr.blocks import __all__ as _blocks
from symgrad.expr.build import *  # noqa: F403
from symgrad.expr.build import __all__ as _build
from symgrad.expr.functions import FUNCTIONS
from symgrad.expr.model import *  # noqa: F403
from symgrad.expr.model import __all__ as _model
from symgrad.expr.nodes import *  # noqa: F403
from symgrad.expr.nodes import __all__ as _nodes
from symgrad.expr.operations import *  # noqa: F403
from symgrad.expr.operations import __all__ as _operations
from symgrad.expr.shapes import *  # noqa: F403
from symgrad.expr.shapes import __all__ as _shapes
from symgrad.expr.tensors import *  # noqa: F403
from symgrad.expr.tensors import __all__ as _tensors

__all__ = [*_blocks, *_build, *_model, *_nodes, *_operations, *_shapes, *_tensors, "FUNCTIONS"]  # noqa: PLE0604
