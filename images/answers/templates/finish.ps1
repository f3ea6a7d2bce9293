# The last thing the installation does: ways in, how the system proves itself, and word that all is well. Never run here.
$ErrorActionPreference = 'Stop'
$here = Split-Path -Parent $MyInvocation.MyCommand.Path

# Drivers and guest agent, where the user's CD-ROM with virtio drivers is there.
foreach ($letter in 'D', 'E', 'F', 'G', 'H', 'I') {
    foreach ($package in 'virtio-win-gt-x64.msi', 'guest-agent\qemu-ga-x86_64.msi') {
        $file = "${letter}:\$package"
        if (Test-Path $file) {
            Start-Process msiexec.exe -Wait -ArgumentList '/i', "`"$file`"", '/qn', '/norestart'
        }
    }
}

# Part of Windows Server 2025; before that it comes from Windows Update, or from wherever the network's policy says.
if (-not (Get-Service sshd -ErrorAction SilentlyContinue)) {
    Add-WindowsCapability -Online -Name 'OpenSSH.Server~~~~0.0.1.0' | Out-Null
}
Stop-Service sshd -ErrorAction SilentlyContinue
$folder = "$env:ProgramData\ssh"
New-Item -ItemType Directory -Force $folder | Out-Null
Remove-Item "$folder\ssh_host_*" -Force -ErrorAction SilentlyContinue
Copy-Item "$here\ssh_host_ed25519_key", "$here\ssh_host_ed25519_key.pub" $folder
Copy-Item "$here\authorized_keys" "$folder\administrators_authorized_keys"
foreach ($name in 'ssh_host_ed25519_key', 'administrators_authorized_keys') {
    # sshd refuses a file that others may read. By their ids: the names are translated.
    icacls "$folder\$name" /inheritance:r /grant '*S-1-5-18:F' '*S-1-5-32-544:F' | Out-Null
    Set-ItemProperty "$folder\$name" IsReadOnly $false
}
Set-Content "$folder\sshd_config" -Encoding ascii -Value @(
    'HostKey __PROGRAMDATA__/ssh/ssh_host_ed25519_key'
    'PasswordAuthentication no'
    'Subsystem sftp sftp-server.exe'
    'Match Group administrators'
    '    AuthorizedKeysFile __PROGRAMDATA__/ssh/administrators_authorized_keys'
)
$shell = "$env:SystemRoot\System32\WindowsPowerShell\v1.0\powershell.exe"
New-Item 'HKLM:\SOFTWARE\OpenSSH' -Force | Out-Null
New-ItemProperty 'HKLM:\SOFTWARE\OpenSSH' -Name DefaultShell -Value $shell -PropertyType String -Force | Out-Null
Set-Service sshd -StartupType Automatic
if (-not (Get-NetFirewallRule -Name 'OpenSSH-Server-In-TCP' -ErrorAction SilentlyContinue)) {
    New-NetFirewallRule -Name 'OpenSSH-Server-In-TCP' -DisplayName 'OpenSSH Server' -Direction Inbound -Protocol TCP `
        -Action Allow -LocalPort 22 | Out-Null
}
Set-NetFirewallRule -Name 'OpenSSH-Server-In-TCP' -Profile Any -Enabled True

# A console on the first serial port, and no logon by itself a second time.
bcdedit /ems '{current}' on | Out-Null
bcdedit /emssettings EMSPORT:1 EMSBAUDRATE:115200 | Out-Null
$logon = 'HKLM:\SOFTWARE\Microsoft\Windows NT\CurrentVersion\Winlogon'
Set-ItemProperty $logon AutoAdminLogon '0'
Remove-ItemProperty $logon DefaultPassword -ErrorAction SilentlyContinue

$port = New-Object System.IO.Ports.SerialPort 'COM2', 115200
$port.Open()
$port.WriteLine((Get-Content "$here\word" -TotalCount 1))
$port.Close()
Stop-Computer -Force
