"""Atomic files and folders; the full disk is a real one where the test may mount it."""

import errno
import hashlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_ad.errors import StorageError
from edge_ad.storage import atomic_directory, clone_tree, disk_is_full, sha256_file, write_file


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.name != "posix" or os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(disk)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip(f"no tmpfs here: {mounted.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def _full_after(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", refuse)


def test_a_hash_is_the_hash_of_the_content(tmp_path: Path) -> None:
    content = os.urandom(3_000_001)
    (tmp_path / "file").write_bytes(content)
    assert sha256_file(tmp_path / "file") == hashlib.sha256(content).hexdigest()


def test_a_file_is_replaced_and_no_partial_file_stays(tmp_path: Path) -> None:
    write_file(tmp_path / "sub" / "file", b"old")
    write_file(tmp_path / "sub" / "file", b"new")
    assert [path.name for path in (tmp_path / "sub").iterdir()] == ["file"]
    assert (tmp_path / "sub" / "file").read_bytes() == b"new"


def test_a_written_file_has_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"")
    write_file(tmp_path / "file", b"")
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_full_disk_leaves_the_old_file_and_nothing_else(small_disk: Path) -> None:
    write_file(small_disk / "file", b"old")
    with pytest.raises(StorageError, match="disk is full"):
        write_file(small_disk / "file", bytes(1 << 20))
    assert [path.name for path in small_disk.iterdir()] == ["file"]
    assert (small_disk / "file").read_bytes() == b"old"


def test_a_full_disk_leaves_the_old_folder_and_nothing_else(small_disk: Path) -> None:
    with atomic_directory(small_disk / "folder") as staged:
        (staged / "a").write_bytes(b"old")
    with pytest.raises(StorageError, match="disk is full"), atomic_directory(small_disk / "folder") as staged:
        (staged / "b").write_bytes(bytes(1 << 20))
    assert [path.name for path in small_disk.rglob("*")] == ["folder", "a"]


def test_a_disk_is_full_only_when_it_is(small_disk: Path) -> None:
    assert not disk_is_full(small_disk)
    (small_disk / "filler").write_bytes(bytes(250 * 1024))
    assert disk_is_full(small_disk)


@pytest.mark.parametrize(("code", "words"), [(errno.ENOSPC, "disk is full"), (errno.EROFS, "no permission")])
def test_a_failing_sync_is_a_storage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, words: str
) -> None:
    _full_after(monkeypatch, code)
    with pytest.raises(StorageError, match=words):
        write_file(tmp_path / "file", b"content")
    with pytest.raises(StorageError, match=words), atomic_directory(tmp_path / "folder") as staged:
        (staged / "a").write_bytes(b"content")
    assert list(tmp_path.iterdir()) == []


def test_any_error_in_the_block_leaves_no_folder(tmp_path: Path) -> None:
    def interrupt(path: Path) -> None:
        path.write_bytes(b"content")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), atomic_directory(tmp_path / "folder") as staged:
        interrupt(staged / "a")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_comes_back_when_the_move_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with atomic_directory(tmp_path / "folder") as staged:
        (staged / "a").write_bytes(b"old")
    rename = Path.rename

    def fail_to_publish(path: Path, target: Path) -> Path:
        if path.name.endswith(".partial"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return rename(path, target)

    monkeypatch.setattr("ctypes.CDLL", lambda *_name, **_options: object())  # a system that cannot exchange names
    monkeypatch.setattr(Path, "rename", fail_to_publish)
    with pytest.raises(StorageError), atomic_directory(tmp_path / "folder") as staged:
        (staged / "a").write_bytes(b"new")
    assert [path.name for path in tmp_path.rglob("*")] == ["folder", "a"]
    assert (tmp_path / "folder" / "a").read_bytes() == b"old"


def test_replacing_through_a_link_keeps_the_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with atomic_directory(tmp_path / "link") as staged:
        (staged / "a").write_bytes(b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "a").read_bytes() == b"new"


@pytest.mark.parametrize("links", [True, False])
def test_a_clone_has_every_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    (tmp_path / "source" / "sub").mkdir(parents=True)
    (tmp_path / "source" / "sub" / "file").write_bytes(b"content")
    (tmp_path / "copy").mkdir()
    if not links:

        def refuse(source: Path, target: Path) -> None:
            raise OSError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(os, "link", refuse)
    clone_tree(tmp_path / "source", tmp_path / "copy")
    assert (tmp_path / "copy" / "sub" / "file").read_bytes() == b"content"
    assert (tmp_path / "copy" / "sub" / "file").stat().st_nlink == (2 if links else 1)


def test_folders_made_for_a_file_that_could_not_be_written_go_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "kept").mkdir()
    _full_after(monkeypatch, errno.ENOSPC)
    with pytest.raises(StorageError, match="disk is full"):
        write_file(tmp_path / "kept" / "a" / "b" / "file", b"content")
    with pytest.raises(StorageError, match="disk is full"), atomic_directory(tmp_path / "kept" / "c" / "d") as staged:
        (staged / "file").write_bytes(b"content")
    assert list((tmp_path / "kept").iterdir()) == []
