"""Answers for Windows Setup (Unattended Windows Setup Reference). Never run here.

The disk is one partition of an MBR, for a BIOS: firmware that boots from a CD-ROM only after a key was pressed would
wait for one.
"""

from __future__ import annotations

from importlib.resources import files

from lxml import etree

from images.answers.given import AnswerFile, Wishes

_UNATTEND = "urn:schemas-microsoft-com:unattend"
_WCM = "http://schemas.microsoft.com/WMIConfig/2002/State"
_COMPONENT = {
    "processorArchitecture": "amd64",
    "publicKeyToken": "31bf3856ad364e35",
    "language": "neutral",
    "versionScope": "nonSxS",
}
_CD_ROMS = "DEFGHI"
_RELEASES = ("2k25", "2k22", "2k19")
"""Folders of the virtio drivers' CD-ROM."""

Value = str | dict[str, "Value"] | list["Value"]
"""A list stands for several elements of one name, which are added to what there is."""


def windows_files(wishes: Wishes, word: str) -> tuple[AnswerFile, ...]:
    """autounattend.xml and what it has PowerShell do at the one logon, in the end writing `word`."""
    script = files("images.answers").joinpath("templates/finish.ps1").read_bytes()
    return (
        AnswerFile("autounattend.xml", _answers(wishes)),
        AnswerFile("guestcert/finish.ps1", script),
        AnswerFile("guestcert/word", f"{word}\n".encode()),
        AnswerFile("guestcert/authorized_keys", f"{wishes.authorized_key} guestcert\n".encode()),
        AnswerFile("guestcert/ssh_host_ed25519_key", wishes.host_private_key.encode()),
        AnswerFile("guestcert/ssh_host_ed25519_key.pub", f"{wishes.host_public_key} guestcert\n".encode()),
    )


def _answers(wishes: Wishes) -> bytes:
    password: Value = {"Value": wishes.password, "PlainText": "true"}
    passes: dict[str, dict[str, Value]] = {
        "windowsPE": {
            "Microsoft-Windows-International-Core-WinPE": {
                "SetupUILanguage": {"UILanguage": "en-US"},
                "InputLocale": "en-US",
                "SystemLocale": "en-US",
                "UILanguage": "en-US",
                "UserLocale": "en-US",
            },
            "Microsoft-Windows-PnpCustomizationsWinPE": {"DriverPaths": {"PathAndCredentials": _driver_paths()}},
            "Microsoft-Windows-Setup": {
                "DiskConfiguration": _whole_disk(),
                "ImageInstall": {"OSImage": _image(wishes.product or "")},
                "UserData": _user_data(wishes.product_key),
            },
        },
        "specialize": {
            "Microsoft-Windows-Shell-Setup": {"ComputerName": _computer_name(wishes.hostname), "TimeZone": "UTC"},
        },
        "oobeSystem": {
            "Microsoft-Windows-International-Core": {
                "InputLocale": "en-US",
                "SystemLocale": "en-US",
                "UILanguage": "en-US",
                "UserLocale": "en-US",
            },
            "Microsoft-Windows-Shell-Setup": {
                "OOBE": {"HideEULAPage": "true", "ProtectYourPC": "3"},
                "UserAccounts": {"AdministratorPassword": password},
                "AutoLogon": {
                    "Enabled": "true",
                    "LogonCount": "1",
                    "Username": "Administrator",
                    "Password": password,
                },
                "FirstLogonCommands": {"SynchronousCommand": [{"Order": "1", "CommandLine": _last_command()}]},
            },
        },
    }
    root = etree.Element(f"{{{_UNATTEND}}}unattend", nsmap={None: _UNATTEND, "wcm": _WCM})  # type: ignore[dict-item]  # None: the default
    for name, components in passes.items():
        settings = etree.SubElement(root, f"{{{_UNATTEND}}}settings", {"pass": name})
        for component, content in components.items():
            element = etree.SubElement(settings, f"{{{_UNATTEND}}}component", {"name": component, **_COMPONENT})
            _fill(element, content)
    return etree.tostring(root, xml_declaration=True, encoding="utf-8", pretty_print=True)


def _driver_paths() -> Value:
    """Wherever the drivers' CD-ROM turns up, for whatever release this is; a path that is not there is passed over."""
    paths = [
        f"{letter}:\\{driver}\\{release}\\amd64"
        for letter in _CD_ROMS
        for driver in ("viostor", "vioscsi", "NetKVM")
        for release in _RELEASES
    ]
    return [{"wcm:keyValue": str(number), "Path": path} for number, path in enumerate(paths, 1)]


def _whole_disk() -> Value:
    create: Value = {"Order": "1", "Type": "Primary", "Extend": "true"}
    modify: Value = {
        "Order": "1",
        "PartitionID": "1",
        "Active": "true",
        "Format": "NTFS",
        "Label": "Windows",
        "Letter": "C",
    }
    return {
        "WillShowUI": "OnError",
        "Disk": [
            {
                "DiskID": "0",
                "WillWipeDisk": "true",
                "CreatePartitions": {"CreatePartition": [create]},
                "ModifyPartitions": {"ModifyPartition": [modify]},
            }
        ],
    }


def _image(product: str) -> Value:
    return {
        "InstallFrom": {"MetaData": [{"Key": "/IMAGE/NAME", "Value": product}]},
        "InstallTo": {"DiskID": "0", "PartitionID": "1"},
        "WillShowUI": "OnError",
    }


def _user_data(product_key: str | None) -> Value:
    key: dict[str, Value] = {"WillShowUI": "OnError"}
    if product_key is not None:
        key = {"Key": product_key, **key}
    return {"AcceptEula": "true", "ProductKey": key}


def _computer_name(hostname: str) -> str:
    """NetBIOS takes 15 characters, and no name of digits alone."""
    return f"g-{hostname.replace('.', '-')}"[:15].rstrip("-")


def _last_command() -> str:
    script = r"%d:\guestcert\finish.ps1"
    run = f"powershell -NoProfile -ExecutionPolicy Bypass -File {script}"
    return f'cmd /c "for %d in ({" ".join(_CD_ROMS)}) do if exist {script} {run}"'


def _fill(parent: etree._Element, value: Value) -> None:
    if isinstance(value, str):
        parent.text = value
    elif isinstance(value, dict):
        for name, below in value.items():
            if name == "wcm:keyValue":
                parent.set(f"{{{_WCM}}}keyValue", str(below))
                continue
            for item in below if isinstance(below, list) else [below]:
                element = etree.SubElement(parent, f"{{{_UNATTEND}}}{name}")
                if isinstance(below, list):
                    element.set(f"{{{_WCM}}}action", "add")
                _fill(element, item)
