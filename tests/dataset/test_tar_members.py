import gzip
import io
import tarfile
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fused_clip.dataset.tar_members import Member, members
from fused_clip.support.errors import InputError
from tests.dataset.tars import pack

FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]
CONTENTS = {"a.txt": b"one", "empty": b"", "folder/b.txt": bytes(513), "c": b"x" * 1024}


def found(path: Path) -> list[Member]:
    return list(members("dataset.path", path))


def contents(path: Path) -> dict[str, bytes]:
    whole = path.read_bytes()
    return {name: whole[start : start + size] for name, start, size in found(path)}


@pytest.mark.parametrize("kind", FORMATS)
def test_files_are_where_the_headers_say(tmp_path, kind):
    assert contents(pack(tmp_path / "a.tar", CONTENTS, kind)) == CONTENTS


@pytest.mark.parametrize("kind", FORMATS[1:])
def test_long_names_and_names_that_are_no_text(tmp_path, kind):
    files = {"folder/" * 40 + "\udce9.png": b"1", "日本" * 60: b"2", "n\udce9.png": b"3", "../../up": b"4"}
    assert contents(pack(tmp_path / "a.tar", files, kind)) == files


def test_an_archive_without_files_has_none(tmp_path):
    assert found(pack(tmp_path / "a.tar", {})) == []


def test_what_is_no_regular_file_is_ignored(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name, kind in (
            ("link.png", tarfile.SYMTYPE),
            ("hard.png", tarfile.LNKTYPE),
            ("device.png", tarfile.CHRTYPE),
            ("pipe.png", tarfile.FIFOTYPE),
            ("folder.png", tarfile.DIRTYPE),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
        info = tarfile.TarInfo("last.png")
        info.size = 3
        archive.addfile(info, io.BytesIO(b"abc"))
    assert contents(tmp_path / "a.tar") == {"last.png": b"abc"}


@given(cut=st.integers(0, 10_239))
def test_a_truncated_archive_is_refused_wherever_it_ends(tmp_path_factory, cut):
    path = pack(tmp_path_factory.mktemp("cut") / "a.tar", {"a": b"x" * 700, "b" * 120: b"y" * 30})
    whole = path.read_bytes()
    end = len(whole.rstrip(b"\0")) + 1_024
    path.write_bytes(whole[:cut])
    if cut < 4_096:
        with pytest.raises(InputError, match=r"^dataset\.path: must be a whole tar file .*copy it anew$"):
            found(path)
    elif cut > end:
        assert len(found(path)) == 2


@given(data=st.data())
def test_a_damaged_header_is_refused_or_leads_to_no_place_outside(tmp_path_factory, data):
    path = pack(tmp_path_factory.mktemp("bad") / "a.tar", CONTENTS)
    whole = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, 512 * 9))] = data.draw(st.integers(0, 255))
    path.write_bytes(whole)
    try:
        listed = found(path)
    except InputError:
        return
    assert len(listed) <= len(CONTENTS)
    assert all(0 <= start <= start + size <= len(whole) for _, start, size in listed)


@given(st.binary(max_size=3_000))
def test_what_is_no_archive_is_refused(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("junk") / "a.tar"
    path.write_bytes(content)
    if len(content) < 512 or any(content[:512]):
        with pytest.raises(InputError, match=r"^dataset\.path: must be a"):
            found(path)


def test_a_size_beyond_the_file_is_refused(tmp_path):
    info = tarfile.TarInfo("huge.png")
    for size in (8 << 30, 1 << 70):
        info.size = size
        (tmp_path / "a.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(1_024))
        with pytest.raises(InputError, match=r"must be a whole tar file .*huge\.png ends after byte 1,536"):
            found(tmp_path / "a.tar")


def test_a_negative_size_is_refused(tmp_path):
    info = tarfile.TarInfo("a.png")
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    block[124:136] = b"\xff" * 11 + b"\x00"
    block[148:156] = b" " * 8
    block[148:156] = f"{sum(block):06o}\0 ".encode()
    (tmp_path / "a.tar").write_bytes(block + bytes(1_024))
    with pytest.raises(InputError, match=r"must be a whole tar file"):
        found(tmp_path / "a.tar")


def test_a_chain_of_headers_without_an_end_is_refused(tmp_path):
    info = tarfile.TarInfo("x")
    info.type = tarfile.GNUTYPE_LONGNAME
    (tmp_path / "a.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) * 5_000 + bytes(1_024))
    with pytest.raises(InputError, match=r"must be a whole tar file .*recursion"):
        found(tmp_path / "a.tar")


def test_a_sparse_file_is_refused(tmp_path):
    info = tarfile.TarInfo("holes.png")
    info.type = tarfile.GNUTYPE_SPARSE
    (tmp_path / "a.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(1_024))
    with pytest.raises(InputError, match=r"without sparse files .*holes\.png"):
        found(tmp_path / "a.tar")


def test_a_compressed_or_missing_archive_is_refused(tmp_path):
    whole = pack(tmp_path / "a.tar", CONTENTS).read_bytes()
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(whole))
    with pytest.raises(InputError, match=r"must be a tar file without compression, and is one of gzip"):
        found(tmp_path / "a.tar.gz")
    with pytest.raises(InputError, match=r"must be a whole tar file .*No such file"):
        found(tmp_path / "absent.tar")
    with pytest.raises(InputError, match=r"must be a whole tar file .*Is a directory"):
        found(tmp_path)


def test_memory_does_not_grow_with_the_number_of_files(tmp_path):
    peaks = []
    for count in (200, 2_000):
        path = pack(tmp_path / f"{count}.tar", ((f"{row}.txt", b"") for row in range(count)))
        tracemalloc.start()
        assert sum(1 for _ in members("dataset.path", path)) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 50_000
