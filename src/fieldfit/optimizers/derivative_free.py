"""Searches without derivatives, and a local optimizer that finishes what they begin.

    differential-evolution   a population between bounds (SciPy)             module `differential_evolution`
    cma-es                   a distribution, restarted (cmaes)               module `cma_es`
    cobyqa, bobyqa, dfo-ls   models of the values; local                     module `model_based`
    nevergrad:NAME           any optimizer of nevergrad, by its name         module `nevergrad_search`

A population finds the right basin in thousands of evaluations and then needs thousands more for its bottom, which a
local optimizer reaches in ten. So a population stops once it lies in one basin (`xtol`), and where there are exact
derivatives a local optimizer polishes the best point.

Which libraries, in 2025: SciPy (BSD) is there anyway. cmaes 0.13 (MIT, pure Python, maintained) is the extra "cma-es".
Py-BOBYQA 1.5 and DFO-LS 1.6 (maintained by NAG) are under the GPL: extras "bobyqa" and "dfo-ls". nevergrad 1.0.12 (MIT)
lags behind NumPy: extra "nevergrad". All come as pure Python wheels.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from fieldfit.errors import SettingsError
from fieldfit.objectives import Evaluation
from fieldfit.optimizers import cma_es, differential_evolution, model_based, nevergrad_search, scipy_methods
from fieldfit.optimizers.local import choose_local
from fieldfit.optimizers.sampling import draw_seed
from fieldfit.optimizers.scipy import ScipyOptimizer
from fieldfit.optimizers.search_dialogue import SearchDialogue, SearchSettings
from fieldfit.problem import AbstractOptimizer, DerivativeOptions, Outcome, Recorder, Traits
from fieldfit.registry import unknown_name

CONTRACTED = 1e-3
"""Extent of a population, in units of the box, that lies in one basin."""

PRECISE = 1e-8
"""Extent at which a search ends that nothing follows."""


@dataclass(frozen=True)
class Method:
    """A method of derivative-free search.

    Args:
        traits: What it needs and can.
        search: The search.
        options: Its options with their defaults.
        check: Refuses options and batch sizes that it cannot take.
    """

    traits: Traits
    search: Callable[[SearchDialogue, Mapping[str, Any]], str]
    options: Mapping[str, Any] = field(default_factory=dict)
    check: Callable[[int | None, Mapping[str, Any]], None] = lambda batch_size, options: None


_POPULATION = Traits(
    needs_gradient=False,
    needs_finite_start=False,
    handles_bounds=True,
    is_global=True,
    is_stochastic=True,
    is_parallel=True,
)
_MODEL = Traits(needs_gradient=False, handles_bounds=True)


def _check_cobyqa(batch_size: int | None, options: Mapping[str, Any]) -> None:
    ScipyOptimizer("COBYQA", options=options)


METHODS: Mapping[str, Method] = {
    "differential-evolution": Method(
        replace(_POPULATION, needs_bounds=True),
        differential_evolution.differential_evolution,
        differential_evolution.DEFAULTS,
        differential_evolution.check_options,
    ),
    "cma-es": Method(_POPULATION, cma_es.cma_es, cma_es.DEFAULTS, cma_es.check_options),
    "cobyqa": Method(_MODEL, model_based.cobyqa, check=_check_cobyqa),
    "bobyqa": Method(_MODEL, model_based.bobyqa, model_based.DEFAULTS),
    "dfo-ls": Method(replace(_MODEL, needs_residuals=True), model_based.dfo_ls, model_based.DEFAULTS),
}
"""Name to method; those of nevergrad are not listed, see `find_method`."""

ELSEWHERE = {
    "lbfgs": 'JaxOptimizer("lbfgs")',
    "lbfgsb": 'JaxOptimizer("lbfgsb")',
    "adam": 'OptaxOptimizer("adam")',
    "sgd": 'OptaxOptimizer("sgd")',
    "dual_annealing": "BasinHoppingOptimizer()",
    "basinhopping": "BasinHoppingOptimizer()",
    "basin-hopping": "BasinHoppingOptimizer()",
    **{name.lower(): f'ScipyOptimizer("{name}")' for name in scipy_methods.METHODS if name != "COBYQA"},
}
"""Methods that people look for here, in small letters, and where they are."""


def find_method(name: str) -> Method:
    """Return the method of a name.

    Args:
        name: One of `METHODS`, or "nevergrad:" and the name of an optimizer of nevergrad.

    Raises:
        SettingsError: No method has that name, or nevergrad is asked for and not installed.
    """
    if name in METHODS:
        return METHODS[name]
    if name.startswith(nevergrad_search.PREFIX):
        optimizer = name.removeprefix(nevergrad_search.PREFIX)
        search = functools.partial(nevergrad_search.nevergrad_search, name=optimizer)
        return Method(replace(_POPULATION, needs_bounds=True), search, nevergrad_search.DEFAULTS)
    if name.lower() in ELSEWHERE:
        raise SettingsError(
            f"{name!r} is not a method of DerivativeFreeOptimizer. Use {ELSEWHERE[name.lower()]}, or one of "
            f"{', '.join(METHODS)}."
        )
    known = [*METHODS, f"{nevergrad_search.PREFIX}DE"]
    raise SettingsError(unknown_name("method of DerivativeFreeOptimizer", name, known))


@dataclass(frozen=True)
class DerivativeFreeOptimizer(AbstractOptimizer):
    """A search by values only, polished by a local optimizer where there are derivatives.

    Args:
        method: "differential-evolution" (global, needs bounds), "cma-es" (global), "cobyqa", "bobyqa" (local),
            "dfo-ls" (local, for residuals), or "nevergrad:" and the name of one of its optimizers.
        budget: Most evaluations in all, the start and the polishing among them. Evaluations for differences, if
            `polish` takes any, are counted apart, as everywhere.
        batch_size: Candidates per turn, evaluated together over an executor; None: ten per variable for differential
            evolution, 4 (4 + 3 ln n) in the first descent of CMA-ES, ten for nevergrad.
        seed: Of the random numbers; None: a fresh one, named in the result. The same seed gives the same bits, over
            any number of workers.
        polish: What runs from the end of the search, and of each descent of CMA-ES: an optimizer, None for nothing, or
            "auto": after a global search least squares for residuals and L-BFGS-B for a scalar, if they have exact
            derivatives.
        xtol: Extent at which the search ends: standard deviation of a population in units of the distance between
            bounds, trust region of a model in scaled variables. None: 0.001 if something polishes it, else 1e-8.
        options: Further options of the method: "strategy", "mutation", "recombination" (differential evolution),
            "sigma" (CMA-ES), "rhobeg", "npt", "user_params" (BOBYQA, DFO-LS), those of SciPy (COBYQA), "ask_seconds"
            (nevergrad).

    Raises:
        SettingsError: No method or option has that name, or an option has a value it cannot have.

    Example:
        >>> import jax.numpy as jnp
        >>> import fieldfit
        >>> from fieldfit.optimizers.derivative_free import DerivativeFreeOptimizer
        >>> rastrigin = lambda p: jnp.sum(10.0 + p["x"] ** 2 - 10.0 * jnp.cos(2.0 * jnp.pi * p["x"]))
        >>> x = fieldfit.Parameter("x", [2.3, -3.9], lower=-5.12, upper=4.12)
        >>> result = DerivativeFreeOptimizer(seed=0).optimize(fieldfit.ScalarObjective(rastrigin, [x]))
        >>> bool(abs(result.x["x"]).max() < 1e-6), result.seed
        (True, 0)
    """

    method: str = "differential-evolution"
    budget: int = 10_000
    batch_size: int | None = None
    seed: int | None = None
    polish: AbstractOptimizer | Literal["auto"] | None = "auto"
    xtol: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        method = find_method(self.method)
        if self.method.startswith(nevergrad_search.PREFIX):
            nevergrad_search.check_name(self.method)
        for name in ("budget", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise SettingsError(f"{name} = {value} leaves nothing to evaluate. Give at least 1.")
        if not (self.polish is None or self.polish == "auto" or isinstance(self.polish, AbstractOptimizer)):
            raise SettingsError(f'polish = {self.polish!r} is no optimizer. Give an optimizer object, "auto" or None.')
        if self.xtol is not None and not 0.0 < self.xtol < 1.0:
            raise SettingsError(f"xtol = {self.xtol} is not between 0 and 1. Give a small number, or None.")
        if method.options:
            for name in self.options:
                if name not in method.options:
                    raise SettingsError(unknown_name(f"option of {self.method}", name, method.options))
        method.check(self.batch_size, {**method.options, **self.options})

    @property
    def name(self) -> str:
        return f"derivative-free:{self.method}"

    @property
    def traits(self) -> Traits:
        traits = find_method(self.method).traits
        if not isinstance(self.polish, AbstractOptimizer):
            return traits
        inner = self.polish.traits
        return replace(
            traits,
            needs_residuals=traits.needs_residuals or inner.needs_residuals,
            needs_tracing=inner.needs_tracing,
            needs_bounds=traits.needs_bounds or inner.needs_bounds,
            handles_bounds=inner.handles_bounds,
        )

    @property
    def derivative_options(self) -> DerivativeOptions:
        return self.polish.derivative_options if isinstance(self.polish, AbstractOptimizer) else DerivativeOptions()

    def run(self, problem: Recorder, start: Evaluation) -> Outcome:
        method = find_method(self.method)
        settings = self._settings(problem, method)
        dialogue = SearchDialogue(problem, start, settings)
        message = method.search(dialogue, {**method.options, **self.options})
        seed = settings.seed if method.traits.is_stochastic else None
        return Outcome(message, max(0, dialogue.n_told - 1), tuple(dialogue.runs), seed=seed)

    def _settings(self, problem: Recorder, method: Method) -> SearchSettings:
        polish = _default_polish(problem, method) if self.polish == "auto" else self.polish
        xtol = self.xtol or (PRECISE if polish is None else CONTRACTED)
        return SearchSettings(self.budget, self.batch_size, draw_seed(self.seed), polish, xtol)


def _default_polish(problem: Recorder, method: Method) -> AbstractOptimizer | None:
    """Return the local optimizer that suits the problem if it has exact derivatives; none after a local search."""
    is_exact = problem.has_derivatives and not problem.is_noisy
    return choose_local(problem).optimizer if is_exact and method.traits.is_global else None
