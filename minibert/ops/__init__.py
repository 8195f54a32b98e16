"""Every leaf pair of the engine, forward and backward. Each backward stands under its forward and is read upward.

Differentiable arrays come first, data and constants by keyword: `f(...) -> (y, cache)`. `f_backward(dy, cache)` gives
the gradients in argument order, those of `weight` and `bias` as a dict. No argument is ever written to. float32,
float64 and longdouble stay what they are.
Letters: B batch, T and S tokens, D width, H heads, K head width, V vocabulary, M targets.
Each file has a kind of op, in textbook order below; all are called through this module: `ops.gelu(x)`.
"""

from minibert.ops.products import *
from minibert.ops.tables import *
from minibert.ops.norms import *
from minibert.ops.activations import *
from minibert.ops.distributions import *
from minibert.ops.attending import *
from minibert.ops.chunks import *
from minibert.ops.pieces import *
from minibert.ops.convolutions import *
from minibert.ops.recurrences import *
from minibert.ops.grids import *
from minibert.ops.losses import *
from minibert.ops.chains import *
