"""BTF comes back out of what the tools of others packed it into."""

from __future__ import annotations

import contextlib
import shutil
import struct
import subprocess
import tarfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from lskel import budget
from lskel.btf import types as t
from lskel.btf.types import TypeId
from lskel.errors import BadInput, LimitExceeded, LskelError, NotFound, NotSupported
from lskel.kernels.compression import decompress
from lskel.kernels.files import btf_of, read_kernel
from lskel.kernels.packages import files_in
from tests.build.btf import BtfBuilder
from tests.conftest import lacking


def builder() -> BtfBuilder:
    b = BtfBuilder()
    b.add_struct("task_struct", 8, [("pid", b.add_int("int", 4), 0)])
    return b


RAW = builder().bytes("little")
BIG = builder().bytes("big")
# Each is a filter: it compresses what it is given.
FILTERS = {
    ".gz": ["gzip", "-c"],
    ".xz": ["xz", "-c"],
    ".lzma": ["xz", "-c", "--format=lzma"],
    ".bz2": ["bzip2", "-c"],
    ".zst": ["zstd", "-c", "-q"],
    ".lz4": ["lz4", "-l", "-c", "-q"],
}


def run(words: list[str], *, given: bytes = b"", directory: Path | None = None) -> bytes:
    if not shutil.which(words[0]):
        lacking(words[0])
    done = subprocess.run(words, input=given, cwd=directory, capture_output=True, check=True)
    return done.stdout


def in_elf(raw: bytes, directory: Path, name: str) -> Path:
    """An ELF file whose section .BTF is this, made by objcopy."""
    (directory / "raw").write_bytes(raw)
    (directory / "empty.c").write_text("")
    path = directory / name
    run(["gcc", "-c", "empty.c", "-o", str(path)], directory=directory)
    run(["objcopy", "--add-section", ".BTF=raw", str(path)], directory=directory)
    return path


def x86_image(payload: bytes) -> bytes:
    """By the boot protocol: setup code of two sectors, then the payload, and its length."""
    setup = bytearray(1536)
    setup[0x1F1] = 2
    setup[0x202:0x206] = b"HdrS"
    setup[0x248:0x24C] = (16).to_bytes(4, "little")
    return bytes(setup) + bytes(16) + payload + len(payload).to_bytes(4, "little")


def zboot_image(payload: bytes) -> bytes:
    return b"MZ\0\0zimg" + (64).to_bytes(4, "little") + bytes(52) + payload


def arm64_image(payload: bytes) -> bytes:
    # A header that is none comes first.
    return b"MZ" + bytes(62) + RAW[:8] + bytes(56) + payload + bytes(100)


def plain(payload: bytes) -> bytes:
    return payload


@pytest.mark.parametrize("suffix", FILTERS)
@pytest.mark.parametrize("image", [plain, x86_image, zboot_image])
def test_images(tmp_path: Path, image: Callable[[bytes], bytes], suffix: str) -> None:
    vmlinux = in_elf(RAW, tmp_path, "vmlinux").read_bytes()
    assert btf_of(image(run(FILTERS[suffix], given=vmlinux))) == RAW


@pytest.mark.parametrize("raw", [RAW, BIG], ids=["little", "big"])
def test_btf_as_it_is(tmp_path: Path, raw: bytes) -> None:
    assert btf_of(raw) == raw
    assert btf_of(arm64_image(raw)) == raw
    assert btf_of(in_elf(raw, tmp_path, "vmlinux").read_bytes()) == raw


@pytest.mark.parametrize("suffix", FILTERS)
def test_compressed_data(suffix: str) -> None:
    content = bytes(range(256)) * 20_000
    packed = run(FILTERS[suffix], given=content)
    assert decompress(packed) == content
    # lzma and LZ4's legacy format do not say where they end.
    if suffix not in (".lzma", ".lz4"):
        assert decompress(packed + b"\0\0\x12\x34") == content
        with pytest.raises(BadInput, match=r"cut off|truncated|ended"):
            decompress(packed[:-20])
    damaged = packed[:30] + bytes(200) + packed[230:]
    with contextlib.suppress(LskelError):
        assert decompress(damaged) != content


@pytest.mark.parametrize("suffix", FILTERS)
def test_little_data_that_becomes_much(monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    packed = run(FILTERS[suffix], given=bytes(64 << 20))
    for limit in ("KERNEL", "INPUT"):
        with monkeypatch.context() as patched:
            patched.setattr(budget, limit, 1 << 20)
            with pytest.raises(LimitExceeded, match=r"of compressed data.*, at most 1048576"):
                decompress(packed)


def test_an_image_full_of_headers_of_btf() -> None:
    header = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, 1 << 20, 1 << 20, 1)
    with pytest.raises(LimitExceeded, match="bytes that look like BTF"):
        btf_of(bytes(8) + header * 90_000)


def test_modules_with_more_btf_than_any_kernel_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tree(tmp_path)
    monkeypatch.setattr(budget, "MODULES_BTF", 10)
    with pytest.raises(LimitExceeded, match="bytes of BTF of modules"):
        list(read_kernel(root).modules)


def tree(tmp_path: Path) -> Path:
    """Files as a kernel's package has them."""
    root = tmp_path / "root"
    modules = root / "usr/lib/modules/7.0/kernel/net"
    modules.mkdir(parents=True)
    (root / "boot").mkdir()
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    vmlinux = in_elf(RAW, scratch, "vmlinux").read_bytes()
    (root / "boot/vmlinuz-7.0").write_bytes(x86_image(run(FILTERS[".xz"], given=vmlinux)))
    split = BtfBuilder(base=builder())
    split.add_struct("conn", 16, [("id", TypeId(1), 64)])
    module = in_elf(split.bytes("little"), scratch, "conn.ko").read_bytes()
    (modules / "conn.ko.xz").write_bytes(run(FILTERS[".xz"], given=module))
    (modules / "README").write_text("not a module")
    return root


def check(path: Path) -> None:
    kernel = read_kernel(path)
    assert kernel.vmlinux.raw == RAW
    found = [btf for btf in kernel.modules if btf.find("conn", t.StructType) is not None]
    assert len(found) == 1
    local = BtfBuilder()
    local.add_struct("conn___old", 4, [("id", local.add_int("u32", 4), 0)])
    (candidate,) = kernel.candidates(local.btf(), TypeId(2))
    assert candidate.btf is found[0]


def test_directories(tmp_path: Path) -> None:
    check(tree(tmp_path))


@pytest.mark.parametrize("compression", ["xz", "zstd", "gzip", "none"])
def test_debian_packages(tmp_path: Path, compression: str) -> None:
    root = tree(tmp_path)
    (root / "DEBIAN").mkdir()
    (root / "DEBIAN/control").write_text(
        "Package: linux-image-7.0\nVersion: 7.0\nArchitecture: all\n"
        "Maintainer: none <none@example.org>\nDescription: a kernel\n"
    )
    package = tmp_path / "linux-image.deb"
    run(["dpkg-deb", f"-Z{compression}", "-b", str(root), str(package)])
    check(package)


@pytest.mark.parametrize("payload", ["w9.gzdio", "w7.xzdio", "w3.zstdio"])
def test_rpm_packages(tmp_path: Path, payload: str) -> None:
    root = tree(tmp_path)
    spec = tmp_path / "kernel.spec"
    spec.write_text(
        f"%define _binary_payload {payload}\n%define __os_install_post %{{nil}}\n"
        "Name: kernel-core\nVersion: 7.0\nRelease: 1\nSummary: a kernel\nLicense: none\n"
        "BuildArch: noarch\n%description\na kernel\n"
        f"%install\ncp -a {root}/. %{{buildroot}}\n%files\n/boot\n/usr\n"
    )
    run(["rpmbuild", "-bb", f"-D_topdir {tmp_path}/rpm", str(spec)])
    (package,) = tmp_path.glob("rpm/RPMS/*/*.rpm")
    check(package)


def test_errors(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello\n")
    with pytest.raises(NotFound, match=r"text: no BTF in it \(expected BTF, an ELF file"):
        read_kernel(tmp_path / "text")
    with pytest.raises(NotFound, match=r"no section \.BTF .*CONFIG_DEBUG_INFO_BTF"):
        read_kernel("/bin/ls")
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotFound, match="empty: the directory has no kernel"):
        read_kernel(tmp_path / "empty")
    with pytest.raises(LskelError, match="No such file"):
        read_kernel(tmp_path / "missing")


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"!<arch>\n" + b"data.tar".ljust(48) + b"x" * 12, "the part at 0x8 has no size"),
        (b"!<arch>\n" + b"other".ljust(48) + b"-60       `\n", "the part at 0x8 has no size"),
        (b"!<arch>\n", "it has no data.tar"),
        (b"!<arch>\n" + b"data.tar".ljust(48) + b"9         `\n" + b"nonsense!", "tar archive"),
        (b"\xed\xab\xee\xdb" + bytes(200), "no header at 0x60"),
        (
            b"\xed\xab\xee\xdb" + bytes(92) + 2 * (b"\x8e\xad\xe8\x01" + bytes(12)) + b"07070",
            "a header is damaged",
        ),
        (
            b"\xed\xab\xee\xdb"
            + bytes(92)
            + 2 * (b"\x8e\xad\xe8\x01" + bytes(12))
            + b"070701"
            + b"f" * 104,
            "bytes of a name in a cpio archive",
        ),
        (
            b"\xed\xab\xee\xdb"
            + bytes(92)
            + 2 * (b"\x8e\xad\xe8\x01" + bytes(12))
            + b"070701"
            + b"      -1" * 13,
            "a header is damaged",
        ),
    ],
)
def test_damaged_packages(data: bytes, complaint: str) -> None:
    with pytest.raises(LskelError, match=complaint):
        list(files_in(data) or ())


def in_deb(archive: bytes) -> bytes:
    return b"!<arch>\n" + b"data.tar".ljust(48) + b"%-10d`\n" % len(archive) + archive


def tar(form: int, *members: tarfile.TarInfo) -> bytes:
    out = BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for member in members:
            archive.addfile(member, BytesIO(b"x" * member.size))
    return out.getvalue()


def member(name: str, size: int = 0, **fields: Any) -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.size = size
    for field, value in fields.items():
        setattr(found, field, value)
    return found


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_tar_archives(form: int) -> None:
    """Links, devices and directories are no files; names are names only, absolute ones too."""
    long = "d" * 80 + "/" + "f" * 90
    archive = tar(
        form,
        member("link", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        member("fifo", type=tarfile.FIFOTYPE),
        member("directory", type=tarfile.DIRTYPE),
        member("/etc/x", 5),
        member(long, 600),
        member("../y"),
    )
    found = [(name, len(content)) for name, content in files_in(in_deb(archive)) or ()]
    assert found == [("/etc/x", 5), (long, 600), ("../y", 0)]
    with pytest.raises(BadInput, match="cut off"):
        list(files_in(in_deb(archive[: archive.index(b"xxxxx") + 2])) or ())


def test_hostile_tar_archives(monkeypatch: pytest.MonkeyPatch) -> None:
    pax = tar(tarfile.PAX_FORMAT, member("a" * 300))
    long = tar(tarfile.GNU_FORMAT, member("a" * 5000))
    large = tar(tarfile.GNU_FORMAT, member("a", 3 << 20))
    with pytest.raises(NotSupported, match="extended headers"):
        list(files_in(in_deb(pax)) or ())
    with pytest.raises(LimitExceeded, match="bytes of a name"):
        list(files_in(in_deb(long)) or ())
    monkeypatch.setattr(budget, "INPUT", 2 << 20)
    with pytest.raises(LimitExceeded, match="bytes of a file in an archive"):
        list(files_in(in_deb(large)) or ())
    monkeypatch.setattr(budget, "FILES", 10)
    with pytest.raises(LimitExceeded, match="files in a tar archive"):
        list(files_in(in_deb(tar(tarfile.GNU_FORMAT, *[member("a")] * 11))) or ())


def test_this_kernel() -> None:
    """The directory of the running kernel, with its modules if it has any."""
    directory = Path("/sys/kernel/btf")
    if not (directory / "vmlinux").exists():
        pytest.skip("no /sys/kernel/btf")
    kernel = read_kernel(directory)
    assert kernel.vmlinux.raw == (directory / "vmlinux").read_bytes()
    assert len(list(kernel.modules)) == len(list(directory.iterdir())) - 1
