"""Keys: sign statements, unwrap packets, own a ledger account, without showing a private half.

The package knows nothing of docex: bytes, str and int cross the border. One backend is one module
(``keys.local`` is the passphrase-protected keystore). Importing the package loads no vendor.
"""

from __future__ import annotations

from keys.errors import (
    IdentityInvalid,
    KeysError,
    KeystoreExists,
    KeystoreInvalid,
    KeystoreMissing,
    KeystoreTampered,
    KeystoreUnavailable,
    KeysUsageError,
    PassphraseInvalid,
    RecipientInvalid,
    StanzaInvalid,
    WrongPassphrase,
)
from keys.protocols import AccountSigner, Signer, Unwrapper
from keys.stanza import Stanza

__all__ = [
    "AccountSigner",
    "IdentityInvalid",
    "KeysError",
    "KeysUsageError",
    "KeystoreExists",
    "KeystoreInvalid",
    "KeystoreMissing",
    "KeystoreTampered",
    "KeystoreUnavailable",
    "PassphraseInvalid",
    "RecipientInvalid",
    "Signer",
    "Stanza",
    "StanzaInvalid",
    "Unwrapper",
    "WrongPassphrase",
]
