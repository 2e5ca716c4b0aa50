"""Part of `docex.service.fsck`: transfers with their deliveries and receipts, and the jobs that bring them forward."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Final

from docex.core import statement
from docex.core.claims import Body, Receipt, Revocation, Transfer
from docex.core.digest import parse_digest
from docex.core.state import Delivery, DeliveryState, Direction, Job, StoredTransfer
from docex.errors import DocexError, NotFound
from docex.service import jobs, timestamps
from docex.service.findings import Code, Findings
from docex.service.ports import Anchors, AuditStore

PAGE: Final = 500

Problem = tuple[Code, str, Callable[[], Awaitable[object]] | None]
_STATES = {"accepted": DeliveryState.ACCEPTED, "rejected": DeliveryState.REJECTED}
_SIGNED_FOR = (DeliveryState.RECEIVED, DeliveryState.WITHHELD)


async def check_transfers(store: AuditStore, findings: Findings) -> None:
    """See that each transfer is what its statement says, and each delivery what its receipt says."""
    before = None
    while page := await store.transfers(None, before, PAGE):
        before = page[-1].created, page[-1].id
        tokens = await _tokens(store, page)
        for transfer in page:
            problems = _problems(store, transfer, tokens)
            if (
                problems
            ):  # on PostgreSQL a page's rows are read one table after the other: something may have come between
                again = await store.transfer(transfer.id)
                problems = _problems(store, again, await _tokens(store, [again]))
            for code, message, mend in problems:
                await findings.add(code, f"transfer {transfer.id}", message, mend)
            findings.counts["receipts"] += len(_receipts(transfer))
        findings.saw("transfers", len(page))


async def _tokens(store: AuditStore, transfers: Sequence[StoredTransfer]) -> Mapping[str, str]:
    receipts = [digest for transfer in transfers for digest in _receipts(transfer)]
    return await store.tokens([*(each.id for each in transfers), *receipts])


def _receipts(transfer: StoredTransfer) -> list[str]:
    given = [digest for each in transfer.deliveries for digest in (each.ciphertext_receipt, each.receipt)]
    return [digest for digest in given if digest is not None]


def _problems(store: AuditStore, transfer: StoredTransfer, tokens: Mapping[str, str]) -> list[Problem]:
    problems: list[Problem] = []
    claim, signer = _said(tokens.get(transfer.id))
    if not isinstance(claim, Transfer) or (claim.packet, claim.size, bool(claim.fair), signer) != (
        transfer.packet,
        transfer.size,
        transfer.fair,
        transfer.peer,
    ):
        problems.append((Code.TRANSFER_STATEMENT, "its statement is missing or names another packet", None))
    elif wrong := _misaddressed(transfer, claim):
        problems.append((Code.DELIVERY, wrong, None))
    sent = transfer.direction is Direction.SENT
    if sent and transfer.blob is None:
        problems.append((Code.DELIVERY, "it was sent, and names no packet", None))
    if not sent and any(not _in_place(transfer, each) for each in transfer.deliveries):
        problems.append((Code.DELIVERY, "its packet is here and not delivered, or delivered and not here", None))
    for delivery in transfer.deliveries:
        problems += _receipt_problems(store, transfer, delivery, tokens)
    return problems


def _said(token: str | None) -> tuple[Body | None, str | None]:
    """What a stored statement says, and whose it is; nothing where it can't be read."""
    if token is None:
        return None, None
    try:
        said = statement.parse(token)
    except DocexError:
        return None, None
    return said.body, said.issuer


def _misaddressed(transfer: StoredTransfer, claim: Transfer) -> str | None:
    accounts = [each.account for each in transfer.deliveries]
    addressees = [each.account for each in claim.to]
    if transfer.direction is Direction.SENT:
        return (
            None
            if sorted(accounts) == sorted(each or "" for each in addressees)
            else "deliveries and addressees differ"
        )
    return None if len(accounts) == 1 and accounts[0] in addressees else "it is not addressed to this member"


def _in_place(transfer: StoredTransfer, delivery: Delivery) -> bool:
    """Whether what a received delivery's state says of packet and ciphertext is so."""
    whole, ciphertext = transfer.blob is not None, transfer.ciphertext is not None
    if delivery.state is DeliveryState.PENDING:
        return not whole and not ciphertext
    if delivery.state in _SIGNED_FOR:
        return not whole and ciphertext
    # A ciphertext may be rejected without its header, and that may still come.
    return whole is not ciphertext and (whole or delivery.state is DeliveryState.REJECTED)


def _receipt_problems(
    store: AuditStore, transfer: StoredTransfer, delivery: Delivery, tokens: Mapping[str, str]
) -> list[Problem]:
    answered = delivery.state in _STATES.values()
    if (delivery.ciphertext_receipt is None and delivery.state in _SIGNED_FOR) or (
        delivery.ciphertext_receipt is not None
        and _wrong_receipt(transfer, delivery, tokens.get(delivery.ciphertext_receipt), ("received",))
    ):
        message = f"the receipt of {delivery.account} for the ciphertext is missing, or another's"
        return [(Code.DELIVERY_RECEIPT, message, None)]
    if delivery.receipt is None:
        return (
            [(Code.DELIVERY_STATE, f"{delivery.account} {delivery.state} without a receipt", None)] if answered else []
        )
    token = tokens.get(delivery.receipt)
    if _wrong_receipt(transfer, delivery, token, tuple(_STATES)):
        return [(Code.DELIVERY_RECEIPT, f"the receipt of {delivery.account} is missing, or another's", None)]
    claim, _ = _said(token)
    assert isinstance(claim, Receipt)
    said = _STATES[claim.outcome]
    if said is not delivery.state:
        mend = partial(store.settle, transfer.id, delivery.account, said)
        return [(Code.DELIVERY_STATE, f"{delivery.account} has {said} it, and it is {delivery.state} here", mend)]
    return []


def _wrong_receipt(transfer: StoredTransfer, delivery: Delivery, token: str | None, outcomes: tuple[str, ...]) -> bool:
    claim, signer = _said(token)
    return (
        not isinstance(claim, Receipt)
        or claim.outcome not in outcomes
        or (claim.transfer, claim.packet, signer) != (transfer.id, transfer.packet, delivery.account)
    )


Stuck = Callable[[tuple[str, str], int], Awaitable[Sequence[tuple[str, str]]]]
Maker = Callable[[StoredTransfer, str], Job]


async def check_jobs(store: AuditStore, findings: Findings, *, opens: bool, now: int) -> None:
    """See that everything that must be done has its job, and that each job is about something."""
    kinds: list[tuple[Stuck, Maker, str]] = [
        (store.undelivered, lambda each, account: jobs.delivery(each.id, account), "no job delivers it to {}"),
        (store.unasked, lambda each, _: jobs.asking(each.id, each.peer), "no job asks its sender for the header"),
        (store.unreturned, lambda each, _: jobs.giving_back(each.id, each.peer), "no job gives back its receipt"),
        (store.unexpired, lambda each, _: _expiry(each, now), "no job gives it up for {} once its time has run out"),
    ]
    if opens:
        kinds.append((store.unopened, lambda each, _: jobs.opening(each.id), "it has no receipt, and no job opens it"))
    for stuck, make, message in kinds:
        await _check_stuck(store, findings, stuck, make, message)
    last = ""
    while page := await store.jobs_from(last, PAGE):
        for job in page:
            last = job.key
            if (wrong := await _baseless(store, job)) is not None:
                await findings.add(Code.JOB, f"job {job.key}", wrong)
        findings.saw("jobs", len(page))


async def _check_stuck(store: AuditStore, findings: Findings, stuck: Stuck, make: Maker, message: str) -> None:
    after = ("", "")
    while page := await stuck(after, PAGE):
        for transfer, account in page:
            after = transfer, account
            mend = partial(store.add_jobs, [make(await store.transfer(transfer), account)])
            await findings.add(Code.STUCK, f"transfer {transfer}", message.format(account), mend)


def _expiry(transfer: StoredTransfer, now: int) -> Job:
    assert transfer.expires is not None  # asked for
    return jobs.expiry(transfer.id, max(0, transfer.expires - now))


async def check_revocations(store: AuditStore, findings: Findings, address: str, anchors: Anchors) -> None:
    """See that the Notary has each revocation, or a job brings it there."""
    after = ""
    while page := await store.unrecorded(after, PAGE):
        for revocation, revoked in page:
            after = revocation
            if await anchors.revocation_of(address, parse_digest(revoked).raw) is None:
                mend = partial(store.add_jobs, [jobs.recording(revoked, revocation)])
                message = f"the Notary does not have its revocation {revocation}, and no job brings it there"
                await findings.add(Code.STUCK, f"statement {revoked}", message, mend)


async def _baseless(store: AuditStore, job: Job) -> str | None:
    """Why a job can't be done, whatever it is tried on."""
    try:
        if job.kind == "deliver":
            transfer, _, account = job.argument.partition(" ")
            found = await store.transfer(transfer)
            return None if any(each.account == account for each in found.deliveries) else f"{account} is no addressee"
        if job.kind == "open":
            return None if (await store.transfer(job.argument)).blob else "there is no packet to open"
        if job.kind == "ask":
            received = (await store.transfer(job.argument)).deliveries
            return None if received and received[0].ciphertext_receipt else "there is no ciphertext without a header"
        if job.kind == "return":
            given = (await store.transfer(job.argument)).deliveries
            return None if given and given[0].receipt else "there is no receipt to give back"
        if job.kind in ("clean", "expire"):
            await store.transfer(job.argument)
            return None
        if job.kind == timestamps.JOB:
            await store.batch(int(job.argument))
            return None
        if job.kind == "revoke":
            stored = await store.statement(job.argument)
            return None if stored and stored.type == Revocation.TYPE else "there is no such revocation"
    except (NotFound, ValueError) as error:
        return str(error)
    return f"there is no work of the kind {job.kind}"
