"""Time the Hessian and the Jacobian of the diagonal eigenmatrix against whole-molecule automatic differentiation.

    python benchmarks/hessian.py [--carbons 20]

The molecule is an all-anti alkane of standard bond lengths, made here. Both sides get the same energy function,
parameters and geometry, are compiled first, and are timed in the same run; the ratio is what counts, because machines
differ.
"""

from __future__ import annotations

import argparse
import statistics
import time

import jax
import numpy as np

from fieldfit.forcefield import QMRecord, build_force_field, perceive
from fieldfit.forcefield.elements import isotope_mass
from fieldfit.forcefield.engines import jax as engine
from fieldfit.forcefield.engines.fixed_geometry import FixedGeometry
from fieldfit.forcefield.vibrations import normal_modes
from fieldfit.reporting.calibration import calibrate

TETRAHEDRAL = np.arccos(-1.0 / 3.0)


def alkane(carbons):
    """Return an all-anti alkane: C-C 1.53 A, C-H 1.09 A, tetrahedral angles."""
    half = 0.5 * TETRAHEDRAL
    zigzag = [(1.53 * np.sin(half) * i, 1.53 * np.cos(half) * (i % 2), 0.0) for i in range(carbons)]
    symbols, points = ["C"] * carbons, [np.array(point) for point in zigzag]
    chain = np.array(zigzag)
    for i, here in enumerate(chain):
        side = 1.0 if i % 2 else -1.0
        across, out = np.array([0.0, side * np.cos(half), 0.0]), np.array([0.0, 0.0, np.sin(half)])
        hydrogens = [across + out, across - out]
        if i in (0, carbons - 1):
            along = np.array([-1.0 if i == 0 else 1.0, 0.0, 0.0])
            hydrogens.append(along * np.sin(half) - np.array([0.0, side * np.cos(half), 0.0]))
        points += [here + 1.09 * direction for direction in hydrogens]
        symbols += ["H"] * len(hydrogens)
    masses = np.array([isotope_mass(symbol) for symbol in symbols])
    return QMRecord(f"C{carbons} alkane", tuple(symbols), np.array(points), masses)


def seconds(function, *, least=5, duration=0.5):
    """Return the median time of a call [s]."""
    function()
    times = []
    while len(times) < least or sum(times) < duration:
        begin = time.perf_counter()
        jax.block_until_ready(function())
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def whole_molecule(system, x, directions):
    """Return functions for the Hessian and the diagonal eigenmatrix's Jacobian by AD of the total energy."""
    raw = engine._energy.__wrapped__.__wrapped__
    padding = system._padding

    def energy(flat, p):
        atoms = jax.numpy.concatenate([flat.reshape(-1, 3), padding])
        return raw(system._groups, atoms, jax.numpy.concatenate([p, np.ones(system._n_padded - len(p))]))

    hessian = jax.jit(jax.hessian(energy))

    def diagonal(p):
        return jax.numpy.einsum("im,ij,jm->m", directions, jax.hessian(energy)(x.ravel(), p), directions)

    return lambda p: hessian(x.ravel(), p), jax.jit(jax.jacfwd(diagonal))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--carbons", type=int, default=19)
    carbons = parser.parse_args().carbons
    # Types from the graph of a chain are all different from end to middle: the many parameters of a real fit.
    molecule = perceive(alkane(carbons))
    field = build_force_field([molecule])
    generator = np.random.default_rng(0)
    field = field.with_values(
        {name: generator.normal() for name in field.parameters.names if name.startswith("torsion")}
    )
    p = field.parameters.flat * field.internal_factors
    x = molecule.record.coordinates + 0.02 * generator.normal(size=molecule.record.coordinates.shape)
    system = engine.JaxEngine().system(molecule, field)
    geometry = FixedGeometry(system, x)
    modes = normal_modes(geometry.hessian(geometry.term_vector(p)), x, molecule.record.masses)
    directions = modes.modes / np.sqrt(np.repeat(molecule.record.masses, 3))[:, None]
    projector = geometry.diagonal_projector(directions)

    print(calibrate())
    print(f"{molecule.n_atoms} atoms, {sum(len(t.atoms) for t in system.terms)} terms, {p.size} parameters")
    with jax.enable_x64(True):
        ad_hessian, ad_jacobian = whole_molecule(system, x, directions)
        begin = time.perf_counter()
        reference = np.asarray(ad_hessian(p))
        compile_hessian = time.perf_counter() - begin
        begin = time.perf_counter()
        reference_jacobian = np.asarray(ad_jacobian(p))
        compile_jacobian = time.perf_counter() - begin
        slow = seconds(lambda: ad_hessian(p)), seconds(lambda: ad_jacobian(p))
    fast = (
        seconds(lambda: geometry.hessian(geometry.term_vector(p))),
        seconds(lambda: projector.jacobian(geometry.term_vector(p))),
    )
    errors = (
        np.max(np.abs(geometry.hessian(geometry.term_vector(p)) - reference)),
        np.max(np.abs(projector.jacobian(geometry.term_vector(p)) - reference_jacobian)),
    )
    print(f"{'quantity':34s} {'jax.hessian':>12s} {'fieldfit':>12s} {'ratio':>8s} {'difference':>11s}")
    for name, a, b, error in zip(("Hessian", "Jacobian of diagonal eigenmatrix"), slow, fast, errors, strict=True):
        print(f"{name:34s} {1e3 * a:9.2f} ms {1e3 * b:9.3f} ms {a / b:8.0f} {error:11.1e}")
    print(f"compilation and first call by jax.hessian: {compile_hessian:.1f} s, {compile_jacobian:.1f} s")


if __name__ == "__main__":
    main()
