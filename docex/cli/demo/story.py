"""What happens in the demo: certificates travel from the mine to the retailer, and two attackers get nowhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote

from docex.cli.demo.network import Member, Network
from docex.cli.demo.steps import Steps
from docex.cli.output import human_size
from docex.core import packet, proof
from docex.errors import DocexError, LedgerUnavailable, NodeUnavailable
from keys.identity import HybridIdentity

ARCHIVE_SIZE = 50_000_000
_CHUNK = 1 << 20
_PATIENCE = 120.0


@dataclass(frozen=True, slots=True)
class Sample:
    """A document of the demo: where it goes on a node, what it is, and its bytes in pieces."""

    path: str
    kind: str
    media_type: str
    chunks: Callable[[], Iterable[bytes]]

    @property
    def name(self) -> str:
        """The document's name."""
        return self.path.rpartition("/")[2]


def shipped() -> tuple[Sample, ...]:
    """The documents that come with docex, and one made on the spot. The first is the one that is audited."""
    folder = resources.files("docex.cli.demo") / "samples"
    lot = "lots/HPQ-2026-31"
    certificate, footprint = folder / "quality-certificate.pdf", folder / "carbon-footprint.json"
    return (
        Sample(f"{lot}/{certificate.name}", "quality", "application/pdf", lambda: [certificate.read_bytes()]),
        Sample(f"{lot}/{footprint.name}", "carbon", "application/json", lambda: [footprint.read_bytes()]),
        Sample(f"{lot}/inspection-archive.csv", "other", "text/csv", lambda: _archive(ARCHIVE_SIZE)),
    )


ROUTE = ("mine", "manufacturer", "distributor", "retailer")


class Story:
    """Tells it; afterwards it knows the statements of the mine's documents and the transfers."""

    def __init__(self, network: Network, steps: Steps, samples: Sequence[Sample]) -> None:
        self.network = network
        self.samples = samples
        self.statements: dict[str, str] = {}
        self.transfers: list[tuple[Member, Member, dict[str, Any]]] = []
        self._steps = steps

    def file(self, sample: Sample) -> Path:
        """The file of a sample on disk."""
        return self.network.folder / "documents" / sample.name

    def tell(self) -> None:
        """All of it, in order."""
        self._steps.title("The mine deposits what it owes its customers")
        self._make_samples()
        for sample in self.samples:
            self._deposit(self.network.members["mine"], sample)
        self._steps.title("Down the chain: each hand passes the evidence on")
        for sender, recipient in pairwise(ROUTE):
            self._hand_on(self.network.members[sender], self.network.members[recipient])
        with self._steps.step("every statement anchored on both sides, and final"):
            self._wait_final()
        self._steps.title("Two who should not get anywhere")
        self._outsider()
        self._forger()

    def _make_samples(self) -> None:
        (self.network.folder / "documents").mkdir()
        for sample in self.samples:
            with self.file(sample).open("wb") as file:
                for chunk in sample.chunks():
                    file.write(chunk)

    def _deposit(self, member: Member, sample: Sample) -> None:
        file = self.file(sample)
        size = file.stat().st_size
        shown = f"{file.name} ({human_size(size)})"
        with self._steps.upload(shown, size) as progress, member.client() as client:

            def chunks() -> Iterator[bytes]:
                with file.open("rb") as stream:
                    while data := stream.read(_CHUNK):
                        yield data
                        progress.advance(progress.task_ids[0], len(data))

            headers = {"content-type": sample.media_type, "content-length": str(size)}
            done = client.json(
                "PUT",
                f"documents/{quote(sample.path)}",
                params={"kind": sample.kind},
                headers=headers,
                content=chunks,
            )
        self.statements[sample.path] = done["statement"]
        self._steps.say(f"document  {done['digest']}")
        self._steps.say(f"statement {done['statement']}")

    def _hand_on(self, sender: Member, recipient: Member) -> None:
        shown = f"{sender.name} → {recipient.name}: sealed, delivered, opened, receipt signed"
        with self._steps.step(shown), sender.client() as client:
            wanted = {"documents": list(self.statements.values()), "to": [recipient.account]}
            made = client.json("POST", "transfers", json=wanted)
            until = time.monotonic() + _PATIENCE
            while made["deliveries"][0]["state"] not in ("accepted", "rejected"):
                if time.monotonic() > until:
                    raise NodeUnavailable(f"no receipt from {recipient.name}: {made['deliveries'][0]}")
                time.sleep(0.1)
                made = client.json("GET", f"transfers/{made['id']}")
        self.transfers.append((sender, recipient, made))
        delivery = made["deliveries"][0]
        self._steps.say(f"transfer {made['id']}")
        self._steps.say(f"receipt  {delivery['receipt']} ({delivery['state']})")

    def _wait_final(self) -> None:
        until = time.monotonic() + _PATIENCE
        for member in self.network.members.values():
            with member.client() as client:
                for digest in self.statements.values():
                    while not _is_final(client.text(f"proofs/{digest}")):
                        if time.monotonic() > until:
                            raise LedgerUnavailable(f"{member.name}'s anchors did not become final")
                        time.sleep(0.25)

    def _outsider(self) -> None:
        sender, recipient, made = self.transfers[0]
        stolen, url = self.network.folder / "stolen.age", f"transfers/{made['id']}/packet"
        with (
            self._steps.step(f"an outsider gets hold of the packet for {recipient.name}"),
            sender.client() as client,
            client.stream("GET", url) as answer,
            stolen.open("wb") as file,
        ):
            for data in answer.iter_raw():
                file.write(data)
        self._expect_refusal(stolen, HybridIdentity.generate(), "the outsider's key opens nothing")

    def _forger(self) -> None:
        _, recipient, _ = self.transfers[0]
        stolen = self.network.folder / "stolen.age"
        with self._steps.step("a byte is changed on the way"), stolen.open("r+b") as file:
            file.seek(stolen.stat().st_size // 2)
            byte = file.read(1)[0]
            file.seek(-1, 1)
            file.write(bytes([byte ^ 1]))
        identity = recipient.keystore.identity
        assert identity is not None
        self._expect_refusal(stolen, identity, "the recipient notices")
        stolen.unlink()

    def _expect_refusal(self, stolen: Path, identity: Any, text: str) -> None:
        try:
            with stolen.open("rb") as source:
                packet.open_packet(source, [identity], packet.Discard())
        except DocexError as error:
            self._steps.say(f"{text}: error[{error.code}]: {error}")
        else:
            raise AssertionError(f"{text}: but the packet opened")


def _is_final(text: str) -> bool:
    found = proof.parse(text.encode())
    return all(each.anchor is not None for each in (found.statement, *found.related))


def _archive(size: int) -> Iterator[bytes]:
    """Made-up readings of a sensor, in hexadecimal: text that compresses like logs do."""
    import random

    dice = random.Random(2026)  # noqa: S311 - the same archive every time, on purpose
    while size:
        readings = dice.randbytes(250_000).hex("\n", 20)
        data = ("2026-03-14;HPQ-2026-31;" + readings.replace("\n", ";OK\n2026-03-14;HPQ-2026-31;") + ";OK\n").encode()
        yield data[:size]
        size -= len(data[:size])
