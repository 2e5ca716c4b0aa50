"""A recipient without docex opens a packet with age, zstd and tar."""

from __future__ import annotations

import hashlib
import io
import json
import random
import re
import subprocess
from pathlib import Path

import pytest

from docex.core import packet, statement
from docex.core.age import parse_identity, parse_recipient
from docex.core.claims import Addressee, Packet
from docex.core.encoding import b64url_decode
from keys.signer import Ed25519Signer
from tests.fixtures import stock_tools

pytestmark = stock_tools.needs("age", "age-keygen", "zstd", "tar")

ACCOUNT = "eip155:31337:0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
NOISE = random.Random(5).randbytes(3 << 20)
DOCUMENTS = {
    "certificate.pdf": b"%PDF-1.7\n" + NOISE[:100_000],
    "2026/Q3/Prüfbericht 品質.json": json.dumps({"conforms": True}).encode() * 100,
    "empty.txt": b"",
    "zeros.bin": bytes(5 << 20),
    "noise.bin": NOISE,
    "/".join(["long" * 20] * 8) + "/name.txt": b"deep",
}


def keygen(folder: Path, *options: str) -> tuple[Path, str]:
    """An identity file made by age-keygen, and its recipient."""
    key = folder / f"key{len(list(folder.iterdir()))}.txt"
    stock_tools.run(f"age-keygen {' '.join(options)} -o '{key}'")
    return key, stock_tools.run(f"age-keygen -y '{key}'").decode().strip()


def identity_in(key: Path) -> str:
    return next(line for line in key.read_text().splitlines() if line.startswith("AGE-SECRET-KEY-"))


def seal(documents: dict[str, bytes], destination: Path, *recipients: str) -> packet.Sealed:
    def source(path: str, content: bytes) -> packet.DocumentSource:
        return packet.DocumentSource(path, len(content), lambda: io.BytesIO(content))

    with destination.open("wb") as out:
        return packet.seal(
            [source(path, content) for path, content in documents.items()],
            out,
            [(parse_recipient(recipient), None) for recipient in recipients],
            signer=Ed25519Signer.generate(),
            issuer=ACCOUNT,
            now=1_780_000_000,
        )


def extract(sealed: Path, key: Path, folder: Path) -> dict[str, bytes]:
    """What the stock tools make of a packet: every file below the folder, by its path."""
    folder.mkdir()
    stock_tools.run(f"age -d -i '{key}' '{sealed}' | zstd -d | tar x", cwd=folder)
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("options", [[], ["-pq"]], ids=["X25519", "mlkem768x25519"])
def test_age_zstd_and_tar_open_a_packet(options: list[str], tmp_path: Path) -> None:
    key, recipient = keygen(tmp_path, *options)
    sealed = seal(DOCUMENTS, tmp_path / "packet", recipient)
    found = extract(tmp_path / "packet", key, tmp_path / "out")
    lines = found.pop("statements.jws").decode().splitlines()
    assert found == {f"document/{path}": content for path, content in DOCUMENTS.items()}
    assert lines == [each.token for each in (*sealed.documents, sealed.packet)]


def test_the_statements_say_what_sha256sum_says(tmp_path: Path) -> None:
    key, recipient = keygen(tmp_path)
    seal(DOCUMENTS, tmp_path / "packet", recipient)
    extract(tmp_path / "packet", key, tmp_path / "out")
    *documents, last = (tmp_path / "out/statements.jws").read_text().splitlines()
    for token in documents:
        claim = json.loads(b64url_decode(token.split(".")[1]))["document"]
        path = "/".join(filter(None, ["document", claim["folder"], claim["name"]]))
        summed = stock_tools.run(f"sha256sum '{path}'", cwd=tmp_path / "out").decode().split()[0]
        assert claim["digest"] == f"sha256:{summed}"
    claim = json.loads(b64url_decode(last.split(".")[1]))["packet"]
    assert claim["documents"] == [f"sha256:{hashlib.sha256(token.encode()).hexdigest()}" for token in documents]
    assert claim["to"] == [{"key": packet.key_id(recipient)}]


@stock_tools.needs("openssl")
@pytest.mark.parametrize("options", [[], ["-pq"]], ids=["X25519", "mlkem768x25519"])
def test_the_specification_is_followed_by_hand(options: list[str], tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    key, recipient = keygen(tmp_path / "keys", *options)
    key.rename(tmp_path / "key.txt")
    seal({"2026/certificate.txt": b"conforms"}, tmp_path / "packet.age", recipient)
    page = (Path(__file__).parents[2] / "docs/packet.md").read_text()
    (lines,) = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    stock_tools.run(f"set -e\n{lines}", cwd=tmp_path)
    assert (tmp_path / "document/2026/certificate.txt").read_bytes() == b"conforms"
    changed = lines.replace("| tar x\n", "| tar x\nprintf x >> document/2026/certificate.txt\n", 1)
    with pytest.raises(subprocess.CalledProcessError):
        stock_tools.run(f"set -e\n{changed}", cwd=tmp_path)


def test_a_packet_made_by_the_stock_tools_is_opened(tmp_path: Path) -> None:
    """The format is that of the tools: but for the statements, nothing in it needs docex to be made."""
    key, recipient = keygen(tmp_path)
    content = b"conforms\n"
    signer = Ed25519Signer.generate()
    claim = packet.DocumentSource("a.txt", len(content), io.BytesIO).claim(
        "sha256:" + hashlib.sha256(content).hexdigest()
    )
    document = statement.issue(signer, ACCOUNT, claim, 1)
    to = (Addressee(packet.key_id(recipient)),)
    bound = Packet((document.digest_text,), ACCOUNT, to)
    binding = statement.issue(signer, ACCOUNT, bound, 1)
    (tmp_path / "document").mkdir()
    (tmp_path / "document/a.txt").write_bytes(content)
    (tmp_path / "statements.jws").write_text(f"{document.token}\n{binding.token}\n")
    tar = "tar c --format=ustar document/a.txt statements.jws > archive && zstd -q archive"
    stock_tools.run(f"{tar} && age -r {recipient} -o packet archive.zst", cwd=tmp_path)
    with (tmp_path / "packet").open("rb") as source:
        opened = packet.open_packet(source, [parse_identity(identity_in(key))], packet.Discard())
    assert opened.documents == (document,)


def test_a_thousand_documents_in_one_packet(tmp_path: Path) -> None:
    key, recipient = keygen(tmp_path, "-pq")
    documents = {f"{number % 7}/{number:04}.json": b'{"number": %d}' % number for number in range(1000)}
    sealed = seal(documents, tmp_path / "packet", recipient)
    found = extract(tmp_path / "packet", key, tmp_path / "out")
    assert len(found.pop("statements.jws").splitlines()) == 1001
    assert found == {f"document/{path}": content for path, content in documents.items()}
    with (tmp_path / "packet").open("rb") as source:
        opened = packet.open_packet(source, [parse_identity(identity_in(key))], packet.Discard())
    assert opened.documents == sealed.documents


@pytest.mark.parametrize(("options", "count"), [([], 100), (["-pq"], 10)], ids=["X25519", "mlkem768x25519"])
def test_a_packet_for_many_recipients_opens_for_each(options: list[str], count: int, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.mkdir()
    pairs = [keygen(keys, *options) for _ in range(count)]
    sealed = seal({"a.txt": b"for all"}, tmp_path / "packet", *(recipient for _, recipient in pairs))
    for number in (0, count // 2, count - 1):
        found = extract(tmp_path / "packet", pairs[number][0], tmp_path / f"out{number}")
        assert found["document/a.txt"] == b"for all"
    data = (tmp_path / "packet").read_bytes()
    for key, recipient in pairs:
        opened = packet.open_packet(io.BytesIO(data), [parse_identity(identity_in(key))], packet.Discard())
        assert opened.addressee.key == packet.key_id(recipient)
        assert opened.packet == sealed.packet
