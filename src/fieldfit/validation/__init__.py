"""How far a fit can be trusted: resampled observations, groups left out, and how strong a prior should be."""

from fieldfit.validation.bootstrap import Bootstrap, Interval, bootstrap
from fieldfit.validation.l_curve import LCurve, LCurvePoint, l_curve
from fieldfit.validation.leave_one_out import LeaveOneOut, LeftOut, leave_one_out
from fieldfit.validation.reweighted import ReweightedObjective, count_residuals

__all__ = [
    "Bootstrap",
    "Interval",
    "LCurve",
    "LCurvePoint",
    "LeaveOneOut",
    "LeftOut",
    "ReweightedObjective",
    "bootstrap",
    "count_residuals",
    "l_curve",
    "leave_one_out",
]
