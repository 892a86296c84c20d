"""Differential evolution: candidates from differences between the members of a population.

With members x_i, the best one x_b, and three others x_p, x_q, x_r, a candidate for the place of x_i takes each variable
with probability CR from

    v = x_p + F (x_b - x_p) + F (x_q - x_r)                                                    ("randtobest1bin")

and the others from x_i; it takes the place if it is better. Differences of members give steps the size and shape that
the population has, so it contracts from the whole box into one basin without further settings. The algorithm is
SciPy's. A generation is one batch: all its candidates are made before any is evaluated.

F is drawn once per generation between 0.5 and 1, as in SciPy; the other defaults are not SciPy's ("best1bin", CR = 0.7,
15 members per variable) but "randtobest1bin", 0.5 and 10. A middle course: high CR keeps the correlations of a narrow
valley, which the polishing follows better; low CR suits functions that are sums over the variables. Starts solved of
20, and median evaluations until the cost was within 1e-6 of the global minimum of five variables, by
`benchmarks/global_search.py --seeds 100 120` (10 000 evaluations; the settings were chosen on other starts of the same
functions):

                         Rastrigin      Ackley       Levy
    as it is             20   6484      20   2616    20   2907
    SciPy's settings     17   7662      20   3127    20   3577

Griewank's function was solved from none of the 20: its ripples are too fine for a population in so wide a box. Use
`BasinHoppingOptimizer` there.

References:
    Storn, Price (1997), J. Glob. Optim. 11, 341, doi:10.1023/A:1008202821328.
    Price, Storn, Lampinen (2005), Differential Evolution, doi:10.1007/3-540-31306-0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.optimize

from fieldfit.errors import SettingsError
from fieldfit.optimizers.sampling import sample_starts
from fieldfit.optimizers.search_dialogue import SearchDialogue, spread
from fieldfit.registry import unknown_name
from fieldfit.typing import Matrix, Vector

DEFAULTS = {"strategy": "randtobest1bin", "mutation": (0.5, 1.0), "recombination": 0.5}
"""Options by SciPy's names."""

STRATEGIES = tuple(
    f"{kind}{crossing}"
    for kind in ("best1", "best2", "rand1", "rand2", "randtobest1", "currenttobest1")
    for crossing in ("bin", "exp")
)
"""SciPy's names of the ways to make a candidate."""

MEMBERS_PER_VARIABLE = 10
FEWEST_MEMBERS = 20

SMALLEST = 5
"""Members that a candidate needs: itself and four others."""

NO_LIMIT = 10**9
"""Generations: the budget ends a run before."""


def check_options(batch_size: int | None, options: Mapping[str, Any]) -> None:
    """Refuse options that SciPy would not take.

    Args:
        batch_size: Members of the population; None: the default.
        options: As in `DEFAULTS`.

    Raises:
        SettingsError: One has a value it cannot have.
    """
    if batch_size is not None and batch_size < SMALLEST:
        raise SettingsError(
            f"batch_size = {batch_size} is the population of differential evolution, which needs at least {SMALLEST}. "
            "Give more, or None."
        )
    if options["strategy"] not in STRATEGIES:
        raise SettingsError(unknown_name("strategy of differential evolution", str(options["strategy"]), STRATEGIES))
    mutation = np.atleast_1d(options["mutation"])
    if mutation.size > 2 or not np.all((mutation >= 0.0) & (mutation < 2.0)):
        raise SettingsError(
            f"mutation = {options['mutation']} is not in [0, 2). Give a number, or two to draw between."
        )
    if not 0.0 <= options["recombination"] <= 1.0:
        raise SettingsError(f"recombination = {options['recombination']} is a probability. Give a number in [0, 1].")


def differential_evolution(dialogue: SearchDialogue, options: Mapping[str, Any]) -> str:
    """Search between bounds until the population has contracted or the budget is spent.

    Args:
        dialogue: What to ask.
        options: As in `DEFAULTS`.

    Returns:
        Why it ended.
    """
    dialogue.tell_start()
    return evolve(dialogue, options)


def evolve(dialogue: SearchDialogue, options: Mapping[str, Any]) -> str:
    """Do the same in a run that has begun already."""
    settings = dialogue.settings
    lower, upper = dialogue.lower, dialogue.upper
    size = max(SMALLEST, settings.batch_size or max(FEWEST_MEMBERS, MEMBERS_PER_VARIABLE * lower.size))
    first = sample_starts(
        dialogue.x0, (lower, upper), size, sampling="latin-hypercube", fraction=1.0, seed=settings.seed
    )

    def costs(points: Matrix) -> Vector:
        found = dialogue.costs(points.T)
        dialogue.turn()
        return found

    def is_over(intermediate_result: Any) -> bool:
        extent = spread(intermediate_result.population, upper - lower)
        return not dialogue.n_left or extent < settings.xtol

    how: dict[str, Any] = {"init": first, "callback": is_over, "maxiter": NO_LIMIT, "tol": 0.0, "atol": 0.0, **options}
    # Costs that could not be had are infinite, and so are their differences.
    with np.errstate(over="ignore", invalid="ignore"):
        found = scipy.optimize.differential_evolution(
            costs,
            list(zip(lower, upper, strict=True)),
            rng=np.random.default_rng(settings.seed),
            vectorized=True,
            updating="deferred",
            polish=False,
            **how,
        )
    dialogue.polish(np.clip(found.x, lower, upper))
    if not dialogue.n_left:
        return dialogue.exhausted
    return f"the population has contracted to {spread(found.population, upper - lower):.1e} of the bounds"
