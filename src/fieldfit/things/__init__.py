"""Objects that own parameters, and terms over them: what should be small, and what must hold."""

from fieldfit.things.collection import Things
from fieldfit.things.held import HeldTerm
from fieldfit.things.spectral import SpectralScale
from fieldfit.things.term import Term, TermObjective
from fieldfit.things.terms import bind_constraints, bind_objective, bound_terms
from fieldfit.things.thing import (
    BoundedThing,
    NamedThing,
    SpectralThing,
    Thing,
    dim_x,
    dimensions,
    pack,
    unpack,
    x_idx,
)

__all__ = [
    "BoundedThing",
    "HeldTerm",
    "NamedThing",
    "SpectralScale",
    "SpectralThing",
    "Term",
    "TermObjective",
    "Thing",
    "Things",
    "bind_constraints",
    "bind_objective",
    "bound_terms",
    "dim_x",
    "dimensions",
    "pack",
    "unpack",
    "x_idx",
]
