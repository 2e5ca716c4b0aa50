"""Help texts that read well: paragraphs are wrapped as one, and only options that take a value show a type."""

from __future__ import annotations

import re
from typing import Any

from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

# A line break of the source, but not one before a list item or an indented line.
_BREAK = re.compile(r"(?<!\n)\n(?=[^\s*-])")


def polish(command: TyperCommand | TyperGroup, ctx: Any) -> None:
    """Improve the help of a command and its sub-commands; ``ctx`` is any context (it knows the help option's names)."""
    command.help = _BREAK.sub(" ", command.help or "")
    for param in (*command.params, command.get_help_option(ctx)):
        if isinstance(param, TyperArgument) or (isinstance(param, TyperOption) and param.is_flag):
            vars(param)["display_type_rich"] = _no_type
    if isinstance(command, TyperGroup):
        for inner in command.commands.values():
            assert isinstance(inner, TyperCommand | TyperGroup)  # typer makes no others
            polish(inner, ctx)


def _no_type(ctx: Any) -> None:
    """An argument's name and a flag say all there is."""
