"""Models and judges by name: ``backend:name`` and options, from a built-in table or from other packages' entry points.

The sandbox and third parties are found in the same way, through the entry-point groups ``anyscene.models`` and ``anyscene.judges``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from anyscene.errors import SpecError

__all__ = ["checked_options", "load_plugin", "plugin_names"]


def plugin_names(group: str, table: Mapping[str, str]) -> list[str]:
    """All back-ends there are: those of the table and those that installed packages declare."""
    return sorted({*table, *(point.name for point in entry_points(group=group))})


def load_plugin(group: str, table: Mapping[str, str], asked: str, options: Mapping[str, object]) -> Any:
    """Builds the back-end that ``backend:name`` names, as ``factory(name, **options)``.

    Options that come as text are read as the types that the factory's signature gives them.

    Args:
        group: entry-point group, also the word for messages: ``anyscene.models``.
        table: short name to ``module:attribute``.
        asked: ``backend:name``, or ``backend`` alone.
        options: keyword arguments of the factory.

    Raises:
        SpecError: no such back-end, an unknown option, or a value of the wrong kind.
    """
    backend, _, name = asked.partition(":")
    target = table.get(backend)
    if target is not None:
        module, _, attribute = target.partition(":")
        factory = getattr(import_module(module), attribute)
    else:
        points = [point for point in entry_points(group=group) if point.name == backend]
        if not points:
            what = group.rpartition(".")[2].rstrip("s")
            raise SpecError(f"{what} {asked!r}: there is no back-end {backend!r}; there are {', '.join(plugin_names(group, table))}")
        factory = points[0].load()
    return factory(name, **checked_options(factory, asked, options))


def checked_options(factory: Callable[..., Any], asked: str, options: Mapping[str, object]) -> dict[str, object]:
    """The options as the types that the keyword-only arguments of a factory have.

    A factory that takes any keywords gets those that it does not name as they came, to check them itself.

    Raises:
        SpecError: an unknown option, or a value of the wrong kind; ``asked`` is what the message names.
    """
    from pydantic import TypeAdapter, ValidationError

    signature = inspect.signature(factory, eval_str=True).parameters
    known = {name: one for name, one in signature.items() if one.kind is inspect.Parameter.KEYWORD_ONLY}
    open_ended = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in signature.values())
    checked: dict[str, object] = {}
    for key, value in options.items():
        if key not in known:
            if open_ended:
                checked[key] = value
                continue
            raise SpecError(f"{asked} has no option {key!r}; its options are {', '.join(known) or 'none'}")
        try:
            checked[key] = TypeAdapter(known[key].annotation).validate_python(value)
        except ValidationError as invalid:
            raise SpecError(f"{asked}, option {key}={value}: {invalid.errors(include_url=False)[0]['msg']}") from None
    return checked
