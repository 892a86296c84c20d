"""Scripts written for `desc.optimize.Optimizer`: its names and signature over `fieldfit.equilibrium.desc`.

Such a script runs when only its import line changes:

    from fieldfit.compat.desc import Optimizer

Methods have DESC's names or those of this library, options DESC's names where there is a counterpart. Things come back
as a tuple, the result has DESC's entries. What differs: `x`, `allx` and array scales are physical, of all elements, in
the order of `things`; `gtol` is relative; the dictionary of options stays as it is, and an unknown option is an error.

References:
    https://github.com/PlasmaControl/DESC: the names and signatures.
"""

from fieldfit.compat.desc.optimizer import Optimizer
from fieldfit.equilibrium.desc.result import DescResult

__all__ = ["DescResult", "Optimizer"]
