"""What each method of SciPy needs, can and is called with.

One record per method of `scipy.optimize.minimize` and `scipy.optimize.least_squares`: its traits, what it calls the
tolerances, where it says that it has arrived at a point, and the names of its further options.

Bounds
------
Measured with SciPy 1.17 on bounded problems of Rosenbrock and Beale, looking at every point asked for. Nelder-Mead,
L-BFGS-B, TNC, SLSQP, trust-constr (told to stay feasible), COBYQA, trf and dogbox stay inside but for rounding. COBYLA
leaves by as much as its radius: a point outside is not evaluated, it is answered by a high value, and COBYLA ends where
it did before in about as many evaluations. Powell's own way with bounds stays inside, but it may go uphill on a line
and ended away from the minimum in two of five problems; without bounds and with the same wall it solves all five. A
simplex that is clipped at a bound may go flat, so with bounds Nelder-Mead is begun again where it ended until that
brings nothing.

Constraints
-----------
SLSQP ends when cost and step change by less than its tolerance and the constraints are met as closely. That is its only
test then: the tests of reduction between iterations, which would end it before it is feasible, are left out.

References:
    Branch, Coleman, Li (1999), trf, doi:10.1137/S1064827595289108.
    Byrd, Hribar, Nocedal (1999), trust-constr, doi:10.1137/S1052623497325107.
    Byrd, Lu, Nocedal, Zhu (1995), L-BFGS-B, doi:10.1137/0916069.
    Conn, Gould, Toint (2000), Trust Region Methods, doi:10.1137/1.9780898719857: trust-exact.
    Gould, Lucidi, Roma, Toint (1999), trust-krylov, doi:10.1137/S1052623497322735.
    Kraft (1988), SLSQP, DFVLR-FB 88-28.
    More (1978), lm, doi:10.1007/BFb0067700.
    Nash (1984), TNC, doi:10.1137/0721052.
    Nelder, Mead (1965), doi:10.1093/comjnl/7.4.308.
    Nocedal, Wright (2006), Numerical Optimization, doi:10.1007/978-0-387-40065-5: BFGS, CG, Newton-CG, dogleg,
        trust-ncg.
    Powell (1964), doi:10.1093/comjnl/7.2.155; (1994), COBYLA, doi:10.1007/978-94-015-8330-5_4.
    Ragonneau (2022), COBYQA, doi:10.48550/arXiv.2210.12018.
    Voglis, Lagaris (2004), dogbox, WSEAS Int. Conf. Applied Mathematics, Corfu.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fieldfit.problem import Traits

FIRST_RADIUS = 0.1
"""First step of the methods that build a model from values, in units of each parameter's scale."""

LIFT = 2.0**40
"""COBYQA compares changes of the cost with rounding of 1; a cost of this size lets it resolve small ones."""

INNER_LIFT = 2.0**20
"""The inner iterations of Newton-CG and trust-krylov compare curvatures along the gradient with rounding of 1; a cost
of this size lets them resolve short gradients."""


@dataclass(frozen=True)
class Method:
    """One method.

    Args:
        traits: What it needs and can.
        tolerances: "ftol", "xtol" or "gtol" to the name SciPy has for it.
        limits: Its options that limit iterations or evaluations.
        options: Its further options.
        settings: Values of its options that differ from SciPy's.
        arrives: What says that it has arrived at a point: its "callback", its question for "derivatives" there, or
            "best": it goes on from the lowest point so far.
        second: Derivatives of second order that it takes: "hess", "hessp" or none.
        tests_reduction: Whether `ftol` is tested between its iterations, because it has no such test or one that
            depends on the unit of the cost.
        passes_bounds: Whether it is told the bounds; it meets a wall there in any case.
        lift: Size of the scaled cost.
        constrained_settings: Values of its options where there are constraints.
    """

    traits: Traits
    tolerances: Mapping[str, str]
    limits: tuple[str, ...] = ("maxiter",)
    options: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    arrives: str = "callback"
    second: str = ""
    tests_reduction: bool = False
    passes_bounds: bool = True
    lift: float = 1.0
    constrained_settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def known_options(self) -> tuple[str, ...]:
        """Names of all options that may be given."""
        return (*self.limits, *self.tolerances.values(), *self.options)

    @property
    def heeds(self) -> tuple[str, ...]:
        """Which of `ftol`, `xtol` and `gtol` it heeds."""
        return (*self.tolerances, *(("ftol",) if self.tests_reduction else ()))


_VALUES = Traits(needs_gradient=False, handles_bounds=True)
_GRADIENT = Traits()
_BOUNDED_GRADIENT = Traits(handles_bounds=True)
_HESSIAN = Traits(needs_hessian=True)
_CONSTRAINED_VALUES = Traits(needs_gradient=False, handles_bounds=True, handles_constraints=True)
_CONSTRAINED_GRADIENT = Traits(handles_bounds=True, handles_constraints=True)
_SQUARES = Traits(needs_residuals=True)
_BOUNDED_SQUARES = Traits(needs_residuals=True, handles_bounds=True)

_PRINTS = ("disp", "return_all")
_REGION = ("initial_trust_radius", "max_trust_radius", "eta", *_PRINTS)
_GTOL = {"gtol": "gtol"}
_ALL = {"ftol": "ftol", "xtol": "xtol", "gtol": "gtol"}


def _trust_region(second: str, *options: str, lift: float = 1.0) -> Method:
    return Method(_HESSIAN, _GTOL, options=(*_REGION, *options), second=second, tests_reduction=True, lift=lift)


def _least_squares(traits: Traits, **others: Any) -> Method:
    options = ("x_scale", "tr_solver", "tr_options", "verbose")
    return Method(traits, _ALL, limits=("max_nfev",), options=options, settings={"x_scale": "jac"}, **others)


METHODS: Mapping[str, Method] = {
    "Nelder-Mead": Method(
        _VALUES,
        {"xtol": "xatol", "ftol": "fatol"},
        limits=("maxiter", "maxfev"),
        options=("initial_simplex", "adaptive", *_PRINTS),
        arrives="best",
    ),
    "Powell": Method(
        _VALUES,
        {"xtol": "xtol", "ftol": "ftol"},
        limits=("maxiter", "maxfev"),
        options=("direc", *_PRINTS),
        arrives="best",
        passes_bounds=False,
    ),
    "CG": Method(_GRADIENT, _GTOL, options=("norm", "c1", "c2", *_PRINTS), tests_reduction=True),
    "BFGS": Method(
        _GRADIENT, _GTOL, options=("norm", "xrtol", "c1", "c2", "hess_inv0", *_PRINTS), tests_reduction=True
    ),
    "Newton-CG": Method(
        _HESSIAN,
        {"xtol": "xtol"},
        options=("c1", "c2", *_PRINTS),
        second="hessp",
        tests_reduction=True,
        lift=INNER_LIFT,
    ),
    "L-BFGS-B": Method(
        _BOUNDED_GRADIENT,
        _GTOL,
        limits=("maxiter", "maxfun"),
        options=("maxcor", "maxls", "disp", "iprint"),
        settings={"ftol": 0.0},
        tests_reduction=True,
    ),
    "TNC": Method(
        _BOUNDED_GRADIENT,
        _GTOL,
        limits=("maxfun",),
        options=(
            *("scale", "offset", "mesg_num", "maxCGit", "eta", "stepmx", "accuracy", "minfev", "rescale", "disp"),
        ),
        settings={"ftol": 0.0, "xtol": 0.0},
        # Its callback gets a point that is scaled and back, the same only up to rounding.
        arrives="best",
        tests_reduction=True,
    ),
    "COBYLA": Method(
        _CONSTRAINED_VALUES,
        {"xtol": "tol"},
        options=("rhobeg", "catol", "f_target", "disp"),
        settings={"rhobeg": FIRST_RADIUS},
        arrives="best",
    ),
    "COBYQA": Method(
        _CONSTRAINED_VALUES,
        {"xtol": "final_tr_radius"},
        limits=("maxiter", "maxfev"),
        options=("initial_tr_radius", "feasibility_tol", "f_target", "scale", "disp"),
        settings={"initial_tr_radius": FIRST_RADIUS},
        arrives="best",
        lift=LIFT,
    ),
    # SLSQP's callback comes at the first trial of each line search; derivatives are asked for where it ends.
    "SLSQP": Method(
        _CONSTRAINED_GRADIENT,
        {},
        options=("iprint", "disp"),
        settings={"ftol": 1e-30},
        arrives="derivatives",
        tests_reduction=True,
        constrained_settings={"ftol": 1e-13},
    ),
    "trust-constr": Method(
        Traits(needs_hessian=True, handles_bounds=True, handles_constraints=True),
        {"xtol": "xtol", "gtol": "gtol"},
        options=(
            *("initial_tr_radius", "initial_constr_penalty", "initial_barrier_parameter", "initial_barrier_tolerance"),
            *("barrier_tol", "sparse_jacobian", "factorization_method", "verbose", "disp"),
        ),
        settings={"barrier_tol": 1e-12},
        second="hess",
    ),
    "dogleg": _trust_region("hess"),
    "trust-ncg": _trust_region("hessp"),
    "trust-exact": _trust_region("hess", "subproblem_maxiter"),
    "trust-krylov": _trust_region("hessp", "inexact", lift=INNER_LIFT),
    "least_squares": _least_squares(_BOUNDED_SQUARES),
    "trf": _least_squares(_BOUNDED_SQUARES),
    "dogbox": _least_squares(_BOUNDED_SQUARES),
    # MINPACK has no callback and differentiates only where it has arrived.
    "lm": _least_squares(_SQUARES, arrives="derivatives"),
}
"""Name to method; "least_squares" is another name of "trf"."""
