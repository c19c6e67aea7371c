"""Optional parts: imported when used, and named with the line that installs them when absent."""

from __future__ import annotations

import importlib
from types import ModuleType

from bedside.core.errors import MissingExtra


def require(module: str, extra: str) -> ModuleType:
    """Import ``module``, which the extra ``extra`` installs.

    Raises:
        MissingExtra: it is not installed; the sentence holds the pip line.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != module.partition(".")[0]:
            raise  # the module is there, and something inside it is broken: a bug, not a missing extra
        raise MissingExtra(
            f"This needs {module}, which is not installed; run: pip install 'bedside[{extra}]'"
        ) from None
