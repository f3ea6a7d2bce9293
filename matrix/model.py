"""What is to be certified: guests, hypervisors, extensions, hosts, profiles, rules, and the cells they span.

All of it is immutable and round trips through JSON, because bindings travel to pytest-xdist workers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Self

from pydantic import Field, model_validator

from matrix.claim import Claim, Source
from matrix.glob import any_pattern
from matrix.strict import Identified, Strict
from matrix.words import (
    AbsolutePath,
    Day,
    Feature,
    Globs,
    Id,
    NetworkName,
    OsReleaseKey,
    ProbeId,
    RegularExpression,
    Text,
    Uri,
    UserName,
    VariableName,
    Word,
)

Arch = Literal["x86_64", "i686", "aarch64", "riscv64", "ppc64le", "s390x"]
Family = Literal["linux", "windows", "freebsd", "netbsd", "openbsd", "other"]
Init = Literal["systemd", "openrc", "sysvinit", "busybox", "rc", "windows", "other"]
Firmware = Literal["bios", "uefi", "uefi-secure-boot"]
PackageManager = Literal["dpkg", "rpm", "apk", "pacman", "portage", "opkg", "pkg"]
USER_NETWORK = "user"
"""The `network` of a host whose guests use QEMU's own user-mode network."""

Capability = bool | int | str | None
"""What a host or cell can do: yes/no, a number, a word, or None when nobody knows."""


class Login(Strict):
    """Who the harness logs in as, and over which channel; where that one is not there, over the others there are.

    `console` is a login, or a shell, on the first console; `none` says that nobody can log in, so that only what needs no
    shell is probed. The password, asked for on a console only, is never written here: `password_env` names an
    environment variable that holds it, `password_file` a file whose first line does. `ready` is a regular expression
    that the console shows when the guest is up, where that is not a login prompt.
    """

    user: UserName = "root"
    channel: Literal["ssh", "agent", "console", "none"] = "ssh"
    password_env: VariableName | None = None
    password_file: Text | None = None
    ready: RegularExpression | None = None

    @model_validator(mode="after")
    def _one_password(self) -> Self:
        if self.password_env is not None and self.password_file is not None:
            raise ValueError("password_env and password_file: only one of them can say the password")
        return self


class Resources(Strict):
    """What one guest gets: virtual CPUs, MiB of memory, GiB of disk (None: as large as its image), free PCI slots."""

    vcpus: int = Field(2, ge=1, le=4096)
    memory_mib: int = Field(512, ge=8, le=64 * 1024 * 1024)
    disk_gib: int | None = Field(None, ge=1, le=64 * 1024)
    hotplug_slots: int = Field(0, ge=0, le=16)


class CpuModel(Strict):
    """The CPU that a guest is shown: libvirt's name of a model, and features of it required and disabled.

    `model` None is the model that the hypervisor shows by default; `hypervisors` are those under which a guest needs this,
    all of them by default.
    """

    model: Word | None = None
    require: tuple[Word, ...] = ()
    disable: tuple[Word, ...] = ()
    hypervisors: Globs = ()


class Devices(Strict):
    """What a guest has drivers for, and wants: followed where its hypervisor leaves the choice, which is QEMU and KVM.

    `virtio`, or emulated devices of the time when nobody had it; `display`: a screen, and evidence has a picture of it.
    """

    disk: Literal["virtio", "sata"] = "virtio"
    nic: Literal["virtio", "e1000e", "e1000", "rtl8139"] = "virtio"
    display: bool = False


class KernelLogException(Strict):
    """A kernel log line (Python regular expression, searched) that is known to be harmless, and why."""

    pattern: RegularExpression
    reason: Text


class GuestSpec(Identified):
    """An operating system under test.

    `osinfo` is the osinfo-db id; `image` names an entry of the image catalogue; `os_release` holds the fields
    of /etc/os-release that must be seen in the guest; `boot: direct` starts the image's kernel from the host;
    `firmware: uefi-secure-boot` is UEFI with Secure Boot on and the usual vendors' keys enrolled;
    `address: static` is for a guest whose network DHCP brings no address: the harness then gives it one (QEMU's user-mode network);
    `cpu` is what it needs to see other than what its hypervisor shows by default, `devices` the same for what is plugged into it;
    a guest that nobody has run here yet (`never_run_here`), or that few people need (`on_request`), is in the matrix, and
    runs when it is asked for by id.
    """

    name: Text
    osinfo: Uri | None = None
    vendor: Text
    version: Text
    arch: Arch = "x86_64"
    family: Family = "linux"
    image: Id
    firmware: Firmware = "bios"
    boot: Literal["direct", "loader"] = "direct"
    kernel_command_line: tuple[Word, ...] = ()
    login: Login = Login()
    address: Literal["dhcp", "static"] = "dhcp"
    resources: Resources = Resources()
    cpu: CpuModel | None = None
    devices: Devices = Devices()
    os_release: dict[OsReleaseKey, Text] = Field(default_factory=dict)
    init: Init = "systemd"
    agent: bool = True
    package_manager: PackageManager | None = None
    end_of_life: Day | None = None
    kernel_log_exceptions: tuple[KernelLogException, ...] = ()
    never_run_here: bool = False
    on_request: bool = False

    @property
    def by_default(self) -> bool:
        """Whether it is run when no guest is named."""
        return not (self.never_run_here or self.on_request)

    def cpu_under(self, hypervisor: str) -> CpuModel | None:
        """What it needs to see under the hypervisor of this id, None where the default will do."""
        if self.cpu is None or (self.cpu.hypervisors and not any_pattern(self.cpu.hypervisors).match(hypervisor)):
            return None
        return self.cpu


class LabHostSpec(GuestSpec):
    """A guest that hosts. `machine` is what it runs on: QEMU's translator, or Bochs, whose name of a CPU model `cpu` has then."""

    machine: Literal["qemu", "bochs"] = "qemu"

    @model_validator(mode="after")
    def _bochs_can(self) -> Self:
        if self.machine == "bochs" and (self.firmware, self.boot, self.resources.vcpus) != ("bios", "loader", 1):
            raise ValueError("machine: bochs needs firmware: bios, boot: loader and one virtual CPU")
        if self.machine == "bochs" and (
            self.cpu is None or self.cpu.model is None or self.cpu.require or self.cpu.disable
        ):
            raise ValueError("machine: bochs needs a cpu model by Bochs' name, and nothing required or disabled")
        return self


class HypervisorSpec(Identified):
    """A way to run a guest.

    `extensions` are those it can be combined with; `cpuid_signature` is the vendor string of CPUID leaf
    0x40000000 without padding; `detect_virt` what `systemd-detect-virt` calls it; `clocksources` the Linux
    clock sources that count as good under it; `offers` its features, as probes require them.
    """

    name: Text
    driver: Id
    extensions: tuple[Id, ...] = Field(min_length=1)
    arches: tuple[Arch, ...] = Field(("x86_64",), min_length=1)
    cpuid_signature: Text | None = None
    detect_virt: tuple[Word, ...] = ()
    clocksources: tuple[Word, ...] = ()
    offers: tuple[Feature, ...] = ()
    end_of_life: Day | None = None
    successor: Id | None = None
    never_run_here: bool = False


class ExtensionSpec(Identified):
    """A CPU virtualisation extension; `cpu_flag` as in Linux's /proc/cpuinfo, None for `none`."""

    name: Text
    cpu_flag: Word | None = None


class HostLimits(Strict):
    """How much of a host may be used: guests at once, MiB of memory for all of them. None: as measured."""

    guests: int | None = Field(None, ge=1)
    memory_mib: int | None = Field(None, ge=1)


class HostLogin(Strict):
    """How the harness logs in to a remote host: `identity` is a private key's file, `host_key` its pinned public key."""

    user: UserName = "root"
    identity: Text
    host_key: Text


class HostSpec(Identified):
    """A machine that runs hypervisors, reached by a libvirt URI.

    `lab_host` names the guest of matrix/lab_hosts that is this machine, in software; its URI has no address of its
    own and it needs no `login`. `network` is what its guests are connected to: `user` (QEMU's own user-mode network)
    or the name of a libvirt network on the host, or of what its hypervisor calls one ("VM Network"). `folder` is where
    the harness keeps its files on a remote host.
    """

    uri: Uri
    tags: tuple[Id, ...] = ()
    limits: HostLimits = HostLimits()
    lab_host: Id | None = None
    login: HostLogin | None = None
    network: NetworkName = USER_NETWORK
    folder: AbsolutePath = "/var/lib/guestcert"


class Profile(Identified):
    """Which probes are required. A resolved profile has no `extends` any more."""

    extends: Id | None = None
    required: tuple[ProbeId, ...] = ()
    optional: tuple[ProbeId, ...] = ()

    @property
    def probes(self) -> tuple[str, ...]:
        """Required, then optional probe ids."""
        return self.required + self.optional


class Rule(Identified):
    """Says which cells are in (`include`), out (`exclude`) or have a `known-issue`, and why.

    A rule covers the cells that match every axis it names (globs over ids, or attributes of the guest); an
    axis it does not name matches all. Of the include and exclude rules that cover a cell the last one decides.
    A rule holds through its `expires` day.
    """

    kind: Literal["include", "exclude", "known-issue"]
    guest: Globs = ()
    hypervisor: Globs = ()
    extension: Globs = ()
    family: tuple[Family, ...] = ()
    arch: tuple[Arch, ...] = ()
    firmware: tuple[Firmware, ...] = ()
    probes: Globs = ()
    reason: Text
    link: Uri | None = None
    expires: Day | None = None

    @model_validator(mode="after")
    def _kinds_differ(self) -> Self:
        if self.kind == "known-issue" and self.expires is None:
            raise ValueError("a known-issue needs an expiry date: expires: YYYY-MM-DD")
        if self.kind != "known-issue" and self.probes:
            raise ValueError("probes: only a known-issue names probes")
        return self


class KnownIssue(Strict):
    """A known-issue rule that covers a cell; `probes` are globs over probe ids, empty for all."""

    rule: Id
    reason: Text
    link: Uri | None = None
    expires: Day
    probes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Cell:
    """One guest x hypervisor x extension. `id` is permanent; `excluded` says why it is not to be run, if so."""

    id: str
    guest: GuestSpec
    hypervisor: HypervisorSpec
    extension: ExtensionSpec
    excluded: str | None = None
    known_issues: tuple[KnownIssue, ...] = ()

    def __hash__(self) -> int:
        return hash(self.id)

    def __str__(self) -> str:
        return self.id


class Selection(Strict):
    """Which cells are asked for: globs over ids; every axis that has globs must match one of them.

    Without globs over guests or cells, guests that nobody has run here (`never_run_here`), and those `on_request`, are not
    asked for.
    """

    guest: Globs = ()
    hypervisor: Globs = ()
    extension: Globs = ()
    cell: Globs = ()


class FeatureLayers(Strict):
    """How far a CPU's virtualisation feature gets on a host; each layer yes, no, or None: nobody said.

    The CPU has it, the firmware enables it, the kernel (on Xen hosts: Xen) enables it, the hypervisor's management
    (libvirt) offers it, and a guest was seen to run with it.
    """

    cpu: bool | None = None
    firmware: bool | None = None
    kernel: bool | None = None
    hypervisor: bool | None = None
    worked: bool | None = None


class MeasuredHost(HostSpec):
    """A host and what was measured on it.

    `capabilities`: `accelerator.tcg`, `accelerator.kvm`, `extension.vmx`, `extension.svm`, `arch.x86_64`,
    `hypervisor.<id>`, `firmware.uefi`, `firmware.secure_boot` (bool), `memory_mib`, `cpus` (int), `hypervisor_version`,
    `libvirt_version`, `kernel`, `cpu_model`, `microcode`, `virt_caps` (Xen's), `made_by` (of a lab host), `mitigation.<vulnerability>` (str), and
    `feature.<name>` or `feature.<name>.<hypervisor>` (bool) where a feature that hypervisors.yaml offers was tried or asked for;
    None is unknown, and unknown never meets a need; absent is not offered. `layers` has the CPU's features (`vmx`, `svm`,
    `ept`, ...). `reasons` says, by capability or `<feature>.<layer>`, in one clause why one is not there.
    """

    capabilities: dict[str, Capability] = Field(default_factory=dict)
    layers: dict[str, FeatureLayers] = Field(default_factory=dict)
    reasons: dict[str, str] = Field(default_factory=dict)

    def features(self, hypervisor: str) -> dict[str, str]:
        """The names of the capabilities that say what guests of `hypervisor` have here, by feature.

        One for that hypervisor alone goes before one for all.
        """
        told = [
            name.removeprefix("feature.").partition(".") for name in self.capabilities if name.startswith("feature.")
        ]
        found = {feature: f"feature.{feature}" for feature, _, only in told if not only}
        return found | {feature: f"feature.{feature}.{only}" for feature, _, only in told if only == hypervisor}

    def lacking(self, feature: str, hypervisor: str) -> str | None:
        """Why guests of `hypervisor` do not have `feature` here; None where nothing is known against it."""
        name = self.features(hypervisor).get(feature)
        if name is None or self.capabilities[name] is not False:
            return None
        return self.reasons.get(name, "so it was measured")


class Binding(Strict):
    """A cell and the host that will run it, or the one reason why none does.

    `alternatives` are the other hosts that could.
    """

    cell: Cell
    host_id: str | None = None
    reason: str | None = None
    alternatives: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an item was written: file, and the line of each of its fields (`()` is the item itself)."""

    file: str
    lines: Mapping[tuple[str | int, ...], int]

    def line(self, *field: str | int) -> int:
        """The line of `field`, or of the nearest thing around it."""
        while field and field not in self.lines:
            field = field[:-1]
        return self.lines.get(field, 1)


@dataclass(frozen=True, slots=True)
class Matrix:
    """Everything loaded, by id. `labs` are lists of hosts by the name of their file, `lab_hosts` guests that host.

    `origins` is keyed by kind (`guest`, `hypervisor`, `extension`, `profile`, `rule`, `host`, `claim`, `source`) and id.
    """

    guests: Mapping[str, GuestSpec]
    hypervisors: Mapping[str, HypervisorSpec]
    extensions: Mapping[str, ExtensionSpec]
    profiles: Mapping[str, Profile]
    rules: Mapping[str, Rule]
    labs: Mapping[str, tuple[HostSpec, ...]]
    lab_hosts: Mapping[str, LabHostSpec]
    claims: Mapping[str, Claim]
    sources: Mapping[str, Source]
    origins: Mapping[tuple[str, str], Origin]
