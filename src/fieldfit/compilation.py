"""Compiled programs kept between runs.

JAX compiles each program once per process; a folder of compiled programs makes the next process read them instead,
which is several times faster. The folder belongs to JAX, which keys its entries by program, version and hardware, so it
may be shared and deleted at any time. It is a setting of the whole process, so the library never turns it on by itself;
the command line does.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from fieldfit.errors import SettingsError
from fieldfit.typing import FilePath

VARIABLE = "FIELDFIT_COMPILATION_CACHE"
"""Environment variable with the folder, or "off"."""


def use_compilation_cache(folder: FilePath | None = None) -> Path | None:
    """Keep compiled programs in a folder and reuse those that are there.

    Call it before the first fit of a process. A folder that is set in JAX already is left as it is.

    Args:
        folder: The folder, made if it is missing; default: that of the environment variable
            `FIELDFIT_COMPILATION_CACHE`, or "fieldfit/compiled" in the user's folder for caches.

    Returns:
        The folder in use, None if the environment variable is "off".

    Raises:
        SettingsError: The folder cannot be made.

    Example:
        >>> import fieldfit
        >>> fieldfit.use_compilation_cache("/tmp/compiled")         # doctest: +SKIP
    """
    chosen = os.environ.get(VARIABLE, "") if folder is None else folder
    if folder is None and chosen == "off":
        return None
    import jax

    current: Any = jax.config.values["jax_compilation_cache_dir"]
    if current:
        return Path(current)
    try:
        path = Path(chosen) if chosen else _user_cache() / "fieldfit" / "compiled"
        path.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError) as error:
        # A user without a home has no folder for caches: Python says so by a RuntimeError.
        raise SettingsError(
            f"The folder for compiled programs cannot be made: {error}. Name another one in the environment variable "
            f"{VARIABLE}, or set it to off."
        ) from error
    jax.config.update("jax_compilation_cache_dir", str(path))
    # Our programs are many and small: by default JAX keeps only those that took a second to compile.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.05)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    return path


def _user_cache() -> Path:
    """Return the folder where programs of the user keep what can be made again."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
