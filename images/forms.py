"""Images that are put together here from parts of different makers, and the union of everything a catalogue may hold."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from images.model import (
    BuildEntry,
    DiskLayout,
    Entry,
    PlannedBuild,
    PublishedEntry,
    Strict,
    UrlEntry,
    UserEntry,
)
from images.words import ImageAddress, KernelArgument, Mirror, ModuleName, PackageName, Sha256, Sha512, SuiteName
from matrix.words import Text

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


Source = PlannedBuild | UrlEntry | UserEntry | BusyboxEntry | PairEntry | RootfsEntry
"""What the store obtains, or says how to come by."""

Obtainable = PlannedBuild | UrlEntry | BusyboxEntry | PairEntry | RootfsEntry
"""What the store obtains."""

ImageEntry = Annotated[
    BuildEntry | UrlEntry | UserEntry | BusyboxEntry | PairEntry | RootfsEntry, Field(discriminator="kind")
]
