//! The lab keeps its promises: what the other tests build on is tried here by itself.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use interlock_e2e::bmc::Bmcs;
use interlock_e2e::{Host, Lab, Machine, eventually, run};

const BOOT: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_secs(30);

fn answers_ping(lab: &Lab, host: &Host) -> bool {
    let address = host.address().to_string();
    lab.command(&["ping", "-c1", "-W1", &address])
        .is_ok_and(|mut ping| run(&mut ping).is_ok())
}

fn pings(from: &Host, to: &Host) -> bool {
    from.exec(&["ping", "-c1", "-W1", &to.address().to_string()])
        .is_ok()
}

fn fence(lab: &Lab, bmcs: &Bmcs, host: &Host, action: &str) -> Result<(Option<i32>, String)> {
    let mut argv = vec!["fence_ipmilan".to_owned(), format!("--action={action}")];
    argv.extend(bmcs.fence_arguments(host.name())?);
    let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
    let output = lab
        .command(&argv)?
        .output()
        .context("cannot run fence_ipmilan")?;
    let said = [output.stdout, output.stderr].concat();
    Ok((
        output.status.code(),
        String::from_utf8_lossy(&said).into_owned(),
    ))
}

#[test]
fn a_systemd_host_boots_shuts_down_and_is_powered_by_a_fence_agent() -> Result<()> {
    let Some(lab) = Lab::open("fence")? else {
        return Ok(());
    };
    let (h1, h2) = (lab.nspawn("h1")?, lab.nspawn("h2")?);
    let bmcs = Bmcs::start(&lab, &[&h1, &h2])?;

    let (status, said) = fence(&lab, &bmcs, &h1, "status")?;
    ensure!(
        status == Some(2),
        "a host that was never on has status {status:?}: {said}"
    );
    for host in [&h1, &h2] {
        let (status, said) = fence(&lab, &bmcs, host, "on")?;
        ensure!(
            status == Some(0) && host.is_on(),
            "on gave {status:?}: {said}"
        );
    }
    for host in [&h1, &h2] {
        host.wait_booted(BOOT)?;
        let state = host.exec(&["systemctl", "is-system-running"])?;
        ensure!(state.trim() == "running", "{} is {state}", host.name());
    }
    ensure!(
        pings(&h1, &h2),
        "two hosts on one bridge do not reach each other"
    );
    ensure!(
        h1.exec(&["getent", "hosts", "h2"])?
            .contains(&h2.address().to_string())
    );
    let first_boot = h1.exec(&["cat", "/proc/sys/kernel/random/boot_id"])?;

    // An orderly shutdown is noticed at the power source, and only there where it happened.
    h1.exec(&["systemctl", "poweroff"])?;
    let ended = h1.wait_off(SOON)?;
    ensure!(ended.success(), "an orderly shutdown ended with {ended}");
    ensure!(
        fence(&lab, &bmcs, &h1, "status")?.0 == Some(2),
        "the BMC says on after the shutdown"
    );
    ensure!(
        fence(&lab, &bmcs, &h2, "status")?.0 == Some(0),
        "the neighbour's BMC says off"
    );
    ensure!(!answers_ping(&lab, &h1), "a host that is off answers");

    let (status, said) = fence(&lab, &bmcs, &h1, "on")?;
    ensure!(status == Some(0), "on gave {status:?}: {said}");
    h1.wait_booted(BOOT)?;
    let second_boot = h1.exec(&["cat", "/proc/sys/kernel/random/boot_id"])?;
    ensure!(first_boot != second_boot, "two boots have one boot id");

    // From inside a host, as a node fences another.
    let mut argv = vec!["fence_ipmilan".to_owned(), "--action=status".to_owned()];
    argv.extend(bmcs.fence_arguments("h2")?);
    let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
    let said = h1.exec(&argv)?;
    ensure!(said.contains("Status: ON"), "h1 hears of h2: {said}");

    // A fence is not a shutdown: the journal of the boot that it cut short has no end.
    let (status, said) = fence(&lab, &bmcs, &h2, "off")?;
    ensure!(
        status == Some(0) && !h2.is_on(),
        "off gave {status:?}: {said}"
    );
    ensure!(
        !h2.wait_off(SOON)?.success(),
        "a fenced host ended in order"
    );
    lab.close()
}

#[test]
fn a_reboot_comes_back_unless_the_plug_was_pulled() -> Result<()> {
    let Some(lab) = Lab::open("reboot")? else {
        return Ok(());
    };
    let host = lab.nspawn("h1")?;
    host.power_on()?;
    host.wait_booted(BOOT)?;
    host.put_file("/var/lib/kept", b"from the first boot", 0o600)?;
    host.exec(&["systemctl", "reboot"])?;
    eventually("the second boot", SOON, || {
        ensure!(host.boots() == 2, "it has not rebooted");
        Ok(())
    })?;
    host.wait_booted(BOOT)?;
    ensure!(host.exec(&["cat", "/var/lib/kept"])? == "from the first boot");
    let boots = host.exec(&["journalctl", "--list-boots", "--quiet"])?;
    ensure!(
        boots.lines().count() == 2,
        "the journal knows of these boots:\n{boots}"
    );

    host.press_power_button()?;
    ensure!(
        host.wait_off(SOON)?.success(),
        "the power button did not shut it down in order"
    );
    lab.close()
}

#[test]
fn a_pulled_plug_silences_at_once_and_a_frozen_host_still_answers_ping() -> Result<()> {
    let Some(lab) = Lab::open("plug")? else {
        return Ok(());
    };
    let host = lab.nspawn("h1")?;
    host.power_on()?;
    host.wait_booted(BOOT)?;
    ensure!(answers_ping(&lab, &host), "a booted host does not answer");

    host.freeze()?;
    ensure!(
        answers_ping(&lab, &host),
        "the kernel of a hung host answers ping"
    );
    let mut hung = host.command(&["true"])?.spawn()?;
    host.thaw()?;
    ensure!(
        hung.wait()?.success(),
        "what hung with the host goes on with it"
    );

    host.freeze()?;
    host.pull_plug()?;
    ensure!(
        !host.is_on() && !answers_ping(&lab, &host),
        "a host without power answers"
    );
    ensure!(
        host.exec(&["true"]).is_err(),
        "a host without power runs commands"
    );
    host.power_on()?;
    host.wait_booted(BOOT)?;
    lab.close()
}

#[test]
fn plain_hosts_lose_and_regain_each_other_as_cuts_and_cables_say() -> Result<()> {
    let Some(lab) = Lab::open("plain")? else {
        return Ok(());
    };
    let hosts = [lab.plain("a")?, lab.plain("b")?, lab.plain("c")?];
    for host in &hosts {
        host.power_on()?;
    }
    let [a, b, c] = &hosts;
    ensure!(a.exec(&["hostname"])?.trim() == "a");
    ensure!(
        pings(a, b) && pings(b, c) && pings(a, c),
        "hosts on one bridge do not reach each other"
    );

    lab.cut("a", "b")?;
    ensure!(
        !pings(a, b) && !pings(b, a),
        "a cut pair still reaches each other"
    );
    ensure!(pings(a, c) && pings(b, c), "a cut of one pair cut others");
    lab.heal()?;
    ensure!(pings(a, b), "the cut did not heal");

    lab.lose("a", "c", 100)?;
    ensure!(!pings(a, c), "every packet is lost, yet some arrive");
    lab.heal()?;

    a.set_cable(false)?;
    ensure!(
        !pings(a, b) && !answers_ping(&lab, a),
        "a host without a cable answers"
    );
    a.pull_plug()?;
    a.power_on()?;
    ensure!(!pings(a, b), "a power cycle put the cable back in");
    a.set_cable(true)?;
    eventually("the cable", SOON, || {
        ensure!(pings(a, b), "the cable is in, nothing passes");
        Ok(())
    })?;
    lab.close()
}

#[test]
fn the_network_keeps_its_link_address_whichever_hosts_come_and_go() -> Result<()> {
    let Some(lab) = Lab::open("link")? else {
        return Ok(());
    };
    let link = || -> Result<String> {
        let shown = run(&mut lab.command(&["ip", "-brief", "link", "show", "br0"])?)?;
        let address = shown.split_whitespace().nth(2);
        address.map(str::to_owned).context(shown.clone())
    };
    let hosts = [lab.plain("a")?, lab.plain("b")?, lab.plain("c")?];
    let before = link()?;
    for host in &hosts {
        host.power_on()?;
    }
    // The lowest address of the ports is gone after one of these, whichever it is.
    for host in &hosts {
        host.pull_plug()?;
        ensure!(link()? == before, "without {}: {}", host.name(), link()?);
    }
    lab.close()
}

#[test]
fn a_plain_host_has_its_own_disk_processes_and_end() -> Result<()> {
    let Some(lab) = Lab::open("disk")? else {
        return Ok(());
    };
    let (a, b) = (lab.plain("a")?, lab.plain("b")?);
    a.power_on()?;
    b.power_on()?;
    a.exec(&["sh", "-c", "echo mine > /var/lib/mine"])?;
    ensure!(a.read_file("/var/lib/mine")? == b"mine\n");
    ensure!(
        b.read_file("/var/lib/mine").is_err(),
        "one host writes on the disk of another"
    );

    let mut server = a.spawn("server", &["nc", "-lk", "7000"])?;
    let address = a.address().to_string();
    let connects = || b.exec(&["nc", "-z", "-w1", &address, "7000"]).map(drop);
    eventually("the server", SOON, connects)?;
    a.press_power_button()?;
    ensure!(a.wait_off(SOON)?.success());
    server.wait(SOON)?;
    a.power_on()?;
    ensure!(connects().is_err(), "a process outlived its host");
    ensure!(
        a.exec(&["cat", "/var/lib/mine"])?.trim() == "mine",
        "the disk did not outlive the power"
    );
    lab.close()
}

#[test]
fn nothing_of_a_lab_outlives_it() -> Result<()> {
    let Some(lab) = Lab::open("end")? else {
        return Ok(());
    };
    let host = lab.plain("a")?;
    host.power_on()?;
    let mut server = host.spawn("server", &["sleep", "1000"])?;
    let directory = lab.directory().to_path_buf();
    lab.close()?;
    ensure!(
        !directory.exists(),
        "{} is still there",
        directory.display()
    );
    ensure!(
        !server.wait(SOON)?.success(),
        "a process was not killed with its lab"
    );
    host.wait_off(SOON)?;
    ensure!(host.power_on().is_err(), "a host without a lab starts");
    Ok(())
}

#[test]
fn a_lab_that_was_not_closed_leaves_its_logs_and_nothing_else() -> Result<()> {
    let Some(lab) = Lab::open("failed")? else {
        return Ok(());
    };
    let host = lab.nspawn("a")?;
    host.power_on()?;
    host.wait_booted(BOOT)?;
    host.exec(&["systemctl", "start", "systemd-journal-flush.service"])?;
    let (logs, directory) = (lab.logs(), lab.directory().to_path_buf());
    drop(lab);
    let journal = std::fs::read_to_string(logs.join("journal-a.log"))?;
    ensure!(
        journal.contains("systemd"),
        "the journal of the host is not among the logs: {journal}"
    );
    ensure!(
        !directory.join("hosts").exists(),
        "the disks of a failed run are kept"
    );
    std::fs::remove_dir_all(directory)?;
    Ok(())
}

#[test]
fn thirteen_systemd_hosts_run_at_once() -> Result<()> {
    let Some(lab) = Lab::open("thirteen")? else {
        return Ok(());
    };
    let hosts: Vec<_> = (1..=13)
        .map(|n| lab.nspawn(&format!("h{n}")))
        .collect::<Result<_>>()?;
    for host in &hosts {
        host.power_on()?;
    }
    for host in &hosts {
        host.wait_booted(BOOT)?;
        let state = host.exec(&["systemctl", "is-system-running"])?;
        ensure!(state.trim() == "running", "{} is {state}", host.name());
        ensure!(answers_ping(&lab, host), "{} does not answer", host.name());
    }
    for host in &hosts {
        host.exec(&["systemctl", "poweroff"])?;
    }
    for host in &hosts {
        let ended = host.wait_off(SOON)?;
        ensure!(ended.success(), "{} ended with {ended}", host.name());
    }
    lab.close()
}

#[test]
fn the_services_of_a_host_are_real_and_wait_to_be_started() -> Result<()> {
    let Some(lab) = Lab::open("services")? else {
        return Ok(());
    };
    let host = lab.nspawn("h1")?;
    let haproxy = "defaults\n mode tcp\n timeout connect 1s\n timeout client 1s\n timeout server 1s\n\
                   listen web\n bind :8080\n server own 127.0.0.1:80\n";
    host.put_file("/etc/haproxy/haproxy.cfg", haproxy.as_bytes(), 0o644)?;
    host.power_on()?;
    host.wait_booted(BOOT)?;
    let units = ["mariadb", "postgresql", "redis-server", "nginx", "haproxy"];
    for unit in units {
        ensure!(
            host.exec(&["systemctl", "is-active", unit]).is_err(),
            "{unit} started by itself"
        );
        host.exec(&["systemctl", "start", unit])?;
    }
    ensure!(host.exec(&["mariadb", "-N", "-e", "SELECT 6 * 7"])?.trim() == "42");
    let psql = [
        "runuser",
        "-u",
        "postgres",
        "--",
        "psql",
        "-tAc",
        "SELECT 6 * 7",
    ];
    ensure!(host.exec(&psql)?.trim() == "42");
    ensure!(host.exec(&["redis-cli", "ping"])?.trim() == "PONG");
    let page = host.exec(&["curl", "-sS", "--fail", "http://127.0.0.1:8080/"])?;
    ensure!(page.contains("nginx"), "through haproxy comes {page}");
    lab.close()
}

/// Set for the test below when it runs as the one to be killed.
const VICTIM: &str = "INTERLOCK_LAB_VICTIM";

#[test]
fn a_lab_goes_even_if_its_test_is_killed() -> Result<()> {
    let Some(lab) = Lab::open("killed")? else {
        return Ok(());
    };
    if std::env::var_os(VICTIM).is_some() {
        let host = lab.nspawn("a")?;
        host.power_on()?;
        host.wait_booted(BOOT)?;
        println!("\nlab: {}", lab.directory().display());
        std::io::stdin().read_line(&mut String::new())?;
        anyhow::bail!("it was not killed");
    }
    lab.close()?;

    let mut test = Command::new(std::env::current_exe()?)
        .args([
            "--exact",
            "a_lab_goes_even_if_its_test_is_killed",
            "--nocapture",
        ])
        .env(VICTIM, "")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(test.stdout.take().context("it is not piped")?).lines();
    let directory = lines
        .find_map(|line| line.ok()?.strip_prefix("lab: ").map(PathBuf::from))
        .context("the test to be killed has ended before")?;
    let id = directory
        .file_name()
        .context("a lab has a name")?
        .to_owned();
    let namespace = Path::new("/run/netns").join(id);
    ensure!(namespace.exists() && directory.join("hosts/a/root/usr").exists());
    test.kill()?;
    test.wait()?;
    eventually("the lab to go", SOON, || {
        ensure!(
            !namespace.exists(),
            "{} is still there",
            namespace.display()
        );
        ensure!(
            !directory.join("owner").exists(),
            "{} still has an owner",
            directory.display()
        );
        Ok(())
    })?;
    ensure!(
        directory.join("logs/journal-a.log").exists(),
        "the logs of a killed run are gone"
    );
    std::fs::remove_dir_all(directory)?;
    Ok(())
}
