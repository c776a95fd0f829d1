//! The allow-list, one line each, as a person would say it.

use interlock_model::names::ServiceName;

use crate::config::{Allow, Managers};

/// What the agent's own file permits.
pub(super) fn lines(allow: &Allow) -> Vec<String> {
    let mut lines = Vec::new();
    let operated =
        |(service, _): &(&ServiceName, &Managers)| !allow.contested.contains_key(*service);
    for (service, managers) in allow.services.iter().filter(operated) {
        lines.extend(parts(managers).map(|part| format!("start and stop {service}: {part}")));
    }
    for (service, managers) in &allow.services {
        lines.extend(managers.haproxy.iter().map(|haproxy| {
            format!(
                "drain and admit members of {} in {service}: haproxy at {}",
                haproxy.backends.join(", "),
                haproxy.socket.display()
            )
        }));
        lines.extend(managers.nginx.iter().map(|nginx| {
            format!(
                "drain and admit members of {} in {service}: nginx by {}",
                nginx.upstreams.join(", "),
                nginx.file.display()
            )
        }));
    }
    for (service, managers) in &allow.services {
        let files = managers
            .files
            .iter()
            .filter_map(|name| Some((name, allow.files.get(name)?)));
        lines.extend(files.map(|(name, file)| {
            format!(
                "write the file {name} of {service}: {}",
                file.path.display()
            )
        }));
    }
    if allow.shutdown {
        lines.push("shut this machine down".to_owned());
    }
    if allow.reboot {
        lines.push("restart this machine".to_owned());
    }
    lines.extend(
        allow
            .power
            .iter()
            .map(|agent| format!("run {agent} against other machines")),
    );
    lines.extend(
        allow
            .checks
            .iter()
            .map(|name| format!("run the check command {name}")),
    );
    lines.extend(
        allow
            .marker_paths
            .iter()
            .map(|path| format!("read {} and below", path.display())),
    );
    lines.extend(
        allow
            .marker_writes
            .iter()
            .map(|path| format!("write check files beside {} and below", path.display())),
    );
    lines.extend(
        allow
            .check_sockets
            .iter()
            .map(|path| format!("ask the load balancer at {} for checks", path.display())),
    );
    lines.extend(allow.check_secrets.iter().flat_map(|(secret, targets)| {
        targets
            .iter()
            .map(move |target| format!("log in at {target} with the secret {secret} for checks"))
    }));
    lines.extend(match &allow.probe_targets {
        None => vec!["connect to anywhere for checks".to_owned()],
        Some(targets) => targets
            .iter()
            .map(|target| format!("connect to {target} for checks"))
            .collect(),
    });
    lines
}

/// What may be started and stopped, one each.
fn parts(managers: &Managers) -> impl Iterator<Item = String> {
    // Named one by one: a manager that is added must be told here, or below.
    let Managers {
        systemd,
        process,
        exec,
        ocf,
        address,
        postgres,
        redis,
        mariadb,
        haproxy: _,
        nginx: _,
        files: _,
    } = managers;
    let units = systemd.iter().map(|unit| format!("systemd {unit}"));
    let process = process.iter().map(|name| format!("process {name}"));
    let exec = exec.iter().map(|name| format!("exec {name}"));
    let ocf = ocf.iter().map(|permit| {
        let names: Vec<&str> = permit.parameters.keys().map(String::as_str).collect();
        match names.as_slice() {
            [] => format!("ocf {}", permit.agent),
            names => format!("ocf {} with {}", permit.agent, names.join(", ")),
        }
    });
    let address = address.iter().map(|it| format!("address {it}"));
    let postgres = postgres.iter().map(|name| format!("postgres {name}"));
    let redis = redis.iter().map(|name| format!("redis {name}"));
    let mariadb = mariadb.iter().map(|name| format!("mariadb {name}"));
    units
        .chain(process)
        .chain(exec)
        .chain(ocf)
        .chain(address)
        .chain(postgres)
        .chain(redis)
        .chain(mariadb)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    #[test]
    fn every_permission_of_a_file_has_its_line() {
        let text = r#"
            coordinators = ["https://mgmt1:7443"]
            node = { name = "jb1", state_dir = "/var/lib/interlock-agent" }
            tls = { ca = "/a", cert = "/b", key = "/c" }
            listen = { address = "127.0.0.1:0" }
            [allow]
            shutdown = true
            power = ["fence_virsh"]
            probe_targets = ["10.1.0.0/16"]
            [allow.services]
            web = { systemd = ["wildfly.service"], process = "web", files = ["conf"] }
            app = { ocf = [{ agent = "heartbeat:thing", parameters = { key = ["a"] } }], exec = "app" }
            db = { postgres = ["main"], address = [{ ip = "10.1.0.9", prefix = 24, interface = "eth0" }] }
            queue = { redis = ["cache"] }
            books = { mariadb = ["main"] }
            lb = { haproxy = { socket = "/run/haproxy.sock", backends = ["web", "api"] } }
            front = { nginx = { file = "/etc/nginx/web.conf", upstreams = ["web"] } }
            [process.web]
            command = ["/usr/bin/web"]
            [exec.app]
            start = ["/bin/app", "start"]
            stop = ["/bin/app", "stop"]
            check = ["/bin/app", "check"]
            [file.conf]
            path = "/etc/web.conf"
            [postgres.main]
            data = "/srv/db/main"
            programs = "/usr/lib/postgresql/15/bin"
            unit = "db.service"
            [redis.cache]
            config = "/etc/redis/redis.conf"
            unit = "redis.service"
            [mariadb.main]
            config = "/etc/mysql/mariadb.cnf"
            replication_password = "copy"
            unit = "mariadb.service"
        "#;
        let allow = Config::parse(Path::new("agent.toml"), text).unwrap().allow;
        assert_eq!(
            lines(&allow),
            [
                "start and stop app: exec app",
                "start and stop app: ocf heartbeat:thing with key",
                "start and stop books: mariadb main",
                "start and stop db: address 10.1.0.9/24 on eth0",
                "start and stop db: postgres main",
                "start and stop queue: redis cache",
                "start and stop web: systemd wildfly.service",
                "start and stop web: process web",
                "drain and admit members of web in front: nginx by /etc/nginx/web.conf",
                "drain and admit members of web, api in lb: haproxy at /run/haproxy.sock",
                "write the file conf of web: /etc/web.conf",
                "shut this machine down",
                "run fence_virsh against other machines",
                "connect to 10.1.0.0/16 for checks",
            ]
        );
    }
}
