"""Images that are put together here from parts of different makers, and the union of everything a catalogue may hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from images.model import (
    BuildEntry,
    DiskLayout,
    Entry,
    PackageGroup,
    PlannedBuild,
    PublishedEntry,
    Strict,
    UrlEntry,
    UserEntry,
)
from images.words import (
    ImageAddress,
    KernelArgument,
    Mirror,
    ModuleName,
    PackageName,
    ProductKey,
    ProductName,
    Sha256,
    Sha512,
    SuiteName,
)
from matrix.words import AbsolutePath, Text

DiskSize = Annotated[int, Field(ge=1, le=1024)]


class KernelPackage(Strict):
    """A Debian kernel package for what brings none. `origin` is provenance for people: whose kernel it is."""

    suite: SuiteName
    package: PackageName
    origin: Text
    mirror: Mirror | None = None
    """Where the package comes from; by default mmdebstrap's own choice for the suite."""
    expired_release: Literal["refuse", "accept"] = "refuse"


class BusyboxEntry(Entry):
    """A system of busybox alone, in an initramfs that is made here; its disk is empty."""

    kind: Literal["busybox"]
    kernel: KernelPackage
    modules: tuple[ModuleName, ...] = ()
    """Loaded at boot in this order, each after what it depends on."""
    disk_gib: DiskSize = 1

    def adjustments(self) -> tuple[str, ...]:
        """One line per thing that is not the vendor's, for the report."""
        return (f"kernel {self.kernel.package} of {self.kernel.suite}: {self.kernel.origin}",)


class PublishedFile(Strict):
    """One file of several that make an image; digests as of other images."""

    url: ImageAddress
    sha256: Sha256 | None = None
    sha512: Sha512 | None = None

    @model_validator(mode="after")
    def _named_by_digest(self) -> PublishedFile:
        if (self.sha256 is None) == (self.sha512 is None):
            raise ValueError("exactly one of sha256 and sha512 is needed; nothing is used without a digest")
        return self


class PairEntry(Entry):
    """A kernel and an initrd as their vendor publishes them, such as a live system or an appliance; its disk is empty."""

    kind: Literal["pair"]
    kernel: PublishedFile
    initrd: PublishedFile
    disk_gib: DiskSize = 1
    root_device: KernelArgument = "/dev/ram0"


class RootfsEntry(PublishedEntry):
    """A root file system without a kernel: a tar of its files, or of a container image's layers.

    `archive` is "tar" (the files themselves) or "oci" (what `docker save` writes, or an OCI layout as a tar).
    """

    kind: Literal["rootfs"]
    archive: Literal["tar", "oci"] = "tar"
    kernel: KernelPackage
    kernel_command_line: tuple[KernelArgument, ...] = ()
    """For the image's own boot loader; a direct boot takes it from the guest's matrix entry."""
    disk: DiskLayout = DiskLayout()


class InstallerPackage(Strict):
    """A Debian package that carries an installer; `kernel` and `initrd` are files of it."""

    suite: SuiteName
    package: PackageName
    kernel: AbsolutePath
    initrd: AbsolutePath
    mirror: Mirror | None = None
    """Where the package comes from; by default mmdebstrap's own choice for the suite."""
    expired_release: Literal["refuse", "accept"] = "refuse"


class InstallerIso(PublishedFile):
    """A medium that holds an installer. Without `kernel` and `initrd`, which are files on it, it is booted as it is."""

    kernel: AbsolutePath | None = None
    initrd: AbsolutePath | None = None

    @model_validator(mode="after")
    def _boots_one_way(self) -> InstallerIso:
        if (self.kernel is None) != (self.initrd is None):
            raise ValueError("kernel and initrd are named together, or neither")
        return self


class InstallerTree(Strict):
    """An installer's kernel and initrd, which get the rest from the vendor's tree of packages at `repository`."""

    kernel: PublishedFile
    initrd: PublishedFile
    repository: Mirror | None = None


class InstallEntry(Entry):
    """A disk that the vendor's own installer writes, driven once by answers that are given beforehand.

    Exactly one of `package`, `iso` and `tree` is where the installer comes from.
    """

    kind: Literal["install"]
    answers: Literal["preseed", "kickstart", "autoyast", "autoinstall", "autounattend"]
    """For Debian's installer, Anaconda, YaST, Subiquity, and Windows Setup."""
    package: InstallerPackage | None = None
    iso: InstallerIso | None = None
    tree: InstallerTree | None = None
    drivers: PublishedFile | None = None
    """A CD-ROM with virtio drivers, for Windows."""
    packages: tuple[PackageGroup, ...] = ()
    """What is installed beside the installer's own choice."""
    mirror: Mirror | None = None
    """Where Debian's and Ubuntu's installers get packages; by default their own choice."""
    product: ProductName | None = None
    """Which of several a medium holds: of SUSE the product's id, of Windows the name of the image."""
    product_key: ProductKey | None = None
    kernel_command_line: tuple[KernelArgument, ...] = ()
    """For the installer and for what it installs."""
    disk_gib: DiskSize = 8
    disk_bus: Literal["virtio", "sata"] = "virtio"
    memory_mib: Annotated[int, Field(ge=64, le=65536)] = 2048
    cpu: Literal["x86-64-v2", "max"] = "x86-64-v2"
    """The least that the installer needs: translated instructions are the dearer the more the CPU can do."""
    minutes: Annotated[int, Field(ge=1, le=1440)] = 240

    @model_validator(mode="after")
    def _is_possible(self) -> InstallEntry:
        if sum(each is not None for each in (self.package, self.iso, self.tree)) != 1:
            raise ValueError("exactly one of package, iso and tree is needed: where the installer comes from")
        if self.package and self.answers != "preseed":
            raise ValueError("package: holds Debian's installer, which wants answers: preseed")
        if self.answers == "autounattend" and (self.iso is None or self.iso.kernel):
            raise ValueError("iso: Windows is installed from its medium, which is booted as it is")
        if self.answers == "autoinstall" and self.iso is None:
            raise ValueError("iso: Ubuntu's installer runs from its medium")
        if self.answers != "autounattend" and self.iso and not self.iso.kernel:
            raise ValueError("iso: needs kernel and initrd, which are files on it")
        if self.tree and self.answers in {"kickstart", "autoyast"} and not self.tree.repository:
            raise ValueError("tree: needs repository, where this installer gets the rest of itself")
        if self.answers == "autounattend" and self.product is None:
            raise ValueError("product: the name of the image in install.wim is needed")
        if self.mirror and not self.mirror.startswith(("http://", "https://")):
            raise ValueError("mirror: an installer reaches it by network only, http:// or https://")
        return self

    @property
    def files(self) -> dict[str, PublishedFile]:
        """What has to be fetched by its digest, by the name that it has then."""
        named = {
            "iso": self.iso,
            "drivers": self.drivers,
            "kernel": self.tree.kernel if self.tree is not None else None,
            "initrd": self.tree.initrd if self.tree is not None else None,
        }
        return {name: file for name, file in named.items() if file is not None}

    def with_addresses(self, change: Callable[[str], str]) -> Self:
        """The entry with `change` applied to the address of each of its files."""

        def changed(file: PublishedFile | None) -> PublishedFile | None:
            return None if file is None else file.model_copy(update={"url": change(file.url)})

        tree = self.tree
        if tree is not None:
            tree = tree.model_copy(update={"kernel": changed(tree.kernel), "initrd": changed(tree.initrd)})
        return self.model_copy(update={"iso": changed(self.iso), "drivers": changed(self.drivers), "tree": tree})


Source = PlannedBuild | UrlEntry | UserEntry | BusyboxEntry | PairEntry | RootfsEntry | InstallEntry
"""What the store obtains, or says how to come by."""

Obtainable = PlannedBuild | UrlEntry | BusyboxEntry | PairEntry | RootfsEntry | InstallEntry
"""What the store obtains."""

ImageEntry = Annotated[
    BuildEntry | UrlEntry | UserEntry | BusyboxEntry | PairEntry | RootfsEntry | InstallEntry,
    Field(discriminator="kind"),
]
"""Whatever a catalogue file may hold."""


def boots_of(source: Source) -> frozenset[Literal["loader", "direct"]]:
    """How a guest of `source` can be booted: `direct` needs a kernel beside the disk, `loader` one on it."""
    if isinstance(source, PlannedBuild | RootfsEntry):
        return frozenset({"loader", "direct"})
    beside = isinstance(source, BusyboxEntry | PairEntry)
    return frozenset({"direct" if beside else "loader"})
