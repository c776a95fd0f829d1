//! Operations on a real etcd, of each version, that fails in the middle of them: no step is lost, none is done twice, and what
//! waits for it is said.

use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use interlock_e2e::eventually;
use interlock_e2e::local::account::{proven_once, started_in_order, stopped_in_order};
use interlock_e2e::local::etcd::{Etcd, USER, Version};
use interlock_e2e::local::{Cluster, Operator, for_all, shop};
use rustix::net::sockopt::set_socket_reuseaddr;
use rustix::net::{AddressFamily, SocketType, bind, listen, socket};
use rustix::process::{Signal, kill_process};

/// The longest that anything takes here.
const SOON: Duration = Duration::from_secs(60);

/// The last number of the address where nobody answers.
const HOLE: u8 = 240;

fn use_etcd(cluster: &Cluster, section: &str) -> Result<()> {
    let file = cluster.path("coordinator.toml");
    let mut file = fs::File::options().append(true).open(file)?;
    Ok(file.write_all(section.as_bytes())?)
}

/// Waits until the status names the store as a cause, in these words.
fn told(operator: &Operator, words: &str) -> Result<()> {
    eventually("the status names the store", SOON, || {
        let causes = operator.status()?.causes;
        let cause = causes.iter().find(|cause| cause.subject == "store");
        let cause = cause.with_context(|| format!("{causes:?}"))?;
        ensure!(cause.what.contains(words), "{}", cause.what);
        Ok(())
    })
}

/// Waits until it does so no more.
fn over(operator: &Operator) -> Result<()> {
    eventually("the store takes writes again", SOON, || {
        let causes = operator.status()?.causes;
        ensure!(causes.iter().all(|it| it.subject != "store"), "{causes:?}");
        Ok(())
    })
}

/// Waits until an operation is done. A coordinator whose hold ran out meanwhile has ended, and is started again as systemd does.
fn until_done(cluster: &mut Cluster, operator: &Operator, operation: &str) -> Result<()> {
    let mut told = String::new();
    let seen = eventually("the operation to be done", SOON, || {
        let pid = cluster.coordinator_pid()?.as_raw_nonzero();
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
        if !stat.is_ok_and(|stat| !stat.contains(") Z")) {
            told += "the coordinator ended; ";
            cluster.start_coordinator()?;
        }
        match operator.state(operation)?.as_str() {
            "done" => Ok(()),
            state => bail!("{told}it is {state}"),
        }
    });
    seen?;
    proven_once(operator, operation)
}

/// Begins an operation that waits inside a step.
fn begin_and_hold(cluster: &Cluster, operator: &Operator, kind: &str, at: &str) -> Result<String> {
    cluster.hold(at)?;
    let operation = operator.begin(&for_all(kind), false)?;
    operator.until_step(&operation, at, "running")?;
    Ok(operation)
}

/// An address where connections are neither taken nor refused.
struct Hole {
    url: String,
    _listener: rustix::fd::OwnedFd,
    _inside: Vec<TcpStream>,
}

impl Hole {
    fn at(cluster: &Cluster) -> Result<Self> {
        let address: SocketAddr = format!("{}:2379", cluster.address(HOLE)).parse()?;
        let listener = socket(AddressFamily::INET, SocketType::STREAM, None)?;
        // The test before may have had this network, and connections of it may still linger.
        set_socket_reuseaddr(&listener, true)?;
        bind(&listener, &address)?;
        listen(&listener, 0)?;
        // What is waiting to be accepted fills it; the kernel then drops whatever asks.
        let mut inside = Vec::new();
        let short = Duration::from_millis(300);
        while let Ok(stream) = TcpStream::connect_timeout(&address, short) {
            inside.push(stream);
            ensure!(inside.len() < 10, "it takes everybody");
        }
        Ok(Self {
            url: format!("https://{address}"),
            _listener: listener,
            _inside: inside,
        })
    }
}

/// Tokens that end while a step acts, and a password that is changed while one does.
fn tokens_and_passwords(version: Version) -> Result<()> {
    let mut cluster = Cluster::prepare(&shop::layout())?;
    // A token that is not used for a second is forgotten.
    let short = ["--auth-token-ttl", "1"];
    let Some(etcd) = Etcd::start(&cluster, version, 1, &short, "operations as a user of etcd")?
    else {
        return Ok(());
    };
    etcd.with_users("first")?;
    let password = cluster.path("password");
    fs::write(&password, "first\n")?;
    let login = format!("login = {{ user = {USER:?}, password_file = {password:?} }}\n");
    use_etcd(&cluster, &etcd.section(&[], &login))?;
    cluster.start_coordinator()?;
    cluster.join()?;
    let operator = cluster.admin()?;
    operator.run(&shop::startup())?;

    let from = cluster.story().read()?.len();
    let operation = begin_and_hold(&cluster, &operator, "shutdown", "stop:web@web1")?;
    cluster.hold("stop:db@db2")?;
    // Time is what a token ends by. The hold on the store is renewed meanwhile, which needs none.
    std::thread::sleep(Duration::from_millis(2_500));
    cluster.release("stop:web@web1")?;
    operator.until_step(&operation, "stop:db@db2", "running")?;

    etcd.change_password("second")?;
    cluster.release("stop:db@db2")?;
    told(&operator, "do not accept each other")?;
    let refused = operator.begin(&for_all("startup"), false);
    ensure!(refused.is_err(), "something began without a durable word");
    let begun = cluster.story().count("term", "db@db1")?;
    ensure!(begun == 0, "a step began without a durable intent");
    fs::write(&password, "second\n")?;
    until_done(&mut cluster, &operator, &operation)?;
    stopped_in_order(&cluster.story().read()?[from..], shop::ORDER)?;
    over(&operator)?;

    // Changed in the right order nobody notices: the file first, and nobody is asked for it until the old one is refused.
    fs::write(&password, "third\n")?;
    etcd.change_password("third")?;
    let term = operator.status()?.term;
    operator.operation(&operation)?;
    operator.run(&for_all("startup"))?;
    ensure!(operator.status()?.term == term, "another leadership");
    Ok(())
}

/// Members that stand still one after the other, behind an endpoint where nobody answers; and a start while nobody leads.
fn members_that_hang(version: Version) -> Result<()> {
    let mut cluster = Cluster::prepare(&shop::layout())?;
    let Some(mut etcd) = Etcd::start(&cluster, version, 3, &[], "operations on three members")?
    else {
        return Ok(());
    };
    let hole = Hole::at(&cluster)?;
    use_etcd(&cluster, &etcd.section(std::slice::from_ref(&hole.url), ""))?;
    // Nobody leads when the coordinator starts.
    let leader = etcd.leader()?;
    etcd.kill(leader)?;
    cluster.start_coordinator()?;
    etcd.launch(leader)?;
    cluster.join()?;
    let operator = cluster.admin()?;
    operator.run(&shop::startup())?;

    // One after the other, and so also the one that leads and the one in use; a majority is always there.
    let from = cluster.story().read()?.len();
    let points = ["stop:web@web1", "stop:db@db2", "stop:db@db1"];
    for point in points {
        cluster.hold(point)?;
    }
    let operation = operator.begin(&for_all("shutdown"), false)?;
    for (member, point) in points.into_iter().enumerate() {
        operator.until_step(&operation, point, "running")?;
        etcd.stop(member)?;
        cluster.release(point)?;
        operator.until_step(&operation, point, "done")?;
        etcd.go_on(member)?;
    }
    until_done(&mut cluster, &operator, &operation)?;
    stopped_in_order(&cluster.story().read()?[from..], shop::ORDER)?;

    // Without a majority nothing goes on, and that is said.
    let from = cluster.story().read()?.len();
    let operation = begin_and_hold(&cluster, &operator, "startup", "start:db@db1")?;
    for member in [0, 1] {
        etcd.stop(member)?;
    }
    cluster.release("start:db@db1")?;
    told(&operator, "nothing has been heard of a write")?;
    let begun = cluster.story().count("start", "db@db2")?;
    ensure!(begun == 1, "a step began without a durable intent");
    for member in [0, 1] {
        etcd.go_on(member)?;
    }
    until_done(&mut cluster, &operator, &operation)?;
    started_in_order(&cluster.story().read()?[from..], shop::ORDER)?;
    over(&operator)
}

/// A quota that is used up while a step acts; and a watch that finds, when it is taken up again, that all is compacted.
fn room_and_history(version: Version) -> Result<()> {
    let mut cluster = Cluster::prepare(&shop::layout())?;
    let quota = ["--quota-backend-bytes", "4194304"];
    let Some(mut etcd) = Etcd::start(&cluster, version, 1, &quota, "operations without room")?
    else {
        return Ok(());
    };
    use_etcd(&cluster, &etcd.section(&[], ""))?;
    cluster.start_coordinator()?;
    cluster.join()?;
    let operator = cluster.admin()?;
    operator.run(&shop::startup())?;

    let from = cluster.story().read()?.len();
    let operation = begin_and_hold(&cluster, &operator, "shutdown", "stop:db@db2")?;
    etcd.fill()?;
    cluster.release("stop:db@db2")?;
    told(&operator, "no space left below its quota")?;
    let refused = operator.begin(&for_all("startup"), false);
    ensure!(refused.is_err(), "something began without a durable word");
    let begun = cluster.story().count("term", "db@db1")?;
    ensure!(begun == 0, "a step began without a durable intent");
    etcd.make_room()?;
    until_done(&mut cluster, &operator, &operation)?;
    stopped_in_order(&cluster.story().read()?[from..], shop::ORDER)?;
    over(&operator)?;

    // What the watch had to tell is compacted before it is taken up: the coordinator stands still meanwhile.
    let from = cluster.story().read()?.len();
    let operation = begin_and_hold(&cluster, &operator, "startup", "start:db@db1")?;
    let (coordinator, term) = (cluster.coordinator_pid()?, operator.status()?.term);
    kill_process(coordinator, Signal::STOP)?;
    etcd.kill(0)?;
    etcd.launch(0)?;
    etcd.compact()?;
    kill_process(coordinator, Signal::CONT)?;
    cluster.release("start:db@db1")?;
    until_done(&mut cluster, &operator, &operation)?;
    started_in_order(&cluster.story().read()?[from..], shop::ORDER)?;
    let lives = Path::new(&format!("/proc/{}", coordinator.as_raw_nonzero())).exists();
    ensure!(
        !lives || operator.status()?.term == term,
        "another leadership of the same process"
    );
    Ok(())
}

mod debian {
    use super::*;

    #[test]
    fn an_operation_goes_on_over_tokens_that_end_and_a_password_that_changes() -> Result<()> {
        tokens_and_passwords(Version::Debian)
    }

    #[test]
    fn an_operation_goes_on_while_members_hang_and_says_when_it_waits_for_them() -> Result<()> {
        members_that_hang(Version::Debian)
    }

    #[test]
    fn an_operation_goes_on_when_there_is_room_again_and_after_a_compaction() -> Result<()> {
        room_and_history(Version::Debian)
    }
}

mod newer {
    use super::*;

    #[test]
    fn an_operation_goes_on_over_tokens_that_end_and_a_password_that_changes() -> Result<()> {
        tokens_and_passwords(Version::Newer)
    }

    #[test]
    fn an_operation_goes_on_while_members_hang_and_says_when_it_waits_for_them() -> Result<()> {
        members_that_hang(Version::Newer)
    }

    #[test]
    fn an_operation_goes_on_when_there_is_room_again_and_after_a_compaction() -> Result<()> {
        room_and_history(Version::Newer)
    }
}
