"""The one gate to a team's own code: what may be imported here, and the importing of it.

Adapters and assertions may be named by a dotted path. Whoever can write a scenario, or to
the queue, can write such a path, so nothing is imported that the owner of this process has
not listed (``SALVO_ALLOW_IMPORTS``, patterns such as ``my_pkg.*``).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Any

from salvo_core.errors import UsageError


def _class_only(error: BaseException) -> str:
    return type(error).__name__


class ImportGate:
    """Lets through what matches a pattern.

    Args:
        allow: Patterns of dotted paths, for example ``my_pkg.*``; none lets nothing through.
        describe: Puts into words what a stranger's module raised. Its text may hold a secret,
            so without this only the exception's class is named.
    """

    def __init__(
        self, allow: Sequence[str], *, describe: Callable[[BaseException], str] = _class_only
    ) -> None:
        self.allow = tuple(allow)
        self._describe = describe

    def require(self, path: str, what: str) -> None:
        """Return if a dotted path may be imported.

        Args:
            path: ``package.module.name``.
            what: What it is to be, as in: adapter class.

        Raises:
            UsageError: No pattern matches it.
        """
        if not any(fnmatchcase(path, pattern) for pattern in self.allow):
            raise UsageError(
                f"this worker does not allow the {what} {path}",
                hint=f"If you trust it, add it to SALVO_ALLOW_IMPORTS, such as {path.rpartition('.')[0]}.*",
            )

    def load(self, path: str, what: str) -> Any:
        """Return what a dotted path names, importing its module if need be.

        Args:
            path: ``package.module.name``.
            what: As in ``require``.

        Raises:
            UsageError: It is not allowed, not there, or its module cannot be imported.
        """
        self.require(path, what)
        module_name, _, name = path.rpartition(".")
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
                raise self._broken(module_name, error) from error
            raise UsageError(
                f"there is no module {error.name} for the {what} {path}",
                hint="It must be installed where the worker runs, or lie on its PYTHONPATH.",
            ) from error
        except Exception as error:  # wide on purpose: a stranger's module may raise anything on import
            raise self._broken(module_name, error) from error
        try:
            return getattr(module, name)
        except AttributeError:
            raise UsageError(
                f"the module {module_name} has no {what.rsplit(maxsplit=1)[-1]} {name}"
            ) from None

    def _broken(self, module_name: str, error: Exception) -> UsageError:
        return UsageError(f"the module {module_name} could not be imported: {self._describe(error)}")
