"""Syslog datagrams: RFC 3164 and RFC 5424 heads before what daemons, kernels, firewalls and switches say."""

from __future__ import annotations

from random import Random

from tests.payloads.words import NOUNS, bsd_time, domain, hex_id, host, ip, iso, pick, port, user, uuid


def sshd(r: Random) -> tuple[str, str]:
    who, where = user(r), f"{ip(r)} port {port(r)}"
    return "sshd", pick(
        r,
        f"Failed password for {pick(r, 'invalid user ', '')}{who} from {where} ssh2",
        f"Accepted publickey for {who} from {where} ssh2: ED25519 SHA256:{hex_id(r, 40)}",
        f"Received disconnect from {where}:11: Bye Bye [preauth]",
        f"pam_unix(sshd:session): session {pick(r, 'opened', 'closed')} for user {who}"
        + pick(r, "", "(uid=1000) by (uid=0)"),
        f"Invalid user {who} from {where}",
        f"Connection closed by {pick(r, 'authenticating', 'invalid')} user {who} {where} [preauth]",
        f"pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost={ip(r)}",
    )


def kernel(r: Random) -> tuple[str, str]:
    mac = ":".join(hex_id(r, 2) for _ in range(14))
    stamp = f"[{r.randrange(10**6)}.{r.randrange(10**6):06}]"
    return "kernel", pick(
        r,
        f"{stamp} [UFW BLOCK] IN=eth0 OUT= MAC={mac} SRC={ip(r)} DST={ip(r)} LEN={r.randrange(40, 1500)} "
        f"TOS=0x00 PREC=0x00 TTL={r.randrange(30, 128)} ID={r.randrange(65536)} DF PROTO=TCP "
        f"SPT={port(r)} DPT={port(r)} WINDOW={r.randrange(65536)} RES=0x00 SYN URGP=0",
        f"{stamp} Out of memory: Killed process {r.randrange(99999)} ({r.choice(NOUNS)}) "
        f"total-vm:{r.randrange(10**7)}kB, anon-rss:{r.randrange(10**6)}kB, file-rss:0kB, shmem-rss:0kB",
        f"{stamp} {pick(r, 'eth0', 'enp3s0', 'wlan0')}: Link is {pick(r, 'Down', 'Up - 1Gbps/Full')}",
        f"{stamp} EXT4-fs (sd{pick(r, 'a', 'b')}{r.randrange(1, 6)}): mounted filesystem with ordered data "
        "mode",
        f"{stamp} usb {r.randrange(1, 4)}-{r.randrange(1, 9)}: new high-speed USB device number "
        f"{r.randrange(99)} using xhci_hcd",
    )


def services(r: Random) -> tuple[str, str]:
    unit = pick(r, "nginx", "cron", "docker", "postgresql", f"{r.choice(NOUNS)}-agent", "logrotate")
    return pick(r, "systemd", "systemd", "CRON", "dhclient", "named", "ntpd"), pick(
        r,
        f"{pick(r, 'Started', 'Stopped', 'Starting')} {unit}.service - {r.choice(NOUNS)} daemon.",
        f"{unit}.service: Main process exited, code=exited, status={r.randrange(1, 128)}/FAILURE",
        f"{unit}.service: Failed with result 'exit-code'.",
        f"({user(r)}) CMD (/usr/local/bin/{r.choice(NOUNS)}.sh > /dev/null 2>&1)",
        f"pam_unix(cron:session): session opened for user {user(r)}(uid=0) by (uid=0)",
        f"DHCPREQUEST for {ip(r)} on eth0 to {ip(r)} port 67",
        f"DHCPACK of {ip(r)} from {ip(r)} (xid=0x{hex_id(r, 8)})",
        f"client @0x{hex_id(r, 12)} {ip(r)}#{port(r)} ({domain(r)}): query: {domain(r)} IN A + ({ip(r)})",
        f"Session {r.randrange(9999)} logged out. Waiting for processes to exit.",
    )


def mail_and_web(r: Random) -> tuple[str, str]:
    return pick(
        r, "postfix/smtpd", "postfix/smtp", "nginx", "haproxy", "dovecot"
    ), pick(
        r,
        f"connect from unknown[{ip(r)}]",
        f"{hex_id(r, 10).upper()}: to=<{user(r)}@{domain(r)}>, relay={domain(r)}[{ip(r)}]:25, "
        f"delay={r.randrange(99)}.{r.randrange(9)}, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as "
        f"{hex_id(r, 10).upper()})",
        f'{ip(r)} - {pick(r, "-", user(r))} [{r.randrange(1, 29):02}/Mar/2026:11:{r.randrange(60):02}:07 '
        f'+0000] "GET /{r.choice(NOUNS)}/{r.choice(NOUNS)}?id={r.randrange(9999)} HTTP/1.1" '
        f'{pick(r, "200", "304", "404", "502")} {r.randrange(99999)} "-" "Mozilla/5.0 (X11; Linux x86_64)"',
        f"imap-login: Login: user=<{user(r)}@{domain(r)}>, method=PLAIN, rip={ip(r)}, lip={ip(r)}, "
        f"mpid={r.randrange(99999)}, TLS, session=<{hex_id(r, 16)}>",
    )


def network(r: Random) -> tuple[str, str]:
    port_name = f"GigabitEthernet{r.randrange(3)}/{r.randrange(48)}"
    return pick(r, "", "%LINK", "filterlog", "app"), pick(
        r,
        f"%LINEPROTO-5-UPDOWN: Line protocol on Interface {port_name}, changed state to "
        + pick(r, "up", "down"),
        f"%SYS-5-CONFIG_I: Configured from console by {user(r)} on vty0 ({ip(r)})",
        f"%ASA-6-302013: Built inbound TCP connection {r.randrange(10**8)} for outside:{ip(r)}/{port(r)} "
        f"({ip(r)}/{port(r)}) to inside:{ip(r)}/443 ({ip(r)}/443)",
        f'level={pick(r, "info", "warn", "error")} msg="{pick(r, "request", "job", "sync")} '
        f'{pick(r, "completed", "failed", "started")}" duration={r.randrange(9999)}ms '
        f"trace_id={hex_id(r, 32)} "
        f"component={r.choice(NOUNS)}",
        f'{{"level":"{pick(r, "info", "warn")}","ts":"{iso(r)}","msg":"user {user(r)} logged in",'
        f'"request_id":"{uuid(r)}","remote_addr":"{ip(r)}"}}',
    )


def message(r: Random) -> bytes:
    tag, text = r.choice((sshd, sshd, kernel, services, services, mail_and_web, network))(r)
    priority, pid = r.randrange(192), r.randrange(100, 60000)
    name = pick(r, host(r), host(r), host(r), f"{host(r)}.{domain(r)}", ip(r))
    if r.random() < 0.6:
        who = f"{tag}: " if tag == "kernel" else f"{tag}[{pid}]: " if tag else ""
        return f"<{priority}>{bsd_time(r)} {name} {who}{text}".encode()
    stamp = iso(r, r.choice((3, 6)), pick(r, "Z", "+01:00", "+00:00"))
    extra = pick(r, "-", "-", f'[meta sequenceId="{r.randrange(99999)}"]', f'[origin ip="{ip(r)}"]')
    return f"<{priority}>1 {stamp} {name} {tag or '-'} {pick(r, str(pid), '-')} - {extra} {text}".encode()
