"""Force balance, its derivatives and its solutions."""

import numpy as np
import pytest
import solovev
from cases import torus

import fieldfit
from fieldfit.equilibrium import (
    Equilibrium,
    ForceBalance,
    Grid,
    PowerSeries,
    Resolution,
    boundary_constraints,
    fixed_boundary_problem,
    force_error,
    product_grid,
    solve,
)
from fieldfit.equilibrium.field import force, force_density, magnetic_field
from fieldfit.equilibrium.tables import by_quantity, mode_table, node_tables, node_values
from fieldfit.errors import SettingsError


@pytest.mark.parametrize(("resolution", "tolerance"), [(6, 2e-5), (8, 3e-7), (12, 2e-10)])
def test_surfaces_are_those_of_solovev(resolution, tolerance):
    solved, _ = solve(solovev.start(resolution))
    assert solovev.surface_error(solved) < tolerance


@pytest.mark.parametrize("resolution", [4, 6])
def test_a_solve_ends_as_a_success(resolution):
    _, result = solve(solovev.start(resolution))
    assert result.success
    assert result.improvement > 0.999


def test_force_of_the_exact_surfaces_vanishes_with_resolution():
    errors = [np.max(force_error(exact_equilibrium(L), 0.5, np.linspace(0.0, np.pi, 9))) for L in (6, 10, 14)]
    assert errors[0] > 30.0 * errors[1] > 900.0 * errors[2]


def exact_equilibrium(resolution):
    """Return the exact solution, projected on the modes by least squares on points."""
    start = solovev.start(resolution)
    rho, t = (np.ravel(part) for part in np.meshgrid(np.linspace(0.02, 1.0, 40), np.linspace(0.01, 3.13, 60)))
    c = solovev.labels(rho)
    R, Z = solovev.surface(c, t)
    modes = start.mode_numbers
    # psi' (1 + lambda_t) = sqrt g B^zeta with B^zeta = F0 / R^2 and sqrt g = c c' / (kappa R): proportional to R^-3.
    stretch = R**-3.0 / np.array([np.mean(solovev.surface(value, solovev.ANGLES)[0] ** -3.0) for value in c])

    def fitted(name, values, suffix=""):
        return np.linalg.lstsq(mode_table(modes[name], rho, t, suffix), values, rcond=None)[0]

    return start.with_params(
        {"R_lmn": fitted("R_lmn", R), "Z_lmn": fitted("Z_lmn", Z), "L_lmn": fitted("L_lmn", stretch - 1.0, "_t")}
    )


def test_derivatives_equal_differences_with_respect_to_everything():
    start = perturbed(torus(5))
    parameters = start.parameters.free("*")
    objective = ForceBalance(start).for_parameters(parameters)
    x = parameters.flat
    found = objective.evaluate(x, None, derivatives=True)
    assert found.columns.tolist() == list(range(start.dim_x))
    for column in range(x.size):
        step = 1e-6 * max(1.0, abs(x[column])) * (np.arange(x.size) == column)
        ahead, behind = (objective.evaluate(x + sign * step, None, derivatives=False).residuals for sign in (1.0, -1.0))
        difference = (ahead - behind) / (2.0 * step[column])
        # Truncation h^2 and rounding eps / h, both relative to the largest residual derivatives.
        np.testing.assert_allclose(
            found.jacobian[:, column], difference, rtol=1e-6, atol=1e-8 * np.abs(found.jacobian).max()
        )


def test_traced_residuals_equal_evaluated_ones():
    import jax

    objective = ForceBalance(perturbed(torus(4)))
    values = objective.parameters.flat
    with jax.enable_x64(True):
        traced = np.asarray(jax.jit(objective.traced)(values))
    np.testing.assert_allclose(traced, objective.evaluate(values, None, derivatives=False).residuals, rtol=1e-12)


def test_fixed_parameters_have_no_columns():
    objective = ForceBalance(torus(4)).for_parameters(torus(4).parameters.fix("L_lmn"))
    found = objective.evaluate(objective.parameters.flat, None, derivatives=True)
    sizes = torus(4).dimensions
    assert found.jacobian.shape[1] == sizes["R_lmn"] + sizes["Z_lmn"]


def test_boundary_modes_change_the_force_only_through_the_surfaces_inside():
    start = torus(4)
    objective = ForceBalance(start).for_parameters(start.parameters.free("Rb_lmn"))
    found = objective.evaluate(objective.parameters.flat, None, derivatives=True)
    places = np.isin(found.columns, start.x_idx["Rb_lmn"])
    assert np.count_nonzero(places) == 5
    assert not np.any(found.jacobian[:, places])


def test_force_scales_with_pressure_and_field_squared():
    # J x B and grad p both grow by four if the field doubles and the pressure grows by four; so does the unit f0.
    base = perturbed(torus(4))
    scaled = base.with_params({"Psi": 2.0 * base.Psi, "p_l": 4.0 * base.params_dict["p_l"]})
    first, second = (ForceBalance(case) for case in (base, scaled))
    np.testing.assert_allclose(
        second.evaluate(second.parameters.flat, None, derivatives=False).residuals,
        first.evaluate(first.parameters.flat, None, derivatives=False).residuals,
        rtol=1e-10,
        atol=1e-14,
    )


def test_force_is_that_of_a_straight_screw_pinch_at_large_aspect_ratio():
    # Circular surfaces r = a rho far from the symmetry axis: B_z constant in rho, B_theta = iota r B_z / R, so that
    # J_z = 2 iota B_z / (mu0 R) and the radial force is -J_z B_theta - p', closed form of a cylinder.
    R, a, iota, pressure = 1e4, 1.0, 0.5, PowerSeries([100.0, -100.0], [0, 2])
    cylinder = Equilibrium.from_boundary(
        2, Rb={0: R, 1: a}, Zb={-1: -a}, Psi=np.pi * a**2, pressure=pressure, iota=PowerSeries([iota * R])
    )
    rho = 0.6
    B_theta, J = iota * a * rho, 2.0 * iota / solovev.MU0
    expected = abs(J * B_theta - 2.0 * 100.0 * rho / a)
    found = force_error(cylinder, rho, np.array([0.0, 1.0, 2.0]))
    # What is left out is of the order a / R.
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_size_of_the_force_equals_that_from_both_components_where_they_are_orthogonal():
    # On circular concentric surfaces grad rho . grad theta = 0.
    q = circular_quantities()
    radial, helical = force(q)
    sqrt_g = q["R"] * (q["R_t"] * q["Z_r"] - q["R_r"] * q["Z_t"])
    np.testing.assert_allclose(force_density(q), np.hypot(radial, helical) / np.abs(sqrt_g), rtol=1e-12)


def test_size_of_the_force_is_that_of_its_covariant_components():
    # (J x B)_i = sqrt g eps_ijk J^j B^k with B^r = 0, and |F|^2 = g^ij F_i F_j with the inverse of the metric.
    case = perturbed(torus(4, shape=0.1))
    rho, theta = np.full(5, 0.6), np.linspace(0.3, 2.5, 5)
    grid = Grid(rho, theta, np.ones(5))
    tables = node_tables(grid, case.mode_numbers, pressure=case.pressure, iota=case.iota)
    q = by_quantity(node_values(tables, case.params_dict))
    field = magnetic_field(q)
    radial, helical = force(q)
    area = field.sqrt_g / q["R"]
    # Back from lengths times the Jacobian to F_r and sqrt g J^r.
    F_r = radial / (q["R"] * np.sqrt(field.g_tt))
    gradient = np.sqrt((field.B_sup_z**2 * (q["R_r"] ** 2 + q["Z_r"] ** 2)) / area**2 + (field.B_sup_t / q["R"]) ** 2)
    current = helical / (gradient * np.abs(field.sqrt_g))
    covariant = np.stack([F_r, -current * field.B_sup_z, current * field.B_sup_t], axis=1)
    for node in range(5):
        tangents = np.array([[q["R_r"][node], q["Z_r"][node], 0.0], [q["R_t"][node], q["Z_t"][node], 0.0]])
        tangents = np.vstack([tangents, [0.0, 0.0, q["R"][node]]])
        inverse = np.linalg.inv(tangents @ tangents.T)
        expected = np.sqrt(covariant[node] @ inverse @ covariant[node])
        assert force_density(q)[node] == pytest.approx(expected, rel=1e-10)


def circular_quantities():
    start = torus(4)
    tables = node_tables(product_grid(5, 6), start.mode_numbers, pressure=start.pressure, iota=start.iota)
    return by_quantity(node_values(tables, start.params_dict))


def test_boundary_stays_exactly_where_it_is():
    start = torus(4, shape=0.1)
    solved, _ = solve(start)
    for condition in boundary_constraints(solved):
        matrix = condition.condition(solved.parameters).matrix
        np.testing.assert_allclose(matrix @ solved.parameters.flat, 0.0, atol=1e-13)
    np.testing.assert_array_equal(solved.Rb_lmn, start.Rb_lmn)


def test_same_problem_twice_gives_the_same_bits():
    first, second = (solve(torus(4, shape=0.1))[0].params_dict for _ in range(2))
    for name, values in first.items():
        np.testing.assert_array_equal(values, second[name])


def test_a_solution_is_a_warm_start_that_needs_hardly_a_step():
    solved, result = solve(torus(4, shape=0.1))
    again, second = solve(solved)
    assert second.n_iterations < 4 < result.n_iterations
    np.testing.assert_allclose(again.R_lmn, solved.R_lmn, atol=1e-6)


def test_continuation_ends_at_a_cost_no_worse_than_twice_the_direct_one():
    direct, continued = (solve(torus(6, shape=0.1), continuation=steps)[1].cost for steps in ((), (4,)))
    assert continued < 2.0 * direct


def test_numbers_of_free_variables_are_those_of_the_specification():
    found = [fixed_boundary_problem(torus(L)).vector().x0.size for L in (6, 8, 12)]
    assert found == [27, 48, 108]


def test_any_optimizer_of_the_core_takes_the_problem():
    problem = fixed_boundary_problem(torus(3))
    ours, scipy = fieldfit.LeastSquaresOptimizer(), fieldfit.ScipyOptimizer("trf", ftol=1e-12)
    assert ours.optimize(problem).cost == pytest.approx(scipy.optimize(problem).cost, rel=1e-3)


def test_an_equilibrium_without_flux_is_refused():
    with pytest.raises(SettingsError, match=r"units of 0\.0 N"):
        ForceBalance(torus(3).with_params({"Psi": 0.0}))


def test_resolutions_of_degree_and_angle_differ_where_wanted():
    assert solve(torus(Resolution(6, 3)))[1].success


def perturbed(equilibrium):
    """Return surfaces moved by what a generator says, boundary and all."""
    rng = np.random.default_rng(7)
    moved = {
        name: equilibrium.params_dict[name] + 0.01 * rng.normal(size=equilibrium.dimensions[name])
        for name in ("R_lmn", "Z_lmn", "L_lmn")
    }
    return equilibrium.with_params(moved)
