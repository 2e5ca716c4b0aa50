"""Every error ``keys`` raises on purpose, under one root with a stable ``code``.

No message ever holds a private key, a passphrase or the text of an identity.
"""

from __future__ import annotations

from typing import ClassVar


class KeysError(Exception):
    """Root of all errors of ``keys``."""

    code: ClassVar[str] = "keys_error"


class KeysUsageError(KeysError):
    """An argument can't be used (a wrong size, a name with control characters)."""

    code = "keys_usage"


class IdentityInvalid(KeysError):
    """A text is not an age identity."""

    code = "identity_invalid"


class RecipientInvalid(KeysError):
    """A text is not an age recipient in its canonical form."""

    code = "recipient_invalid"


class StanzaInvalid(KeysError):
    """A stanza of the identity's own type is malformed: the whole header is to be refused."""

    code = "stanza_invalid"


class KeystoreExists(KeysError):
    """The directory holds a keystore already: keystores are never overwritten."""

    code = "keystore_exists"


class KeystoreMissing(KeysError):
    """The directory holds no keystore."""

    code = "keystore_missing"


class KeystoreUnavailable(KeysError):
    """The keystore can't be read or written (permissions, a full disk)."""

    code = "keystore_unavailable"


class KeystoreInvalid(KeysError):
    """The keystore file is malformed or asks for more than its limits allow."""

    code = "keystore_invalid"


class KeystoreTampered(KeystoreInvalid):
    """The passphrase is right, but the keystore file was changed since it was written."""

    code = "keystore_tampered"


class PassphraseInvalid(KeysError):
    """The passphrase can't protect a keystore (it is empty)."""

    code = "passphrase_invalid"


class WrongPassphrase(KeysError):
    """The passphrase does not open the keystore."""

    code = "wrong_passphrase"
