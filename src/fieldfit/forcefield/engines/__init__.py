"""What computes energies and their derivatives."""

from fieldfit.registry import Registry

ENGINES = Registry(
    "engine",
    {
        "jax": "fieldfit.forcefield.engines.jax:JaxEngine",
        "openmm": "fieldfit.forcefield.engines.openmm:OpenMMEngine",
        "tinker": "fieldfit.forcefield.engines.tinker:TinkerEngine",
    },
    group="fieldfit.engines",
)

__all__ = ["ENGINES"]
