//! The agent's own file: the sample, what is refused and how, and the program that checks it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

use interlock_agent::config::{
    Config, Error, Lease, Listener, PostgresHost, Problem, Ready, Reset, Runner, Watchdog,
    WatchdogMode,
};
use interlock_agent::shim::StopSignal;
use interlock_mesh::credentials::Files;
use interlock_mesh::pki::{CertificateAuthority, Existing, IssueRequest};
use interlock_model::action::{Command as Ask, Part, ShutdownBy};
use interlock_model::check::{CheckKind, Compared, HaproxyCheck, Login, MountCheck, RedisCheck};
use interlock_model::file::{FileWork, Piece, Text};
use interlock_model::names::{LocalName, ServiceName};

fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/config/interlock-agent.toml")
}

/// The least that a configuration must have.
const LEAST: &str = r#"
coordinators = ["https://mgmt1:7443"]
[node]
name = "jb1"
state_dir = "/var/lib/interlock-agent"
[tls]
ca = "/etc/interlock/ca.pem"
cert = "/etc/interlock/node.pem"
key = "/etc/interlock/node.key"
[listen]
address = "127.0.0.1:0"
"#;

fn parse(more: &str) -> Result<Config, Error> {
    Config::parse(Path::new("/etc/a.toml"), &format!("{LEAST}{more}"))
}

fn problems(text: &str) -> Vec<Problem> {
    match Config::parse(Path::new("/etc/a.toml"), text) {
        Err(Error::Invalid { problems, .. }) => problems,
        other => panic!("{other:?}"),
    }
}

fn service(name: &str) -> ServiceName {
    name.parse().unwrap()
}

fn local(name: &str) -> LocalName {
    name.parse().unwrap()
}

#[test]
fn the_sample_is_read_and_says_what_its_comments_say() {
    let config = Config::load(&sample()).unwrap();
    let web = &config.processes[&local("web")];
    let ready = Ready::Tcp {
        address: "127.0.0.1:8080".parse().unwrap(),
        listener: Listener::Own,
    };
    assert_eq!(web.ready, ready);
    assert_eq!(web.setting.stop.signal, StopSignal::Term);
    assert_eq!(web.setting.stop.grace, Duration::from_secs(10));
    assert!(!config.execs[&local("license")].idempotent);
    let billing = &config.allow.services[&service("billing")];
    let processes = [local("billing"), local("billing-writer")];
    assert_eq!(billing.process, processes);
    assert_eq!(
        billing.address[0].to_string(),
        "10.1.0.20/24 on eth0",
        "one text is short for a list of one, and a list is a list"
    );
    assert_eq!(
        config.allow.services[&service("web")].process,
        [local("web")]
    );
    let shutdown = config.shutdown.unwrap();
    assert_eq!(shutdown.command, ["/sbin/poweroff"]);
    assert_eq!(shutdown.reboot_command.unwrap(), ["/sbin/reboot"]);
}

#[test]
fn the_defaults_that_the_sample_tells_are_the_defaults() {
    let config =
        parse("[process.web]\ncommand = [\"/bin/web\"]\n[exec.x]\ncheck = [\"/bin/x\"]\n").unwrap();
    assert_eq!(
        config.boot_id_path,
        Path::new("/proc/sys/kernel/random/boot_id")
    );
    assert_eq!(config.secrets.dir, Path::new("/etc/interlock/secrets"));
    let web = &config.processes[&local("web")];
    assert_eq!((web.ready, web.log_cap), (Ready::Started, 10 << 20));
    assert_eq!(web.setting.cwd, Path::new("/"));
    assert_eq!(web.setting.stop.grace, Duration::from_secs(10));
    assert_eq!(
        config.execs[&local("x")].time_limit,
        Duration::from_secs(60)
    );
    assert_eq!(config.allow.fence_dir, [Path::new("/usr/sbin")]);
    assert!(config.allow.fence_options.is_empty());
    let lease = Lease {
        reset: Reset::Off,
        runtime_dir: "/run/interlock/roles".into(),
    };
    assert_eq!(config.lease, lease);
    let watchdog = Watchdog {
        mode: WatchdogMode::Off,
        device: "/dev/watchdog".into(),
        timeout: None,
        sysfs: "/sys/class/watchdog/watchdog0".into(),
        wdctl: "/usr/bin/wdctl".into(),
    };
    assert_eq!(config.watchdog, watchdog);
    let sampled = Config::load(&sample()).unwrap().watchdog;
    let timeout = Some(Duration::from_secs(5));
    assert_eq!(
        sampled,
        Watchdog {
            timeout,
            ..watchdog
        },
        "of the sample"
    );
}

#[test]
fn a_watchdog_has_whole_seconds_and_a_place_where_the_kernel_tells_of_it() {
    let with = |more: &str| {
        let mode = if more.starts_with("mode") {
            ""
        } else {
            "mode = \"required\"\n"
        };
        let text = format!("{LEAST}[watchdog]\n{mode}{more}\n");
        Config::parse(Path::new("/etc/a.toml"), &text)
    };
    let second = with("device = \"/dev/watchdog1\"").unwrap().watchdog;
    assert_eq!(
        second.sysfs,
        Path::new("/sys/class/watchdog/watchdog1"),
        "{second:?}"
    );
    for (more, what) in [
        ("timeout = \"1500ms\"", "1.5s is no time of a watchdog"),
        ("timeout = \"0s\"", "0ns is no time of a watchdog"),
        (
            "device = \"/dev/dog\"",
            "where the kernel tells of '/dev/dog' is not known",
        ),
        ("mode = \"sometimes\"", "unknown variant"),
    ] {
        let refused = with(more).unwrap_err().to_string();
        assert!(refused.contains(what), "{refused}");
    }
}

#[test]
fn an_unknown_key_is_an_error_with_its_line_and_the_keys_that_are_known() {
    let text = format!("{LEAST}[process.web]\ncommand = [\"/bin/web\"]\nstop_garce = \"1s\"\n");
    let [problem] = &problems(&text)[..] else {
        panic!()
    };
    assert_eq!(
        (problem.line, problem.column, problem.key.as_str()),
        (14, 1, "process.web.stop_garce")
    );
    assert!(
        problem.what.contains("stop_garce") && problem.what.contains("stop_grace"),
        "{}",
        problem.what
    );
}

#[test]
fn a_missing_key_is_named_with_the_table_that_it_belongs_to() {
    let text = LEAST.replace("cert = \"/etc/interlock/node.pem\"\n", "");
    let [problem] = &problems(&text)[..] else {
        panic!()
    };
    assert_eq!(
        (problem.key.as_str(), problem.remedy.as_str()),
        ("tls", "add `cert = ...` here")
    );
}

#[test]
fn all_problems_are_told_at_once_in_the_order_of_the_file() {
    let text = LEAST.replace("https://mgmt1:7443", "http://mgmt1:7443")
        + r#"
[allow]
power = ["/usr/sbin/fence_virsh"]
checks = ["nothing"]
marker_paths = ["srv/x"]
[allow.services]
a = {}
b = { process = "nothing" }
c = { systemd = ["nginx"] }
d = { exec = "half" }
[process.web]
command = ["web"]
[process.db]
command = []
ready = { tcp = "127.0.0.1:1", after = "1s" }
[exec.half]
check = ["/bin/true"]
"#;
    let seen: Vec<(usize, String)> = problems(&text)
        .into_iter()
        .map(|one| (one.line, one.key))
        .collect();
    let expected = [
        (2, "coordinators"),
        (14, "allow.power"),
        (15, "allow.checks"),
        (16, "allow.marker_paths"),
        (18, "allow.services.a"),
        (19, "allow.services.b"),
        (20, "allow.services.c"),
        (21, "allow.services.d"),
        (23, "process.web.command"),
        (25, "process.db.command"),
        (26, "process.db.ready"),
    ];
    assert_eq!(seen, expected.map(|(line, key)| (line, key.to_owned())));
}

#[test]
fn what_is_said_of_logs_must_be_files_and_a_share_below_its_mount_point() {
    let text = LEAST.to_owned()
        + r#"
[logs.process]
globs = ["/var/log/x/*.log"]
[logs.none]
globs = []
[log_share]
dir = "/var/log/here"
mount = "/srv/share"
marker = "/srv/share/.alive"
"#;
    let seen: Vec<String> = problems(&text).into_iter().map(|one| one.what).collect();
    let expected = [
        "'process' is what logs of that kind",
        "it has no files",
        "is not below '/srv/share'",
        "is no file below",
    ];
    assert_eq!(seen.len(), expected.len(), "{seen:?}");
    for (seen, expected) in seen.iter().zip(expected) {
        assert!(seen.contains(expected), "{seen}");
    }
    for (glob, remedy) in [
        ("/var/**/x.log", "write the directories out"),
        ("logs/*.log", "begin it with '/'"),
    ] {
        let text = format!("{LEAST}\n[logs.app]\nglobs = [{glob:?}]\n");
        let problem = &problems(&text)[0];
        assert!(problem.what.contains(remedy), "{problem}");
    }
    let config = parse("[logs.app]\nglobs = [\"/var/log/app/*.log\"]\n").unwrap();
    let (name, log) = config.logs.first_key_value().unwrap();
    assert_eq!((name.as_str(), log.service.as_str()), ("app", "app"));
}

#[test]
fn without_an_allow_list_everything_that_acts_is_refused() {
    let allow = parse("").unwrap().allow;
    let parts = vec![Part::Systemd {
        unit: "a.service".into(),
    }];
    let asks = [
        Ask::Start {
            service: service("a"),
            parts: parts.clone(),
        },
        Ask::Stop {
            service: service("a"),
            parts,
        },
        Ask::Shutdown {
            by: ShutdownBy::Agent,
        },
        Ask::Reboot,
    ];
    for ask in asks {
        assert!(allow.permits(&ask).is_err(), "{ask:?}");
    }
    assert!(allow.permits_fence("fence_virsh").is_err());
    assert!(
        allow
            .permits_check(&CheckKind::Exec {
                command: local("x")
            })
            .is_err()
    );
    assert!(
        allow
            .permits_check(&CheckKind::Same {
                what: Compared::Path("/etc/shadow".into())
            })
            .is_err()
    );
    assert!(
        allow
            .permits_check(&CheckKind::Tcp {
                target: "db1:5432".into()
            })
            .is_ok()
    );
    assert!(
        allow
            .permits_check(&CheckKind::Unit {
                unit: "a.service".into()
            })
            .is_ok()
    );
}

#[test]
fn the_line_of_a_refusal_permits_what_was_refused_and_keeps_what_was_permitted() {
    let before = "[process.web]\ncommand = [\"/bin/web\"]\n[allow.services]\n";
    let first = Part::Systemd {
        unit: "smbd.service".into(),
    };
    let second = Part::Process { name: local("web") };
    let name = service("store.a");
    let mut line = String::new();
    for part in [&first, &second] {
        let refusal = parse(&format!("{before}{line}\n"))
            .unwrap()
            .allow
            .permits_part(&name, part)
            .unwrap_err();
        assert_eq!(refusal.table, "allow.services");
        assert!(
            refusal.to_string().contains("/etc/a.toml") && refusal.to_string().contains("store.a")
        );
        line = refusal.line;
    }
    let allow = parse(&format!("{before}{line}\n")).unwrap().allow;
    assert!(
        allow.permits_part(&name, &first).is_ok() && allow.permits_part(&name, &second).is_ok()
    );
    assert!(
        allow.permits_part(&service("other"), &first).is_err(),
        "a unit is permitted for its own service only"
    );
}

#[test]
fn the_same_holds_for_checks_targets_paths_and_fence_agents() {
    let allow = |line: &str| {
        parse(&format!(
            "[exec.x]\ncheck = [\"/bin/x\"]\n[allow]\n{line}\n"
        ))
        .unwrap()
        .allow
    };
    let empty = allow("probe_targets = []");
    let checks = [
        CheckKind::Exec {
            command: local("x"),
        },
        CheckKind::Tcp {
            target: "[fd00::1]:5432".into(),
        },
        CheckKind::Marker {
            path: "/srv/\"odd\"/.alive".into(),
            content: None,
            write: false,
        },
        CheckKind::Same {
            what: Compared::Command(local("x")),
        },
        CheckKind::Websocket {
            url: "wss://lb1/socket.io/".into(),
            server_name: None,
            origin: None,
        },
        CheckKind::Mount(MountCheck {
            path: "/srv/app/".into(),
            source: None,
            fstype: None,
            writable: false,
            marker: Some(".alive".into()),
            content: None,
        }),
        CheckKind::Haproxy(HaproxyCheck {
            socket: "/run/haproxy/admin.sock".into(),
            backends: vec!["web".into()],
        }),
    ];
    for check in checks {
        let refusal = empty.permits_check(&check).unwrap_err();
        assert!(
            allow(&refusal.line).permits_check(&check).is_ok(),
            "{}",
            refusal.line
        );
    }
    let refusal = empty.permits_fence("fence_ipmilan").unwrap_err();
    assert!(allow(&refusal.line).permits_fence("fence_ipmilan").is_ok());
    assert!(
        allow("shutdown = true")
            .permits(&Ask::Shutdown {
                by: ShutdownBy::Agent
            })
            .is_ok()
    );
    assert!(allow("shutdown = true").permits(&Ask::Reboot).is_err());
}

#[test]
fn a_secret_is_put_into_the_files_that_the_file_permits_it_for() {
    // Two files that are alike in all but their names.
    let file = |secrets: &str| {
        let one = format!("path = \"/etc/app\"\n{secrets}\n");
        let services = "[allow.services]\na = { systemd = [\"a.service\"], files = [\"first\", \"second.one\"] }\n";
        let text = format!("[file.first]\n{one}[file.\"second.one\"]\n{one}{services}");
        parse(&text).unwrap().allow
    };
    let ask = Ask::File {
        service: service("a"),
        file: local("second.one"),
        work: FileWork::Write(Text {
            pieces: vec![Piece::Secret(local("db"))],
        }),
    };
    let refusal = file("secrets = [\"other\"]").permits(&ask).unwrap_err();
    assert_eq!(
        (&*refusal.table, &*refusal.line),
        ("file.\"second.one\"", "secrets = [\"other\", \"db\"]")
    );
    assert!(file(&refusal.line).permits(&ask).is_ok());
}

#[test]
fn a_name_that_leads_nowhere_is_told_with_the_table_that_is_to_be_added() {
    let text = LEAST.to_owned()
        + r#"
[allow.services]
a = { systemd = ["a.service"], files = ["conf"] }
b = { postgres = ["main"] }
c = { redis = ["cache"] }
d = { process = ["web", "extra"] }
[process.extra]
command = ["/bin/extra"]
[redis.other]
config = "/etc/redis.conf"
process = "server"
"#;
    let told: Vec<(usize, String, String)> = problems(&text)
        .into_iter()
        .map(|one| (one.line, one.what, one.remedy))
        .collect();
    let expected = [
        (14, "file named conf", "[file.conf] with its `path`"),
        (
            15,
            "PostgreSQL server named main",
            "[postgres.main] with its `data`",
        ),
        (
            16,
            "Redis server named cache",
            "[redis.cache] with its `config`",
        ),
        (17, "process named web", "[process.web] with its `command`"),
        (
            22,
            "process named server",
            "[process.server] with its `command`",
        ),
    ];
    let expected = expected
        .map(|(line, what, remedy)| (line, format!("there is no {what}"), format!("add {remedy}")));
    assert_eq!(told, expected);
}

#[test]
fn what_two_services_would_both_operate_is_refused() {
    let text = LEAST.to_owned()
        + r#"
[allow.services]
a = { systemd = ["db.service"], process = "web" }
b = { systemd = ["queue.service", "db.service"] }
c = { process = ["extra", "web"], exec = "web" }
d = { process = "other" }
[process.web]
command = ["/bin/web"]
[process.other]
command = ["/bin/other"]
[process.extra]
command = ["/bin/extra"]
[exec.web]
start = ["/bin/true"]
stop = ["/bin/true"]
check = ["/bin/true"]
"#;
    let config = Config::parse(Path::new("/etc/a.toml"), &text).unwrap();
    let allow = config.allow.clone();
    let Err(Error::Invalid { problems, .. }) = config.flawless() else {
        panic!("it is not flawless")
    };
    let told = problems.into_iter().map(|one| (one.line, one.what));
    let expected = [
        (15, "systemd db.service is a's already"),
        (16, "process web is a's already"),
    ];
    assert_eq!(
        told.collect::<Vec<_>>(),
        expected.map(|(line, what)| (line, what.to_owned()))
    );

    let asks = |of: &str, part: Part| allow.permits_part(&service(of), &part);
    let process = |name: &str| Part::Process { name: local(name) };
    let refused = asks("c", process("extra")).unwrap_err().to_string();
    assert_eq!(
        refused,
        "this node does not permit to operate service c: process web is a's as well; leave it to one of them under \
         [allow.services] in /etc/a.toml"
    );
    assert!(asks("a", process("web")).is_err());
    assert!(asks("d", process("other")).is_ok(), "the rest is as it was");
}

/// A secret that a spec could have sent anywhere would be everybody's who may write the spec.
#[test]
fn a_secret_is_sent_only_where_the_file_lets_it_go() {
    let check = |target: &str| {
        CheckKind::Redis(RedisCheck {
            target: target.to_owned(),
            login: Login {
                user: None,
                password: Some(local("queue")),
            },
            role: None,
            max_lag: None,
            tls: None,
        })
    };
    let allow = |lines: &str| parse(&format!("[allow]\n{lines}\n")).unwrap().allow;
    let fresh = allow("").permits_check(&check("10.0.0.9:6379"));
    let refusal = fresh.unwrap_err();
    assert_eq!(
        (&*refusal.table, &*refusal.line),
        ("allow.check_secrets", "queue = [\"10.0.0.9:6379\"]")
    );
    let permitted = allow(&format!("[{}]\n{}", refusal.table, refusal.line));
    assert!(permitted.permits_check(&check("10.0.0.9:6379")).is_ok());
    for elsewhere in ["10.0.0.66:6379", "10.0.0.9:6380"] {
        assert!(permitted.permits_check(&check(elsewhere)).is_err());
    }
    // The list of targets holds as well.
    let closed = "probe_targets = []\ncheck_secrets = { queue = [\"10.0.0.0/8\"] }";
    let refusal = allow(closed).permits_check(&check("10.0.0.9:6379"));
    assert!(refusal.unwrap_err().line.contains("probe_targets"));
}

#[test]
fn a_permitted_directory_is_not_left_through_its_parent() {
    let allow = parse("[allow]\nmarker_paths = [\"/srv/app\"]\n")
        .unwrap()
        .allow;
    let marker = |path: &str| {
        allow.permits_check(&CheckKind::Marker {
            path: path.into(),
            content: None,
            write: false,
        })
    };
    assert!(marker("/srv/app/.alive").is_ok());
    assert!(marker("/srv/application/.alive").is_err());
    assert!(marker("/srv/app/../../etc/shadow").is_err());
}

#[test]
fn a_file_that_may_be_read_may_not_be_written_beside_until_that_is_permitted_too() {
    let allow = |lines: &str| parse(&format!("[allow]\n{lines}\n")).unwrap().allow;
    let check = CheckKind::Marker {
        path: "/srv/app/.alive".into(),
        content: None,
        write: true,
    };
    let reading = allow("marker_paths = [\"/srv/app\"]");
    let refusal = reading.permits_check(&check).unwrap_err();
    assert!(refusal.line.contains("marker_writes"), "{}", refusal.line);
    let both = format!("marker_paths = [\"/srv/app\"]\n{}", refusal.line);
    assert!(allow(&both).permits_check(&check).is_ok());
    let alone = allow(&refusal.line).permits_check(&check).unwrap_err();
    assert!(alone.line.contains("marker_paths"), "{}", alone.line);
}

/// The certificate of a node of the cluster `lab`.
fn issue(dir: &Path, node: &str) -> Files {
    let now = SystemTime::now() - Duration::from_secs(3600);
    let life = Duration::from_secs(86_400);
    let authority = CertificateAuthority::init("lab".parse().unwrap(), now, life).unwrap();
    let issued = authority.issue(&IssueRequest {
        identity: format!("interlock://lab/agent/{node}").parse().unwrap(),
        names: Vec::new(),
        not_before: now,
        life,
    });
    let (ca, dir) = (authority.cert_pem(), dir.join(node));
    std::fs::create_dir(&dir).unwrap();
    issued
        .unwrap()
        .save(&dir, "agent", ca, Existing::Keep)
        .unwrap()
}

fn program(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_interlock-agent"))
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn the_program_checks_a_file_and_tells_by_its_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.toml");
    let check = |text: &str| {
        std::fs::write(&file, text).unwrap();
        let output = program(&["config", "check", file.to_str().unwrap()]);
        (
            output.status.code(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    // The sample is good, but for the certificates of the node where it shall be used.
    let sample = std::fs::read_to_string(sample()).unwrap();
    let (code, told) = check(&sample);
    assert_eq!(code, Some(2), "{told}");
    assert!(
        told.starts_with(file.to_str().unwrap()) && told.contains("/etc/interlock/tls/"),
        "{told}"
    );
    let with = |files: &Files| {
        let mut text = sample.clone();
        for (key, path) in [
            ("ca.crt", &files.authority),
            ("agent.crt", &files.certificate),
            ("agent.key", &files.key),
        ] {
            text = text.replace(&format!("/etc/interlock/tls/{key}"), path.to_str().unwrap());
        }
        text
    };
    let (own, other) = (issue(dir.path(), "dbm1"), issue(dir.path(), "dbm2"));
    let (code, told) = check(&with(&own));
    assert_eq!(code, Some(0), "{told}");
    let (code, told) = check(&with(&other));
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("dbm1") && told.contains("dbm2"), "{told}");

    // Written by an editor that takes a file for Latin-1.
    let mut latin = format!("{LEAST}# Z").into_bytes();
    latin.extend(b"\xfcrich\n");
    std::fs::write(&file, latin).unwrap();
    let output = program(&["config", "check", file.to_str().unwrap()]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{told}");
    let place = format!("{}:12:4: ", file.display());
    assert!(
        told.starts_with(&place) && told.contains("0xfc is not UTF-8"),
        "{told}"
    );

    // What an agent starts with, and a person can still correct.
    let shared = "[allow.services]\na = { process = \"x\" }\nb = { process = \"x\" }\n[process.x]\ncommand = [\"/bin/x\"]\n";
    std::fs::write(&file, format!("{LEAST}{shared}")).unwrap();
    let output = program(&["config", "check", file.to_str().unwrap()]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("process x is a's already"), "{told}");

    std::fs::write(&file, LEAST.replace("jb1", "-jb1")).unwrap();
    let output = program(&["config", "check", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        told.starts_with(&format!("{}:4:8: node.name: ", file.display())),
        "{told}"
    );
    assert_eq!(
        program(&["config", "check", "/no/such/file"]).status.code(),
        Some(1)
    );
    assert_eq!(program(&["confg"]).status.code(), Some(64));
    assert_eq!(program(&["--version"]).status.code(), Some(0));
}

#[test]
fn a_postgresql_server_has_its_defaults_and_says_what_runs_it() {
    let config = Config::load(&sample()).unwrap();
    let sampled = &config.postgres[&local("main")];
    let unit = Runner::Unit("postgresql@15-main.service".to_owned());
    assert_eq!(sampled.run, unit);
    let least = "[postgres.main]\ndata = \"/srv/pg\"\nprograms = \"/usr/lib/postgresql/15/bin\"\n";
    let config = parse(&format!("{least}unit = \"pg.service\"\n")).unwrap();
    let server = &config.postgres[&local("main")];
    assert_eq!(
        server.host,
        PostgresHost::Socket("/var/run/postgresql".into())
    );
    assert_eq!((server.port, server.login.as_str()), (5432, "postgres"));
    assert_eq!(server.aside, Path::new("/srv/pg.aside"));
    assert_eq!(server.aside_limit, sampled.aside_limit);
    for (more, what) in [
        ("", "exactly one thing"),
        ("unit = \"pg\"\n", "has no suffix"),
        ("process = \"pg\"\n", "no process named pg"),
        (
            "unit = \"pg.service\"\nhost = \"db1\"\n",
            "neither a directory nor an IP address",
        ),
        (
            "unit = \"pg.service\"\naside = \"x\"\n",
            "not an absolute path",
        ),
    ] {
        let found = problems(&format!("{LEAST}{least}{more}"));
        assert!(
            found.iter().any(|problem| problem.what.contains(what)),
            "{more}: {found:?}"
        );
    }
}

#[test]
fn a_redis_server_has_its_defaults_and_says_what_runs_it() {
    let config = Config::load(&sample()).unwrap();
    let sampled = &config.redis[&local("main")];
    assert_eq!(sampled.login.as_deref(), Some("interlock"));
    assert_eq!(sampled.password, Some(local("redis")));
    let least = "[redis.main]\nconfig = \"/srv/redis.conf\"\n";
    let config = parse(&format!("{least}unit = \"redis.service\"\n")).unwrap();
    let server = &config.redis[&local("main")];
    assert_eq!(server.include, Path::new("/srv/interlock.conf"));
    assert_eq!(
        (server.port, server.host.to_string().as_str()),
        (6379, "127.0.0.1")
    );
    assert_eq!(server.run, Runner::Unit("redis.service".to_owned()));
    assert_eq!(server.aside, config.state_dir.join("aside/main"));
    assert_eq!(server.aside_limit, sampled.aside_limit);
    for (wrong, said) in [
        (least.to_owned(), "exactly one thing"),
        (
            format!("{least}process = \"redis\"\n"),
            "no process named redis",
        ),
        (
            "[allow.services]\ncache = { redis = [\"other\"] }\n".to_owned(),
            "no Redis server named other",
        ),
    ] {
        let problems = problems(&format!("{LEAST}{wrong}"));
        assert!(
            problems.iter().any(|problem| problem.what.contains(said)),
            "{problems:?}"
        );
    }
}

#[test]
fn a_mariadb_server_has_its_defaults_and_says_what_runs_it() {
    let config = Config::load(&sample()).unwrap();
    let sampled = &config.mariadb[&local("main")];
    assert_eq!(sampled.login, "interlock");
    assert_eq!(sampled.password, Some(local("mariadb")));
    let least = "[mariadb.main]\nconfig = \"/srv/my.cnf\"\nreplication_password = \"copy\"\n";
    let config = parse(&format!("{least}unit = \"mariadb.service\"\n")).unwrap();
    let server = &config.mariadb[&local("main")];
    let include = Path::new("/srv/mariadb.conf.d/zz-interlock.cnf");
    assert_eq!(server.include, include);
    assert_eq!(
        (server.program.as_path(), server.socket.as_path()),
        (sampled.program.as_path(), sampled.socket.as_path())
    );
    assert_eq!((server.login.as_str(), &server.password), ("root", &None));
    assert_eq!(server.run, Runner::Unit("mariadb.service".to_owned()));
    for (wrong, said) in [
        (least.to_owned(), "exactly one thing"),
        (
            "[allow.services]\nbooks = { mariadb = [\"other\"] }\n".to_owned(),
            "no MariaDB server named other",
        ),
        (
            "[mariadb.main]\nconfig = \"/srv/my.cnf\"\n".to_owned(),
            "replication_password",
        ),
    ] {
        let problems = problems(&format!("{LEAST}{wrong}"));
        assert!(
            problems.iter().any(|problem| problem.what.contains(said)),
            "{problems:?}"
        );
    }
}
