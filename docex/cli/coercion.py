"""Texts to parameters without Pydantic, which typer loads for them and which takes longer than sealing a document."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args, get_origin

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

_PLAIN: dict[Any, Callable[[str], Any]] = {str: str, Path: Path, int: int}


class _Plain:
    """Turns one parameter's text into a str, a Path or an int, or several into a list of them."""

    def __init__(self, convert: Callable[[str], Any]) -> None:
        self._convert = convert

    def coerce(self, value: Any, param: TyperArgument | TyperOption, ctx: Any) -> Any:
        """The converted value, as typer's own coercion gives it. Raises typer.BadParameter."""
        several = param.multiple or param.nargs == -1
        if value is None:
            return () if several else None
        try:
            return [self._convert(each) for each in value] if several else self._convert(value)
        except ValueError:
            raise typer.BadParameter(f"{value!r} is not a whole number", ctx=ctx, param=param) from None


def lighten(command: TyperCommand | TyperGroup) -> None:
    """Give the plain parameters of a command, and of its sub-commands, their coercion.

    Typer makes its own where this attribute is not set. Should a later version look elsewhere, all still works; a test
    tells that it has become slow.
    """
    for param in command.params:
        if isinstance(param, TyperArgument | TyperOption):
            annotation: Any = param.type_descriptor.annotation
            if get_origin(annotation) is list:
                (annotation,) = get_args(annotation)
            if annotation in _PLAIN and not param.type_descriptor.is_ranged:
                vars(param)["_runtime_param"] = _Plain(_PLAIN[annotation])
    if isinstance(command, TyperGroup):
        for inner in command.commands.values():
            assert isinstance(inner, TyperCommand | TyperGroup)
            lighten(inner)
