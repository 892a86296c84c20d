"""Time Hessians and their parameter Jacobians against whole-molecule AD and differences by OpenMM.

    python benchmarks/hessian.py [--atoms 20 60 120 250] [--whole-jacobian 60]

The molecules are all-anti alkanes, made here, with an MM3 valence field, stretch-bends, Lennard-Jones pairs and
charges; types come from the graph, so parameters are as many as in a real fit. All sides get the same energy function,
parameters and geometry, are compiled first, and are timed in the same run; the ratios are what counts, because
machines differ. "Hessian" is that of a new geometry, "fixed" that of new parameters at a known geometry; the Jacobian
is that of the whole Hessian with respect to all parameters. AD of the whole molecule computes it only up to
--whole-jacobian atoms, since time and memory grow too fast.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import replace

import jax
import numpy as np

from fieldfit.forcefield import Nonbonded, QMRecord, Row, build_force_field, perceive
from fieldfit.forcefield.elements import isotope_mass
from fieldfit.forcefield.engines import jax_programs
from fieldfit.forcefield.engines.fixed_geometry import FixedGeometry
from fieldfit.forcefield.engines.jax import JaxEngine
from fieldfit.forcefield.engines.openmm import OpenMMEngine
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


def problem(n_atoms):
    """Return an alkane of about that many atoms with its force field, a distorted geometry and internal parameters."""
    carbons = round((n_atoms - 2) / 3)
    molecule = perceive(alkane(carbons))
    field = build_force_field([molecule], family="mm3", stretch_bend=["*"])
    rows = list(field.rows)
    for kind, element in field.elements.items():
        rows.append(Row("lennard_jones", (kind,), {"radius": {"C": 1.9, "H": 1.4}[element], "epsilon": 0.05}))
        rows.append(Row("coulomb", (kind,), {"charge": {"C": -0.18, "H": 0.09}[element]}))
    field = replace(field, rows=tuple(rows), nonbonded=Nonbonded(vdw_14=0.5, charge_14=1.0 / 1.2))
    generator = np.random.default_rng(0)
    small = {name: generator.normal() for name in field.parameter_names if name.startswith(("torsion", "stretch-bend"))}
    field = field.with_values(small)
    x = molecule.record.coordinates + 0.02 * generator.normal(size=molecule.record.coordinates.shape)
    return molecule, field, x, field.parameters.flat * field.internal_factors


def whole_molecule(system, x):
    """Return functions for the Hessian and its parameter Jacobian by AD of the total energy."""
    raw = jax_programs.total_energy.__wrapped__.__wrapped__

    def energy(flat, p):
        atoms = jax.numpy.concatenate([flat.reshape(-1, 3), system._padding])
        return raw(system._groups, atoms, jax.numpy.concatenate([p, np.ones(system._n_padded - len(p))]))

    hessian = jax.jit(jax.hessian(energy))
    jacobian = jax.jit(jax.jacfwd(jax.hessian(energy), 1))
    return lambda p: hessian(x.ravel(), p), lambda p: jacobian(x.ravel(), p)


def row(n_atoms, *, whole_jacobian):
    """Measure one molecule and print its line."""
    molecule, field, x, p = problem(n_atoms)
    system = JaxEngine().system(molecule, field)
    geometry = FixedGeometry(system, x)
    openmm = OpenMMEngine("Reference").system(molecule, field)
    times = {
        "hessian": seconds(lambda: system.local(x, p)),
        "fixed": seconds(lambda: geometry.hessian(geometry.term_vector(p))),
        "jacobian": seconds(lambda: geometry.hessian_jacobian(geometry.term_vector(p))),
    }
    with jax.enable_x64(True):
        ad_hessian, ad_jacobian = whole_molecule(system, x)
        reference = np.asarray(ad_hessian(p))
        times["ad hessian"] = seconds(lambda: ad_hessian(p), least=3)
        if molecule.n_atoms <= whole_jacobian:
            expected = np.asarray(ad_jacobian(p)).reshape(-1, p.size)
            found = geometry.hessian_jacobian(geometry.term_vector(p)).toarray()
            assert np.max(np.abs(expected - found)) < 1e-6 * np.max(np.abs(expected))
            times["ad jacobian"] = seconds(lambda: ad_jacobian(p), least=3)
    begin = time.perf_counter()
    differenced = openmm.local(x, p).hessian
    times["openmm"] = time.perf_counter() - begin
    difference = np.max(np.abs(system.local(x, p).hessian - reference))
    off = np.max(np.abs(differenced - reference))
    cells = [f"{molecule.n_atoms:6d} {p.size:6d} {sum(len(t.atoms) for t in system.terms):7d}"]
    for name in ("hessian", "fixed", "jacobian", "ad hessian", "ad jacobian", "openmm"):
        cells.append(f"{1e3 * times[name]:11.2f}" if name in times else f"{'-':>11s}")
    cells.append(f"{times['ad hessian'] / times['hessian']:8.1f} {times['openmm'] / times['hessian']:8.0f}")
    cells.append(f"{times['ad jacobian'] / times['jacobian']:8.0f}" if "ad jacobian" in times else f"{'-':>8s}")
    print(" ".join(cells), f"{difference:9.1e} {off:9.1e}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--atoms", type=int, nargs="+", default=[20, 60, 120, 250])
    parser.add_argument("--whole-jacobian", type=int, default=60)
    options = parser.parse_args()
    print(calibrate())
    print("times in ms; ratios: AD Hessian / Hessian, OpenMM / Hessian, AD Jacobian / Jacobian")
    names = ("Hessian", "fixed", "Jacobian", "AD Hessian", "AD Jacob.", "OpenMM")
    ratios = ("AD", "OpenMM", "AD Jac.")
    heads = [f"{'atoms':>6s} {'params':>6s} {'terms':>7s}", *(f"{name:>11s}" for name in names)]
    print(" ".join([*heads, *(f"{name:>8s}" for name in ratios), f"{'error':>9s} {'OpenMM':>9s}"]))
    for n_atoms in options.atoms:
        row(n_atoms, whole_jacobian=options.whole_jacobian)


if __name__ == "__main__":
    main()
