"""Array and path aliases shared by the whole package.

Arrays that cross a public boundary are NumPy arrays of 64-bit floats.
"""

from __future__ import annotations

import os
from typing import TypeAlias

import numpy as np
from jaxtyping import Float

Vector: TypeAlias = Float[np.ndarray, " _"]
Matrix: TypeAlias = Float[np.ndarray, "_ _"]
FilePath: TypeAlias = str | os.PathLike[str]
