"""Who runs this guest? Signature and name, each with the place it was read from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from suites.cpu.cpuid_program import CpuidReading

# CPUID signature to the word of systemd-detect-virt(1): src/basic/virt.c of systemd.
_NAMES_OF_SIGNATURES: Mapping[str, str] = MappingProxyType(
    {
        "XenVMMXenVMM": "xen",
        "KVMKVMKVM": "kvm",
        "Linux KVM Hv": "kvm",
        "TCGTCGTCGTCG": "qemu",
        "VMwareVMware": "vmware",
        "Microsoft Hv": "microsoft",
        "bhyve bhyve ": "bhyve",
        "QNXQVMBSQG": "qnx",
        "ACRNACRNACRN": "acrn",
        "SRESRESRESRE": "sre",
        "VBoxVBoxVBox": "oracle",
    }
)
# Beginning of a DMI vendor or product to the same words: same source.
_NAMES_OF_DMI: tuple[tuple[str, str], ...] = (
    ("KVM", "kvm"),
    ("OpenStack", "kvm"),
    ("KubeVirt", "kvm"),
    ("Amazon EC2", "amazon"),
    ("QEMU", "qemu"),
    ("VMware", "vmware"),
    ("VMW", "vmware"),
    ("innotek GmbH", "oracle"),
    ("VirtualBox", "oracle"),
    ("Xen", "xen"),
    ("Bochs", "bochs"),
    ("Parallels", "parallels"),
    ("BHYVE", "bhyve"),
    ("Hyper-V", "microsoft"),
    ("Apple Virtualization", "apple"),
    ("Google Compute Engine", "google"),
)


@dataclass(frozen=True, slots=True)
class Identification:
    """A word about the hypervisor and where it came from; `word` is None when nothing tells."""

    word: str | None
    source: str


def identify_signature(cpuid: CpuidReading | None, device_leaf: bytes, hypervisor_type: str) -> tuple[str, ...]:
    """Signatures that the guest sees: from the CPUID program, else from /dev/cpu/0/cpuid, else from Xen's own word.

    `device_leaf` are the 16 bytes of leaf 0x40000000 (eax, ebx, ecx, edx), `hypervisor_type` /sys/hypervisor/type.
    """
    if cpuid is not None and cpuid.signatures:
        return cpuid.signatures
    if len(device_leaf) == 16:
        signature = device_leaf[4:].rstrip(b"\0").decode("ascii", "replace")
        if signature.isprintable() and signature:
            return (signature,)
    return ("XenVMMXenVMM",) if hypervisor_type.strip() == "xen" else ()


def identify_name(
    detect_virt: str, hypervisor_type: str, dmi: Mapping[str, str], signatures: tuple[str, ...]
) -> Identification:
    """The hypervisor's name: the guest's own systemd-detect-virt, else told the way that one tells.

    `dmi` are the texts of /sys/class/dmi/id by path.
    """
    if detect_virt.strip() not in {"", "none"}:
        return Identification(detect_virt.strip(), "systemd-detect-virt")
    if hypervisor_type.strip() == "xen":
        return Identification("xen", "/sys/hypervisor/type")
    by_dmi = next((word for text in dmi.values() for start, word in _NAMES_OF_DMI if text.startswith(start)), None)
    # DMI first only where it knows better than the CPU (VirtualBox and clouds show KVM's signature): as systemd does.
    if by_dmi not in {None, "qemu", "kvm", "xen"}:
        return Identification(by_dmi, "DMI")
    by_cpu = next((_NAMES_OF_SIGNATURES[text] for text in signatures if text in _NAMES_OF_SIGNATURES), None)
    if by_cpu is not None:
        return Identification(by_cpu, "CPUID")
    return Identification(by_dmi, "DMI" if by_dmi else "nothing in the guest")
