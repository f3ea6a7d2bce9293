"""Requirements: what is met, and the one clause that is not."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrix.expand import expand
from matrix.model import Cell, ExtensionSpec
from matrix.requirement import Requirement, capabilities_of, first_unmet, unmet
from tests.unit.matrix.matrix_examples import guest, host, hypervisor, matrix

HAVE = {"agent": True, "balloon": False, "tpm": None, "vcpus": 2, "init": "openrc", "host.cpus": 8}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("agent", None),
        ("balloon", "no balloon"),
        ("vsock", "no vsock"),
        ("tpm", "not known whether there is tpm"),
        ("!tpm", "not known whether there is tpm"),
        ("!balloon", None),
        ("!agent", "has agent"),
        ("!vsock", None),
        ("vcpus>=2", None),
        ("vcpus>=4", "needs vcpus>=4, has 2"),
        ("vcpus < 2", "needs vcpus<2, has 2"),
        ("vcpus==2", None),
        ("vcpus!=2", "needs vcpus!=2, has 2"),
        ("tpm>=2", "needs tpm>=2, value unknown"),
        ("numa>=2", "no numa"),
        ("agent>=1", "needs agent>=1, has True"),
        ("init==openrc", None),
        ("init==systemd", "needs init==systemd, has openrc"),
        ("init!=systemd", None),
        ("balloon|agent", None),
        ("balloon | vsock", "no balloon and no vsock"),
        ("host.cpus>4", None),
    ],
)
def test_says_the_unmet_clause(text: str, reason: str | None) -> None:
    assert unmet(text, HAVE) == reason


@pytest.mark.parametrize(
    "text", ["", " ", "|", "a|", "!", "vcpus>=", "vcpus>=x", "vcpus>=-1", "a b", "!a>=2", "A", "a=2", "a>==2", "$(x)"]
)
def test_what_is_no_requirement_is_said(text: str) -> None:
    with pytest.raises(ValueError, match="is no requirement"):
        Requirement.parse(text)


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused_and_reads_back(text: str) -> None:
    try:
        requirement = Requirement.parse(text)
    except ValueError as error:
        assert "is no requirement" in str(error)  # noqa: PT017 -- either outcome is right
    else:
        assert Requirement.parse(str(requirement)) == requirement


def test_the_first_unmet_of_several() -> None:
    assert first_unmet(["agent", "balloon", "vsock"], HAVE) == "no balloon"
    assert first_unmet(["agent", "vcpus>=1"], HAVE) is None
    assert first_unmet([], HAVE) is None


def cell(**fields: object) -> Cell:
    hv = hypervisor("kvm", "svm", offers=["save", "agent", "uefi"], arches=["x86_64", "aarch64"])
    (made,) = expand(matrix([guest("g", **fields)], [hv]), today=date(2026, 1, 1))
    return made


def test_a_cell_has_what_guest_and_hypervisor_have_together() -> None:
    have = capabilities_of(cell(resources={"vcpus": 4}, package_manager="dpkg"))
    met = [
        "save",
        "agent",
        "x86",
        "linux",
        "systemd",
        "init==systemd",
        "dpkg",
        "vcpus>=4",
        "extension==svm",
        "bios",
        "!uefi",
        "direct",
    ]
    assert first_unmet(met, have) is None
    assert unmet("balloon", have) == "no balloon"


def test_a_guest_without_agent_or_with_other_ways_says_so() -> None:
    have = capabilities_of(cell(agent=False, firmware="uefi", init="busybox", arch="aarch64"))
    assert unmet("agent", have) == "no agent"
    assert unmet("systemd", have) == "no systemd"
    assert unmet("x86", have) == "no x86"
    assert unmet("package_manager==dpkg", have) == "no package_manager"
    assert first_unmet(["uefi", "!bios", "!secure_boot"], have) is None
    assert first_unmet(["uefi", "!bios", "secure_boot"], capabilities_of(cell(firmware="uefi-secure-boot"))) is None
    assert first_unmet(["!shell"], capabilities_of(cell(login={"channel": "none"}))) is None


def test_what_was_measured_on_the_host_counts_more_than_the_data() -> None:
    measured = host("h", feature_save=False, feature_agent=None, cpus=4)
    have = capabilities_of(cell(), measured)
    assert unmet("save", have) == "no save"
    assert unmet("agent", have) == "not known whether there is agent"
    assert unmet("host.cpus>=8", have) == "needs host.cpus>=8, has 4"


def test_the_extension_none_is_a_word_too() -> None:
    bare = cell()
    plain = Cell("g+tcg+none", bare.guest, bare.hypervisor, ExtensionSpec(id="none", name="none"))
    assert unmet("extension==none", capabilities_of(plain)) is None


@pytest.mark.parametrize(
    ("measured", "reason"),
    [
        ({}, None),
        ({"feature_save": False}, "no save"),
        ({"feature_save.kvm": False}, "no save"),
        ({"feature_save.xen-pv": False}, None),
    ],
)
def test_what_a_host_lacks_it_may_lack_for_one_hypervisor_only(measured: dict[str, bool], reason: str | None) -> None:
    assert first_unmet(["save"], capabilities_of(cell(), host("h", **measured))) == reason


@pytest.mark.parametrize(
    ("measured", "why"),
    [
        ({"feature.direct_boot.xen-hvm": False}, "its processor is odd"),
        ({"feature.direct_boot": False}, "so it was measured"),
        ({"feature.direct_boot": False, "feature.direct_boot.xen-hvm": True}, None),
        ({"feature.direct_boot.xen-pv": False}, None),
        ({"feature.direct_boot.xen-hvm": None}, None),
        ({}, None),
    ],
)
def test_a_host_says_what_guests_of_a_hypervisor_do_not_have_there(
    measured: dict[str, bool | None], why: str | None
) -> None:
    reasons = {"feature.direct_boot.xen-hvm": "its processor is odd"}
    found = host("h").model_copy(update={"capabilities": measured, "reasons": reasons})
    assert found.lacking("direct_boot", "xen-hvm") == why
