"""Ways to make an objective smaller, one algorithm family per file."""

from fieldfit.registry import Registry

OPTIMIZERS = Registry(
    "optimizer",
    {
        "least-squares": "fieldfit.optimizers.least_squares:LeastSquaresOptimizer",
        "scipy": "fieldfit.optimizers.scipy:ScipyOptimizer",
        "trust-region": "fieldfit.optimizers.scalar_trust_region:TrustRegionOptimizer",
        "jax": "fieldfit.optimizers.in_graph:JaxOptimizer",
        "optax": "fieldfit.optimizers.first_order:OptaxOptimizer",
        "derivative-free": "fieldfit.optimizers.derivative_free:DerivativeFreeOptimizer",
        "multi-start": "fieldfit.optimizers.multistart:MultiStartOptimizer",
        "basin-hopping": "fieldfit.optimizers.basin_hopping:BasinHoppingOptimizer",
        "augmented-lagrangian": "fieldfit.optimizers.augmented_lagrangian:AugmentedLagrangianOptimizer",
        "fallback": "fieldfit.optimizers.fallback:FallbackOptimizer",
        "cycling": "fieldfit.optimizers.cycling:CyclingOptimizer",
    },
    group="fieldfit.optimizers",
)

__all__ = ["OPTIMIZERS"]
