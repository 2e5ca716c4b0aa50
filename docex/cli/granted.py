"""What ``docex open`` needs for a packet that was granted: grants, and headers apart from their packets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docex.cli import output, unlock
from docex.errors import HeaderInvalid, NoMatchingIdentity, NotAddressee, PayloadInvalid, StatementInvalid, UsageError

if TYPE_CHECKING:
    from docex.core.age import Header
    from docex.core.age.streams import Source
    from docex.core.grant import Grants
    from docex.core.packet import Opened
    from docex.core.statement import Statement


def read_detached(path: Path) -> Header:
    """A header that ``docex grant`` wrote apart from its packet.

    Raises:
        UsageError: there is no such file.
        HeaderInvalid: it is not a header, or not that alone.
    """
    from docex.core import grant as core

    try:
        with path.open("rb") as file:
            return core.read_detached(file)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise UsageError(f"the header {path} does not exist, or is a folder") from None
    except HeaderInvalid as error:
        raise HeaderInvalid(f"{path}: {error}") from None


def reheaded(packet: Source, path: Path | None) -> Source:
    """The packet with a detached header, if there is one, in place of its own. Raises as `read_detached` does."""
    from docex.core.age import read_header
    from docex.core.grant import Reheaded

    if path is None:
        return packet
    header = read_detached(path)
    read_header(packet)
    return Reheaded(header.raw, packet)


def read_grants(files: Sequence[Path], granted_by: Sequence[Path]) -> Grants:
    """The grants in these files, and the members who may have issued them, by their public files.

    Raises:
        UsageError: a file does not exist, or a public file is none.
        StatementInvalid: (or a subclass) a file does not hold grants whose signatures hold.
    """
    from docex.cli import parties
    from docex.core.grant import Granter, Grants, parse_grants
    from docex.core.recipients import recipient_id

    statements: list[Statement] = []
    for path in files:
        try:
            statements += parse_grants(unlock.read_small(path, "the grant"))
        except StatementInvalid as error:
            raise type(error)(f"{path}: {error}") from None
    public = [parties.read_public(path) for path in granted_by]
    granters = [Granter(each.account, each.kid, recipient_id(each.recipient.text)) for each in public]
    return Grants(tuple(statements), tuple(granters))


@contextmanager
def explained(grants: Grants, header: Path | None) -> Iterator[None]:
    """Say what can be done when a packet does not open for want of a grant or for another's header."""
    try:
        yield
    except NoMatchingIdentity as error:
        if not grants.statements or header is not None:
            raise
        raise NoMatchingIdentity(f"{error} (a header came with the grant? --header FILE)") from None
    except NotAddressee as error:
        advice = "no grant given here names this key" if grants.statements else "if it was granted: --grant FILE"
        raise NotAddressee(f"{error} ({advice})") from None
    except PayloadInvalid as error:
        if header is None:
            raise
        raise PayloadInvalid(f"{error} (or {header} is the header of another packet)") from None


def to_json(grants: Grants, opened: Opened) -> dict[str, Any]:
    """How access came to the key that opened, as JSON values: from the sender or an addressee on."""
    if not grants.statements:
        return {}
    chain = grants.chain(opened)
    return {
        "granted": [grant_json(each) for each in chain],
        "granters_checked": not grants.unchecked(chain, opened.packet),
    }


def show(grants: Grants, opened: Opened) -> None:
    """Print the same for people, with a warning where nothing speaks for a granter's key."""
    chain = grants.chain(opened)
    for each in chain:
        output.pairs([("Granted", f"by {each.issuer}  (key {each.kid}), {output.moment(each.issued_at)}")])
    for each in grants.unchecked(chain, opened.packet):
        output.warning(f"the key of {each.issuer}, who granted access, was not checked; use --granted-by")


def grant_json(statement: Statement) -> dict[str, Any]:
    """A grant as JSON values."""
    from docex.core import claims

    assert isinstance(statement.body, claims.Grant)
    return {
        "from": {"account": statement.issuer, "kid": statement.kid},
        "to": {"account": None, **claims.to_json(statement.body.to)},
        "issued_at": statement.issued_at,
        "statement": statement.digest_text,
    }
