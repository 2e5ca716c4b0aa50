"""What is fuzzed: one function for each reader of bytes from strangers, each with what must hold whatever they are.

A target takes any bytes. It returns whether they were accepted, and fails on any error but those that the reader names
under "Raises", or when something accepted is not what a second look (writing it again, a stock decoder) finds.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import zstandard

from docex.core import claims, compression, proof, statement
from docex.core.age import encode_header, open_header, read_header
from docex.core.encoding import b64url
from docex.core.statement import Statement
from docex.errors import (
    CompressionInvalid,
    HeaderInvalid,
    HeaderMacInvalid,
    LimitExceeded,
    NoMatchingIdentity,
    ProofInvalid,
    SignatureInvalid,
    StatementInvalid,
)
from docex.verify import Trust, verify
from keys.identity import HybridIdentity, X25519Identity
from keys.signer import Ed25519Signer
from tests.fuzz.archives import fuzz_archive, fuzz_tar

MAX_INPUT: Final = 16 << 10
"""Longest input in bytes; the time limit is set for these."""
MAX_SECONDS: Final = 1.0
"""Most CPU time for one input."""

SIGNER: Final = Ed25519Signer(b"\1" * 32)
IDENTITIES: Final = (X25519Identity(b"\2" * 32), HybridIdentity(b"\3" * 32))
FILE_KEY: Final = bytes(range(16))
OWN_HEADER: Final = json.dumps(
    {"alg": SIGNER.alg, "jwk": dict(SIGNER.public_jwk), "kid": SIGNER.kid, "typ": statement.TYP}
).encode()
_MAC_LINE_END: Final = 43 + len("\n")
_MAX_PLAIN: Final = 4 << 20


def fuzz_header(data: bytes) -> bool:
    """An age header. Accepted: it is the only spelling of its stanzas, and nothing behind it was touched."""
    source = io.BytesIO(data)
    try:
        header = read_header(source)
    except HeaderInvalid:
        return False
    assert data.startswith(header.raw)
    assert source.tell() == len(header.raw)
    again = encode_header(header.stanzas, FILE_KEY)
    assert again[:-_MAC_LINE_END] == header.raw[:-_MAC_LINE_END]
    twin = read_header(io.BytesIO(again))
    assert twin.stanzas == header.stanzas
    twin.check_mac(FILE_KEY)
    try:
        file_key, _ = open_header(header, IDENTITIES)
    except (NoMatchingIdentity, HeaderInvalid, HeaderMacInvalid):
        return True
    assert encode_header(header.stanzas, file_key) == header.raw
    return True


def fuzz_statement(data: bytes) -> bool:
    """A statement: a token, or a JSON header and a line feed and a JSON payload, which are encoded and signed here.

    An empty header stands for the signer's own: otherwise no mutation would ever get past the signature.
    """
    header, is_json, payload = data.partition(b"\n")
    token = _sign(header or OWN_HEADER, payload) if is_json else data.decode("utf-8", "surrogateescape")
    try:
        parsed = statement.parse(token)
    except StatementInvalid:
        return False
    assert parsed.token == token
    assert claims.from_json(parsed.type, claims.to_json(parsed.body)) == parsed.body
    # What a reader accepts, a member can say.
    issued = statement.issue(SIGNER, parsed.issuer, parsed.body, parsed.issued_at, parsed.jti)
    assert (issued.body, issued.issuer, issued.issued_at) == (parsed.body, parsed.issuer, parsed.issued_at)
    assert statement.verify(issued.token) == issued
    signed_here = bool(is_json) and (header or OWN_HEADER) == OWN_HEADER
    return _holds(parsed, must=signed_here)


def _sign(header: bytes, payload: bytes) -> str:
    signing_input = f"{b64url(header)}.{b64url(payload)}"
    return f"{signing_input}.{b64url(SIGNER.sign(signing_input.encode('ascii')))}"


def _holds(parsed: Statement, *, must: bool) -> bool:
    try:
        assert statement.verify(parsed.token) == parsed
    except SignatureInvalid:
        assert not must, "a good signature was refused"
        return False
    return True


def fuzz_frames(data: bytes) -> bool:
    """A Zstandard stream, read in pieces of ``data[0] + 1`` bytes. Accepted: the stock decoder finds the same in it."""
    stream, step = data[1:], (data[0] if data else 0) + 1
    whole, content = _decompress(io.BytesIO(stream))
    assert _decompress(_Slow(stream, step)) == (whole, content), "where the reads are cut must not matter"
    if whole is not None:
        return False
    plain = b"".join(content)
    assert len(plain) <= _MAX_PLAIN
    stock = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(stream), read_across_frames=True)
    assert stock.read() == plain
    again = b"".join(bytes(piece) for part in content for piece in compression.compress_frame(part))
    assert _decompress(io.BytesIO(again)) == (None, content)
    return True


class _Slow:
    """A stream that gives a few bytes at a time."""

    def __init__(self, data: bytes, step: int) -> None:
        self._source = io.BytesIO(data)
        self._step = step

    def readinto(self, buffer: memoryview, /) -> int:
        return self._source.readinto(buffer[: self._step])


def _decompress(source: compression.SupportsReadinto) -> tuple[str | None, list[bytes]]:
    """What stopped the reader (None: the end), and the content of each frame before."""
    content: list[bytes] = []
    try:
        reader = compression.FrameReader(source, _MAX_PLAIN)
        for frame in reader.frames():
            content.append(bytes(reader.decompress(frame)))
            assert 0 < len(content[-1]) <= compression.FRAME_SIZE
    except (CompressionInvalid, LimitExceeded) as error:
        return repr(error), content
    return None, content


def fuzz_proof(data: bytes) -> bool:
    """A proof file. Accepted: it is the same once written again, and has a verdict, if a poor one."""
    try:
        parsed = proof.parse(data)
    except ProofInvalid:
        return False
    assert proof.parse(proof.dump(parsed)) == parsed
    for trust in (None, Trust("fuzzing", parsed.network)):
        assert len(verify(None, parsed, trust, None).rows) == 7
    return True


TARGETS: Final[Mapping[str, Callable[[bytes], bool]]] = MappingProxyType(
    {
        "header": fuzz_header,
        "statement": fuzz_statement,
        "tar": fuzz_tar,
        "frames": fuzz_frames,
        "proof": fuzz_proof,
        "archive": fuzz_archive,
    }
)


def check(name: str, data: bytes) -> bool:
    """Run one target on one input, within `MAX_SECONDS`; whether the input was accepted."""
    started = time.process_time()
    accepted = TARGETS[name](data)
    spent = time.process_time() - started
    assert spent < MAX_SECONDS, f"{spent:.2f} s of CPU time for {len(data)} bytes"
    return accepted
