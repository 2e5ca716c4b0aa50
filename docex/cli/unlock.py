"""How the command line comes to keys: passphrases, keystores and identity files."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING

from docex.core import interrupts
from docex.core.interrupts import held, passing
from docex.errors import UsageError

if TYPE_CHECKING:
    from keys import Unwrapper
    from keys.local import Keystore

KEYSTORE_VARIABLE = "DOCEX_KEYSTORE"
PASSPHRASE_VARIABLE = "DOCEX_PASSPHRASE"  # noqa: S105 - the name of a variable
NEW_PASSPHRASE_VARIABLE = "DOCEX_NEW_PASSPHRASE"  # noqa: S105
_MAX_TEXT = 1 << 20


def read_passphrase(file: Path | None, *, confirm: bool = False, what: str = "", variable: str = "") -> bytes:
    """A passphrase: from ``file``, the file or the text that the environment names, or a hidden prompt.

    Args:
        file: what ``--passphrase-file`` said. A line feed at the end is no part of the passphrase.
        confirm: ask twice, for a passphrase that is new.
        what: whose passphrase, for the prompt.
        variable: the environment variable, ``DOCEX_PASSPHRASE`` unless given; with ``_FILE`` it names a file.

    Raises:
        UsageError: none of them has one and nobody can be asked, or two new ones differ.
    """
    variable = variable or PASSPHRASE_VARIABLE
    if file is None and (named := os.environ.get(f"{variable}_FILE")):
        file = Path(named)
    if file is not None:
        return _first_line(read_small(file, "the passphrase file"))
    if text := os.environ.get(variable):
        return os.fsencode(text)
    if not _someone_there():
        option = "--new-passphrase-file" if variable == NEW_PASSPHRASE_VARIABLE else "--passphrase-file"
        raise UsageError(
            f"no passphrase, and no terminal to ask on: give {option}, or set {variable}_FILE or {variable}"
        )
    passphrase = getpass.getpass(f"{what or 'Passphrase'}: ")
    if confirm and getpass.getpass("The same again: ") != passphrase:
        raise UsageError("the two passphrases differ")
    return passphrase.encode()


def read_small(path: Path, what: str) -> bytes:
    """The content of a file that a person named, at most 1 MiB.

    Raises:
        UsageError: it is missing, not a file or too long.
        OSError: it can't be read.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_TEXT + 1)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise UsageError(f"{what} {path} does not exist, or is a folder") from None
    if len(data) > _MAX_TEXT:
        raise UsageError(f"{what} {path} is longer than 1 MiB")
    return data


def keystore_folder(option: Path | None) -> Path:
    """The keystore's folder, from ``--keystore`` or the environment. Raises UsageError when neither names one."""
    if option is not None:
        return option
    if named := os.environ.get(KEYSTORE_VARIABLE):
        return Path(named)
    raise UsageError(f"no keystore: give --keystore DIR or set {KEYSTORE_VARIABLE}")


class Opening:
    """A keystore that is being opened while its caller does something else: stretching takes most of a short command.

    Where no thread can be started, it is opened at once.
    """

    def __init__(self, work: Callable[[], Keystore]) -> None:
        self._work = work
        self._done = Event()
        self._keystore: Keystore | None = None
        self._error: Exception | None = None
        with held():
            try:
                # A daemon: nobody waits for the stretching after an error or a signal.
                Thread(target=self._run, name="docex-keystore", daemon=True).start()
            except RuntimeError:
                with passing():
                    self._run()

    def _run(self) -> None:
        try:
            self._keystore = self._work()
        except Exception as error:
            self._error = error
        self._done.set()

    def check(self) -> None:
        """Raise at once what is known to be wrong; wait for nothing."""
        if self._error is not None:
            raise self._error

    def __call__(self) -> Keystore:
        """The keystore, once it is open; raises as `keys.local` does."""
        with held():
            interrupts.wait(self._done)
        self.check()
        assert self._keystore is not None
        return self._keystore


def opening(folder: Path, passphrase_file: Path | None) -> Opening:
    """Start opening a keystore. Raises as `read_passphrase` does, and for a keystore that is missing or malformed."""
    from keys import local

    local.read_public(folder)  # nobody should type a passphrase for a keystore that isn't there
    with passing():
        passphrase = read_passphrase(passphrase_file, what=f"Passphrase of {folder}")
    return Opening(partial(local.open_keystore, folder, passphrase))


@dataclass(frozen=True, slots=True)
class LateSigner:
    """The signer of a keystore that is still being opened: whoever asks first waits, and gets its errors."""

    opened: Callable[[], Keystore]

    @property
    def alg(self) -> str:
        """See the protocol, as for all that follow."""
        return self.opened().signer.alg

    @property
    def public_jwk(self) -> dict[str, str]:
        """The public half as a JWK."""
        return self.opened().signer.public_jwk

    @property
    def kid(self) -> str:
        """Its thumbprint."""
        return self.opened().signer.kid

    def sign(self, message: bytes) -> bytes:
        """A raw signature."""
        return self.opened().signer.sign(message)


def open_keystore(folder: Path, passphrase_file: Path | None) -> Keystore:
    """Open a keystore with the passphrase that `read_passphrase` finds; raises as `opening` and `Opening` do."""
    return opening(folder, passphrase_file)()


def identities(keystore: Path | None, key_files: list[Path], passphrase_file: Path | None) -> list[Unwrapper]:
    """The keys to open packets with: those of identity files, and the keystore's unless only files were named.

    Raises:
        UsageError: there are none, or the keystore is a copy without its identity.
        KeysError: a file or the keystore can't be used.
    """
    found: list[Unwrapper] = []
    for file in key_files:
        found += _identity_file(file)
    if keystore is None and found:
        return found
    opens = opening(keystore_folder(keystore), passphrase_file)
    import docex.service.folder  # noqa: F401 - what comes next, loaded meanwhile

    opened = opens()
    if opened.identity is None:
        raise UsageError("this keystore was exported without its identity: it can't open packets")
    return [*found, opened.identity]


def _identity_file(path: Path) -> list[Unwrapper]:
    from keys.errors import IdentityInvalid
    from keys.identity import parse_identity_file

    data = read_small(path, "the identity file")
    if data.startswith((b"age-encryption.org/", b"-----BEGIN AGE ENCRYPTED")):
        raise IdentityInvalid(f"{path} is encrypted: decrypt it with age first")
    try:
        return parse_identity_file(data.decode())
    except UnicodeDecodeError:
        raise IdentityInvalid(f"{path} is not text, so not an identity file") from None
    except IdentityInvalid as error:
        raise IdentityInvalid(f"{path}: {error}") from None


def _first_line(data: bytes) -> bytes:
    return data.removesuffix(b"\n").removesuffix(b"\r")


def _someone_there() -> bool:
    """Whether a prompt would be seen: standard input may be a packet, so getpass talks to the terminal itself."""
    return sys.stdin.isatty() or (sys.stderr.isatty() and os.access("/dev/tty", os.R_OK | os.W_OK))
