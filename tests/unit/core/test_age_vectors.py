"""The public test vectors of the age format (c2sp.org/CCTV/age), each with one fault.

The Go module's copy is read where the machine has it: in `.tools/age-vectors`, or in Go's module cache at the version
that tools/age/go.sum pins. Without it this module collects nothing. Armoured files and scrypt identities are outside
docex (docs/packet.md, "Encryption"); an scrypt stanza is then one for somebody else.
"""

import hashlib
import io
import os
import re
import zlib
from pathlib import Path

import pytest

from docex.core import age
from docex.errors import HeaderInvalid, HeaderMacInvalid, NoMatchingIdentity, PayloadInvalid

ROOT = Path(__file__).parents[3]
RESULTS = {
    NoMatchingIdentity: "no match",
    HeaderMacInvalid: "HMAC failure",
    HeaderInvalid: "header failure",
    PayloadInvalid: "payload failure",
}


def _vectors() -> list[Path]:
    sums = (ROOT / "tools/age/go.sum").read_text()
    pinned = re.search(r"^c2sp\.org/CCTV/age (\S+) h1:", sums, re.MULTILINE)
    assert pinned is not None
    cache = Path(os.environ.get("GOMODCACHE") or Path(os.environ.get("GOPATH") or Path.home() / "go") / "pkg/mod")
    for folder in (ROOT / ".tools/age-vectors", cache / f"c2sp.org/!c!c!t!v/age@{pinned[1]}/testdata"):
        if folder.is_dir():
            return sorted(folder.iterdir())
    return []


def _read(path: Path) -> tuple[dict[str, list[str]], bytes]:
    head, _, body = path.read_bytes().partition(b"\n\n")
    facts: dict[str, list[str]] = {}
    for line in head.decode().split("\n"):
        name, _, value = line.partition(": ")
        facts.setdefault(name, []).append(value)
    return facts, zlib.decompress(body) if "compressed" in facts else body


def _supported(path: Path) -> bool:
    facts, _ = _read(path)
    return not facts.keys() & {"armored", "passphrase"}


VECTORS = [path for path in _vectors() if _supported(path)]

if VECTORS:

    @pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.name)
    def test_a_vector_ends_as_it_says(path: Path) -> None:
        facts, packet = _read(path)
        out = io.BytesIO()
        identities = [age.parse_identity(text) for text in facts.get("identity", [])]
        try:
            age.decrypt(io.BytesIO(packet), out, identities)
            result = "success"
        except tuple(RESULTS) as error:
            result = RESULTS[type(error)]
        assert result == facts["expect"][0]
        # Also after a failure: what was released is exactly what was authentic.
        if "payload" in facts:
            assert hashlib.sha256(out.getvalue()).hexdigest() == facts["payload"][0]

    def test_a_header_that_parses_is_encoded_to_the_same_bytes_again() -> None:
        seen = 0
        for path in VECTORS:
            facts, packet = _read(path)
            if facts["expect"] != ["success"]:
                continue
            header = age.read_header(io.BytesIO(packet))
            again = age.encode_header(header.stanzas, bytes.fromhex(facts["file key"][0]))
            assert again == header.raw, path.name
            seen += 1
        assert seen >= 10
