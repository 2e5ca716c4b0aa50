"""Every error docex raises on purpose, under one root.

Each class has a stable ``code``: programs match on it, the API turns it into an RFC 9457 ``type``, and the CLI prints
it beside the message. Messages are for people and may change.
"""

from __future__ import annotations

from typing import ClassVar


class DocexError(Exception):
    """Root of all errors of docex."""

    code: ClassVar[str] = "docex_error"


class UsageError(DocexError):
    """The caller asked for something that can't be done as asked (a wrong argument, a missing file)."""

    code = "usage"


class LimitExceeded(DocexError):
    """An input is larger than the limit that applies to it."""

    code = "limit_exceeded"


# --- packets (docs/packet.md) ---------------------------------------------------------------------------------------


class PacketError(DocexError):
    """A packet can't be sealed or opened."""

    code = "packet_invalid"


class NoMatchingIdentity(PacketError):
    """No stanza of the packet is for the identity at hand."""

    code = "no_matching_identity"


class HeaderInvalid(PacketError):
    """The age header is malformed."""

    code = "packet_header_invalid"


class HeaderMacInvalid(PacketError):
    """The age header was changed: its MAC does not hold."""

    code = "packet_mac_invalid"


class PayloadInvalid(PacketError):
    """The encrypted payload was changed, cut or extended."""

    code = "packet_payload_invalid"


class CompressionInvalid(PacketError):
    """The Zstandard stream is malformed, cut, or larger than its limits allow."""

    code = "packet_compression_invalid"


class ArchiveInvalid(PacketError):
    """The tar archive inside the packet is malformed or holds what a packet may not hold."""

    code = "packet_archive_invalid"


class NameInvalid(PacketError):
    """A document name or folder path is not allowed."""

    code = "name_invalid"


class NotAddressee(PacketError):
    """The packet opens with this identity, but its sender did not address it to that key."""

    code = "not_addressee"


class DigestMismatch(DocexError):
    """Bytes do not have the digest or size that a statement gives them."""

    code = "digest_mismatch"


# --- statements (docs/proof.md) -------------------------------------------------------------------------------------


class StatementInvalid(DocexError):
    """A statement is not a well-formed docex statement."""

    code = "statement_invalid"


class SignatureInvalid(StatementInvalid):
    """A statement's signature does not hold under its key."""

    code = "signature_invalid"


class InclusionInvalid(DocexError):
    """An inclusion proof does not lead from the leaf to the root (RFC 9162 section 2.1.3.2)."""

    code = "inclusion_invalid"


class ProofInvalid(DocexError):
    """A proof file is malformed."""

    code = "proof_invalid"


class EvidenceInvalid(DocexError):
    """A proof's own evidence of what the ledger says does not lead to the trusted block, or is not complete."""

    code = "evidence_invalid"


# --- ledger (docs/ledger.md) ----------------------------------------------------------------------------------------


class LedgerError(DocexError):
    """The ledger refused or failed."""

    code = "ledger_error"


class LedgerUnavailable(LedgerError):
    """The ledger can't be reached: says nothing about validity."""

    code = "ledger_unavailable"


class LedgerRejected(LedgerError):
    """A contract refused the call."""

    code = "ledger_rejected"


class NotMember(LedgerError):
    """The account is not an active member of the Directory."""

    code = "not_member"


# --- node -----------------------------------------------------------------------------------------------------------


class NotFound(DocexError):
    """There is no such thing here."""

    code = "not_found"


class Conflict(DocexError):
    """The thing exists already, or its state does not allow this."""

    code = "conflict"


class OffsetMismatch(Conflict):
    """An upload is to go on from another place than the one where it stopped."""

    code = "offset_mismatch"


class UploadUnderWay(Conflict):
    """A packet is being brought already, or its sender brings too many at once: it is to come again a little later."""

    code = "upload_under_way"


class RequestUnderWay(Conflict):
    """The same request is being worked on already."""

    code = "request_under_way"


class IdempotencyKeyReused(DocexError):
    """An idempotency key was used before, for another request."""

    code = "idempotency_key_reused"


class PreconditionFailed(DocexError):
    """What is there is not what the caller made its request depend on."""

    code = "precondition_failed"


class Unauthorised(DocexError):
    """The caller did not say who it is, or is not who it says."""

    code = "unauthorised"


class Forbidden(DocexError):
    """The caller is known but may not do this."""

    code = "forbidden"


class NodeUnavailable(DocexError):
    """Another node can't be reached or answered with a failure."""

    code = "node_unavailable"


class IssuerUnavailable(DocexError):
    """The keys of the OIDC issuer can't be had now: try again later."""

    code = "issuer_unavailable"


class DatabaseUnavailable(DocexError):
    """The database does not answer, or takes nothing more: says nothing about what was asked.

    Its second argument is the driver's own words, for the log: they may name hosts, and are not told to callers.
    """

    code = "database_unavailable"

    def __str__(self) -> str:
        return str(self.args[0])


class TooManyCalls(DocexError):
    """There were more calls than may be made in a while; ``seconds``: when to come again."""

    code = "too_many_calls"

    seconds = 60

    def __init__(self, message: str, seconds: int) -> None:
        super().__init__(message)
        self.seconds = seconds


class LengthRequired(DocexError):
    """An upload does not say how many bytes it has."""

    code = "length_required"
