"""Errors about a file that can't be written name it as the user did."""

from __future__ import annotations

from pathlib import Path

import pytest

from docex.service.files import new_file
from tests.unit.cli.support import failure, make_member, run


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_the_error_names_the_user_s_file(force: list[str], tmp_path: Path) -> None:
    member = make_member(tmp_path, "mine")
    (tmp_path / "a.txt").write_text("a")
    sealed = run("seal", tmp_path / "a.txt", "--to", member.public_file, "-k", member.keystore, "-o", "/proc/x", *force)
    message = failure(sealed, "io_error")
    assert message.startswith("/proc/x: ")
    assert ".docex-" not in message


@pytest.mark.parametrize("force", [False, True])
def test_so_does_one_about_giving_it_its_name(force: bool, tmp_path: Path) -> None:
    target = tmp_path / "x.age"
    with pytest.raises(FileNotFoundError) as caught, new_file(target, force=force):
        next(tmp_path.glob(".docex-*")).unlink()
    assert (caught.value.filename, caught.value.filename2) == (str(target), None)
    assert not target.is_file() or target.stat().st_size == 0
