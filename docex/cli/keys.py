"""``docex keygen`` and ``docex keystore``: a member's keys."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from docex.cli import output, unlock
from docex.cli.options import Json, PassphraseFile
from docex.errors import UsageError

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The folder of the keystore.")]

_keystore = typer.Typer(no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("keygen")(keygen)
    app.add_typer(_keystore, name="keystore", help="Show, export and re-protect a keystore.")


def keygen(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="The folder to make the keystore in.")],
    name: Annotated[str, typer.Option(metavar="NAME", help="The member's name, as others will see it.")],
    chain_id: Annotated[int, typer.Option(metavar="ID", help="The ledger's chain; 31337 is a local one.")] = 31337,
    passphrase_file: PassphraseFile = None,
    _: Json = False,
) -> None:
    """Make a member's keys, and print their public half as JSON.

    The keys are: one that signs statements (Ed25519), one that opens packets (an age identity, hybrid post-quantum) and
    a ledger account. They stay in the keystore, under your passphrase. The public half is for everyone: others seal to
    it and check your packets by it.

    Example:  docex keygen mine --name "Mine AG" > mine.json
    """
    from keys import _keystore_file, local

    if not folder:  # as a path it would be the working folder: most likely a variable that was not set
        raise UsageError("DIR is empty: name the folder to make the keystore in")
    target = Path(folder)
    _keystore_file.check_absent(target)
    passphrase = unlock.read_passphrase(passphrase_file, confirm=True, what="A passphrase for the new keystore")
    made = local.create_keystore(target, name, chain_id, passphrase, int(time.time()))
    output.as_json(made.public)
    output.note(f"Made a keystore in {target}. Keep a copy of it and of its passphrase: nobody can recover them.")


@_keystore.command("show")
def show(folder: Folder, _: Json = False) -> None:
    """Print the public half of a keystore as JSON. No passphrase is needed."""
    from keys import local

    output.as_json(local.read_public(folder))


@_keystore.command("export")
def export(
    folder: Folder,
    target: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="The folder of the copy.")],
    without_identity: Annotated[
        bool,
        typer.Option("--without-identity", help="Leave out the key that opens packets. Required: only such a copy."),
    ] = False,
    passphrase_file: PassphraseFile = None,
    _: Json = False,
) -> None:
    """Copy a keystore without the key that opens packets, for a node.

    The node can then sign and anchor for you but reads nothing that is sent to you. The copy has the same passphrase.
    """
    from keys import local

    if not without_identity:
        raise UsageError("say --without-identity: a whole keystore is copied with the tools of your system")
    local.read_public(folder)
    passphrase = unlock.read_passphrase(passphrase_file, what=f"Passphrase of {folder}")
    copy = local.export_without_identity(folder, target, passphrase)
    output.as_json(copy.public)
    output.note(f"Made a keystore in {target} that signs for {copy.name} but opens no packets.")


@_keystore.command("passphrase")
def passphrase(
    folder: Folder,
    passphrase_file: PassphraseFile = None,
    new_passphrase_file: Annotated[
        Path | None,
        typer.Option(
            "--new-passphrase-file",
            metavar="FILE",
            help="Read the new one from a file. Else: DOCEX_NEW_PASSPHRASE_FILE, DOCEX_NEW_PASSPHRASE, or a prompt.",
        ),
    ] = None,
) -> None:
    """Change the passphrase of a keystore. Its keys stay the same."""
    from keys import local

    local.read_public(folder)
    old = unlock.read_passphrase(passphrase_file, what=f"Passphrase of {folder}")
    new = unlock.read_passphrase(
        new_passphrase_file, confirm=True, what="The new passphrase", variable=unlock.NEW_PASSPHRASE_VARIABLE
    )
    local.change_passphrase(folder, old, new)
    output.note(f"Changed the passphrase of {folder}. Copies made before still have the old one.")
