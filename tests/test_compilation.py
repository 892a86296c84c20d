"""Compiled programs survive the process that made them."""

import os
import subprocess
import sys

import fieldfit
from fieldfit.compilation import VARIABLE
from fieldfit.errors import SettingsError

SCRIPT = """
import sys
import fieldfit
folder = fieldfit.use_compilation_cache()
import jax
import jax.numpy as jnp
import numpy as np
hits = []
jax.monitoring.register_event_listener(lambda name, **kwargs: hits.append(name) if "cache_hit" in name else None)
def model(p):
    return jnp.linalg.eigh(jnp.outer(p["a"], p["a"]) + jnp.eye(3))[0] @ jnp.ones(3)
jax.jit(jax.hessian(lambda a: model({"a": a})))(np.arange(3.0)).block_until_ready()
print(folder, len(hits))
"""


def run(**environment):
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, env={**os.environ, **environment}
    )
    folder, hits = result.stdout.split()
    return folder, int(hits)


def test_the_second_process_reads_what_the_first_one_compiled(tmp_path):
    first = run(**{VARIABLE: str(tmp_path / "compiled")})
    second = run(**{VARIABLE: str(tmp_path / "compiled")})
    assert first[0] == second[0] == str(tmp_path / "compiled")
    assert second[1] > first[1]
    assert any((tmp_path / "compiled").iterdir())


def test_off_means_off(tmp_path):
    folder, hits = run(**{VARIABLE: "off", "XDG_CACHE_HOME": str(tmp_path)})
    assert (folder, hits) == ("None", 0)
    assert not any(tmp_path.iterdir())


def test_the_default_is_the_folder_for_caches_of_the_user(tmp_path):
    folder, _ = run(**{VARIABLE: "", "XDG_CACHE_HOME": str(tmp_path), "HOME": str(tmp_path)})
    assert folder.startswith(str(tmp_path))


def test_a_folder_that_is_set_already_stays(tmp_path):
    before = fieldfit.use_compilation_cache()
    assert fieldfit.use_compilation_cache(tmp_path / "other") == before


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    script = f"import fieldfit\nfieldfit.use_compilation_cache({str(tmp_path / 'file' / 'below')!r})"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert SettingsError.__name__ in result.stderr
    assert "cannot be made" in result.stderr
    assert VARIABLE in result.stderr


def test_the_command_line_goes_on_without_a_folder_for_caches(examples, tmp_path):
    (tmp_path / "file").write_text("")
    command = [
        sys.executable,
        "-m",
        "fieldfit",
        "fit",
        str(examples / "ch3f" / "fit.toml"),
        "-q",
        "-o",
        str(tmp_path / "o"),
    ]
    environment = {**os.environ, VARIABLE: "", "XDG_CACHE_HOME": str(tmp_path / "file")}
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert result.returncode == 0
    assert "Going on without" in result.stderr
