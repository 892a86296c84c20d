"""Time the engines per evaluation, and the JAX engine on sets of molecules from a cold start.

    python benchmarks/engines.py [--data ../shared/data] [--json FILE]

Three tables. *Per evaluation*: energy, gradient, Hessian, wavenumbers and relaxation of CH3F, and of the nine
Rh-enamide transition states with the MM3* field of MacroModel's print-out, by every engine that is installed; times are
per molecule. *Limits*: what a user of the nine structures waits for, in a fresh process: import, compilation and first
evaluation, with and without a folder of compiled programs; then everything once more, warm; and the memory. *Growth*:
sets of 1 to 81 molecules, which must take time in proportion and no more compilations.

Without the folder of reference data only CH3F is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from fieldfit.reporting.calibration import calibrate

ROOT = Path(__file__).resolve().parents[1]
QUANTITIES = ("energy", "gradient", "Hessian", "frequencies", "relaxation")
LIMITS = {
    "import, compilation and first evaluation [s]": 25.0,
    "the same with compiled programs at hand [s]": None,
    "energies, gradients and Hessians of all [s]": 0.2,
    "relaxation of all from the QM geometry [s]": 5.0,
    "relaxation of all from the last accepted one [s]": 0.5,
    "memory [GB]": 1.5,
}


def fluoromethane():
    """Return CH3F with an MM3 valence field from its Hessian."""
    from fieldfit.forcefield import build_force_field, estimate_force_constants, perceive, read

    molecule = perceive(read(ROOT / "examples" / "ch3f" / "ch3f.json", name="CH3F"))
    return [molecule], estimate_force_constants([molecule], build_force_field([molecule], family="mm3"))


def rh_enamide(data):
    """Return the nine Rh-enamide transition states with the rows that MacroModel gave them."""
    from fieldfit.forcefield import force_field_from_print_outs, read_fld, read_mmo

    folder = Path(data) / "rh-enamide"
    print_outs = read_mmo(folder / "rh_enamide_training_set" / "rh_enamide_training_set.mmo")
    molecules, field = force_field_from_print_outs(print_outs, read_fld(folder / "mm3.fld"))
    return list(molecules), field


def seconds(function, *, least=3, duration=0.3):
    """Return the median time of a call [s]."""
    function()
    times = []
    while len(times) < least or (sum(times) < duration and len(times) < 200):
        begin = time.perf_counter()
        function()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def evaluation_times(systems, molecules, field):
    """Return the times of each quantity [s], means over molecules."""
    p = field.parameters.flat * field.internal_factors
    found = {quantity: [] for quantity in QUANTITIES}
    for molecule, system in zip(molecules, systems, strict=True):
        for quantity, call in quantities(molecule, system, p).items():
            is_slow = quantity == "relaxation" and len(molecules) > 1
            found[quantity].append(seconds(call, least=1 if is_slow else 3, duration=0.0 if is_slow else 0.1))
    return {quantity: statistics.mean(times) for quantity, times in found.items()}


def quantities(molecule, system, p):
    """Return a function for each quantity."""
    from fieldfit.forcefield.relaxation import relax
    from fieldfit.forcefield.vibrations import normal_modes

    x, masses = molecule.record.coordinates, molecule.record.masses
    return {
        "energy": lambda: system.energy(x, p),
        "gradient": lambda: system.gradient(x, p),
        "Hessian": lambda: system.local(x, p),
        "frequencies": lambda: normal_modes(system.local(x, p).hessian, x, masses),
        "relaxation": lambda: relax(lambda y: system.local(y, p), x),
    }


def per_evaluation(cases):
    """Print the table of engines."""
    from fieldfit.errors import FieldfitError
    from fieldfit.forcefield.engines import ENGINES

    print("\nTimes per evaluation and molecule [ms]")
    print(f"{'molecules':12s} {'engine':8s}" + "".join(f"{quantity:>13s}" for quantity in QUANTITIES))
    results = {}
    for case, (molecules, field) in cases.items():
        for name in ENGINES:
            try:
                times = evaluation_times(ENGINES[name]().systems(molecules, field), molecules, field)
            except FieldfitError as error:
                print(f"{case:12s} {name:8s} not measured: {str(error).split('. ')[0]}")
                continue
            results[f"{case} {name}"] = times
            print(f"{case:12s} {name:8s}" + "".join(f"{1e3 * times[q]:13.3f}" for q in QUANTITIES), flush=True)
    return results


def fresh_process(data, folder):
    """Measure the nine structures in this process, from its start; return the figures and print nothing."""
    begin = float(os.environ["BENCHMARK_BEGIN"])
    if folder:
        from fieldfit import use_compilation_cache

        use_compilation_cache(folder)
    from fieldfit.forcefield.engines.jax import JaxEngine
    from fieldfit.forcefield.engines.jax_programs import total_local
    from fieldfit.forcefield.relaxation import relax

    molecules, field = rh_enamide(data)
    p = field.parameters.flat * field.internal_factors
    systems = JaxEngine().systems(molecules, field)
    x = [molecule.record.coordinates for molecule in molecules]

    def everything():
        return [system.local(y, p) for system, y in zip(systems, x, strict=True)]

    everything()
    first = time.time() - begin
    warm = seconds(everything)
    start = time.perf_counter()
    minima = [relax(lambda y, s=system: s.local(y, p), y) for system, y in zip(systems, x, strict=True)]
    relaxation = time.perf_counter() - start
    # A step of a fit moves the parameters by a per cent or so.
    moved = p * (1.0 + 0.01 * np.random.default_rng(0).standard_normal(p.size))
    start = time.perf_counter()
    again = [
        relax(lambda y, s=system: s.local(y, moved), found.x) for system, found in zip(systems, minima, strict=True)
    ]
    return {
        "first": first,
        "warm": warm,
        "relaxation": relaxation,
        "again": time.perf_counter() - start,
        "steps": [found.n_iterations for found in minima],
        "steps again": [found.n_iterations for found in again],
        "converged": [found.is_converged for found in (*minima, *again)],
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
        "compilations": total_local.__wrapped__._cache_size(),
    }


def start_fresh(data, folder):
    """Run `fresh_process` in a new process and return its figures."""
    environment = {**os.environ, "BENCHMARK_BEGIN": repr(time.time())}
    command = [sys.executable, __file__, "--data", str(data), "--fresh", str(folder)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return json.loads(result.stdout.splitlines()[-1])


def limits(data):
    """Print what a user of the nine structures waits for."""
    with tempfile.TemporaryDirectory() as folder:
        cold = start_fresh(data, "")
        start_fresh(data, folder)
        kept = start_fresh(data, folder)
    found = (cold["first"], kept["first"], cold["warm"], cold["relaxation"], cold["again"], cold["memory"])
    print("\nNine Rh-enamide transition states in a fresh process")
    print(f"{'':52s} {'measured':>9s} {'limit':>7s} {'ratio':>6s}")
    for (name, limit), value in zip(LIMITS.items(), found, strict=True):
        rest = f"{limit:7.1f} {value / limit:6.2f}" if limit else f"{'-':>7s} {'-':>6s}"
        print(f"{name:52s} {value:9.2f} {rest}")
    print(f"Newton steps: {cold['steps']}, from the last minimum {cold['steps again']}")
    print(f"converged: {sum(cold['converged'])} of {len(cold['converged'])}")
    return cold


def growth(data):
    """Print time and compilations of growing sets."""
    from fieldfit.forcefield.engines.jax import JaxEngine
    from fieldfit.forcefield.engines.jax_programs import total_local

    nine, field = rh_enamide(data)
    p = field.parameters.flat * field.internal_factors
    print("\nEnergies, gradients and Hessians of sets of molecules")
    print(f"{'molecules':>9s} {'first [s]':>10s} {'warm [s]':>9s} {'per molecule [ms]':>18s} {'compilations':>13s}")
    rows = {}
    for count in (1, 3, 9, 27, 81):
        molecules = [nine[k % 9] for k in range(count)]
        before = total_local.__wrapped__._cache_size()
        systems = JaxEngine().systems(molecules, field)

        def everything(systems=systems, molecules=molecules):
            return [
                system.local(molecule.record.coordinates, p)
                for system, molecule in zip(systems, molecules, strict=True)
            ]

        start = time.perf_counter()
        everything()
        first, warm = time.perf_counter() - start, seconds(everything)
        rows[count] = warm
        compiled = total_local.__wrapped__._cache_size() - before
        print(f"{count:9d} {first:10.2f} {warm:9.4f} {1e3 * warm / count:18.2f} {compiled:13d}", flush=True)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--fresh", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.fresh is not None:
        print(json.dumps(fresh_process(options.data, options.fresh)))
        return
    print(calibrate())
    has_data = (options.data / "rh-enamide").is_dir()
    results = {}
    if has_data:
        results["limits"] = limits(options.data)
    cases = {"CH3F": fluoromethane()} | ({"Rh-enamide": rh_enamide(options.data)} if has_data else {})
    results["per evaluation"] = per_evaluation(cases)
    if has_data:
        results["growth"] = growth(options.data)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
