"""The one question whether DESC is there, asked where somebody wants to use it."""

from __future__ import annotations

import importlib.util

from fieldfit.errors import SettingsError


def require_desc(who: str) -> None:
    """Refuse to go on without DESC.

    Args:
        who: What needs it, for the message.

    Raises:
        SettingsError: DESC is not installed.
    """
    found = importlib.util.find_spec("desc")
    # A folder of that name on the path has a specification, but no origin.
    if found is None or found.origin is None:
        raise SettingsError(
            f'{who} needs DESC, which is not installed. Run `pip install "fieldfit[desc]"`, in an environment of its '
            "own if another package needs jax 0.10 or newer: DESC needs an older one."
        )
