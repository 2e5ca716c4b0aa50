"""Errors as people see them: one line on standard error with a stable code, and an exit code."""

from __future__ import annotations

import typer

from docex.cli import output
from docex.errors import DocexError, UsageError

FAILED, USAGE, INTERRUPTED, INTERNAL = 1, 2, 130, 70

_HINTS = {"already_exists": "--force replaces it"}


def report(error: Exception) -> int:
    """Print what went wrong as one line; the exit code that goes with it."""
    if isinstance(error, typer.Abort):
        output.note("aborted")
        return INTERRUPTED
    code, message, status = describe(error)
    if message:  # an empty one stands for help that was shown already
        hint = f" ({_HINTS[code]})" if code in _HINTS else ""
        output.failure(code, message + hint)
    return status


def describe(error: Exception) -> tuple[str, str, int]:
    """The error's stable code, its message, and the exit code."""
    if isinstance(error, typer.TyperException):
        return "usage", _usage(error), error.exit_code
    if isinstance(error, UsageError):
        return error.code, str(error), USAGE
    if isinstance(error, DocexError):
        return error.code, str(error), FAILED
    # Their roots are imported once something has failed: they are no part of a quick start.
    from keys import KeysError, KeysUsageError
    from storage.errors import StorageError

    if isinstance(error, KeysError | StorageError):
        return error.code, str(error), USAGE if isinstance(error, KeysUsageError) else FAILED
    if isinstance(error, OSError):
        reason = error.strerror or str(error)
        return "io_error", f"{error.filename}: {reason}" if error.filename else reason, FAILED
    kind = type(error).__name__
    return "internal", f"{kind}: {error} (a fault in docex; DOCEX_DEBUG=1 shows where)", INTERNAL


def _usage(error: typer.TyperException) -> str:
    message = error.format_message().replace(": Value error, ", ": ")  # words of a library that parses options
    context = getattr(error, "ctx", None)
    return f"{message} (see {context.command_path} --help)" if message and context is not None else message
