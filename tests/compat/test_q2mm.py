import inspect
import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose

import fieldfit
from fieldfit import Problem
from fieldfit.compat import q2mm
from fieldfit.errors import SettingsError
from fieldfit.optimizers import OPTIMIZERS
from toys import Watched, rosenbrock

SIGNATURES = {
    "ScipyOptimizer": (
        'method="L-BFGS-B", maxiter=500, ftol=1e-8, eps=1e-3, use_bounds=True, verbose=True, jac=None, '
        "divergence_factor=3.0, divergence_patience=5, ratio_tol=0.15, options=None"
    ),
    "BasinHoppingOptimizer": (
        'niter=50, T=0.02, stepsize=1.0, local_method="L-BFGS-B", local_maxiter=200, jac="auto", seed=None, '
        "verbose=True"
    ),
    "JaxOptOptimizer": 'method="lbfgs", maxiter=200',
    "ObjectiveFunction": "forcefield, engine, molecules, reference, regularization=0.0, reference_params=None",
    "estimate_force_constants": 'molecules, forcefield=None, method="qfuerza"',
    "MultiStartOptimizer": "optimizer, n_starts=10, perturbation_pct=0.1, seed=None",
    "OptimizationLoop": (
        'objective, max_params=3, max_cycles=10, convergence=0.01, full_method="L-BFGS-B", '
        'simp_method="Nelder-Mead", full_maxiter=200, simp_maxiter=200, sensitivity_metric="simp_var", '
        "full_jac=None, verbose=True"
    ),
}


def needs(*names):
    missing = [name for name in names if name not in OPTIMIZERS]
    return pytest.mark.skipif(bool(missing), reason=f"not in the table yet: {', '.join(missing)}")


@pytest.mark.parametrize("name", SIGNATURES)
def test_signature_is_that_of_the_specification(name):
    found = inspect.signature(getattr(q2mm, name)).parameters
    for position, argument in enumerate(SIGNATURES[name].split(", ")):
        label, _, default = argument.partition("=")
        assert list(found)[position] == label
        assert found[label].default == (eval(default) if default else inspect.Parameter.empty)


def test_differences_are_taken_unless_derivatives_are_asked_for(capsys):
    exact, differences = (
        q2mm.ScipyOptimizer(jac=jac, verbose=False).optimize(rosenbrock()) for jac in ("analytical", None)
    )
    assert exact.jac_mode == {"residuals": "exact"}
    assert differences.jac_mode == {"residuals": "forward differences"}
    assert exact.final_score < 1e-6
    assert capsys.readouterr().out == ""


def test_a_verbose_optimizer_prints_its_steps(capsys):
    q2mm.ScipyOptimizer(jac="auto").optimize(rosenbrock())
    assert "score" in capsys.readouterr().out


def test_bounds_hold_or_are_freed():
    def run(**options):
        watched = Watched(rosenbrock(lower=(-2.0, -0.5), upper=(0.5, 2.0)))
        q2mm.ScipyOptimizer(jac="auto", verbose=False, **options).optimize(Problem(watched))
        return np.max(np.array(watched.seen)[:, 0])

    assert run() <= 0.5
    assert run(use_bounds=False) == pytest.approx(1.0, abs=0.05)


def test_bounds_that_a_method_cannot_take_are_refused():
    bounded = rosenbrock(lower=(-2.0, -0.5), upper=(0.5, 2.0))
    with pytest.raises(SettingsError, match="no bounds"):
        q2mm.ScipyOptimizer("BFGS", jac="auto", verbose=False).optimize(bounded)
    assert q2mm.ScipyOptimizer("BFGS", jac="auto", use_bounds=False, verbose=False).optimize(bounded).success


@pytest.mark.parametrize("method", ["Nelder-Mead", "Powell", "trust-constr", "least_squares"])
def test_other_methods_of_scipy(method):
    result = q2mm.ScipyOptimizer(method, jac="auto", verbose=False).optimize(rosenbrock())
    assert_allclose([result.x["x"], result.x["y"]], [1.0, 1.0], rtol=1e-2)


def test_options_are_checked_when_they_are_given():
    with pytest.raises(SettingsError, match="Did you mean 'L-BFGS-B'"):
        q2mm.ScipyOptimizer("LBFGSB")
    with pytest.raises(SettingsError, match="No optimizer"):
        q2mm.OptimizationLoop(rosenbrock(), full_method="multi:nonsense")


def test_several_starts_of_a_front():
    inner = q2mm.ScipyOptimizer(jac="auto", use_bounds=False)
    optimizer = q2mm.MultiStartOptimizer(inner, n_starts=3, seed=1, verbose=False)
    assert not q2mm.keeps_bounds(optimizer)
    result = optimizer.optimize(rosenbrock())
    assert len(result.runs) == 3
    assert result.final_score < 1e-6
    assert q2mm.keeps_bounds(q2mm.MultiStartOptimizer(fieldfit.LeastSquaresOptimizer()))


@needs("jax")
def test_jaxopt_stands_for_the_compiled_program():
    assert q2mm.JaxOptOptimizer().native.name == "jax-lbfgs"


@needs("optax")
def test_optax():
    pytest.importorskip("optax")
    native = q2mm.OptaxOptimizer("sgd", max_steps=7, ftol=1e-3).native
    assert (native.method, native.max_steps, native.min_improvement) == ("sgd", 7, 1e-3)


@needs("basin-hopping")
def test_basin_hopping():
    optimizer = q2mm.BasinHoppingOptimizer(niter=3, seed=1, verbose=False)
    assert optimizer.optimize(rosenbrock()).final_score < 1e-6


@pytest.mark.parametrize("full_method", ["L-BFGS-B", "least-squares", "multi:L-BFGS-B"])
def test_loop_solves_a_known_problem(full_method):
    loop = q2mm.OptimizationLoop(rosenbrock(), full_method=full_method, full_jac="auto", max_cycles=2, verbose=False)
    result = loop.run()
    assert_allclose([result.x["x"], result.x["y"]], [1.0, 1.0], rtol=1e-3)
    assert 1 <= len(result.cycle_scores) <= 2
    assert result.cycle_scores[-1] == result.final_score


@needs("jax", "optax", "basin-hopping")
@pytest.mark.parametrize("full_method", ["jaxopt:lbfgs", "optax:adam", "basinhopping:L-BFGS-B"])
def test_loop_takes_every_family(full_method):
    if "optax" in full_method:
        pytest.importorskip("optax")
    loop = q2mm.OptimizationLoop(rosenbrock(), full_method=full_method, full_maxiter=17)
    full = loop.native.full
    innermost = getattr(full, "optimizer", None) or full
    assert 17 in (getattr(innermost, "maxiter", None), getattr(innermost, "max_steps", None))


def test_what_jax_cannot_trace_runs_outside_of_the_graph_with_the_same_limit():
    plain = fieldfit.FunctionObjective(lambda p: p["x"] - 3.0, {"x": 1.0}, derivatives="differences")
    traced = fieldfit.FunctionObjective(lambda p: p["x"] - 3.0, {"x": 1.0})
    assert (plain.traits.is_traceable, traced.traits.is_traceable) == (False, True)
    for method, name in (("lbfgs", "scipy-L-BFGS-B"), ("lm", "least-squares")):
        optimizer = q2mm.JaxOptOptimizer(method, maxiter=9, verbose=False)
        assert optimizer.native_for(Problem(plain)).name == name
        assert optimizer.native_for(Problem(plain)).maxiter == 9
        assert optimizer.native_for(Problem(traced)).name == f"jax-{method}"
        assert optimizer.optimize(plain).method == name
        several = q2mm.MultiStartOptimizer(optimizer, n_starts=2)
        assert several.native_for(Problem(plain)).optimizer.name == name
        assert q2mm.OptimizationLoop(plain, full_method=f"jaxopt:{method}").native.full.name == name
    with pytest.raises(SettingsError, match="No method of JaxOptimizer"):
        q2mm.OptimizationLoop(plain, full_method="jaxopt:nonsense")


def test_limits_are_those_of_the_innermost_optimizer():
    loop = q2mm.OptimizationLoop(rosenbrock(), full_method="multi:L-BFGS-B", full_maxiter=17, simp_maxiter=19)
    assert loop.native.full.optimizer.maxiter == 17
    assert loop.native.full.optimizer.jac is None
    assert loop.native.partial.maxiter == 19


def test_fronts_survive_pickling():
    optimizer = q2mm.MultiStartOptimizer(q2mm.ScipyOptimizer())
    assert pickle.loads(pickle.dumps(optimizer)) == optimizer


def test_sensitivity_is_that_of_the_library():
    assert q2mm.compute_sensitivity is fieldfit.compute_sensitivity
    assert q2mm.compute_sensitivity(rosenbrock(), "abs_d1").metric == "abs_d1"
