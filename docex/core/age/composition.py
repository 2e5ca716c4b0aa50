"""Header and payload put together: what seals, opens and re-addresses an age file."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from io import BytesIO

from docex.core.age.syntax import Header, encode_header, read_header
from docex.core.recipients import Recipient, check_mix
from docex.errors import HeaderInvalid, NoMatchingIdentity, UsageError
from keys import recipient as text_form
from keys.errors import StanzaInvalid
from keys.protocols import Unwrapper

FILE_KEY_SIZE = text_form.FILE_KEY_SIZE


def make_header(recipients: Sequence[Recipient], *, allow_mixed: bool = False) -> tuple[bytes, bytes]:
    """A new header for ``recipients`` and the fresh file key it wraps: ``(header, file_key)``.

    Raises UsageError without recipients, MixedRecipients when post-quantum and other recipients
    meet and ``allow_mixed`` is not set, LimitExceeded on more than 1,024 recipients.
    """
    if not recipients:
        raise UsageError("a packet needs at least one recipient")
    if not allow_mixed:
        check_mix([recipient.post_quantum for recipient in recipients])
    file_key = secrets.token_bytes(FILE_KEY_SIZE)
    stanzas = [recipient.wrap(file_key) for recipient in recipients]
    return encode_header(stanzas, file_key), file_key


def open_header(header: Header, identities: Sequence[Unwrapper]) -> tuple[bytes, Unwrapper]:
    """The file key of ``header`` and the first identity that unwraps it; the MAC is checked.

    Raises NoMatchingIdentity, HeaderInvalid when a stanza of an identity's own type is malformed,
    HeaderMacInvalid; a KeysError of an identity that can't be reached passes through.
    """
    for identity in identities:
        try:
            file_key = identity.unwrap(header.stanzas)
        except StanzaInvalid as error:
            raise HeaderInvalid(str(error)) from error
        if file_key is not None:
            if len(file_key) != FILE_KEY_SIZE:
                raise HeaderInvalid("the header does not hold a 16-byte file key")
            header.check_mac(file_key)
            return file_key, identity
    raise NoMatchingIdentity("no stanza of the packet is for this identity")


def rewrap(
    header: bytes,
    identities: Sequence[Unwrapper],
    recipients: Sequence[Recipient],
    *,
    allow_mixed: bool = False,
) -> bytes:
    """The header with stanzas for ``recipients`` added; the payload after it stays as it is.

    ``header`` is the whole old header and nothing else. Raises as ``make_header`` and
    ``open_header`` do. The old stanzas count as recipients when types are mixed.
    """
    if not recipients:
        raise UsageError("name at least one recipient to add")
    source = BytesIO(header)
    old = read_header(source)
    if source.read(1):
        raise HeaderInvalid("bytes after the header")
    if not allow_mixed:
        known = [
            stanza.type == text_form.HYBRID
            for stanza in old.stanzas
            if stanza.type in (text_form.X25519, text_form.HYBRID, text_form.RSA)
        ]
        check_mix([*known, *(recipient.post_quantum for recipient in recipients)])
    file_key, _ = open_header(old, identities)
    added = [recipient.wrap(file_key) for recipient in recipients]
    return encode_header([*old.stanzas, *added], file_key)
