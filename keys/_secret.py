"""What keeps a private half from leaving by accident."""

from __future__ import annotations

from typing import NoReturn, SupportsIndex


class Secret:
    """Base of objects that hold a private half: they can't be pickled or copied."""

    __slots__ = ()

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError(f"{type(self).__name__} holds a private key and can't be pickled or copied")
