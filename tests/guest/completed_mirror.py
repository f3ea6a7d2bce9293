"""A mirror on the loopback for Debian's installer, in front of one that lacks some of the installer's own packages.

Partial mirrors keep what apt installs and drop udebs, the packages that only the installer reads; frozen copies were seen to
lack those of the newest kernel. What is missing and has its files in an ordinary package as well is put together from that
(the disk and ext4 modules, e2fsprogs, libmount); what is missing besides is left out of the index; everything else is asked for
at the mirror behind. The index of udebs that the mirror has is taken also where it is not the one that its Release names. The
resulting one is ours and not signed, so the installer has to be told `debian-installer/allow_unauthenticated=true`.

    python -m tests.guest.completed_mirror debian-13-installed MIRROR FOLDER    # an overlay for --matrix appears in FOLDER/lab
"""

from __future__ import annotations

import hashlib
import io
import lzma
import re
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote

import yaml

from images import InstallEntry, load_catalogue
from images.forms import InstallerPackage

PORT = 8197
"""Always the same, as the installed system's list of sources names it."""
ADDRESS = f"http://127.0.0.1:{PORT}/debian"
_INDEX = "main/debian-installer/binary-amd64/Packages"
_PRIORITIES = frozenset({"required", "important", "standard"})
_KEPT = ("Package", "Version", "Architecture", "Depends", "Provides", "Kernel-Version", "Section", "Priority")

_NEEDED = (
    *("partman-target", "partman-ext3", "debootstrap-udeb", "user-setup-udeb", "clock-setup", "apt-setup-udeb"),
    *("grub-installer", "finish-install"),
)
"""Some of what the installer's initrd does not have, without which nothing gets installed and a person would be asked."""

Paragraph = dict[str, str]
"""The fields of one package in an index."""


def _makeable(release: str) -> dict[str, dict[str, str]]:
    """Udebs that can be made for the kernel `release`: patterns of the files taken, by ordinary package."""
    kernel, library = f"linux-image-{release}", r"\.so\."
    return {
        f"ext4-modules-{release}-di": {kernel: r"kernel/(fs/(ext4|jbd2|mbcache)|crypto/crc32c_generic|lib/crc16)"},
        f"scsi-modules-{release}-di": {kernel: r"kernel/drivers/block/virtio_blk"},
        f"md-modules-{release}-di": {kernel: r"kernel/drivers/(md/(md-mod|raid[01]|dm-(mod|bufio|crypt))\.ko|dax/)"},
        f"loop-modules-{release}-di": {kernel: r"kernel/drivers/block/loop\.ko"},
        "e2fsprogs-udeb": {
            "e2fsprogs": r"sbin/(e2fsck|mke2fs|mkfs\.|fsck\.|tune2fs)|etc/mke2fs\.conf",
            **dict.fromkeys(("libext2fs2t64", "libcom-err2", "libss2"), library),
        },
        "libmount1-udeb": {"libmount1": library},
    }


class MirrorUnusable(Exception):
    """What apt has against a mirror."""


@dataclass(frozen=True)
class Apt:
    """An apt of its own in `folder`, for `suite` of `mirror`; archives are verified with this machine's keys."""

    folder: Path
    suite: str
    mirror: str

    def update(self) -> None:
        """Fetch the indexes. Raises MirrorUnusable."""
        for name in ("lists/partial", "cache/archives/partial", "packages", "udebs"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        (self.folder / "sources.list").write_text(f"deb {self.mirror} {self.suite} main\n")
        self._run("update", check=True)
        # By itself: partial mirrors were seen to have another one than their Release names, which apt refuses.
        name = f"{_INDEX}.xz"
        self._fetch(f"dists/{self.suite}/{name}", self.folder / "udebs.xz")
        known = hashlib.sha256((self.folder / "udebs.xz").read_bytes()).hexdigest()
        if not re.search(rf"^ {known} +\d+ {re.escape(name)}$", self._release, re.MULTILINE):
            sys.stderr.write(
                f"{self.mirror}: its {name} is not the one that {self.suite}'s Release names; taken as it is\n"
            )

    @property
    def _release(self) -> str:
        (signed,) = (self.folder / "lists").glob("*_InRelease")
        return signed.read_text()

    def udebs(self) -> dict[str, Paragraph]:
        """The installer's packages by name."""
        text = lzma.decompress((self.folder / "udebs.xz").read_bytes()).decode()
        read = (dict(re.findall(r"^([A-Za-z0-9-]+): (.*)$", each, re.MULTILINE)) for each in text.split("\n\n"))
        return {each["Package"]: each for each in read if each}

    def released(self) -> str:
        """What the suite says of itself, line by line; the installer knows no others than these."""
        kept = re.findall(r"^(?:Origin|Label|Suite|Version|Codename): .*$", self._release, re.MULTILINE)
        return "\n".join(kept)

    def has(self, udeb: Paragraph) -> bool:
        """Whether the mirror has the bytes of a udeb that the index names."""
        target = self.folder / "udebs" / udeb["Package"]
        with suppress(MirrorUnusable):
            self._fetch(udeb["Filename"], target, f"SHA256:{udeb['SHA256']}")
        return target.exists()

    def _fetch(self, name: str, target: Path, *digest: str) -> None:
        argv = ["/usr/lib/apt/apt-helper", "download-file", f"{self.mirror.rstrip('/')}/{name}", target, *digest]
        done = subprocess.run(argv, check=False, capture_output=True, text=True)
        if done.returncode:
            raise MirrorUnusable(f"{self.mirror} has no {name}")

    def download(self, names: set[str]) -> dict[str, Path]:
        """The ordinary packages of `names` that there are, by name."""
        self._run("download", *(f"{name}:amd64" for name in sorted(names)), check=False)
        files = (self.folder / "packages").glob("*.*deb")
        return {file.name.partition("_")[0]: file for file in files if file.name.partition("_")[0] in names}

    def _run(self, *words: str, check: bool) -> None:
        """Raises MirrorUnusable with apt's first complaint, if `check`."""
        places = {
            "Etc::sourcelist": "sources.list",
            "Etc::sourceparts": "none",
            "State::lists": "lists",
            "Cache": "cache",
        }
        options = [option for name, path in places.items() for option in ("-o", f"Dir::{name}={self.folder / path}")]
        argv = ["apt-get", "-q", "-o", "APT::Sandbox::User=root", *options, *words]
        done = subprocess.run(argv, cwd=self.folder / "packages", check=False, capture_output=True, text=True)
        if check and done.returncode:
            complaints = [line for line in done.stderr.splitlines() if line.startswith(("E:", "W:"))]
            raise MirrorUnusable(f"{self.mirror} {self.suite}: {(complaints or ['apt-get failed'])[0]}")


def complete(apt: Apt, package: InstallerPackage, served: Path) -> None:
    """Write below `served` what the mirror lacks for an installation by `package`, and an index with that.

    Raises MirrorUnusable.
    """
    apt.update()
    release = _kernel_of(package, apt)
    udebs = _for_kernel(apt.udebs(), release)
    for name in sorted(_wanted(udebs, release)):
        if apt.has(udebs[name]):
            continue
        parts = _makeable(release).get(name)
        packages = apt.download(set(parts)) if parts is not None else {}
        if parts is not None and packages.keys() == parts.keys():
            udebs[name] = _make(udebs[name], packages, parts, served)
        else:
            del udebs[name]
    if lacking := [name for name in (*_NEEDED, *_makeable(release)) if name not in udebs]:
        raise MirrorUnusable(f"{apt.mirror} lacks what an installation of {apt.suite} needs: {', '.join(lacking)}")
    lists = served / "dists" / apt.suite
    (lists / _INDEX).parent.mkdir(parents=True, exist_ok=True)
    paragraphs = ("".join(f"{name}: {value}\n" for name, value in each.items()) for each in udebs.values())
    text = "\n".join(paragraphs).encode()
    (lists / _INDEX).write_bytes(text)
    (lists / "Release").write_text(
        f"{apt.released()}\nArchitectures: all amd64\nComponents: main\n"
        f"SHA256:\n {hashlib.sha256(text).hexdigest()} {len(text)} {_INDEX}\n"
    )


def _kernel_of(package: InstallerPackage, apt: Apt) -> str:
    """The release of the installer's kernel, such as "6.12.107+deb13-amd64"."""
    archive = apt.download({package.package})[package.package]
    members = subprocess.run(["dpkg-deb", "--fsys-tarfile", archive], check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(members)) as tar:
        kernel = tar.extractfile(f".{package.kernel}")
        assert kernel is not None
        image = kernel.read()
    # Where its version's text is, less 0x200 (Documentation/arch/x86/boot.rst).
    start = int.from_bytes(image[0x20E:0x210], "little") + 0x200
    return image[start : start + 256].split(b" ")[0].decode("ascii")


def _for_kernel(udebs: dict[str, Paragraph], release: str) -> dict[str, Paragraph]:
    """The index with paragraphs for `release`: a mirror that lags behind has those of older kernels, which say what there is."""
    kernels = {each["Kernel-Version"] for each in udebs.values() if "Kernel-Version" in each}
    if not kernels or release in kernels:
        return udebs
    # As numbers, where there are any: 6.12.107 is newer than 6.12.94.
    newest = max(kernels, key=lambda text: [int(part) for part in re.findall(r"\d+", text)])
    adapted = {
        name.replace(newest, release): {field: value.replace(newest, release) for field, value in each.items()}
        for name, each in udebs.items()
        if each.get("Kernel-Version") == newest
    }
    return {name: each for name, each in udebs.items() if "Kernel-Version" not in each} | adapted


def _wanted(udebs: Mapping[str, Paragraph], release: str) -> set[str]:
    """What an installation takes: everything of a high priority for this kernel, and what that depends on."""
    fitting = {name: each for name, each in udebs.items() if each.get("Kernel-Version", release) == release}
    providers: dict[str, list[str]] = {}
    for name, each in fitting.items():
        for provided in _names(each.get("Provides", "")):
            providers.setdefault(provided, []).append(name)
    todo = [name for name, each in fitting.items() if each.get("Priority") in _PRIORITIES]
    found: set[str] = set()
    while todo:
        name = todo.pop()
        if name in fitting and name not in found:
            found.add(name)
            needed = _names(fitting[name].get("Depends", ""))
            todo += [each for each in needed if each in fitting]
            todo += [provider for each in needed if each not in fitting for provider in providers.get(each, ())]
    return found


def _names(relation: str) -> list[str]:
    """The packages of a field like `Depends`, without versions."""
    return re.findall(r"(?:^|, )([a-z0-9][a-z0-9+.-]*)", relation)


def _make(real: Paragraph, packages: Mapping[str, Path], parts: Mapping[str, str], served: Path) -> Paragraph:
    """Put a udeb together from `parts` of `packages`; what the index says of it. No script of the real one is in it."""
    work = served / "made" / real["Package"]
    (work / "DEBIAN").mkdir(parents=True)
    for name, pattern in parts.items():
        unpacked = served / "unpacked" / name
        if not unpacked.exists():
            unpacked.mkdir(parents=True)
            subprocess.run(["dpkg-deb", "-x", packages[name], unpacked], check=True)
        for file in unpacked.rglob("*"):
            inside = file.relative_to(unpacked)
            if not (file.is_dir() and not file.is_symlink()) and re.search(pattern, str(inside)):
                (work / inside).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(file, work / inside, follow_symlinks=False)
    said = {name: real[name] for name in _KEPT if name in real}
    said |= {"Maintainer": "nobody", "Description": "put together from ordinary packages"}
    (work / "DEBIAN/control").write_text("".join(f"{name}: {value}\n" for name, value in said.items()))
    target = served / real["Filename"]
    target.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["dpkg-deb", "-b", "--root-owner-group", "-Zxz", work, target], check=True, capture_output=True)
    data = target.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    return said | {"Filename": real["Filename"], "Size": str(len(data)), "SHA256": digest}


@contextmanager
def serve(served: Path, mirror: str) -> Iterator[str]:
    """The address of a mirror with what is in `served`, and everything else from `mirror`."""
    root = served.resolve()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = unquote(self.path).removeprefix("/debian/")
            file = (root / path).resolve()
            if file.is_relative_to(root) and file.is_file():
                data = file.read_bytes()
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data if self.command == "GET" else b"")
            elif path.endswith("/Release.gpg"):
                self.send_error(404)  # the one behind signs another Release
            else:
                self.send_response(302)
                self.send_header("Location", f"{mirror.rstrip('/')}/{self.path.removeprefix('/debian/')}")
                self.send_header("Content-Length", "0")
                self.end_headers()

        do_HEAD = do_GET  # noqa: N815 -- the library's name

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Nobody reads it."""

    with ThreadingHTTPServer(("127.0.0.1", PORT), Handler) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield ADDRESS
        server.shutdown()
        thread.join()


def through(address: str, entry: InstallEntry) -> InstallEntry:
    """The entry of an installation from the mirror at `address`."""
    line = (*entry.kernel_command_line, "debian-installer/allow_unauthenticated=true")
    return entry.model_copy(update={"mirror": address, "kernel_command_line": line})


def main(name: str, mirror: str, folder: Path) -> None:
    """Serve for the installation of the image `name` until Ctrl-C, with an overlay in FOLDER/lab that uses it."""
    served = folder / "served"
    shutil.rmtree(served, ignore_errors=True)
    entry = load_catalogue()[name]
    assert isinstance(entry, InstallEntry)
    assert entry.package is not None
    complete(Apt(folder / "apt", entry.package.suite, mirror), entry.package, served)
    with serve(served, mirror) as address:
        lab = folder / "lab/images"
        lab.mkdir(parents=True, exist_ok=True)
        text = through(address, entry).model_dump(mode="json", exclude_defaults=True)
        (lab / f"{name}.yaml").write_text(yaml.safe_dump(text, sort_keys=False, width=10_000))
        sys.stdout.write(f"{address}; --matrix {folder / 'lab'}\n")
        sys.stdout.flush()
        with suppress(KeyboardInterrupt):
            signal.pause()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]).resolve())
