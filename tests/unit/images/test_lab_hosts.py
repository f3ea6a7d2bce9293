"""What lab-host recipes need of the image builder: edited files, own units, Xen as the loader."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from images import load_catalogue
from images.archive import Member, write_tar
from images.bios_loader import bios_menu
from images.edit import edited_files
from images.faults import ImageFault
from images.model import EditedFile, PlannedBuild, Recipe
from images.tree import boot_arguments, write_units, xen_menu
from matrix.load import load

MAP = "<cpus>\n    <feature name='sep'/>\n    <feature name='sse'/>\n</cpus>\n"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A system with one file at /share/map.xml, mode 0640."""
    path = tmp_path / "root.tar"
    write_tar(path, [Member("/share/map.xml", MAP, 0o640)])
    return path


def edit(path: str, *lines: str) -> EditedFile:
    return EditedFile(paths=(path,), without_lines=lines, reason="a test")


def test_lines_are_taken_out_and_nothing_else_changes(archive: Path) -> None:
    (member,) = edited_files(archive, [edit("/share/map.xml", "<feature name='sep'/>")])
    assert (member.path, member.mode) == ("/share/map.xml", 0o640)
    assert member.content == "<cpus>\n    <feature name='sse'/>\n</cpus>\n"


def test_two_edits_of_one_file_are_both_done(archive: Path) -> None:
    edits = [edit("/share/map.xml", f"<feature name='{name}'/>") for name in ("sep", "sse")]
    (member,) = edited_files(archive, edits)
    assert member.content == "<cpus>\n</cpus>\n"


def test_a_line_that_is_not_there_is_told(archive: Path) -> None:
    with pytest.raises(ImageFault, match=r"/share/map\.xml has no line '<feature name='vme'/>'"):
        edited_files(archive, [edit("/share/map.xml", "<feature name='vme'/>")])


def test_a_file_that_is_not_there_is_told(archive: Path) -> None:
    with pytest.raises(ImageFault, match=r"no file /share/gone\.xml"):
        edited_files(archive, [edit("/share/gone.xml", "x")])


def test_only_units_are_there_before_units_are_enabled(tmp_path: Path) -> None:
    files = [
        {"path": "/etc/systemd/system/mine.service", "content": "[Service]\n", "reason": "a test"},
        {"path": "/etc/motd", "content": "hello\n", "reason": "a test"},
    ]
    write_units(tmp_path / "units.tar", Recipe.model_validate({"id": "x", "files": files}))
    with tarfile.open(tmp_path / "units.tar") as tar:
        assert [member.name for member in tar if member.isfile()] == ["etc/systemd/system/mine.service"]


def test_xen_is_told_its_options_and_the_first_domains_kernel() -> None:
    plan = load_catalogue()["lab-xen"]
    assert isinstance(plan, PlannedBuild)
    assert plan.recipe.xen is not None
    menu = xen_menu(plan.entry, plan.recipe.xen, "vmlinuz", "initrd.img", "1234").splitlines()
    assert menu[:3] == ["[global]", "default=lab-xen", "[lab-xen]"]
    assert menu[3].startswith("options=console=com1 com1=115200,8n1 cpuidle=0 ")
    assert menu[4:] == ["kernel=vmlinuz root=PARTUUID=1234 ro console=hvc0 clocksource=xen", "ramdisk=initrd.img"]


def test_a_bios_starts_xen_with_its_options_and_the_first_domains_kernel() -> None:
    plan = load_catalogue()["lab-xen-intel"]
    assert isinstance(plan, PlannedBuild)
    assert plan.recipe.xen is not None
    menu = bios_menu(plan.id, boot_arguments(plan.entry, "1234"), plan.recipe.xen.options).splitlines()
    assert menu[3:5] == ["LABEL lab-xen-intel", "    KERNEL mboot.c32"]
    xen, kernel, initrd = menu[5].split(" --- ")
    assert xen.startswith("    APPEND xen.gz console=com1 com1=115200,8n1,0x3f8,0 clocksource=acpi ")
    assert kernel.startswith("vmlinuz root=PARTUUID=1234 ro console=hvc0 clocksource=xen ")
    assert initrd == "initrd.img"


@pytest.mark.parametrize("name", ["lab-kvm", "lab-kvm-intel", "lab-xen", "lab-xen-intel"])
def test_everything_done_to_a_lab_host_is_told(name: str) -> None:
    plan = load_catalogue()[name]
    assert isinstance(plan, PlannedBuild)
    told, recipe = "\n".join(plan.adjustments()), plan.recipe
    done = [file.path for file in recipe.files] + [path for drop in recipe.dropped for path in drop.paths]
    done += [line for change in recipe.edited for line in change.without_lines]
    done += [recipe.xen.image, *recipe.xen.options] if recipe.xen else []
    assert [what for what in done if what not in told] == []


def test_every_lab_host_has_its_image_and_says_what_cpu_it_needs() -> None:
    catalogue, hosts = load_catalogue(), load().lab_hosts
    built = {spec.image for spec in hosts.values() if isinstance(catalogue[spec.image], PlannedBuild)}
    assert {"lab-kvm", "lab-kvm-intel", "lab-xen", "lab-xen-intel"} <= built
    for name in ("lab-kvm", "lab-xen"):
        cpu = hosts[name].cpu
        assert cpu is not None
        assert {"svm", "npt"} <= set(cpu.require)
