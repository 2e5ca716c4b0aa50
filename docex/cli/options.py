"""Options that several commands share, so that they are called and explained alike."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON, for programs.")]

KeystoreFolder = Annotated[
    Path | None,
    typer.Option("--keystore", "-k", metavar="DIR", help="Your keystore; DOCEX_KEYSTORE names it for good."),
]

PassphraseFile = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file",
        metavar="FILE",
        help="Read the passphrase from a file. Else from DOCEX_PASSPHRASE_FILE, DOCEX_PASSPHRASE, or a prompt.",
    ),
]

IdentityFiles = Annotated[
    list[Path] | None,
    typer.Option("--identity", "-i", metavar="KEYFILE", help="A plain age identity file (or PEM RSA key). Repeatable."),
]

Force = Annotated[bool, typer.Option("--force", help="Replace what has the same name.")]
