"""Receipt before key between real nodes on a real chain, with everything that passes between them written down."""

import base64
import io

from aiohttp import web

from docex.core import facts, proof
from docex.core.age import open_header, read_header
from docex.core.proof import Network
from docex.core.verdict import Outcome
from docex.ledger.reader import RpcLedgerReader
from docex.ledger.rpc import Rpc
from docex.verify import Verdict, verify
from tests.fixtures.network import Consortium, Join, RunningNode, StartNode
from tests.fixtures.proxy import Fault, running_proxy


async def verdict(consortium: Consortium, node: RunningNode, digest: str, related: int) -> Verdict:
    """The verdict on a statement once it and what is about it are final."""

    def final(made: object) -> bool:
        assert isinstance(made, dict)
        return len(made["related"]) == related and all(each["anchor"] for each in (made["statement"], *made["related"]))

    await node.until(f"proofs/{digest}", final)
    made = proof.parse((await node.client.get(f"/api/v1/proofs/{digest}")).content)
    deployment = consortium.deployment
    network = Network(deployment.chain_id, deployment.directory, deployment.notary)
    async with Rpc(consortium.chain.url) as rpc:
        found = await facts.collect_facts(made, RpcLedgerReader(rpc, network))
    return verify(None, made, facts.Trust("test", network, confirmations=1), found)


def forms(secret: bytes) -> list[bytes]:
    """How bytes may stand in others."""
    text = base64.b64encode(secret).rstrip(b"=")
    return [secret, secret.hex().encode(), text, text.replace(b"+", b"-").replace(b"/", b"_")]


async def test_nothing_that_leads_to_the_key_is_on_the_wire_before_the_signed_receipt(
    join: Join, start_node: StartNode, consortium: Consortium
) -> None:
    mine, maker = await join("Mine AG"), await join("Maker Ltd")
    sender = await start_node(mine, publish=False)
    recipient = await start_node(maker, publish=False, header_patience=1)
    async with running_proxy(sender.url) as to_sender, running_proxy(recipient.url) as to_recipient:
        await consortium.set_endpoint(mine, to_sender.url)
        await consortium.set_endpoint(maker, to_recipient.url)
        cut = 0

        def plan(request: web.Request) -> Fault | None:
            nonlocal cut
            if open_way or request.path != "/api/v1/receipts":
                return None
            cut += 1
            return Fault.CUT

        open_way, to_sender.plan = False, plan
        content = b"quality certificate " * 20_000
        await sender.deposit("quality/cert.pdf", content)
        wanted = {"documents": ["quality/cert.pdf"], "to": [maker.account], "fair": True}
        answer = await sender.client.post("/api/v1/transfers", json=wanted)
        assert (answer.status_code, answer.json()["fair"]) == (202, True)
        transfer = answer.json()["id"]
        packet = (await sender.client.get(f"/api/v1/transfers/{transfer}/packet")).content
        header = read_header(io.BytesIO(packet))
        file_key, _ = open_header(header, [maker.keystore.identity])  # type: ignore[list-item]
        secrets = [header.raw, header.mac, file_key, *(each.body for each in header.stanzas)]
        needles = [form for secret in secrets for form in forms(secret)]
        needles += [argument.encode() for each in header.stanzas for argument in each.args if len(argument) > 20]

        # The receipt does not get through. The recipient gives up in the end, with ciphertext and a proof that says so.
        await recipient.until("transfers", lambda it: it["transfers"])
        withheld = await recipient.until(f"transfers/{transfer}", lambda it: it["deliveries"][0]["state"] == "withheld")
        assert (withheld["arrived"], withheld["deliveries"][0]["receipt"]) == (False, None)
        assert "the header did not come" in withheld["deliveries"][0]["error"]
        assert cut >= 1
        assert (await recipient.client.get(f"/api/v1/transfers/{transfer}/packet")).status_code == 404
        assert (await recipient.get("documents"))["documents"] == []
        said = await verdict(consortium, recipient, transfer, related=1)
        assert said.row(7).outcome is Outcome.PASS
        assert said.row(7).reason.startswith("ciphertext received by Maker Ltd")
        wire = b"".join(came + went for proxy in (to_sender, to_recipient) for _, came, went in proxy.seen)
        assert packet[len(header.raw) :] in wire
        assert [needle for needle in needles if needle in wire] == []
        waiting = (await sender.get(f"transfers/{transfer}"))["deliveries"][0]
        assert (waiting["state"], waiting["ciphertext_receipt"]) == ("pending", None)

        # It gets through: the header follows, once, behind the receipt.
        open_way = True
        for node in (sender, recipient):
            await node.until(f"transfers/{transfer}", lambda it: it["deliveries"][0]["state"] == "accepted")
        headers = [came for what, came, _ in to_recipient.seen if what.endswith("/header")]
        assert headers
        assert all(came.endswith(header.raw) for came in headers)
        before = b"".join(came for what, came, _ in to_sender.seen if what.endswith("/receipts"))
        assert before.count(b".") >= 4  # two receipts, of three parts each
        received = f"received/{mine.address}/quality/cert.pdf"
        assert (await recipient.client.get(f"/api/v1/documents/{received}")).content == content
        for node in (sender, recipient):
            said = await verdict(consortium, node, transfer, related=2)
            assert [each["outcome"] for each in said.row(7).details["receipts"]] == ["received", "accepted"]
            assert said.exit_code == 0
            assert (await node.node.store.counts())["receipts"] == 1
