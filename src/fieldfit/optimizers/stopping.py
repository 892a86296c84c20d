"""Checks of what ends a run, shared by the library's own stepped optimizers."""

from __future__ import annotations

from fieldfit.errors import SettingsError


def check_stopping(tolerances: dict[str, float | None], maxiter: int) -> None:
    """Refuse tolerances and limits that cannot be.

    Args:
        tolerances: Name to a relative tolerance; None disables it.
        maxiter: Most turns.

    Raises:
        SettingsError: A tolerance is not in [0, 1), or the limit is below 1.
    """
    for name, value in tolerances.items():
        if value is not None and not 0.0 <= value < 1.0:
            raise SettingsError(f"{name} = {value} is not in [0, 1). Give a small number, or None to disable it.")
    if maxiter < 1:
        raise SettingsError(f"maxiter = {maxiter} leaves nothing to do. Give at least 1.")
