"""What installers are told: read back by each format's own reader where there is one, and with hostile wishes."""

from __future__ import annotations

import dataclasses
import re
import subprocess
from pathlib import Path
from typing import get_args

import pytest
import yaml
from lxml import etree
from pykickstart.parser import KickstartParser
from pykickstart.version import makeVersion

from images import ImageFault
from images.answers import WORD, AnswerFile, Answers, Wishes, answers_for
from images.answers.writing import Installer
from images.keys import IdentityKeys

HOSTILE = (
    "a\nrootpw --plaintext hi",
    'a"; reboot; "',
    "a'$(reboot)'",
    "a`reboot`",
    "a${IFS}b",
    "a\\nb",
    "a # b",
    "a;b",
    "</profile><!--",
    "a&b",
    "{{ 7 * 7 }}",
    "a\x00b",
    "a\x1b[2J",
    "a\u2028b",
)
PROFILE = "{http://www.suse.com/1.0/yast2ns}"
UNATTEND = "{urn:schemas-microsoft-com:unattend}"


@pytest.fixture
def wishes(tmp_path: Path) -> Wishes:
    """An ordinary installation, with real keys."""
    keys = IdentityKeys(tmp_path / "keys of a test")
    return Wishes(
        hostname="acme-9",
        authorized_key=keys.client.public,
        host_private_key=keys.host.private_text(),
        host_public_key=keys.host.public,
        disk="/dev/vda",
        packages=("openssh-server", "qemu-guest-agent"),
        kernel_arguments=("net.ifnames=0",),
    )


def content(answers: Answers, path: str) -> str:
    files = (*answers.in_initrd, *(answers.volume.files if answers.volume else ()))
    (found,) = [file.content for file in files if file.path == path]
    return found.decode()


def preseeded(text: str) -> dict[str, str]:
    """debconf-set-selections' lines: owner, question, type, value."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    words = [line.split(" ", 3) for line in lines]
    assert all(len(each) >= 3 for each in words), lines
    return {each[1]: each[3] if len(each) == 4 else "" for each in words}


def kickstart(text: str, version: str = "RHEL9") -> KickstartParser:
    parser = KickstartParser(makeVersion(version))
    parser.readKickstartFromString(text)
    return parser


# Preseed


def test_debians_installer_is_told_everything_it_would_ask(wishes: Wishes) -> None:
    answers = answers_for("preseed", wishes)
    told = preseeded(content(answers, "preseed.cfg"))
    assert told["netcfg/hostname"] == "acme-9"
    assert told["passwd/root-password-crypted"] == "*"
    assert told["passwd/make-user"] == "false"
    assert told["pkgsel/include"] == "openssh-server qemu-guest-agent"
    assert told["partman-auto/disk"] == told["grub-installer/bootdev"] == "/dev/vda"
    assert told["debian-installer/add-kernel-opts"].split()[-1] == "net.ifnames=0"
    assert told["debian-installer/exit/poweroff"] == "true"
    assert told["preseed/late_command"] == "sh /guestcert/finish"
    assert "auto=true" in answers.arguments
    assert "console=ttyS0,115200" in answers.arguments


def test_debians_installer_chooses_its_mirror_itself_unless_told(wishes: Wishes) -> None:
    own = preseeded(content(answers_for("preseed", wishes), "preseed.cfg"))
    assert not any(question.startswith("mirror/") for question in own if question != "mirror/http/proxy")
    assert own["mirror/http/proxy"] == ""
    elsewhere = dataclasses.replace(wishes, mirror="https://mirror.example:8443/debian/", proxy="http://10.0.2.2:3128")
    told = preseeded(content(answers_for("preseed", elsewhere), "preseed.cfg"))
    assert told["mirror/country"] == "manual"
    assert told["mirror/protocol"] == "https"
    assert told["mirror/https/hostname"] == "mirror.example:8443"
    assert told["mirror/https/directory"] == "/debian"
    assert told["mirror/http/proxy"] == "http://10.0.2.2:3128"


def test_a_mirror_that_no_network_leads_to_is_refused(wishes: Wishes) -> None:
    with pytest.raises(ImageFault, match="has no way to file:///srv/debian"):
        answers_for("preseed", dataclasses.replace(wishes, mirror="file:///srv/debian"))


def test_a_question_that_waits_is_known_by_the_end_of_the_console(wishes: Wishes) -> None:
    question = answers_for("preseed", wishes).question
    assert question is not None
    assert re.search(question, "Prompt: '?' for help, default=1>")
    assert re.search(question, "[Press enter to continue]")
    assert not re.search(question, "Installing the base system ... 10%")


# The last command, which all Linux installers share


def test_the_last_command_puts_keys_in_and_says_so(wishes: Wishes, tmp_path: Path) -> None:
    """Run for real, with a folder in place of /target and a file in place of the serial port."""
    target = tmp_path / "target"
    (target / "etc/ssh").mkdir(parents=True)
    (target / "etc/ssh/ssh_host_rsa_key").write_text("nobody pinned it")
    script = content(answers_for("preseed", wishes), "guestcert/finish")
    script = script.replace("target='/target'", f"target='{target}'").replace("/dev/ttyS1", str(tmp_path / "port"))
    subprocess.run(["sh", "-c", script], check=True)
    assert (tmp_path / "port").read_text() == f"{WORD}\n"
    assert (target / "root/.ssh/authorized_keys").read_text() == f"{wishes.authorized_key} guestcert\n"
    key = target / "etc/ssh/ssh_host_ed25519_key"
    assert key.read_text() == wishes.host_private_key
    assert {path.stat().st_mode & 0o077 for path in (key, target / "root/.ssh", key)} == {0}
    assert not (target / "etc/ssh/ssh_host_rsa_key").exists()
    derived = subprocess.run(["ssh-keygen", "-y", "-f", key], check=True, capture_output=True, text=True).stdout
    assert derived.split()[:2] == wishes.host_public_key.split()[:2]


def test_the_last_command_says_nothing_when_it_fails(wishes: Wishes, tmp_path: Path) -> None:
    script = content(answers_for("preseed", wishes), "guestcert/finish")
    script = script.replace("target='/target'", "target='/proc/nowhere'").replace("/dev/ttyS1", str(tmp_path / "port"))
    assert subprocess.run(["sh", "-c", script], capture_output=True, check=False).returncode != 0
    assert not (tmp_path / "port").exists()


# Kickstart


@pytest.mark.parametrize("version", ["RHEL8", "RHEL9", "RHEL10", "F43"])
def test_anaconda_reads_its_answers(wishes: Wishes, version: str) -> None:
    read = kickstart(content(answers_for("kickstart", wishes), "guestcert.ks"), version)
    handler = read.handler
    assert handler.rootpw.lock
    assert handler.network.network[0].hostname == "acme-9"
    assert handler.network.network[0].bootProto == "dhcp"
    assert handler.clearpart.drives == handler.ignoredisk.onlyuse == ["vda"]
    assert handler.bootloader.appendLine == "console=tty0 console=ttyS0,115200 net.ifnames=0"
    assert handler.packages.packageList == ["openssh-server", "qemu-guest-agent"]
    (post,) = handler.scripts
    assert post.errorOnFail
    assert post.inChroot
    assert wishes.host_private_key in post.script
    assert post.script.rstrip().endswith(f"echo '{WORD}' >/dev/ttyS1")


def test_anaconda_is_told_where_the_rest_of_it_is(wishes: Wishes) -> None:
    assert "inst.repo=cdrom" in answers_for("kickstart", wishes).arguments
    elsewhere = dataclasses.replace(wishes, repository="https://mirror.example/9/os/")
    assert "inst.repo=https://mirror.example/9/os/" in answers_for("kickstart", elsewhere).arguments


# Autoinstall


def test_subiquity_reads_its_answers(wishes: Wishes) -> None:
    answers = answers_for("autoinstall", dataclasses.replace(wishes, mirror="http://mirror.example/ubuntu"))
    assert answers.volume is not None
    assert answers.volume.label == "CIDATA"
    assert "autoinstall" in answers.arguments
    text = content(answers, "user-data")
    assert text.startswith("#cloud-config\n")
    told = yaml.safe_load(text)["autoinstall"]
    assert told["version"] == 1
    assert told["shutdown"] == "poweroff"
    assert told["storage"] == {"layout": {"name": "direct", "match": {"path": "/dev/vda"}}}
    assert told["packages"] == ["openssh-server", "qemu-guest-agent"]
    assert told["apt"]["mirror-selection"] == {"primary": [{"uri": "http://mirror.example/ubuntu"}]}
    assert told["late-commands"][-1][:2] == ["sh", "-c"]
    assert wishes.host_private_key in told["late-commands"][-1][2]
    assert "identity" not in told, "no user with a password"


# AutoYaST


def test_yast_reads_its_answers(wishes: Wishes) -> None:
    answers = answers_for("autoyast", dataclasses.replace(wishes, product="SLES"))
    assert "autoyast=file:///autoinst.xml" in answers.arguments
    assert "install=cd:/" in answers.arguments
    root = etree.fromstring(content(answers, "autoinst.xml").encode())
    assert root.tag == f"{PROFILE}profile"

    def text(path: str) -> str | None:
        return root.findtext("/".join(f"{PROFILE}{name}" for name in path.split("/")))

    assert text("general/mode/confirm") == "false"
    assert text("general/mode/halt") == "true"
    assert text("networking/dns/hostname") == "acme-9"
    assert text("partitioning/drive/device") == "/dev/vda"
    assert text("software/products/product") == "SLES"
    assert text("users/user/user_password") == "!"
    assert wishes.host_private_key in (text("scripts/chroot-scripts/script/source") or "")
    packages = root.findall(f"{PROFILE}software/{PROFILE}packages/{PROFILE}package")
    assert [package.text for package in packages] == ["openssh-server", "qemu-guest-agent"]
    assert root.findall(f".//{PROFILE}user_password")[0].getprevious() is not None
    types = {element.get("{http://www.suse.com/1.0/configns}type") for element in root.iter()}
    assert types == {None, "boolean", "integer", "list", "symbol"}


# Windows


def windows(wishes: Wishes) -> tuple[Answers, etree._Element]:
    answers = answers_for("autounattend", dataclasses.replace(wishes, product="Windows Server 2025 SERVERSTANDARD"))
    return answers, etree.fromstring(content(answers, "autounattend.xml").encode())


def test_windows_setup_reads_its_answers(wishes: Wishes) -> None:
    answers, root = windows(wishes)
    assert answers.reboots
    assert answers.arguments == ()
    assert [settings.get("pass") for settings in root] == ["windowsPE", "specialize", "oobeSystem"]
    components = [component for settings in root for component in settings]
    assert all(component.get("publicKeyToken") == "31bf3856ad364e35" for component in components)
    values = [element.text for element in root.iter(f"{UNATTEND}Value")]
    assert values == ["Windows Server 2025 SERVERSTANDARD", wishes.password, wishes.password]
    assert root.findtext(f".//{UNATTEND}ComputerName") == "g-acme-9"
    keyed = root.findall(f".//{UNATTEND}PathAndCredentials")
    numbers = [each.get("{http://schemas.microsoft.com/WMIConfig/2002/State}keyValue") for each in keyed]
    assert len(numbers) == len(set(numbers)) > 0
    assert root.findtext(f".//{UNATTEND}LogonCount") == "1"
    assert root.find(f".//{UNATTEND}Key[.='/IMAGE/NAME']") is not None


def test_windows_gets_its_files_beside_the_answers(wishes: Wishes) -> None:
    answers, root = windows(wishes)
    assert content(answers, "guestcert/word") == f"{WORD}\n"
    assert content(answers, "guestcert/ssh_host_ed25519_key") == wishes.host_private_key
    command = root.findtext(f".//{UNATTEND}CommandLine") or ""
    assert r"%d:\guestcert\finish.ps1" in command
    script = content(answers, "guestcert/finish.ps1")
    for name in ("authorized_keys", "ssh_host_ed25519_key", "word"):
        assert rf"$here\{name}" in script
    assert script.rstrip().endswith("Stop-Computer -Force")


def test_a_windows_computer_has_a_name_that_netbios_takes(wishes: Wishes) -> None:
    _, root = windows(dataclasses.replace(wishes, hostname="windows-server-2025-installed"))
    name = root.findtext(f".//{UNATTEND}ComputerName") or ""
    assert re.fullmatch(r"[a-z][a-z0-9-]{0,13}[a-z0-9]", name)


# All of them


@pytest.mark.parametrize("installer", get_args(Installer))
@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_hostile_wish_is_a_value_or_is_refused(wishes: Wishes, installer: Installer, hostile: str) -> None:
    """It never becomes a directive of its own: the answers have the structure that they have without it."""
    for field in ("hostname", "product", "disk", "mirror", "repository"):
        told = f"http://mirror.example/{hostile}" if field in {"mirror", "repository"} else hostile
        try:
            answers = answers_for(installer, dataclasses.replace(wishes, **{field: told}))
        except (ImageFault, ValueError):  # lxml has no words for some characters at all
            continue
        plain = answers_for(installer, dataclasses.replace(wishes, **{field: "http://mirror.example/plain"}))
        assert structure(answers) == structure(plain), field
        assert not any(re.search(r"[\s\"'`$;]", argument) for argument in answers.arguments), field


def structure(answers: Answers) -> list[object]:
    """What the answers are made of without their values."""
    files = (*answers.in_initrd, *(answers.volume.files if answers.volume else ()))
    return [skeleton(file) for file in files]


def skeleton(file: AnswerFile) -> object:
    text = file.content.decode()
    if file.path.endswith(".xml"):
        return [element.tag for element in etree.fromstring(file.content).iter()]
    if file.path == "preseed.cfg":
        return [line.split(" ")[1:3] for line in text.splitlines() if line and not line.startswith("#")]
    if file.path == "user-data":
        told = yaml.safe_load(text)["autoinstall"]
        return [sorted(told), [command[:2] for command in told["late-commands"]]]
    return len(text.splitlines())


@pytest.mark.parametrize("installer", get_args(Installer))
def test_the_answers_digest_knows_every_wish(wishes: Wishes, installer: Installer) -> None:
    wishes = dataclasses.replace(wishes, product="one")
    digest = answers_for(installer, wishes).digest()
    assert answers_for(installer, wishes).digest() == digest
    other = dataclasses.replace(wishes, hostname="acme-10")
    assert answers_for(installer, other).digest() != digest
    another_key = dataclasses.replace(wishes, authorized_key="ssh-ed25519 AAAA")
    assert answers_for(installer, another_key).digest() != digest
