//! Baseboard management controllers: the power source that fence agents talk to.
//!
//! One process serves IPMI 2.0 over LAN (pyghmi) for all hosts, each BMC on an address of its own,
//! port 623, as in a rack. `fence_ipmilan` and `ipmitool` cannot tell it from hardware; behind it are
//! the plugs and power buttons of the lab's [`Machine`]s. The process asks and the harness answers, a
//! line each way on its standard streams, so that it holds no state that could be wrong.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::Ipv4Addr;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::{Context as _, Result, ensure};

use crate::{Host, Lab, Machine};

const SERVER: &str = include_str!("bmc.py");

/// User name that every BMC accepts.
pub const USER: &str = "admin";

/// Password of [`USER`].
pub const PASSWORD: &str = "password";

/// BMCs of some hosts of a lab; they go with this value.
#[derive(Debug)]
pub struct Bmcs {
    server: Child,
    answers: Option<JoinHandle<()>>,
    addresses: BTreeMap<String, Ipv4Addr>,
}

impl Bmcs {
    /// Starts a BMC for each host. They listen when this returns.
    ///
    /// # Errors
    ///
    /// The server did not start; its log is `logs/bmc.log`.
    pub fn start(lab: &Lab, hosts: &[&Arc<Host>]) -> Result<Self> {
        let mut machines: BTreeMap<String, Arc<dyn Machine>> = BTreeMap::new();
        let mut addresses = BTreeMap::new();
        // Debian's own Python: python3-pyghmi is installed for no other.
        let mut argv = vec![
            "/usr/bin/python3".to_owned(),
            "-u".to_owned(),
            "-c".to_owned(),
        ];
        argv.extend([SERVER, USER, PASSWORD].map(String::from));
        for &host in hosts {
            let address = lab.site().network.address(100 + host.number());
            lab.site().network.add_address(address)?;
            argv.push(format!("{}={address}", host.name()));
            addresses.insert(host.name().to_owned(), address);
            machines.insert(host.name().to_owned(), Arc::clone(host) as Arc<dyn Machine>);
        }
        let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
        let log =
            std::fs::File::create(lab.logs().join("bmc.log")).context("cannot open bmc.log")?;
        let mut command = lab.command(&argv)?;
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log);
        let mut server = command.spawn().context("cannot start the BMCs")?;
        let stdin = server
            .stdin
            .take()
            .context("the BMCs' standard input is not piped")?;
        let stdout = server
            .stdout
            .take()
            .context("the BMCs' standard output is not piped")?;
        let mut asks = BufReader::new(stdout);
        let mut first = String::new();
        asks.read_line(&mut first).context("cannot hear the BMCs")?;
        ensure!(
            first.trim() == "listening",
            "the BMCs did not start: see {}",
            lab.logs().join("bmc.log").display()
        );
        let answers = std::thread::Builder::new()
            .name("bmc".to_owned())
            .spawn(move || answer_all(&machines, asks, stdin))
            .context("cannot start the thread that answers the BMCs")?;
        Ok(Self {
            server,
            answers: Some(answers),
            addresses,
        })
    }

    /// Where the BMC of a host listens.
    pub fn address(&self, host: &str) -> Option<Ipv4Addr> {
        self.addresses.get(host).copied()
    }

    /// The arguments of `fence_ipmilan` that say which host it is about; `--action` is left to add.
    ///
    /// # Errors
    ///
    /// The host has no BMC here.
    pub fn fence_arguments(&self, host: &str) -> Result<Vec<String>> {
        let address = self
            .address(host)
            .with_context(|| format!("{host} has no BMC"))?;
        Ok(vec![
            "--lanplus".to_owned(),
            format!("--ip={address}"),
            format!("--username={USER}"),
            format!("--password={PASSWORD}"),
        ])
    }
}

impl Drop for Bmcs {
    fn drop(&mut self) {
        // It may have ended with the lab already.
        let _ = self.server.kill();
        let _ = self.server.wait();
        if let Some(answers) = self.answers.take() {
            let _ = answers.join();
        }
    }
}

/// Answers until the server is gone.
fn answer_all(
    machines: &BTreeMap<String, Arc<dyn Machine>>,
    asks: BufReader<ChildStdout>,
    mut answers: ChildStdin,
) {
    for ask in asks.lines().map_while(Result::ok) {
        let answer = answer(machines, &ask).unwrap_or_else(|error| {
            eprintln!("bmc: {ask}: {error:#}");
            "failed"
        });
        if writeln!(answers, "{answer}").is_err() {
            return;
        }
    }
}

fn answer(machines: &BTreeMap<String, Arc<dyn Machine>>, ask: &str) -> Result<&'static str> {
    let (verb, host) = ask.split_once(' ').context("it is not `<verb> <host>`")?;
    let machine = machines.get(host).context("there is no such host")?;
    match verb {
        "status" => return Ok(if machine.is_on() { "on" } else { "off" }),
        "on" => machine.power_on()?,
        "off" => machine.pull_plug()?,
        "button" => machine.press_power_button()?,
        "reset" => {
            machine.pull_plug()?;
            machine.power_on()?;
        }
        _ => anyhow::bail!("there is no such verb"),
    }
    Ok("done")
}
