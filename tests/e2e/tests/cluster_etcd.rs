//! The same programs with a real etcd as the store: kills in the middle of operations, two coordinators on one store,
//! and a cluster that moves from a file to etcd and back.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use interlock_e2e::local::account::{proven_once, started_in_order, stopped_in_order};
use interlock_e2e::local::{Cluster, Life, Operator, for_all, shop};
use interlock_e2e::{eventually, programs, skip, tools};
use interlock_mesh::channel::Expected;
use interlock_mesh::identity::Role;
use interlock_proto::v1::Liveness;
use rustix::process::{Pid, Signal, kill_process};

/// The last number of etcd's address, in the network that the cluster has for itself.
const ETCD: u8 = 6;

/// The last number of a second coordinator's address.
const SECOND: u8 = 7;

/// One etcd; it ends with the test.
struct Etcd {
    program: PathBuf,
    arguments: Vec<String>,
    log: PathBuf,
    process: Option<Child>,
}

impl Etcd {
    /// Starts one below the cluster's directory. None if it is not installed.
    fn start(cluster: &Cluster, what: &str) -> Result<Option<Self>> {
        let program = match tools::etcd() {
            Ok(program) => program,
            Err(why) => {
                skip(what, &why.to_string());
                return Ok(None);
            }
        };
        let address = cluster.address(ETCD);
        let tls = cluster
            .authority()
            .coordinator("etcd", &address, Life::Now)?;
        let client = format!("https://{address}:2379");
        // One member: nobody else speaks to this.
        let peer = format!("http://{address}:2380");
        let text = |path: &std::path::Path| path.display().to_string();
        let arguments = [
            ("--name", "etcd".to_owned()),
            ("--data-dir", text(&cluster.path("etcd.data"))),
            ("--listen-client-urls", client.clone()),
            ("--advertise-client-urls", client),
            ("--listen-peer-urls", peer.clone()),
            ("--initial-advertise-peer-urls", peer.clone()),
            ("--initial-cluster", format!("etcd={peer}")),
            ("--trusted-ca-file", text(&tls.authority)),
            ("--cert-file", text(&tls.certificate)),
            ("--key-file", text(&tls.key)),
        ];
        let mut etcd = Self {
            program,
            arguments: arguments
                .into_iter()
                .flat_map(|(name, value)| [name.to_owned(), value])
                .chain(["--client-cert-auth".to_owned()])
                .collect(),
            log: cluster.path("etcd.log"),
            process: None,
        };
        etcd.launch()?;
        Ok(Some(etcd))
    }

    fn launch(&mut self) -> Result<()> {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(&self.log)?;
        // Not left behind, however this process ends.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(&self.program)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        self.process = Some(child);
        Ok(())
    }

    fn kill(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.kill()?;
            process.wait()?;
        }
        Ok(())
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        drop(self.kill());
    }
}

/// The section of the coordinator's file that names this etcd.
fn section(cluster: &Cluster) -> Result<String> {
    let address = cluster.address(ETCD);
    let tls = cluster
        .authority()
        .coordinator("etcdclient", &address, Life::Now)?;
    Ok(format!(
        "[store.etcd]\nendpoints = [\"https://{address}:2379\"]\nca = \"{}\"\ncert = \"{}\"\nkey = \"{}\"\n",
        tls.authority.display(),
        tls.certificate.display(),
        tls.key.display()
    ))
}

/// The coordinator's file, to be changed.
fn file(cluster: &Cluster) -> PathBuf {
    cluster.path("coordinator.toml")
}

fn use_etcd(cluster: &Cluster) -> Result<()> {
    let mut file = fs::File::options().append(true).open(file(cluster))?;
    Ok(file.write_all(section(cluster)?.as_bytes())?)
}

#[test]
fn a_shutdown_and_a_startup_on_etcd_go_on_where_coordinator_and_etcd_were_killed() -> Result<()> {
    let mut cluster = Cluster::prepare(&shop::layout())?;
    let Some(mut etcd) = Etcd::start(&cluster, "operations on etcd")? else {
        return Ok(());
    };
    use_etcd(&cluster)?;
    cluster.start_coordinator()?;
    cluster.join()?;
    let operator = cluster.admin()?;
    operator.run(&shop::startup())?;

    for (kind, point, who) in [
        ("shutdown", "stop", "db@db1"),
        ("startup", "start", "db@db2"),
    ] {
        let from = cluster.story().read()?.len();
        cluster.hold(&format!("{point}:{who}"))?;
        let operation = operator.begin(&for_all(kind), false)?;
        operator.until_step(&operation, &format!("{point}:{who}"), "running")?;
        cluster.kill_coordinator()?;
        etcd.kill()?;
        etcd.launch()?;
        // The hold of the killed one has to run out first.
        cluster.start_coordinator()?;
        cluster.release(&format!("{point}:{who}"))?;
        operator.until(&operation, "done")?;
        proven_once(&operator, &operation)?;
        let story = &cluster.story().read()?[from..];
        if kind == "shutdown" {
            stopped_in_order(story, shop::ORDER)?;
        } else {
            started_in_order(story, shop::ORDER)?;
        }
        cluster.until_connected(&operator)?;
    }
    Ok(())
}

#[test]
fn a_coordinator_that_slept_through_its_lease_ends_and_the_waiting_one_has_taken_over() -> Result<()>
{
    let mut cluster = Cluster::prepare(&shop::layout())?;
    let Some(_etcd) = Etcd::start(&cluster, "two coordinators on one etcd")? else {
        return Ok(());
    };
    use_etcd(&cluster)?;
    cluster.start_coordinator()?;
    cluster.join()?;
    let operator = cluster.admin()?;
    let term = operator.status()?.term;

    // The same store, on an address of its own.
    let address = cluster.address(SECOND);
    let tls = cluster
        .authority()
        .coordinator("mgmt", &address, Life::Now)?;
    let config = cluster.path("second.toml");
    let text = format!(
        "name = \"mgmt\"\nlisten = \"{address}:7443\"\n[tls]\nca = \"{}\"\ncert = \"{}\"\nkey = \"{}\"\n{}",
        tls.authority.display(),
        tls.certificate.display(),
        tls.key.display(),
        section(&cluster)?
    );
    fs::write(&config, text)?;
    let log = cluster.path("second.log");
    let both = fs::File::create(&log)?;
    let mut second = Command::new("setpriv")
        .args(["--pdeathsig", "KILL"])
        .arg(programs::coordinator()?)
        .args(["run", "--config"])
        .arg(&config)
        .stdin(Stdio::null())
        .stdout(both.try_clone()?)
        .stderr(both)
        .spawn()?;
    let says = |text: &str| -> Result<()> {
        let said = fs::read_to_string(&log)?;
        ensure!(said.contains(text), "{said}");
        Ok(())
    };
    eventually("the second one waits", Duration::from_secs(20), || {
        says("waiting for the store")
    })?;

    let first = cluster.coordinator_pid()?;
    kill_process(first, Signal::STOP)?;
    eventually("the second one serves", Duration::from_secs(40), || {
        says("listening on")
    })?;
    let files = cluster
        .authority()
        .operator("ada", Role::Admin, Life::Now)?;
    let other = Operator::at(&format!("{address}:7443"), Expected::Coordinator, files)?;
    ensure!(other.status()?.term > term, "the term did not rise");
    kill_process(first, Signal::CONT)?;
    eventually("the first one ends", Duration::from_secs(40), || {
        ensure!(!is_running(first), "it runs");
        let said = cluster.coordinator_log()?;
        ensure!(said.contains("no longer held"), "{said}");
        Ok(())
    })?;
    second.kill()?;
    second.wait()?;
    Ok(())
}

/// Whether the process is there and has not ended; the keeper collects it in its own time.
fn is_running(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    stat.is_ok_and(|stat| !stat.contains(") Z"))
}

#[test]
fn a_cluster_moves_to_etcd_and_back_and_the_older_line_gets_no_agents() -> Result<()> {
    let mut cluster = Cluster::prepare(&shop::layout())?;
    let Some(_etcd) = Etcd::start(&cluster, "moving a cluster to etcd and back")? else {
        return Ok(());
    };
    let embedded = fs::read_to_string(file(&cluster))?;
    cluster.start_coordinator()?;
    cluster.join()?;
    let operator = cluster.admin()?;
    let first = operator.run(&shop::startup())?;
    let on = |cluster: &Cluster, arguments: &[&str]| -> Result<String> {
        let output = cluster.ctl("ada", Role::Admin, arguments)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "{arguments:?}: {said}");
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let export = cluster.path("to-etcd.store").display().to_string();
    on(&cluster, &["store", "export", "--file", &export])?;
    let generation = operator.status()?.generation;

    // To etcd.
    cluster.kill_coordinator()?;
    use_etcd(&cluster)?;
    cluster.start_coordinator()?;
    let strange = fs::read(&export)?;
    fs::write(cluster.path("short.store"), &strange[..strange.len() - 10])?;
    let short = cluster.path("short.store").display().to_string();
    let refused = cluster.ctl("ada", Role::Admin, &["store", "import", "--file", &short])?;
    ensure!(
        !refused.status.success(),
        "an export that is cut short was imported"
    );
    on(&cluster, &["store", "import", "--file", &export])?;
    cluster.until_connected(&operator)?;
    ensure!(
        operator.status()?.generation == generation,
        "the spec is not there"
    );
    ensure!(
        operator
            .operation(&first)?
            .summary
            .context("no summary")?
            .state
            == "done",
        "the operation is not there"
    );
    let story = cluster.story().read()?.len();
    let second = operator.run(&for_all("shutdown"))?;
    ensure!(second != first, "{second} was used before");
    stopped_in_order(&cluster.story().read()?[story..], shop::ORDER)?;
    let again = cluster.ctl("ada", Role::Admin, &["store", "import", "--file", &export])?;
    ensure!(!again.status.success(), "a store in use was imported into");

    // By mistake, the older line.
    let etcd = fs::read_to_string(file(&cluster))?;
    cluster.kill_coordinator()?;
    fs::write(file(&cluster), &embedded)?;
    cluster.start_coordinator()?;
    eventually("the agents are refused", Duration::from_secs(30), || {
        let log = cluster.coordinator_log()?;
        let refused = log.matches("does not succeed it").count();
        ensure!(refused >= 3, "only {refused} refusals");
        Ok(())
    })?;
    let nodes = operator.status()?.nodes;
    ensure!(
        nodes.iter().all(|node| node.liveness() != Liveness::Alive),
        "the older line has agents: {nodes:?}"
    );

    // And back, into a file that is new.
    cluster.kill_coordinator()?;
    fs::write(file(&cluster), etcd)?;
    cluster.start_coordinator()?;
    cluster.until_connected(&operator)?;
    let back = cluster.path("back.store").display().to_string();
    on(&cluster, &["store", "export", "--file", &back])?;
    cluster.kill_coordinator()?;
    fs::rename(cluster.path("coordinator"), cluster.path("coordinator.old"))?;
    fs::write(file(&cluster), embedded)?;
    cluster.start_coordinator()?;
    on(&cluster, &["store", "import", "--file", &back])?;
    cluster.until_connected(&operator)?;
    let story = cluster.story().read()?.len();
    operator.run(&for_all("startup"))?;
    started_in_order(&cluster.story().read()?[story..], shop::ORDER)
}
