//! The agents of the package. What its `ocf-tester` expects of an agent is expected here of what runs one: up is up, down is
//! down, and both may be asked for again.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::symlink;

use interlock_proto::v1;
use interlock_proto::v1::dispatch::Command;
use interlock_proto::v1::{AttemptState, InstanceState};
use rustix::process::Signal;

use super::{does, is_apart, is_here, is_here_with, permit, run_apart};
use crate::lab::{Lab, signal};
use crate::scripted::ocf;

/// The program of the redis server, in a package that starts none.
const REDIS: &str = "/usr/bin/redis-check-rdb";

fn dummy(lab: &Lab) -> v1::InstanceCommand {
    let state = format!("{}/dummy", lab.here());
    ocf("probe", "heartbeat:Dummy", &[("state", &state)])
}

#[tokio::test]
async fn a_resource_is_started_observed_and_stopped() {
    if !is_here("Dummy") {
        return;
    }
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    lab.configure(
        &coordinator.endpoint,
        &permit(&lab, "heartbeat:Dummy", "state = true"),
    );
    let _agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    session.assign(&[dummy(&lab)], 0).await;
    session
        .instance("probe", |seen| seen.state() == InstanceState::Stopped)
        .await;
    let done = does(&mut session, "start", Command::Start(dummy(&lab))).await;
    assert_eq!(done.state(), AttemptState::Done, "{done:?}");
    assert!(lab.path("dummy").exists(), "the agent has worked");
    session
        .instance("probe", |seen| seen.state() == InstanceState::Running)
        .await;

    let again = does(&mut session, "again", Command::Start(dummy(&lab))).await;
    assert!(
        again.state() == AttemptState::Done && again.evidence.contains("already"),
        "{again:?}"
    );

    let done = does(&mut session, "stop", Command::Stop(dummy(&lab))).await;
    assert_eq!(done.state(), AttemptState::Done, "{done:?}");
    assert!(!lab.path("dummy").exists());
    session
        .instance("probe", |seen| seen.state() == InstanceState::Stopped)
        .await;
    let again = does(&mut session, "stop-again", Command::Stop(dummy(&lab))).await;
    assert_eq!(again.state(), AttemptState::Done, "{again:?}");
    assert!(
        fs::read_dir(lab.path("ocf")).is_ok(),
        "its directory of state files is made"
    );
}

#[tokio::test]
async fn a_real_nginx_is_started_restarted_when_it_is_killed_and_stopped() {
    if !is_here_with("nginx", "/usr/sbin/nginx", "nginx") {
        return;
    }
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    let here = lab.here();
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let config = format!(
        "master_process off;\npid {here}/nginx.pid;\nerror_log {here}/error.log;\nevents {{}}\nhttp {{ access_log off; \
         client_body_temp_path {here}; server {{ listen {free}; location / {{ return 200 'here'; }} }} }}\n"
    );
    fs::write(lab.path("nginx.conf"), config).unwrap();
    lab.configure(
        &coordinator.endpoint,
        &permit(
            &lab,
            "heartbeat:nginx",
            "configfile = true, status10url = true",
        ),
    );
    let _agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    let given = [
        ("configfile", &*format!("{here}/nginx.conf")),
        ("status10url", &*format!("http://{free}/")),
    ];
    let nginx = ocf("probe", "heartbeat:nginx", &given);
    session.assign(std::slice::from_ref(&nginx), 3).await;
    let done = does(&mut session, "start", Command::Start(nginx.clone())).await;
    assert_eq!(done.state(), AttemptState::Done, "{done:?}");
    assert!(TcpStream::connect(free).is_ok());

    let pid = || fs::read_to_string(lab.path("nginx.pid")).unwrap_or_default();
    let first = pid();
    signal(first.trim().parse().unwrap(), Signal::KILL);
    let back = |seen: &v1::Instance| seen.state() == InstanceState::Running && seen.restarts == 1;
    session.instance("probe", back).await;
    assert_ne!(pid(), first);

    let done = does(&mut session, "stop", Command::Stop(nginx)).await;
    assert_eq!(done.state(), AttemptState::Done, "{done:?}");
    assert!(TcpStream::connect(free).is_err());
}

#[test]
fn an_address_and_a_file_system_come_and_go_on_a_network_of_their_own() {
    if is_here("IPaddr2") {
        run_apart("ocf::real::on_a_network_of_its_own");
    }
}

#[tokio::test]
#[ignore = "a part of an_address_and_a_file_system_come_and_go_on_a_network_of_their_own"]
async fn on_a_network_of_its_own() {
    is_apart();
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    let parameters = "ip = [\"10.77.0.9\"], nic = [\"lo\"], cidr_netmask = [\"32\"]";
    let mount = "device = true, directory = true, fstype = [\"none\"], options = [\"bind\"]";
    let disk = format!(
        "disk = {{ ocf = [{{ agent = \"heartbeat:Filesystem\", parameters = {{ {mount} }} }}] }}\n"
    );
    let file = permit(&lab, "heartbeat:IPaddr2", parameters) + &disk;
    lab.configure(&coordinator.endpoint, &file);
    let _agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    let given = [("ip", "10.77.0.9"), ("nic", "lo"), ("cidr_netmask", "32")];
    let address = ocf("probe", "heartbeat:IPaddr2", &given);
    session.assign(std::slice::from_ref(&address), 0).await;
    let bind = || TcpListener::bind("10.77.0.9:0").is_ok();
    assert!(!bind());
    let done = does(&mut session, "start", Command::Start(address.clone())).await;
    assert_eq!(done.state(), AttemptState::Done, "{done:?}");
    assert!(bind(), "it is there");
    session
        .instance("probe", |seen| seen.state() == InstanceState::Running)
        .await;
    let done = does(&mut session, "stop", Command::Stop(address)).await;
    assert_eq!(done.state(), AttemptState::Done, "{done:?}");
    assert!(!bind(), "it is gone");

    if !is_here_with("Filesystem", "/sbin/modprobe", "kmod") {
        return;
    }
    let (from, to) = (lab.path("from"), lab.path("to"));
    for made in [&from, &to] {
        fs::create_dir(made).unwrap();
    }
    fs::write(from.join("file"), "").unwrap();
    let mount = ocf(
        "disk",
        "heartbeat:Filesystem",
        &[
            ("device", &from.display().to_string()),
            ("directory", &to.display().to_string()),
            ("fstype", "none"),
            ("options", "bind"),
        ],
    );
    let done = does(&mut session, "mount", Command::Start(mount.clone())).await;
    assert_eq!(done.state(), AttemptState::Done, "{done:?}");
    assert!(to.join("file").exists(), "it is mounted");
    let done = does(&mut session, "unmount", Command::Stop(mount)).await;
    assert_eq!(done.state(), AttemptState::Done, "{done:?}");
    assert!(!to.join("file").exists());
}

#[tokio::test]
async fn a_real_redis_is_started_and_stopped() {
    if !is_here_with("redis", REDIS, "redis-tools") {
        return;
    }
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    let here = lab.here();
    // The name by which it is called decides what it is.
    symlink(REDIS, lab.path("redis-server")).unwrap();
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let port = free.port().to_string();
    let config = format!("port {port}\nbind 127.0.0.1\ndir {here}\nsave \"\"\n");
    fs::write(lab.path("redis.conf"), config).unwrap();
    let parameters = "bin = true, client_bin = true, user = [\"root\"], rundir = true, pidfile_name = true, socket_name = \
                      true, port = true, config = true";
    lab.configure(
        &coordinator.endpoint,
        &permit(&lab, "heartbeat:redis", parameters),
    );
    let _agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    let redis = ocf(
        "probe",
        "heartbeat:redis",
        &[
            ("bin", &*format!("{here}/redis-server")),
            ("client_bin", "/usr/bin/redis-cli"),
            ("user", "root"),
            ("rundir", &*here),
            ("pidfile_name", "redis.pid"),
            ("socket_name", "redis.sock"),
            ("port", &*port),
            ("config", &*format!("{here}/redis.conf")),
        ],
    );
    session.assign(std::slice::from_ref(&redis), 0).await;
    let done = does(&mut session, "start", Command::Start(redis.clone())).await;
    assert_eq!(done.state(), AttemptState::Done, "{done:?}");
    assert!(TcpStream::connect(free).is_ok());
    session
        .instance("probe", |seen| seen.state() == InstanceState::Running)
        .await;
    let done = does(&mut session, "stop", Command::Stop(redis)).await;
    assert_eq!(done.state(), AttemptState::Done, "{done:?}");
    assert!(TcpStream::connect(free).is_err());
}
