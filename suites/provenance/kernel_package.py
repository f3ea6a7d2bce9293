"""Whose kernel is running? One table of commands by package manager, and the judgement of what they say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from suites.reading.batch import Batch


@dataclass(frozen=True, slots=True)
class KernelReading:
    """What a guest says about its running kernel.

    `image_version` is the version text inside the image file (None: the file has none), `running` that of
    /proc/version. `package` and `vendor` are empty where the package manager does not know the file;
    `verification` is what the package manager's check printed and `verified` whether it was satisfied.
    """

    release: str
    running: str
    image: str
    image_version: str | None
    package: str
    vendor: str
    verified: bool
    verification: str


@dataclass(frozen=True, slots=True)
class KernelCommands:
    """Shell snippets over $release, $image and (in the last two) $package.

    `images` are places of the kernel, first that exists wins; `owner` prints the owning package; `vendor` who made it;
    `verify` exits 0 when the kernel is as packaged and says on standard output what is not.
    """

    images: tuple[str, ...]
    owner: str
    vendor: str
    verify: str


_BOOT = (
    "/boot/vmlinuz-$release",
    "/lib/modules/$release/vmlinuz",
    "/usr/lib/modules/$release/vmlinuz",
    "/boot/vmlinux-$release",
)

KERNEL_COMMANDS: Mapping[str, KernelCommands] = MappingProxyType(
    {
        # Only the image is summed: a kernel package's modules are hundreds of MiB, seconds to minutes of reading.
        "dpkg": KernelCommands(
            images=_BOOT,
            owner="dpkg-query --search \"$image\" | sed 's/: .*//; s/,.*//'",
            vendor="dpkg-query --show --showformat='${db:Status-Abbrev}${Maintainer}\\n' \"$package\" | sed 's/^ii *//'",
            verify="sums=/var/lib/dpkg/info/$package.md5sums; [ -r \"$sums\" ] || sums=/var/lib/dpkg/info/$package:$(dpkg --print-architecture).md5sums; "
            "cd / && grep -F \" ${image#/}\" \"$sums\" | md5sum -c -",
        ),
        "rpm": KernelCommands(
            images=("/lib/modules/$release/vmlinuz", *_BOOT),
            owner="rpm --query --queryformat '%{NAME}-%{VERSION}-%{RELEASE}.%{ARCH}\\n' --file \"$image\" | head -n 1",
            vendor="rpm --query --queryformat '%{VENDOR}\\n' \"$package\"",
            # rpm lists what differs; a kernel package's links and configuration may, the image may not.
            verify="rpm --verify --noscripts \"$package\" | grep -F \" $image\"; [ $? = 1 ]",
        ),
        "apk": KernelCommands(
            images=("/boot/vmlinuz-${release##*-}", *_BOOT),
            owner="apk info --who-owns \"$image\" | sed 's/.* is owned by //'",
            vendor="",
            verify="apk audit --packages --system 2>/dev/null | grep -F \" ${image#/}\"; [ $? = 1 ]",
        ),
        "pacman": KernelCommands(
            images=("/usr/lib/modules/$release/vmlinuz", "/boot/vmlinuz-linux"),
            owner="pacman --query --owns --quiet \"$image\"",
            vendor="",
            verify="pacman --query --check --check --quiet \"$package\"",
        ),
    }
)  # fmt: skip


def kernel_prelude(commands: KernelCommands) -> str:
    """Shell text that sets $release, $image and $package, empty where there is none; once for all snippets."""
    places = " ".join(f'"{place}"' for place in commands.images)
    return (
        f'release=$(uname -r); for image in {places}; do [ -e "$image" ] && break; done; [ -e "$image" ] || image=\n'
        f'package=; [ -z "$image" ] || package=$({commands.owner})'
    )


def kernel_snippets(commands: KernelCommands) -> dict[str, str]:
    """The batch that reads everything about the running kernel in one round trip, after `kernel_prelude`."""
    # The header of an x86 kernel image holds at 0x20e where its version text is, less 0x200 (Documentation/arch/x86/boot.rst).
    version = (
        '[ "$(dd if="$image" bs=1 skip=514 count=4 2>/dev/null)" = HdrS ] || exit 1; '
        'set -- $(dd if="$image" bs=1 skip=526 count=2 2>/dev/null | od -An -tu1); '
        'dd if="$image" bs=1 skip=$(($1 + 256 * $2 + 512)) count=256 2>/dev/null | tr "\\000" "\\n" | head -n 1'
    )
    return {
        "release": 'echo "$release"',
        "running": "cat /proc/version",
        "image": 'echo "$image"',
        "package": 'echo "$package"',
        "version": f'[ -n "$image" ] || exit 1; {version}',
        "vendor": f'[ -n "$package" ] || exit 1; {commands.vendor or ":"}',
        "verify": f'[ -n "$package" ] || exit 1; ({commands.verify}) 2>&1',
    }


def parse_kernel(batch: Batch) -> KernelReading:
    """The reading from the batch of `kernel_snippets`."""
    return KernelReading(
        release=batch["release"].word,
        running=batch["running"].word,
        image=batch["image"].word,
        image_version=batch["version"].word or None if batch["version"].status == 0 else None,
        package=batch["package"].word,
        vendor=batch["vendor"].word,
        verified=batch["verify"].status == 0,
        verification=batch["verify"].word,
    )


def judge_kernel(reading: KernelReading, vendor: str) -> list[str]:
    """What speaks against the running kernel being the one that `vendor` (the catalogue's word) shipped; empty: nothing."""
    if not reading.image:
        return [f"expected the image of the running kernel {reading.release} in the guest, there is none"]
    if not reading.package:
        return [f"expected {reading.image} to belong to a package, the package manager knows none that owns it"]
    problems = []
    if not reading.verified:
        problems.append(
            f"expected {reading.image} to be as {reading.package} installed it, verification says {reading.verification or 'nothing'}"
        )
    if reading.vendor and not _names(vendor, reading.vendor):
        problems.append(f"expected {reading.package} to be made by {vendor}, it is by {reading.vendor}")
    if reading.image_version and not _same_build(reading.image_version, reading.running):
        problems.append(
            f"expected the running kernel to be {reading.image} ({reading.image_version}), it is another build: {reading.running}"
        )
    return problems


def _names(vendor: str, maintainer: str) -> bool:
    return any(word in maintainer.casefold() for word in re.findall(r"\w{3,}", vendor.casefold()))


def _same_build(image_version: str, running: str) -> bool:
    # "6.1.0-1-amd64 (who@where) #1 SMP ... date" against "Linux version 6.1.0-1-amd64 (who@where) (gcc ...) #1 SMP ... date"
    release, _, build = image_version.partition(" ")
    build = build[build.find("#") :] if "#" in build else ""
    return f"Linux version {release} " in f"{running} " and build in running
