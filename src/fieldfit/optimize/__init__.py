"""Things in, better things out: things, terms and constraints put together with projections and optimizers."""

from fieldfit.optimize.facade import Optimizer
from fieldfit.optimize.names import optimizer_names, register_optimizer
from fieldfit.optimize.result import ThingsResult
from fieldfit.optimize.values import ObjectiveValue, Snapshot

__all__ = ["ObjectiveValue", "Optimizer", "Snapshot", "ThingsResult", "optimizer_names", "register_optimizer"]
