"""`fieldfit equilibrium`: what it finds against exact solutions, what it writes, and how it goes on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fieldfit.cli import main
from fieldfit.equilibrium import load, save, solve
from fieldfit.optimizers.least_squares import LeastSquaresOptimizer

sys.path.insert(0, str(Path(__file__).parents[1] / "equilibrium"))
import solovev

TORUS = """[equilibrium]
resolution = 3
Psi = 3.0
Rb = { 0 = 3.0, 1 = 1.0 }
Zb = { -1 = -1.2 }
pressure = { 0 = 2000.0, 2 = -2000.0 }
iota = { 0 = 0.9, 2 = -0.4 }
"""
"""An elliptical torus."""

NO_PICTURES = "[output]\nplots = []\n"
FILES = {"equilibrium.npz", "report.txt", "report.json", "settings.toml", "checkpoint.npz"}


def series(name, numbers, values) -> str:
    rows = "\n".join(f"{number} = {float(value)!r}" for number, value in zip(numbers, values, strict=True))
    return f"[equilibrium.{name}]\n{rows}\n"


def solovev_settings(resolution) -> str:
    exact = solovev.start(resolution)
    return (
        f"[equilibrium]\nresolution = {resolution}\nPsi = {exact.Psi!r}\n"
        + series("Rb", range(resolution + 1), exact.Rb_lmn)
        + series("Zb", range(-1, -resolution - 1, -1), exact.Zb_lmn)
        + series("pressure", exact.pressure.powers, exact.pressure.coefficients)
        + series("iota", exact.iota.powers, exact.iota.coefficients)
    )


def solovev_volume() -> float:
    """Return the volume inside the boundary, 2 pi int R dR dZ with dR dZ = du dv / (kappa R^2), by Gauss-Chebyshev."""
    c, angles = solovev.C_BOUNDARY, np.pi * np.arange(1, 40) / 40
    weights = np.pi / 40 * c**2 * np.sin(angles) ** 2
    R = np.sqrt(solovev.R0**2 + 2.0 * c * np.cos(angles) / solovev.KAPPA)
    return 2.0 * np.pi / solovev.KAPPA * float(np.sum(2.0 * weights / R))


def run(folder, command, text, *options, name="run") -> int:
    (folder / f"{name}.toml").write_text(text, encoding="utf-8")
    return main(["equilibrium", command, str(folder / f"{name}.toml"), "--quiet", *options])


def report_of(folder, name="run") -> dict:
    return json.loads((folder / name / "report.json").read_text())


def test_solovev_is_found_and_reported(tmp_path):
    assert run(tmp_path, "solve", solovev_settings(6) + NO_PICTURES) == 0
    assert {entry.name for entry in (tmp_path / "run").iterdir()} == FILES
    found = load(tmp_path / "run" / "equilibrium.npz")
    # The truncation error of a resolution of 6; a prototype of the same equations has 9.5e-6.
    assert solovev.surface_error(found) < 2e-5
    report = report_of(tmp_path)
    assert report["success"]
    assert report["verdict"]["word"] == "converged"
    quantities = report["quantities"]
    assert quantities["volume"]["value"] == pytest.approx(solovev_volume(), rel=1e-5)
    assert quantities["axis_radius"]["value"] == pytest.approx(solovev.R0, abs=2e-5)
    slopes = [solovev.flux_slope(solovev.labels(rho) ** 2) for rho in report["surfaces"]]
    factors = [slope / (2.0 * np.pi * solovev.A) for slope in slopes]
    assert quantities["safety_factor"]["values"] == pytest.approx(factors, rel=1e-6)


def test_what_is_printed_says_why_it_ended_and_what_was_found(tmp_path, capsys):
    (tmp_path / "torus.toml").write_text(TORUS + NO_PICTURES)
    assert main(["equilibrium", "solve", str(tmp_path / "torus.toml")]) == 0
    printed = capsys.readouterr().out
    for words in ("iteration  evaluations", "lsq-exact: success", "verdict", "safety factor", "Force that is left"):
        assert words in printed
    report = (tmp_path / "torus" / "report.txt").read_text()
    assert all(line in report for line in printed.splitlines() if line.startswith(("  verdict", "volume", "Versions")))


def test_a_solve_needs_neither_matplotlib_nor_force_fields(tmp_path):
    (tmp_path / "run.toml").write_text(TORUS + NO_PICTURES)
    program = (
        "import sys; from fieldfit.cli import main\n"
        f"code = main(['equilibrium', 'solve', {str(tmp_path / 'run.toml')!r}, '--quiet'])\n"
        "heavy = [name for name in ('matplotlib', 'optax', 'fieldfit.forcefield') if name in sys.modules]\n"
        "assert not heavy, heavy\nsys.exit(code)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_pictures_are_drawn_in_the_formats_that_are_named(tmp_path):
    pytest.importorskip("matplotlib")
    assert run(tmp_path, "solve", TORUS + '[output]\nplots = ["png", "svg"]\n') == 0
    names = {f"{what}.{ending}" for what in ("surfaces", "force") for ending in ("png", "svg")}
    assert {entry.name for entry in (tmp_path / "run").iterdir()} == FILES | names
    assert (tmp_path / "run" / "force.png").read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_the_report_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr("fieldfit.cli.equilibrium._can_draw", lambda: False)
    assert run(tmp_path, "solve", TORUS) == 0
    assert {entry.name for entry in (tmp_path / "run").iterdir()} == FILES
    assert "matplotlib is not installed" in (tmp_path / "run" / "report.txt").read_text()


def test_settings_and_earlier_folders_are_kept(tmp_path):
    first, second = TORUS + NO_PICTURES, TORUS.replace("2000.0", "1000.0") + NO_PICTURES
    assert run(tmp_path, "solve", first) == 0
    assert run(tmp_path, "solve", second) == 0
    assert (tmp_path / "run.1" / "settings.toml").read_text() == first
    assert (tmp_path / "run" / "settings.toml").read_text() == second
    assert {entry.name for entry in tmp_path.iterdir()} == {"run", "run.1", "run.toml"}


def test_a_run_that_was_cut_short_is_gone_on_with(tmp_path):
    cut = "[optimizer]\nmaxiter = 4\n"
    assert run(tmp_path, "solve", TORUS + NO_PICTURES + cut) == 1
    begun = report_of(tmp_path)
    assert not begun["success"]
    assert run(tmp_path, "solve", TORUS + NO_PICTURES, "--resume") == 0
    resumed = report_of(tmp_path)
    # It goes on from where the other ended.
    assert any(cost == pytest.approx(begun["cost"], rel=1e-9) for cost, _ in resumed["history"])
    assert run(tmp_path, "solve", TORUS + NO_PICTURES) == 0
    assert resumed["cost"] == pytest.approx(report_of(tmp_path)["cost"], rel=1e-5)


def test_an_interrupted_run_leaves_a_checkpoint_to_go_on_from(tmp_path, capsys, monkeypatch):
    optimize = LeastSquaresOptimizer.optimize

    def interrupted(self, problem, *, observers=(), **options):
        def stop(step):
            if step.iteration == 4:
                raise KeyboardInterrupt

        return optimize(self, problem, observers=[*observers, stop], **options)

    monkeypatch.setattr(LeastSquaresOptimizer, "optimize", interrupted)
    assert run(tmp_path, "solve", TORUS + NO_PICTURES) == 130
    checkpoint = tmp_path / "run.checkpoint.npz"
    assert f"--resume goes on from {checkpoint}" in capsys.readouterr().err
    assert {entry.name for entry in tmp_path.iterdir()} == {"run.toml", checkpoint.name}
    monkeypatch.undo()
    assert run(tmp_path, "solve", TORUS + NO_PICTURES, "--resume") == 0
    assert {entry.name for entry in tmp_path.iterdir()} == {"run.toml", "run"}


def test_the_checkpoint_of_an_interrupted_run_is_kept_by_a_new_one(tmp_path):
    earlier = tmp_path / "run.checkpoint.npz"
    earlier.write_bytes(b"an interrupted run")
    assert run(tmp_path, "solve", TORUS + NO_PICTURES) == 0
    assert not earlier.exists()
    assert earlier.with_name(f"{earlier.name}.1").read_bytes() == b"an interrupted run"


def test_the_checkpoint_of_an_interrupted_run_stays_where_nothing_is_done(tmp_path):
    earlier = tmp_path / "run.checkpoint.npz"
    earlier.write_bytes(b"an interrupted run")
    # Scales of an array that does not exist are refused when the run begins.
    assert run(tmp_path, "solve", TORUS + "[optimizer]\nx_scale = { R_lm = 1.0 }\n") == 2
    assert earlier.read_bytes() == b"an interrupted run"
    assert {entry.name for entry in tmp_path.iterdir()} == {"run.toml", earlier.name}


def test_an_aspect_ratio_is_met_where_geometry_says(tmp_path):
    text = TORUS + NO_PICTURES + '[free]\nZb = [-1]\n[[objectives]]\nquantity = "aspect_ratio"\ntarget = 2.5\n'
    assert run(tmp_path, "optimize", text) == 0
    report = report_of(tmp_path)
    # An elliptical torus has the aspect ratio R0 / sqrt(a b).
    assert report["free"]["Zb -1"]["after"] == pytest.approx(-((3.0 / 2.5) ** 2), rel=1e-8)
    assert report["quantities_before"]["aspect_ratio"]["value"] == pytest.approx(3.0 / np.sqrt(1.2))
    assert report["quantities"]["aspect_ratio"]["value"] == pytest.approx(2.5, rel=1e-8)
    assert report["method"] == "proximal-lsq-exact"


def test_profile_coefficients_and_flux_are_varied(tmp_path):
    text = TORUS + NO_PICTURES + "[free]\nPsi = true\niota = [0]\npressure = 'all'\n"
    text += '[[objectives]]\nquantity = "safety_factor"\nrho = [0.5]\ntarget = 2.0\n'
    text += '[[objectives]]\nquantity = "beta"\nbounds = [-inf, 1.0]\n'
    assert run(tmp_path, "optimize", text) == 0
    free = report_of(tmp_path)["free"]
    assert set(free) == {"Psi", "iota 0", "pressure 0", "pressure 2"}
    # iota = i0 - 0.4 rho^2 should be 1 / 2 at rho = 0.5.
    assert free["iota 0"]["after"] == pytest.approx(0.6, rel=1e-8)


def test_further_constraints_hold_with_the_augmented_lagrangian(tmp_path):
    text = TORUS + NO_PICTURES + "[free]\nRb = [0, 1]\nZb = [-1]\n"
    text += '[[objectives]]\nquantity = "aspect_ratio"\ntarget = 2.5\n'
    text += '[[objectives]]\nquantity = "volume"\ntarget = 75.0\n'
    text += '[[constraints]]\nquantity = "elongation"\nbounds = [1.3, 1.4]\n'
    assert run(tmp_path, "optimize", text) == 0
    report = report_of(tmp_path)
    assert report["method"] == "lsq-auglag"
    quantities = report["quantities"]
    assert quantities["volume"]["value"] == pytest.approx(75.0, rel=1e-4)
    assert 1.3 - 2e-4 < quantities["elongation"]["value"] < 1.4 + 2e-4
    # 2 pi^2 R0 a b is the volume of an elliptical torus.
    after = {name: entry["after"] for name, entry in report["free"].items()}
    assert -2.0 * np.pi**2 * after["Rb 0"] * after["Rb 1"] * after["Zb -1"] == pytest.approx(75.0, rel=1e-4)
    assert any("solved for again" in note for note in report["notes"])


def test_a_saved_equilibrium_is_a_start_and_settings_replace_what_it_holds(tmp_path):
    solved, _ = solve(solovev.start(4))
    save(solved, tmp_path / "saved.npz")
    text = '[equilibrium]\nfile = "saved.npz"\n' + NO_PICTURES
    assert run(tmp_path, "solve", text) == 0
    assert report_of(tmp_path)["iterations"] <= 3
    changed = text.replace('.npz"\n', '.npz"\nresolution = 6\nRb = { 0 = 4.0, 1 = 0.6 }\niota = { 0 = 1.0 }\n')
    assert run(tmp_path, "solve", changed) == 0
    found = load(tmp_path / "run" / "equilibrium.npz")
    assert found.resolution.radial == 6
    np.testing.assert_array_equal(found.Rb_lmn[:3], [4.0, 0.6, 0.0])
    np.testing.assert_allclose(found.Zb_lmn[:4], solved.Zb_lmn, rtol=1e-14)
    assert found.iota([0.3]).tolist() == [1.0]
    assert found.pressure([0.3]) == pytest.approx(solved.pressure([0.3]))


def test_nodes_scales_and_options_reach_the_optimizer(tmp_path):
    text = TORUS + NO_PICTURES + "[force_balance]\nradial_nodes = 9\npoloidal_nodes = 12\n"
    for scale in ('"ess"', '"auto"', "{ R_lmn = 1.0, Z_lmn = 1.0 }"):
        settings = (
            f"[optimizer]\nx_scale = {scale}\nctol = 1e-6\nmaxiter = 300\noptions = {{ factorization = 'svd' }}\n"
        )
        assert run(tmp_path, "solve", text + settings) == 0
        # Two residuals at each of the nodes.
        assert "largest of 216 " in (tmp_path / "run" / "report.txt").read_text()


def test_the_default_folder_never_replaces_a_file_without_an_ending(tmp_path):
    path = tmp_path / "settings"
    path.write_text(TORUS + NO_PICTURES)
    assert main(["equilibrium", "solve", str(path), "--quiet"]) == 0
    assert (tmp_path / "output" / "equilibrium.npz").is_file()
    assert path.is_file()


def test_an_example_is_solved_to_the_exact_surfaces(tmp_path, examples):
    settings = (examples / "equilibrium" / "solovev.toml").read_text()
    assert run(tmp_path, "solve", settings + NO_PICTURES) == 0
    assert solovev.surface_error(load(tmp_path / "run" / "equilibrium.npz")) < 2e-5
