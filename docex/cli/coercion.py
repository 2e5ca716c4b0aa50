"""Texts to parameters without Pydantic, which typer loads for them and which takes longer than sealing a document."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_origin

import typer
import typer.core

if TYPE_CHECKING:
    from typer.core import TyperArgument, TyperOption

_PLAIN: dict[Any, Callable[[str], Any]] = {str: str, Path: Path, int: int}


class _Coercion:
    """Turns the text of one parameter into str, Path or int, or several into a list; leaves the rest to typer."""

    def __init__(self, descriptor: Any) -> None:
        self._descriptor = descriptor
        annotation = descriptor.annotation
        if get_origin(annotation) is list:
            (annotation,) = get_args(annotation)
        self._convert = None if descriptor.is_ranged else _PLAIN.get(annotation)

    def coerce(self, value: Any, param: TyperArgument | TyperOption, ctx: Any) -> Any:
        """The converted value, as typer's own coercion gives it. Raises typer.BadParameter."""
        several = param.multiple or param.nargs == -1
        if value is None:
            return () if several else None
        if self._convert is None:
            return _typers(self._descriptor).coerce(value, param, ctx)
        try:
            return [self._convert(each) for each in value] if several else self._convert(value)
        except ValueError:
            raise typer.BadParameter(f"{value!r} is not a whole number", ctx=ctx, param=param) from None


def install() -> None:
    """Let all commands do without Pydantic where they can.

    Should a later version of typer not ask here, all still works, and a test tells that it has become slow.
    """
    vars(typer.core)["build_runtime_param"] = _Coercion


_typers: Callable[[Any], Any] = vars(typer.core).get("build_runtime_param", _Coercion)
