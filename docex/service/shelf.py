"""Part of `docex.service.ports.Store`: documents as they stand in folders, and what was set for a node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from docex.core.access import EVERYTHING, Folders
from docex.core.state import Entry, Found, StoredDocument


class Shelf(Protocol):
    """What listings ask; as in all of the store, a query ``within`` folders sees nothing else."""

    async def remove_document(self, path: str, now: int) -> None:
        """Show no version of a document any more; all are kept. Raises NotFound when none is shown."""

    async def entries(self, folder: str, offset: int, limit: int, within: Folders = EVERYTHING) -> Sequence[Entry]:
        """What stands in a folder itself, by name. The cost grows with what is passed over, not with what is below."""

    async def search(self, text: str, after: str, limit: int, within: Folders = EVERYTHING) -> Found:
        """Newest versions whose path holds a text (ASCII letters in either case), by path, those behind ``after``.

        What it costs does not grow with the number of documents. So it may stop before it has found ``limit`` of them:
        after many thousand paths, where a text has less than three characters or thousands of paths hold it.
        """

    async def documents_with(
        self, digest: str, after: str, limit: int, within: Folders = EVERYTHING
    ) -> Sequence[StoredDocument]:
        """Newest versions whose content has this digest, by path, those behind ``after``."""

    async def shown_as(self, statements: Sequence[str], within: Folders = EVERYTHING) -> Sequence[StoredDocument]:
        """All versions with one of these statements, oldest first, those that were removed included."""

    async def tokens(self, statements: Sequence[str]) -> Mapping[str, str]:
        """The statements with these digests, as compact JWS; those that are not kept are left out."""

    async def preferences(self) -> Mapping[str, str]:
        """What was set for this node, by key."""

    async def set_preference(self, key: str, value: str) -> None:
        """Set something for this node, in place of what it was."""
