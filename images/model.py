"""What the catalogue may say: how to obtain an image, its digest and its provenance. Pure data, no I/O."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, model_validator

from images.words import (
    FileContent,
    FileMode,
    FileName,
    GeneratorName,
    ImageAddress,
    KernelArgument,
    Mirror,
    ModuleName,
    PackageName,
    Sha256,
    Sha512,
    Some,
    SuiteName,
    UnitName,
)
from matrix.words import AbsolutePath, Id, Text


class Strict(BaseModel):
    """Immutable, and a key nobody reads is a mistake."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class GuestFile(Strict):
    """A file put into a built image. `content` is written as it is, nothing is expanded in it."""

    path: AbsolutePath
    content: FileContent
    mode: FileMode = "0644"
    reason: Text


class UnitChange(Strict):
    """Units that are masked or enabled together, and why."""

    units: Annotated[tuple[UnitName, ...], Some]
    reason: Text


class GeneratorChange(Strict):
    """systemd generators (systemd.generator(7)) that are masked together, and why."""

    generators: Annotated[tuple[GeneratorName, ...], Some]
    reason: Text


class PackageGroup(Strict):
    """Packages that are installed together, and why."""

    packages: Annotated[tuple[PackageName, ...], Some]
    reason: Text

    def without(self, names: tuple[str, ...]) -> PackageGroup | None:
        """The group without these packages, None if nothing is left."""
        left = tuple(name for name in self.packages if name not in names)
        return self if left == self.packages else PackageGroup(packages=left, reason=self.reason) if left else None


class Initramfs(Strict):
    """How initramfs-tools (initramfs.conf(5)) or dracut (dracut.conf(5)) is configured before the kernel package is installed.

    `include` are modules that are there to be loaded when a device asks for them; none is loaded without a device. `omit`
    are dracut's own modules that are left out, `install` files that it would leave out, `remove` files that it would take along.
    """

    tool: Literal["initramfs-tools", "dracut"] = "initramfs-tools"
    omit: tuple[ModuleName, ...] = ()
    install: tuple[AbsolutePath, ...] = ()
    remove: tuple[AbsolutePath, ...] = ()
    modules: Literal["most", "dep", "list"] = "most"
    include: tuple[ModuleName, ...] = ()
    compress: Literal["zstd", "lz4", "gzip", "xz"] = "zstd"
    reason: Text

    @model_validator(mode="after")
    def _is_possible(self) -> Initramfs:
        if self.omit and self.tool != "dracut":
            raise ValueError("omit: only dracut has modules of its own")
        if self.install and self.tool != "dracut":
            raise ValueError("install: only dracut has a list of files")
        if self.remove and self.tool != "dracut":
            raise ValueError("remove: only dracut takes files out again")
        if self.tool == "dracut" and self.modules == "dep":
            raise ValueError("modules: dracut would look for those of the machine that builds the image")
        return self

    def told(self) -> str:
        """One line for the report."""
        left_out = (*self.omit, *self.remove)
        omitted = f", without {', '.join(left_out)}" if left_out else ""
        added = f", with {', '.join(self.install)}" if self.install else ""
        by = "by dracut, " if self.tool == "dracut" else ""
        return f"initramfs {by}MODULES={self.modules}, {self.compress}{omitted}{added}: {self.reason}"


class Dropped(Strict):
    """Paths that packages create and the image must not carry, such as host keys nobody pinned."""

    paths: Annotated[tuple[AbsolutePath, ...], Some]
    reason: Text


class EditedFile(Strict):
    """Lines taken out of files of packages, and why. Lines are compared without the blanks around them.

    Every file must hold every one of the lines: a package that changed is noticed.
    """

    paths: Annotated[tuple[AbsolutePath, ...], Some]
    without_lines: Annotated[tuple[Text, ...], Some]
    reason: Text


class XenLoader(Strict):
    """Xen is started instead of the image's kernel, and starts that as its first domain.

    `image` is a file of a package: Xen as an EFI program (`.efi`), started by the firmware, or packed (`.gz`), started by the
    BIOS's loader. `options` is Xen's own command line.
    """

    image: AbsolutePath
    options: tuple[KernelArgument, ...] = ()
    reason: Text

    @property
    def loader(self) -> Literal["uefi", "bios"]:
        """What starts it."""
        return "uefi" if self.image.endswith(".efi") else "bios"


class Recipe(Strict):
    """`recipes/NAME.yaml`: what is done to a distribution to make it a guest; everything here reaches the report."""

    id: Id
    extends: Id | None = None
    variant: Literal["essential", "apt", "required", "minbase", "important", "standard"] = "minbase"
    components: tuple[SuiteName, ...] = ()
    packages: tuple[PackageGroup, ...] = ()
    without: tuple[PackageName, ...] = ()
    """Packages of the recipe that this one extends that are left out, such as those a suite does not have."""
    initramfs: Initramfs | None = None
    files: tuple[GuestFile, ...] = ()
    masked: tuple[UnitChange, ...] = ()
    masked_generators: tuple[GeneratorChange, ...] = ()
    enabled: tuple[UnitChange, ...] = ()
    dropped: tuple[Dropped, ...] = ()
    edited: tuple[EditedFile, ...] = ()
    xen: XenLoader | None = None
    seed: Literal["built-in", "cloud-init", "ignition"] = "built-in"
    """How the harness's keys get in: they are put into the disk, or handed over at first boot by what the recipe installs."""

    def over(self, base: Recipe) -> Recipe:
        """This recipe on top of `base`: lists are joined, a scalar set here wins."""
        set_here = self.model_fields_set
        return Recipe(
            id=self.id,
            variant=self.variant if "variant" in set_here else base.variant,
            components=self.components or base.components,
            packages=tuple(filter(None, (group.without(self.without) for group in base.packages))) + self.packages,
            initramfs=self.initramfs or base.initramfs,
            files=base.files + self.files,
            masked=base.masked + self.masked,
            masked_generators=base.masked_generators + self.masked_generators,
            enabled=base.enabled + self.enabled,
            dropped=base.dropped + self.dropped,
            edited=base.edited + self.edited,
            xen=self.xen or base.xen,
            seed=self.seed if "seed" in set_here else base.seed,
        )

    def adjustments(self) -> tuple[str, ...]:
        """One line per change to what the vendor ships, for the report."""
        lines = [f"installed {', '.join(group.packages)}: {group.reason}" for group in self.packages]
        if self.initramfs:
            lines.append(self.initramfs.told())
        lines += [f"file {file.path}: {file.reason}" for file in self.files]
        lines += [f"masked {', '.join(change.units)}: {change.reason}" for change in self.masked]
        lines += [f"masked {', '.join(each.generators)}: {each.reason}" for each in self.masked_generators]
        lines += [f"enabled {', '.join(change.units)}: {change.reason}" for change in self.enabled]
        lines += [f"removed {', '.join(drop.paths)}: {drop.reason}" for drop in self.dropped]
        lines += [
            f"without {', '.join(edit.without_lines)} in {', '.join(edit.paths)}: {edit.reason}" for edit in self.edited
        ]
        if self.xen:
            lines.append(f"started by {' '.join([self.xen.image, *self.xen.options])}: {self.xen.reason}")
        return tuple(lines)


class DiskLayout(Strict):
    """A GPT disk of `size_gib` with an EFI system partition of `esp_mib` and an ext4 root partition in the rest."""

    size_gib: Annotated[int, Field(ge=1, le=64)] = 4
    # 33 MiB is the least that FAT32 with one-sector clusters allows; firmware is only sure to read FAT32.
    esp_mib: Annotated[int, Field(ge=34, le=1024)] = 64


class Entry(Strict):
    """What all kinds have in common. `origin` is provenance for people: who publishes these bytes."""

    id: Id
    name: Text
    arch: Literal["x86_64"] = "x86_64"
    origin: Text
    _folder: Path | None = PrivateAttr(default=None)

    @property
    def folder(self) -> Path | None:
        """The `--matrix` folder that has it, None: it is shipped. No part of what the image is."""
        return self._folder

    def out_of(self, folder: Path) -> Self:
        """The same entry, known to be in the `--matrix` folder `folder`."""
        copy = self.model_copy()
        copy._folder = folder  # noqa: SLF001 -- a copy of this very object
        return copy


class BuildEntry(Entry):
    """An image built from the distribution's own packages by a recipe."""

    kind: Literal["build"]
    recipe: Id
    suite: SuiteName
    kernel: PackageName
    kernel_suite: SuiteName | None = None
    """Where the kernel and what it needs come from, if not from `suite`: its backports."""
    mirror: Mirror | None = None
    """Where packages come from; by default mmdebstrap's own choice for the suite."""
    expired_release: Literal["refuse", "accept"] = "refuse"
    """Whether a Release file past its validity will do, as a mirror that is a frozen copy has; still signed."""
    packages: tuple[PackageGroup, ...] = ()
    kernel_command_line: tuple[KernelArgument, ...] = ()
    """For the image's own boot loader; a direct boot takes it from the guest's matrix entry."""
    loaders: Annotated[tuple[Literal["uefi", "bios"], ...], Some] = ("uefi",)
    """Firmware that starts the disk: UEFI by the boot loader among the packages, a legacy BIOS by one put there."""
    disk: DiskLayout = DiskLayout()


class ListSignature(Strict):
    """How a list of checksums is signed: in a file of its own (`detached`, at `url`) or in itself (`clearsigned`).

    `key` is the name of a file in images/keys, without its ending.
    """

    kind: Literal["detached", "clearsigned"]
    url: ImageAddress | None = None
    key: Id

    @model_validator(mode="after")
    def _has_a_place(self) -> ListSignature:
        if (self.kind == "detached") != (self.url is not None):
            raise ValueError("url: a detached signature needs one, a clearsigned list has none")
        return self


class Checksums(Strict):
    """A vendor's list of digests: `gnu` has lines "HEX  FILE", `bsd` "SHA256 (FILE) = HEX", `bare` one HEX, and `json` an
    object whose "sha256" or "sha512" is HEX and one of whose other values is FILE or an address that ends with it.

    `file` is the image's name in the list, if it is not the last part of its address.
    """

    url: ImageAddress
    style: Literal["gnu", "bsd", "bare", "json"]
    file: FileName | None = None
    signature: ListSignature | None = None


class MirroredChecksums(Checksums):
    """A list that is asked for at a mirror (images.mirrors); no file says so. `vendor_url` is where its vendor has it."""

    vendor_url: ImageAddress


Compression = Literal["none", "xz", "gz", "bz2", "zst", "zip"]
DiskFormat = Literal["qcow2", "raw", "vmdk", "vhdx", "vdi", "vpc"]
"""As qemu-img calls them; `vpc` is Microsoft's older VHD."""


class PublishedEntry(Entry):
    """What a vendor publishes as one file at a local path or http(s) address, named by its digest."""

    url: ImageAddress
    """`http://`, `https://`, `file://`, an absolute path, or a path relative to the catalogue file."""
    sha256: Sha256 | None = None
    sha512: Sha512 | None = None
    """Of the file as it is published, packed if it is packed."""
    digest_from: Text | None = None
    """Where the digest was read, if that is not plain from `origin`; `images pin` writes it."""
    checksums: Checksums | None = None
    """Where the vendor publishes it; `images pin` reads it there."""
    compression: Compression = "none"
    unpacked_gib: Annotated[int, Field(ge=1, le=1024)] = 64
    """The most that a packed image may unpack to, or another format's content may take."""

    @model_validator(mode="after")
    def _named_by_digest(self) -> Self:
        digests = sum(each is not None for each in (self.sha256, self.sha512))
        if digests > 1 or (digests == 0 and self.checksums is None):
            raise ValueError("exactly one of sha256 and sha512 is needed; nothing is used without a digest")
        return self

    @property
    def provenance(self) -> str:
        """Who publishes the image and where its digest was read."""
        return f"{self.origin}; digest: {self.digest_from}" if self.digest_from else self.origin


class UrlEntry(PublishedEntry):
    """A ready disk image."""

    kind: Literal["url"]
    format: DiskFormat = "qcow2"
    """Of the disk after unpacking; whatever is neither qcow2 nor raw is converted to qcow2."""
    root_device: KernelArgument = "LABEL=root"
    seed: Literal["cloud-init", "ignition", "none"] = "cloud-init"


class UserEntry(Entry):
    """A ready disk image that nobody publishes at a lasting address, or only to customers: whoever has it supplies the file."""

    kind: Literal["user"]
    instructions: Text
    """Where to get which file; the end of a sentence that begins with "get"."""
    compression: Compression = "none"
    format: DiskFormat = "qcow2"
    root_device: KernelArgument = "LABEL=root"
    seed: Literal["cloud-init", "ignition", "none"] = "cloud-init"

    def supplied(self, path: str, sha256: str) -> UrlEntry:
        """The entry of the file at `path` (absolute) with this digest."""
        return UrlEntry(
            kind="url",
            id=self.id,
            name=self.name,
            origin=f"{self.origin}; supplied as a file",
            url=path,
            sha256=sha256,
            compression=self.compression,
            format=self.format,
            root_device=self.root_device,
            seed=self.seed,
        )


class PlannedBuild(Strict):
    """A build with its recipe resolved: everything that decides what comes out, and so its key."""

    entry: BuildEntry
    recipe: Recipe

    @property
    def id(self) -> str:
        """The image's id."""
        return self.entry.id

    @property
    def folder(self) -> Path | None:
        """The `--matrix` folder that has its entry; None: it is shipped."""
        return self.entry.folder

    def adjustments(self) -> tuple[str, ...]:
        """One line per change to what the vendor ships, for the report."""
        lines = list(self.recipe.adjustments())
        lines += [f"installed {', '.join(group.packages)}: {group.reason}" for group in self.entry.packages]
        if self.entry.kernel_suite:
            lines.append(f"kernel and what it needs from {self.entry.kernel_suite}")
        if "bios" in self.entry.loaders:
            lines.append("SYSLINUX in the EFI system partition: starts kernel and initrd where the firmware is a BIOS")
        if self.entry.expired_release == "accept":
            lines.append("built from a package archive whose Release file may have expired: its entry accepts that")
        return tuple(lines)
