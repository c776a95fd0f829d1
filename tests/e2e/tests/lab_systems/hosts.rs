//! What is installed on the machines of either system.

use anyhow::{Context as _, Result};
use interlock_e2e::cluster::install_unit;
use interlock_e2e::{Host, Machine as _};

const DEPENDANT: &str = include_str!("../../stand-ins/dependant.py");

/// Where stand-ins are.
const PLACE: &str = "/usr/local/lib/stand-ins";

/// Debian's Redis, for everybody, with these users.
pub(crate) fn redis(host: &Host, users: &[&str]) -> Result<()> {
    let mut settings = String::from("\nbind 0.0.0.0\nprotected-mode no\n");
    for user in users {
        settings += &format!("user {user} on nopass ~* &* +@all\n");
    }
    append(host, "etc/redis/redis.conf", &settings)
}

/// Debian's PostgreSQL with one database, whose owner logs in with a password from everywhere.
pub(crate) fn postgres(host: &Host, database: &str, user: &str, password: &str) -> Result<()> {
    let etc = "/etc/postgresql/15/main";
    host.put_file(
        &format!("{etc}/conf.d/lab.conf"),
        b"listen_addresses = '*'\nfsync = off\n",
        0o644,
    )?;
    // Nobody but the agent starts it.
    host.put_file(&format!("{etc}/start.conf"), b"manual\n", 0o644)?;
    append(
        host,
        &format!("{}/pg_hba.conf", &etc[1..]),
        "host all all 0.0.0.0/0 scram-sha-256\n",
    )?;
    let sql = format!(
        "SELECT 'CREATE ROLE {user} LOGIN PASSWORD ''{password}''' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = \
         '{user}') \\gexec\nSELECT 'CREATE DATABASE {database} OWNER {user}' WHERE NOT EXISTS (SELECT FROM pg_database \
         WHERE datname = '{database}') \\gexec\n"
    );
    host.put_file("/etc/postgresql/lab.sql", sql.as_bytes(), 0o644)?;
    let first = "[Service]\nExecStartPost=/usr/sbin/runuser -u postgres -- psql -Xq -d postgres -f /etc/postgresql/lab.sql\n";
    host.put_file(
        "/etc/systemd/system/postgresql@15-main.service.d/lab.conf",
        first.as_bytes(),
        0o644,
    )
}

/// A unit that runs a stand-in, whose log goes on over its restarts.
pub(crate) fn stand_in(host: &Host, unit: &str, program: &str, arguments: &str) -> Result<()> {
    host.put_file(
        &format!("{PLACE}/dependant.py"),
        DEPENDANT.as_bytes(),
        0o644,
    )?;
    host.put_file(&format!("{PLACE}/{unit}.py"), program.as_bytes(), 0o644)?;
    python(host, unit, &format!("-B {PLACE}/{unit}.py {arguments}"))
}

/// A unit that serves the files of a directory, and stands for a server of which only that is asked.
pub(crate) fn listener(host: &Host, unit: &str, port: u16) -> Result<()> {
    let files = "/srv/stand-in";
    host.put_file(&format!("{files}/api/status"), b"{}\n", 0o644)?;
    let arguments = format!("-m http.server {port} --directory {files}");
    python(host, unit, &arguments)
}

fn python(host: &Host, unit: &str, arguments: &str) -> Result<()> {
    let text = format!(
        "[Unit]\nDescription=Stand-in\n\n[Service]\nExecStart=/usr/bin/python3 -u {arguments}\n"
    );
    install_unit(host, unit, &text)
}

/// A line more of a file of a package, whose place and owner stay.
fn append(host: &Host, file: &str, more: &str) -> Result<()> {
    let path = host.root().join(file);
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    std::fs::write(&path, text + more).with_context(|| format!("cannot write {}", path.display()))
}

/// Since when a unit's process runs, in microseconds of this machine's clock, which is that of all hosts.
pub(crate) fn began(host: &Host, unit: &str) -> Result<u64> {
    let show = [
        "systemctl",
        "show",
        "--value",
        "--property=ExecMainStartTimestampMonotonic",
        unit,
    ];
    let said = host.exec(&show)?;
    said.trim()
        .parse()
        .with_context(|| format!("{unit}: {said}"))
}
