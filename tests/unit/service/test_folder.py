"""Opening into a folder: every document under its name, or the disk as it was before."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from docex.core import packet, statement
from docex.errors import Conflict, DocexError, LimitExceeded, NameInvalid, NoMatchingIdentity, PayloadInvalid
from docex.service import folder
from docex.service.folder import AlreadyExists, Sender, SenderMismatch, folder_sink, new_file, open_into
from tests.attack import forge
from tests.attack.forge import MAKER, MALLORY, MINE

CONTENTS = {"a.txt": b"first", "deep/er/b.pdf": bytes(100_000), "deep/c": b"", "é.txt": b"third"}
PACKET = forge.seal(CONTENTS, MINE, MAKER)


def opened(target: Path, data: bytes = PACKET, **options: Any) -> packet.Opened:
    return open_into(io.BytesIO(data), [MAKER.identity], target, **options)


def snapshot(root: Path) -> dict[str, bytes | str | None]:
    """Everything below a folder, hidden or not: contents of files, targets of links, None for folders."""
    return {
        str(each.relative_to(root)): (
            str(each.readlink()) if each.is_symlink() else each.read_bytes() if each.is_file() else None
        )
        for each in root.rglob("*")
    }


@contextmanager
def unchanged(root: Path) -> Iterator[None]:
    before = snapshot(root)
    yield
    assert snapshot(root) == before


def files(root: Path) -> dict[str, bytes]:
    return {path: content for path, content in snapshot(root).items() if isinstance(content, bytes)}


def test_documents_get_their_names(tmp_path: Path) -> None:
    steps: list[int] = []
    result = opened(tmp_path / "new/target", progress=steps.append)
    assert files(tmp_path / "new/target") == CONTENTS
    assert [each.name for each in (tmp_path / "new/target").iterdir() if each.name.startswith(".")] == []
    assert len(result.documents) == len(CONTENTS)
    assert sum(steps) == sum(map(len, CONTENTS.values()))


def test_documents_join_what_is_in_the_folder(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/mine").write_bytes(b"mine")
    opened(tmp_path)
    assert files(tmp_path) == CONTENTS | {"deep/mine": b"mine"}


def test_documents_have_the_modes_that_the_user_wants(tmp_path: Path) -> None:
    mask = os.umask(0o027)
    try:
        opened(tmp_path)
    finally:
        os.umask(mask)
    assert (tmp_path / "a.txt").stat().st_mode & 0o7777 == 0o640


def test_nobody_else_reads_documents_before_they_are_checked(tmp_path: Path) -> None:
    with folder_sink(tmp_path) as sink:
        sink.begin("a", 1)(memoryview(b"x"))
        (staging,) = tmp_path.iterdir()
        assert staging.stat().st_mode & 0o7777 == 0o700
        assert staging.name.startswith(".docex-")


def test_the_target_may_be_a_link_to_a_folder(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    opened(tmp_path / "link")
    assert files(tmp_path / "real") == CONTENTS


def test_the_target_may_be_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    opened(Path())
    assert files(tmp_path) == CONTENTS


DAMAGES = {
    "a wrong key": (forge.seal(CONTENTS, MINE, MALLORY), NoMatchingIdentity),
    "a flipped byte at the end": (PACKET[:-1] + bytes([PACKET[-1] ^ 1]), PayloadInvalid),
    "a cut packet": (PACKET[:-100], PayloadInvalid),
    "a cut packet, at the last byte": (PACKET[:-1], PayloadInvalid),
    "no statements": (
        forge.packed(forge.entry("document/a", b"a") + forge.END, MAKER),
        DocexError,
    ),
    "a path that leads out": (
        forge.packed(forge.entry("document/ok", b"a") + forge.entry("document/../x", b"a") + forge.END, MAKER),
        NameInvalid,
    ),
}


@pytest.mark.parametrize(("data", "error"), DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("target", ["", "there", "new", "new/er"])
def test_a_packet_that_does_not_hold_leaves_nothing(
    data: bytes, error: type[DocexError], target: str, tmp_path: Path
) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there/mine").write_bytes(b"mine")
    with unchanged(tmp_path), pytest.raises(error):
        opened(tmp_path / target, data, statements=tmp_path / "said")


def test_a_packet_that_is_too_large_leaves_nothing(tmp_path: Path) -> None:
    with unchanged(tmp_path), pytest.raises(LimitExceeded):
        opened(tmp_path / "new", max_size=50_000)


def test_an_interrupt_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with unchanged(tmp_path), pytest.raises(KeyboardInterrupt):
        opened(tmp_path / "new", progress=interrupt)


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with unchanged(tmp_path), pytest.raises(OSError, match="No space left"):
        opened(tmp_path / "new")


# --- who sent it


def test_the_expected_sender(tmp_path: Path) -> None:
    opened(tmp_path / "new", sender=Sender(MINE.account, MINE.signer.kid))
    assert files(tmp_path / "new") == CONTENTS


@pytest.mark.parametrize(
    ("sender", "message"),
    [
        (Sender(MALLORY.account, MINE.signer.kid), f"is signed for {MINE.account}, not for {MALLORY.account}"),
        (Sender(MINE.account, MALLORY.signer.kid), f"is signed by key {MINE.signer.kid}, which is not the expected"),
    ],
)
def test_another_sender_than_the_expected_one_leaves_nothing(sender: Sender, message: str, tmp_path: Path) -> None:
    with unchanged(tmp_path), pytest.raises(SenderMismatch, match=message):
        opened(tmp_path / "new", sender=sender, statements=tmp_path / "said")


# --- the statements


def test_the_statements_of_a_packet_are_kept(tmp_path: Path) -> None:
    result = opened(tmp_path / "new", statements=tmp_path / "said")
    tokens = statement.parse_lines((tmp_path / "said").read_bytes(), 10)
    assert tokens == [each.token for each in (*result.documents, result.packet)]


def test_statements_never_replace_a_file(tmp_path: Path) -> None:
    (tmp_path / "said").write_bytes(b"mine")
    with unchanged(tmp_path), pytest.raises(AlreadyExists, match="said exists already"):
        opened(tmp_path / "new", statements=tmp_path / "said")
    opened(tmp_path / "new", statements=tmp_path / "said", force=True)
    assert (tmp_path / "said").read_bytes().count(b"\n") == len(CONTENTS) + 1


def test_statements_go_when_the_documents_can_not_come(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    with unchanged(tmp_path), pytest.raises(AlreadyExists):  # the statements take the name of a document
        opened(tmp_path / "target", statements=tmp_path / "target/a.txt")


# --- what is there already


@pytest.mark.parametrize("taken", ["a.txt", "deep/er/b.pdf", "é.txt"])
def test_a_name_that_is_taken_stops_everything(taken: str, tmp_path: Path) -> None:
    (tmp_path / taken).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / taken).write_bytes(b"mine")
    with unchanged(tmp_path), pytest.raises(AlreadyExists, match=f"{taken} exists already"):
        opened(tmp_path)


@pytest.mark.parametrize("link", ["elsewhere", "nowhere"])
def test_a_link_takes_a_name_too(link: str, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"mine")
    (tmp_path / "target").mkdir()
    (tmp_path / "target/a.txt").symlink_to(f"../{link}")
    with unchanged(tmp_path), pytest.raises(AlreadyExists):
        opened(tmp_path / "target")


def test_force_replaces_files_and_links_but_not_what_links_lead_to(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"mine")
    target = tmp_path / "target"
    (target / "deep").mkdir(parents=True)
    (target / "a.txt").symlink_to("../elsewhere")
    (target / "deep/c").write_bytes(b"old")
    opened(target, force=True)
    assert snapshot(target) == CONTENTS | {"deep": None, "deep/er": None}
    assert (tmp_path / "elsewhere").read_bytes() == b"mine"


def test_force_does_not_replace_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a.txt").mkdir()
    with unchanged(tmp_path), pytest.raises(Conflict, match=r"a\.txt is a folder"):
        opened(tmp_path, force=True)


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("where", ["deep", "deep/er"])
@pytest.mark.parametrize("what", ["link out", "link within", "file"])
def test_a_folder_that_is_a_link_or_a_file_is_not_entered(where: str, what: str, force: bool, tmp_path: Path) -> None:
    target = tmp_path / "target"
    (target / where).parent.mkdir(parents=True)
    (target / "inner").mkdir()
    if what == "file":
        (target / where).write_bytes(b"mine")
    else:
        (target / where).symlink_to(tmp_path if what == "link out" else target / "inner")
    with unchanged(tmp_path), pytest.raises(Conflict, match=f"{where} is a symbolic link or not a folder"):
        opened(target, force=force)


@pytest.mark.parametrize("name", ["file", "file/x", "dangling", "dangling/x"])
def test_a_target_that_is_no_folder(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"mine")
    (tmp_path / "dangling").symlink_to("nowhere")
    with unchanged(tmp_path), pytest.raises(Conflict, match="is not a folder"):
        opened(tmp_path / name)


# --- failures while the documents are moved


class Racer:
    """Someone who takes the last name after all was found free."""

    def __init__(self, victim: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._victim = victim
        self._link = os.link
        monkeypatch.setattr(os, "link", self.link)

    def link(self, source: str, name: str, **options: Any) -> None:
        if name == self._victim.name:
            self._victim.write_bytes(b"theirs")
        self._link(source, name, **options)


def test_a_name_taken_at_the_last_moment_undoes_all_moves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Racer(tmp_path / "é.txt", monkeypatch)
    with pytest.raises(AlreadyExists):
        opened(tmp_path)
    assert snapshot(tmp_path) == {"é.txt": b"theirs"}


def test_what_was_replaced_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.txt").write_bytes(b"old")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/c").symlink_to("../a.txt")
    Racer(tmp_path / "é.txt", monkeypatch)
    with pytest.raises(AlreadyExists):
        opened(tmp_path, force=True)
    assert snapshot(tmp_path) == {"é.txt": b"theirs", "a.txt": b"old", "deep": None, "deep/c": "../a.txt"}


def test_a_folder_that_someone_uses_stays_when_moves_are_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sync(path: Path) -> None:
        (tmp_path / "new/deep/theirs").write_bytes(b"theirs")
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(folder, "_sync", sync)
    with pytest.raises(OSError, match="Input/output"):
        opened(tmp_path / "new")
    assert files(tmp_path) == {"new/deep/theirs": b"theirs"}


@pytest.fixture
def without_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without hard links, such as FAT; none can be mounted here."""

    def link(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)


@pytest.mark.usefixtures("without_links")
def test_file_systems_without_hard_links(tmp_path: Path) -> None:
    opened(tmp_path / "new")
    (tmp_path / "new/a.txt").write_bytes(b"old")
    opened(tmp_path / "new", force=True)
    assert files(tmp_path / "new") == CONTENTS


@pytest.mark.usefixtures("without_links")
def test_a_claim_without_hard_links_never_replaces(tmp_path: Path) -> None:
    with pytest.raises(AlreadyExists), new_file(tmp_path / "file"):
        (tmp_path / "file").write_bytes(b"theirs")
    assert snapshot(tmp_path) == {"file": b"theirs"}


# --- one new file


def test_a_new_file_has_its_name_only_when_it_is_whole(tmp_path: Path) -> None:
    with new_file(tmp_path / "file") as file:
        file.write(b"whole")
        assert not (tmp_path / "file").exists()
    assert snapshot(tmp_path) == {"file": b"whole"}


def test_a_new_file_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with unchanged(tmp_path), pytest.raises(ZeroDivisionError), new_file(tmp_path / "file") as file:
        file.write(bytes(1 // 0))


def test_a_new_file_never_replaces_unless_forced(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    with unchanged(tmp_path), pytest.raises(AlreadyExists), new_file(tmp_path / "file"):
        pass
    with new_file(tmp_path / "file", force=True) as file:
        file.write(b"new")
    assert snapshot(tmp_path) == {"file": b"new"}


@pytest.mark.parametrize("force", [False, True])
def test_a_new_file_is_no_folder(force: bool, tmp_path: Path) -> None:
    (tmp_path / "file").mkdir()
    with unchanged(tmp_path), pytest.raises(Conflict, match="is a folder"), new_file(tmp_path / "file", force=force):
        pass


def test_a_new_file_needs_its_folder(tmp_path: Path) -> None:
    with unchanged(tmp_path), pytest.raises(FileNotFoundError), new_file(tmp_path / "absent/file"):
        pass
