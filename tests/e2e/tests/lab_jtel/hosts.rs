//! What is installed on the machines of a call centre: real services, and stand-ins where the product is closed.

use std::fmt::Write as _;

use anyhow::Result;
use interlock_e2e::cluster::{enable_unit, install_unit};
use interlock_e2e::{Host, Machine};

const APPLICATION: &str = include_str!("../../stand-ins/jtel_application.py");
const VIRTUAL_ADDRESS: &str = include_str!("../../stand-ins/virtual_address.sh");

/// Who asks databases how they are, and the password.
const WATCHER: &str = "interlock";

/// Samba with the share, and the marker that its consumers read.
pub(crate) fn store(host: &Host) -> Result<()> {
    let config = "[global]\nserver role = standalone server\nmap to guest = bad user\ndisable netbios = yes\n\
                  smb ports = 445\nload printers = no\ndisable spoolss = yes\n\n\
                  [shared]\npath = /srv/jtel/shared\nguest ok = yes\nread only = no\nforce user = root\n";
    host.put_file("/etc/samba/smb.conf", config.as_bytes(), 0o644)?;
    host.put_file("/srv/jtel/shared/.alive", b"jtel\n", 0o644)
}

/// The share of `store`, mounted at `/home/jtel/shared` as soon as it can be.
pub(crate) fn mounted_share(host: &Host, store: &str) -> Result<()> {
    for file in ["smb.conf", "smbnetfs.conf"] {
        host.put_file(&format!("/root/.smb/{file}"), b"", 0o600)?;
    }
    let unit = format!(
        "[Unit]\nDescription=jtel's share\nStartLimitIntervalSec=0\n\n[Service]\nType=forking\n\
         Environment=HOME=/root\nExecStartPre=/bin/mkdir -p /run/jtel-share /home/jtel/shared\n\
         ExecStart=/usr/bin/smbnetfs -o config=/root/.smb/smbnetfs.conf /run/jtel-share\n\
         ExecStartPost=/bin/mount --bind /run/jtel-share/{store}/shared /home/jtel/shared\n\
         ExecStopPost=-/bin/umount --lazy /home/jtel/shared\nExecStopPost=-/bin/umount --lazy /run/jtel-share\n\
         Restart=always\nRestartSec=500ms\n\n[Install]\nWantedBy=multi-user.target\n"
    );
    install_unit(host, "jtel-share.service", &unit)?;
    enable_unit(host, "jtel-share.service")
}

/// HAProxy in front of databases, the first of which takes everything while it is there, and of web servers.
pub(crate) fn load_balancer(
    host: &Host,
    databases: &[(&str, &str)],
    web: &[(&str, &str)],
) -> Result<()> {
    let mut config = String::from(
        "global\n  stats socket /run/haproxy/admin.sock mode 600 level operator\n\n\
         defaults\n  timeout connect 2s\n  timeout client 1m\n  timeout server 1m\n\
         default-server inter 500ms fall 2 rise 1\n\nlisten database\n  mode tcp\n  bind *:3306\n",
    );
    // Writing to a String cannot fail.
    for (at, (name, address)) in databases.iter().enumerate() {
        let backup = if at == 0 { "" } else { " backup" };
        let _ = writeln!(config, "  server {name} {address} check{backup}");
    }
    config.push_str("\nlisten web\n  mode http\n  bind *:80\n  option httpchk GET /health\n");
    for (name, address) in web {
        let _ = writeln!(config, "  server {name} {address} check inter 2s");
    }
    config.push_str("\nlisten admin\n  mode http\n  bind *:7777\n  stats enable\n  stats uri /\n");
    host.put_file("/etc/haproxy/haproxy.cfg", config.as_bytes(), 0o644)
}

/// The stand-in for the cluster manager that moves the address of a pair of load balancers.
pub(crate) fn virtual_address(host: &Host, address: &str) -> Result<()> {
    host.put_file(
        "/usr/local/lib/jtel/virtual-address",
        VIRTUAL_ADDRESS.as_bytes(),
        0o755,
    )?;
    let unit = format!(
        "[Unit]\nDescription=Stand-in for pcs: the virtual address of the load balancers\nBindsTo=haproxy.service\n\
         After=haproxy.service\n\n[Service]\nExecStart=/usr/local/lib/jtel/virtual-address {address} host0\n"
    );
    install_unit(host, "jtel-virtual-address.service", &unit)?;
    let with = "[Unit]\nWants=jtel-virtual-address.service\n";
    host.put_file(
        "/etc/systemd/system/haproxy.service.d/jtel.conf",
        with.as_bytes(),
        0o644,
    )
}

/// What a database is among the others.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Database<'a> {
    /// It takes the writes; its number in the replication.
    Writable(u8),
    /// It replicates from this address, and refuses writes.
    ReadOnly(u8, &'a str),
}

/// The password of who asks databases how they are, for the agent of this machine.
pub(crate) fn watched(host: &Host) -> Result<()> {
    host.put_file("/etc/interlock/secrets/mariadb", WATCHER.as_bytes(), 0o600)
}

/// MariaDB with a small cache.
pub(crate) fn database(host: &Host, what: Database<'_>) -> Result<()> {
    install_database(
        host,
        what,
        "mariadbd",
        "/etc/mysql/jtel.sql",
        "/etc/mysql/mariadb.conf.d/90-jtel.cnf",
        "",
    )
}

/// A second MariaDB on the same machine, the unit `mariadb@dbs.service`, on port 3307.
pub(crate) fn second_database(host: &Host, number: u8, master: &str) -> Result<()> {
    let here = "datadir=/var/lib/mysql-dbs\nsocket=/run/mysqld/dbs.sock\npid-file=/run/mysqld/dbs.pid\nport=3307\n";
    let file = "/etc/mysql/mariadb.conf.d/91-dbs.cnf";
    install_database(
        host,
        Database::ReadOnly(number, master),
        "mariadbd.dbs",
        "/etc/mysql/dbs.sql",
        file,
        here,
    )?;
    // The data directory is made by the package for the first one only, as are the steps behind a start.
    let with = "[Service]\nExecStartPre=\n\
                ExecStartPre=+/usr/bin/install --directory --owner=mysql --group=mysql /var/lib/mysql-dbs\n\
                ExecStartPre=/usr/bin/mariadb-install-db $MYSQLD_MULTI_INSTANCE --rpm\nExecStartPost=\n";
    host.put_file(
        "/etc/systemd/system/mariadb@dbs.service.d/jtel.conf",
        with.as_bytes(),
        0o644,
    )
}

fn install_database(
    host: &Host,
    what: Database<'_>,
    section: &str,
    sql_file: &str,
    file: &str,
    further: &str,
) -> Result<()> {
    let (number, read_only, sql) = match what {
        Database::Writable(number) => (
            number,
            0,
            format!(
                "CREATE DATABASE IF NOT EXISTS jtel;\n\
             CREATE TABLE IF NOT EXISTS jtel.calls (id INT PRIMARY KEY AUTO_INCREMENT, caller VARCHAR(40));\n\
             CREATE USER IF NOT EXISTS 'jtel'@'%' IDENTIFIED BY 'jtel';\n\
             GRANT SELECT, INSERT ON jtel.* TO 'jtel'@'%';\n\
             CREATE USER IF NOT EXISTS 'replica'@'%' IDENTIFIED BY 'replica';\n\
             GRANT REPLICATION SLAVE ON *.* TO 'replica'@'%';\n\
             CREATE USER IF NOT EXISTS '{WATCHER}'@'%' IDENTIFIED BY '{WATCHER}';\n\
             GRANT SLAVE MONITOR ON *.* TO '{WATCHER}'@'%';\n"
            ),
        ),
        Database::ReadOnly(number, master) => (
            number,
            1,
            format!(
                "STOP SLAVE;\nCHANGE MASTER TO MASTER_HOST='{master}', MASTER_USER='replica', \
                 MASTER_PASSWORD='replica', MASTER_CONNECT_RETRY=1, MASTER_USE_GTID=slave_pos;\nSTART SLAVE;\n"
            ),
        ),
    };
    host.put_file(sql_file, sql.as_bytes(), 0o644)?;
    // Ports are looked at without a login, which the server would count as errors of the caller.
    let config = format!(
        "[{section}]\nbind-address=0.0.0.0\nserver-id={number}\nlog-bin=binlog\nread_only={read_only}\n\
         init-file={sql_file}\nskip-name-resolve\nmax_connect_errors=4294967295\ninnodb_buffer_pool_size=16M\n\
         innodb_log_file_size=8M\nperformance_schema=off\n{further}"
    );
    host.put_file(file, config.as_bytes(), 0o644)
}

/// The stand-in for the web servers' application server.
pub(crate) fn web(host: &Host, database: &str, share: &str) -> Result<()> {
    application(
        host,
        "wildfly.service",
        &format!("--http 8080 --database {database} --share {share}"),
    )
}

/// The stand-in for telephony.
pub(crate) fn telephony(host: &Host, database: &str, share: &str) -> Result<()> {
    application(
        host,
        "tel.service",
        &format!("--http 8080 --sip 5060 --reconnect --database {database} --share {share}"),
    )
}

fn application(host: &Host, unit: &str, arguments: &str) -> Result<()> {
    host.put_file("/etc/interlock/secrets/jtel-db", b"jtel", 0o600)?;
    host.put_file(
        "/usr/local/lib/jtel/application",
        APPLICATION.as_bytes(),
        0o755,
    )?;
    let text = format!(
        "[Unit]\nDescription=Stand-in for jtel's application\n\n[Service]\nType=notify\n\
         ExecStart=/usr/bin/python3 -u /usr/local/lib/jtel/application {arguments}\n\n\
         [Install]\nWantedBy=multi-user.target\n"
    );
    install_unit(host, unit, &text)
}
