"""DESC's objects under the optimizers of this library, and these inside DESC.

The only package that imports `desc`, which it does when something of it is used. DESC needs a JAX older than the newest
and therefore an environment of its own, the extra `desc`.
"""

from __future__ import annotations

from fieldfit.equilibrium.desc.convert import from_desc, to_desc
from fieldfit.equilibrium.desc.objective import DescObjective
from fieldfit.equilibrium.desc.optimizer import DescOptimizer
from fieldfit.equilibrium.desc.registration import register_with_desc
from fieldfit.equilibrium.desc.result import DescResult
from fieldfit.equilibrium.desc.things import DescThing

__all__ = [
    "DescObjective",
    "DescOptimizer",
    "DescResult",
    "DescThing",
    "from_desc",
    "register_with_desc",
    "to_desc",
]
