"""Members exchange documents over real nodes, sockets and a real chain."""

from tests.fixtures.network import Join, StartNode


async def test_a_document_reaches_its_recipient_and_both_sides_can_prove_it(join: Join, start_node: StartNode) -> None:
    mine, maker = await join("Mine AG"), await join("Maker Ltd")
    sender, recipient = await start_node(mine), await start_node(maker)
    document = await sender.deposit("quality/cert.pdf", b"%PDF", params={"kind": "quality"})
    transfer = await sender.transfer(["quality/cert.pdf"], maker)
    await sender.until(f"transfers/{transfer['id']}", lambda it: it["deliveries"][0]["receipt"])
