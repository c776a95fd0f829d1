//! Where a secret can be met (invariant I12): one of each kind is given to a cluster, used by an operation, and looked for in
//! everything that the cluster writes, says and runs.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use interlock_e2e::local::keeper::descendants;
use interlock_e2e::local::{Cluster, FENCE, Layout, Machine, for_all, for_services};
use interlock_e2e::{eventually, skip};
use interlock_mesh::identity::Role;
use interlock_proto::v1;
use rustix::process::Pid;

/// The secrets, by their names: of a power device, of a check that logs in, of a resource, of the text of a file.
const SECRETS: [(&str, &str); 4] = [
    ("rack", "rack-Tr0ub4dor"),
    ("queue", "queue-c0rrecthorse"),
    ("resource", "resource-battery5taple"),
    ("app", "app-xkcd-936-zebra"),
];

const SPEC: &str = r#"
cluster: local
control: { coordinators: [mgmt], heartbeat: 200ms, late: 1s, lost: 3s }
power:
  rack: { fence: FENCE, via: [store1], options: { machines: "DIR/nodes", password: { secret: rack } } }
nodes:
  store1: { address: NET.11 }
  web1: { address: NET.31, power: { by: rack, plug: web1 } }
services:
  queue:
    external: true
    checks:
      works: { redis: { address: "NET.11:6379", password: { secret: queue }, role: master }, from: [store1], every: 300ms, timeout: 300ms, fresh: 10s }
  store:
    nodes: [store1]
    manager: { ocf: { agent: test:keeps, every: 1s, parameters: { state: DIR/fence/store, passwd: { secret: resource } } } }
    requires: [queue]
  web:
    nodes: [web1]
    manager: { process: { name: web } }
    requires: [store]
    files: { config: { values: { level: debug } } }
"#;

/// The server's program under the name that it has in Debian's package of tools: it looks at its own name.
const REDIS: &str = "/usr/bin/redis-check-rdb";

/// What the fence agent of this test does: keep what it was given, and be the other one.
const KEEPS: &str = "#!/bin/sh\nprintf '%s\\n' \"$@\" >> \"$0.argv\"\ncat > \"$0.$$\"\ncat \"$0.$$\" >> \"$0.input\"\nexec \"$0.real\" \"$@\" < \"$0.$$\"\n";

/// A resource agent that keeps what it was given, in a file that nobody else reads.
const RESOURCE: &str = r#"#!/bin/sh
case "$1" in
meta-data)
    cat <<END
<resource-agent name="keeps" version="1.1"><shortdesc>Keeps a password</shortdesc><parameters>
<parameter name="state" required="1"><content type="string"/></parameter>
<parameter name="passwd"><content type="string"/></parameter>
</parameters><actions><action name="start" timeout="30s"/><action name="stop" timeout="30s"/>
<action name="monitor" timeout="30s" interval="1s"/><action name="validate-all" timeout="30s"/>
<action name="meta-data" timeout="5s"/></actions></resource-agent>
END
    ;;
start) umask 077; printf '%s' "$OCF_RESKEY_passwd" > "$OCF_RESKEY_state" ;;
stop) rm -f "$OCF_RESKEY_state" ;;
monitor) [ -e "$OCF_RESKEY_state" ] || exit 7 ;;
validate-all) ;;
*) exit 3 ;;
esac
"#;

/// A process of the test's own; killed when dropped.
struct Own(Child);

impl Drop for Own {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn write(path: &Path, text: &str, mode: u32) -> Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    fs::write(path, text)?;
    Ok(fs::set_permissions(path, Permissions::from_mode(mode))?)
}

fn prepare() -> Result<Option<Cluster>> {
    if !Path::new(REDIS).exists() {
        let why = format!("{REDIS} is missing; `cargo xtask test` installs redis-tools");
        skip("where a secret can be met", &why);
        return Ok(None);
    }
    let secrets = "[secrets]\ndir = \"DIR/secrets\"\n";
    let resource = "{ agent = \"test:keeps\", parameters = { state = true, passwd = { secret = \"resource\" } } }";
    let file = "[file.config]\npath = \"DIR/web.config\"\nsecrets = [\"app\"]\n";
    let spec = SPEC.replace("FENCE", FENCE);
    let cluster = Cluster::prepare(&Layout {
        spec: &spec,
        machines: vec![
            Machine::new("store1", 11)
                .ocf("store", resource)
                .switches()
                .allow("check_secrets = { queue = [\"NET.11:6379\"] }")
                .sections(secrets),
            Machine::new("web1", 31)
                .process("web")
                .file("web", "config")
                .switched()
                .sections(&format!("{secrets}{file}")),
        ],
    })?;
    for (name, secret) in SECRETS {
        write(
            &cluster.path("secrets").join(name),
            &format!("{secret}\n"),
            0o600,
        )?;
    }
    write(&cluster.path("web.config"), "{}\n", 0o600)?;
    write(&cluster.path("ocf.d/test/keeps"), RESOURCE, 0o755)?;
    let fence = cluster.path("fence").join(FENCE);
    fs::rename(&fence, fence.with_extension("real"))?;
    write(&fence, KEEPS, 0o755)?;
    Ok(Some(cluster))
}

fn redis(cluster: &Cluster) -> Result<Own> {
    let program = cluster.path("redis/redis-server");
    fs::create_dir_all(cluster.path("redis"))?;
    std::os::unix::fs::symlink(REDIS, &program)?;
    let config = cluster.path("redis/redis.conf");
    write(&config, &format!("requirepass {}\n", SECRETS[1].1), 0o600)?;
    let server = Command::new(program)
        .arg(&config)
        .args([
            "--bind",
            &cluster.address(11),
            "--port",
            "6379",
            "--save",
            "",
            "--dir",
        ])
        .arg(cluster.path("redis"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()?;
    Ok(Own(server))
}

/// The command lines of everything below this process, gathered until it is over.
fn watched(over: &AtomicBool) -> BTreeSet<String> {
    let me = rustix::process::getpid();
    let mut seen = BTreeSet::new();
    while !over.load(Ordering::Relaxed) {
        for pid in descendants(me) {
            let line = fs::read(format!("/proc/{}/cmdline", Pid::as_raw_nonzero(pid)));
            seen.insert(String::from_utf8_lossy(&line.unwrap_or_default()).replace('\0', " "));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    seen
}

/// Every file below a directory.
fn files(below: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(below)? {
        let path = entry?.path();
        match path.is_dir() {
            true => files(&path, found)?,
            false if path.is_file() => found.push(path),
            false => {}
        }
    }
    Ok(())
}

/// What of the secrets is in there, none of which may be: the four, and the heart of every private key.
fn leaks(bytes: &[u8], secrets: &[String]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    secrets
        .iter()
        .filter(|secret| text.contains(secret.as_str()))
        .cloned()
        .collect()
}

#[test]
fn no_secret_is_met_but_where_it_lies_and_where_it_has_to_go() -> Result<()> {
    let Some(mut cluster) = prepare()? else {
        return Ok(());
    };
    let _redis = redis(&cluster)?;
    cluster.start_coordinator()?;
    cluster.join()?;
    let operator = cluster.admin()?;
    operator.until_service("queue", "ok", &[])?;
    let over = AtomicBool::new(false);
    let ctl = |words: &[&str]| -> Result<Vec<u8>> {
        let said = cluster.ctl("ann", Role::Admin, words)?;
        ensure!(said.status.success(), "{words:?}: {said:?}");
        Ok([said.stdout, said.stderr].concat())
    };
    let bundle = cluster.path("bundle.tar.zst").display().to_string();
    let (lines, said) = std::thread::scope(|scope| -> Result<_> {
        let watching = scope.spawn(|| watched(&over));
        let using = || -> Result<Vec<(String, Vec<u8>)>> {
            // The first three.
            ctl(&["power", "verify"])?;
            for kind in ["startup", "shutdown", "startup"] {
                let begin = || operator.begin(&for_all(kind), false);
                let operation = eventually("a plan", Duration::from_secs(20), begin)?;
                operator.until(&operation, "done")?;
            }
            // And the fourth.
            let change = v1::MakePlanRequest {
                change: Some(v1::FileChange {
                    file: String::new(),
                    template: "{ \"level\": \"{{ values.level }}\", \"password\": \"{{ secret(\"app\") }}\" }\n".to_owned(),
                    even_if_unchanged: false,
                }),
                ..for_services("restart", &["web"])
            };
            let plan = operator.plan(&change)?;
            ensure!(!plan.digest.is_empty(), "{}", plan.report_json);
            let started = operator
                .start(&plan.digest, false)?
                .summary
                .context("no summary")?;
            operator.until(&started.operation, "done")?;
            let mut said = vec![("the plan".to_owned(), format!("{plan:?}").into_bytes())];
            let bundled = ["support", "bundle", "--out", bundle.as_str()];
            for words in [
                &["status", "-o", "json"][..],
                &["spec", "show"],
                &["events", "-o", "json", "--tail", "500"],
                &["operation", "show", &started.operation, "-o", "json"],
                &["operation", "journal", &started.operation, "-o", "json"],
                &bundled,
            ] {
                said.push((words.join(" "), ctl(words)?));
            }
            for node in ["store1", "web1"] {
                let attempts = cluster.at_agent(node)?.attempts()?;
                said.push((
                    format!("the ledger of {node}"),
                    format!("{attempts:?}").into_bytes(),
                ));
            }
            let mut all = Vec::new();
            zstd::Decoder::new(fs::File::open(&bundle)?)?.read_to_end(&mut all)?;
            said.push(("the bundle".to_owned(), all));
            Ok(said)
        };
        let said = using();
        over.store(true, Ordering::Relaxed);
        let lines = watching
            .join()
            .map_err(|_| anyhow::anyhow!("the watch panicked"))?;
        Ok((lines, said?))
    })?;

    // Each was used: this would find them.
    let given = fs::read_to_string(cluster.path("fence").join(format!("{FENCE}.input")))?;
    ensure!(
        given.contains(SECRETS[0].1),
        "the power device was given no password"
    );
    let given = fs::read_to_string(cluster.path("fence/store"))?;
    ensure!(given == SECRETS[2].1, "the resource was given {given:?}");
    let config = fs::read_to_string(cluster.path("web.config"))?;
    ensure!(
        config.contains(SECRETS[3].1) && config.contains("debug"),
        "{config}"
    );
    ensure!(
        lines.iter().any(|line| line.contains("interlock-agent")),
        "{lines:#?}"
    );

    let mut all = Vec::new();
    files(&cluster.path(""), &mut all)?;
    let mut secrets: Vec<String> = SECRETS
        .iter()
        .map(|(_, secret)| (*secret).to_owned())
        .collect();
    for key in all
        .iter()
        .filter(|path| path.extension().is_some_and(|it| it == "key"))
    {
        let heart = fs::read_to_string(key)?.lines().nth(1).map(str::to_owned);
        secrets.push(heart.with_context(|| format!("{} is no key", key.display()))?);
    }
    ensure!(secrets.len() > SECRETS.len() + 2, "no keys were found");

    let mut found = Vec::new();
    for line in &lines {
        found.extend(
            leaks(line.as_bytes(), &secrets)
                .iter()
                .map(|it| format!("{it} in the command line {line}")),
        );
    }
    for (what, said) in &said {
        found.extend(
            leaks(said, &secrets)
                .iter()
                .map(|it| format!("{it} in {what}")),
        );
    }
    let argv = fs::read(cluster.path("fence").join(format!("{FENCE}.argv"))).unwrap_or_default();
    found.extend(
        leaks(&argv, &secrets)
            .iter()
            .map(|it| format!("{it} among the arguments of the fence agent")),
    );
    let (mut looked, places) = (
        0,
        ["secrets", "pki", "fence", "redis"].map(|place| cluster.path(place)),
    );
    for path in &all {
        // Where they lie, where this test itself has put them, and where the fourth has to go.
        let is_place = places.iter().any(|place| path.starts_with(place));
        if is_place || *path == cluster.path("web.config") {
            continue;
        }
        looked += 1;
        let mode = fs::metadata(path)?.permissions().mode() & 0o777;
        let here = path.strip_prefix(cluster.path(""))?.display().to_string();
        found.extend(
            leaks(&fs::read(path)?, &secrets)
                .iter()
                .map(|it| format!("{it} in {here} (mode {mode:o})")),
        );
    }
    ensure!(looked > 20, "only {looked} files were looked at");
    // What is stored can be read there.
    let stored = |path: &PathBuf| {
        path.starts_with(cluster.path("coordinator"))
            && fs::read(path).is_ok_and(|it| !leaks(&it, &[FENCE.to_owned()]).is_empty())
    };
    ensure!(
        all.iter().any(stored),
        "the store is unreadable to this test"
    );
    ensure!(found.is_empty(), "secrets were met: {found:#?}");
    let mode = fs::metadata(cluster.path("web.config"))?
        .permissions()
        .mode()
        & 0o777;
    ensure!(mode == 0o600, "web.config may be read by others: {mode:o}");
    Ok(())
}
