"""From a vendor's root file system without a kernel to a disk that boots: the vendor's files, and what had to be added."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from images.archive import write_tar
from images.disk import DiskIds, RootContent, to_qcow2, write_disk
from images.faults import ImageFault
from images.forms import RootfsEntry
from images.initramfs import write_root_finder
from images.kernel_parts import KernelParts, open_kernel_parts
from images.keys import IdentityKeys
from images.layers import Tree
from images.oci import layers_of, plain_tar
from images.progress import Reporter
from images.workplace import Workplace

ROOTFS_VERSION = 2
"""Part of such an image's key: raise it when the code or the scripts change what comes out."""

_SCRIPTS = Path(__file__).resolve().parent / "busybox"
_OURS = "/usr/lib/guestcert"
_SHIM = "usr/lib/shim/shimx64.efi.signed"
_GRUB = "usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed"
_DISK_DRIVERS = (
    "virtio_pci",
    "virtio_blk",
    "virtio_scsi",
    "sd_mod",
    "ata_piix",
    "ahci",
    "nvme",
    "xen_blkfront",
    "ext4",
)
_INITS = ("/sbin/init", "/usr/lib/systemd/systemd", "/lib/systemd/systemd")
_CONSOLE_UNIT = f"""\
[Unit]
Description=Shell on the console

[Service]
ExecStart={_OURS}/init console
Restart=always
RestartSec=0
"""


@dataclass(frozen=True)
class BuiltRootfs:
    """`root_device` for a direct boot, what was added to the vendor's files, and whose kernel it is."""

    root_device: str
    adjustments: tuple[str, ...]
    kernel_from: str


@dataclass(frozen=True)
class Additions:
    """What is put into a vendor's tree: the id it gets, the file system's id, the kernel's parts, the cache's keys."""

    hostname: str
    filesystem: str
    parts: KernelParts
    keys: IdentityKeys

    def put_into(self, tree: Tree) -> list[str]:
        """Add everything; one line for each thing that is there now and was not the vendor's. Raises ImageFault."""
        lines = [self._modules(tree), self._names(tree)]
        lines += filter(None, (add(tree) for add in (self._mounts, self._shell, self._console, self._ssh)))
        if tree.devices_left_out:
            lines.append(f"left out {tree.devices_left_out} device nodes of /dev, which the kernel makes itself")
        return lines

    def _modules(self, tree: Tree) -> str:
        parts = self.parts
        folder = parts.modules_folder
        for name in parts.modules_files():
            tree.put(f"/lib/modules/{parts.release}/{name.removeprefix(folder + '/')}", parts.read(name))
        return f"added /lib/modules/{parts.release}: the modules of a kernel that is not the vendor's"

    def _names(self, tree: Tree) -> str:
        tree.put("/etc/hostname", f"{self.hostname}\n".encode())
        if tree.find("/usr/lib/systemd") is not None:
            tree.put("/etc/machine-id", b"")
        return "written /etc/hostname, and /etc/machine-id where there is systemd: a machine of its own"

    def _mounts(self, tree: Tree) -> str:
        mounts = (tree.read("/etc/fstab") or b"").decode(errors="replace").splitlines()
        if any(line.strip() and not line.lstrip().startswith("#") for line in mounts):
            return ""
        tree.put("/etc/fstab", f"UUID={self.filesystem} / ext4 defaults 0 1\n".encode())
        return "written /etc/fstab: the root file system, which it did not name"

    def _shell(self, tree: Tree) -> str:
        for name, mode in (("shell", 0o755), ("init", 0o755)):
            tree.put(f"{_OURS}/{name}", (_SCRIPTS / f"rootfs-{name}").read_bytes(), mode)
        tree.put(f"{_OURS}/busybox", self.parts.busybox, 0o755)
        if tree.find("/bin/sh") is None:
            tree.link("/bin/sh", f"{_OURS}/busybox")
            return f"added {_OURS} and /bin/sh as a link to its busybox: it has no shell"
        return f"added {_OURS}: a static busybox that serves the console"

    def _console(self, tree: Tree) -> str:
        if tree.find("/usr/lib/systemd/systemd") is not None or tree.find("/lib/systemd/systemd") is not None:
            units = "/etc/systemd/system"
            tree.put(f"{units}/guestcert-console.service", _CONSOLE_UNIT.encode())
            tree.link(f"{units}/multi-user.target.wants/guestcert-console.service", "../guestcert-console.service")
            # It would wait for a device that nobody announces where udev is missing, as in container images.
            tree.link(f"{units}/serial-getty@.service", "/dev/null")
            return (
                "serial-getty@.service replaced by guestcert-console.service, which lets anybody in: "
                "the console is the way into a guest without a password"
            )
        if not any(tree.find(path) for path in _INITS):
            return f"no init of its own: {_OURS}/init mounts /proc, /sys and the like, and serves the console"
        table = tree.read("/etc/inittab")
        if table is None:
            return ""
        entry = "::respawn:" if _busybox_is_init(tree) else "gc:12345:respawn:"
        tree.put("/etc/inittab", table.rstrip(b"\n") + f"\n{entry}{_OURS}/init console\n".encode())
        return "added a line to /etc/inittab: a console that lets anybody in is the way into a guest without a password"

    def _ssh(self, tree: Tree) -> str:
        if tree.find("/usr/sbin/sshd") is None or tree.find("/root") is None:
            return ""
        tree.put("/root/.ssh/authorized_keys", f"{self.keys.client.public} guestcert\n".encode(), 0o600)
        tree.put("/etc/ssh/ssh_host_ed25519_key", self.keys.host.private_text().encode(), 0o600)
        tree.put("/etc/ssh/ssh_host_ed25519_key.pub", f"{self.keys.host.public} guestcert\n".encode())
        return "added the harness's key to root's authorized_keys, and a pinned host key: it has an SSH server"


def build_rootfs(entry: RootfsEntry, fetched: Path, place: Workplace) -> BuiltRootfs:
    """Make `disk` (qcow2), `kernel` and `initrd` in the work folder from the verified file `fetched`, which is used up.

    Raises ImageFault; OSError when the disk is full.
    """
    work, report = place.work, place.report
    ids, log = DiskIds.of(place.key), work / "build.log"
    # Whatever the vendor's files may do when run as root, nobody on this machine gets at them.
    private = work / "private"
    private.mkdir(mode=0o700)
    with closing(Tree(limit=entry.disk.size_gib * 1024**3)) as tree:
        _lay(entry, fetched, private, tree, report)
        with report.task(f"{entry.id}: fetching {entry.kernel.package}"):
            parts = open_kernel_parts(entry.kernel, private, log, "shim-signed", "grub-efi-amd64-signed")
        with report.task(f"{entry.id}: writing the disk"), closing(parts.tar):
            lines = Additions(entry.id, ids.root_filesystem, parts, place.keys).put_into(tree)
            drivers = [name for name in _DISK_DRIVERS if parts.has_module(name)]
            (work / "kernel").write_bytes(parts.read(parts.kernel))
            write_root_finder(work / "initrd", parts, drivers)
            root_device = f"UUID={ids.root_filesystem}"
            esp = _boot_files(entry, parts, work, private, root_device)
            archive, late, raw = private / "root.tar", private / "late.tar", private / "disk.raw"
            tree.write(archive)
            write_tar(late, [])
            write_disk(raw, RootContent(archive, late, ()), esp, entry.disk, ids)
            to_qcow2(raw, work / "disk")
            raw.unlink()
    kernel = entry.kernel
    kernel_from = f"{kernel.package} of {kernel.suite} ({parts.release}), {kernel.origin}; not the vendor's"
    return BuiltRootfs(root_device, (f"kernel {kernel_from}", *lines), kernel_from)


def _lay(entry: RootfsEntry, fetched: Path, private: Path, tree: Tree, report: Reporter) -> None:
    limit = entry.unpacked_gib * 1024**3
    with report.task(f"{entry.id}: unpacking") as task:
        try:
            plain = private / "fetched.tar"
            plain_tar(fetched, plain, limit, task)
            layers = layers_of(plain, private, limit, task) if entry.archive == "oci" else [plain]
            for layer in layers:
                tree.lay(layer, whiteouts=entry.archive == "oci")
        except ImageFault as fault:
            raise ImageFault(f"the file {fault}") from fault
    if not tree.root.children:
        raise ImageFault("the file has nothing in it")
    if _is_container_image(tree):
        raise ImageFault("the file is a container image, not the files of one: write archive: oci in its entry")


def _is_container_image(tree: Tree) -> bool:
    """Whether the tree is an OCI layout (image-layout.md: `oci-layout` must be there), or what `docker save` writes."""
    return tree.read("/oci-layout") is not None or b'"Layers"' in (tree.read("/manifest.json") or b"")


def _boot_files(entry: RootfsEntry, parts: KernelParts, work: Path, private: Path, root_device: str) -> Path:
    """An EFI system partition with Debian's signed loader, kernel and initrd: a way to boot without the host's help."""
    esp = private / "esp"
    (esp / "EFI/BOOT").mkdir(parents=True)
    (esp / "EFI/debian").mkdir()
    for name, target in ((_SHIM, "EFI/BOOT/BOOTX64.EFI"), (_GRUB, "EFI/BOOT/grubx64.efi"), (parts.kernel, "vmlinuz")):
        (esp / target).write_bytes(parts.read(name))
    (esp / "initrd.img").write_bytes((work / "initrd").read_bytes())
    arguments = " ".join([f"root={root_device}", *entry.kernel_command_line])
    menu = (
        "serial --unit=0 --speed=115200\nterminal_input console serial\nterminal_output console serial\nset timeout=0\n"
        f"menuentry '{entry.id}' {{\n    linux /vmlinuz {arguments}\n    initrd /initrd.img\n}}\n"
    )
    (esp / "EFI/debian/grub.cfg").write_text(menu, encoding="ascii")
    return esp


def _busybox_is_init(tree: Tree) -> bool:
    found = tree.find("/sbin/init")
    return found is not None and found is tree.find("/bin/busybox")
