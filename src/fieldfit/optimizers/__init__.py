"""Ways to make an objective smaller, one algorithm family per file."""

from fieldfit.registry import Registry

OPTIMIZERS = Registry(
    "optimizer",
    {
        "least-squares": "fieldfit.optimizers.least_squares:LeastSquaresOptimizer",
        "multi-start": "fieldfit.optimizers.multistart:MultiStartOptimizer",
        "scipy": "fieldfit.optimizers.scipy:ScipyOptimizer",
    },
    group="fieldfit.optimizers",
)

__all__ = ["OPTIMIZERS"]
