//! A real etcd as the store of a local cluster: one member or several, with TLS, and what a person does to it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use etcd_client::{
    AlarmAction, AlarmOptions, AlarmType, Certificate, Client, CompactionOptions, ConnectOptions,
    DeleteOptions, Identity, Permission, PermissionType, TlsOptions,
};
use interlock_mesh::credentials::Files;
use rustix::process::{Pid, Signal, kill_process};

use super::{Cluster, Life};
use crate::{eventually, skip, tools};

/// The last number of the first member's address; the others follow.
const FIRST: u8 = 241;

/// The user of coordinators, where etcd has users.
pub const USER: &str = "mgmt";

/// What is put in to use the quota up.
const FILLER: &str = "/filler/";

/// Which etcd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// Debian's, 3.4.
    Debian,
    /// 3.5.
    Newer,
}

/// A member.
#[derive(Debug)]
struct Member {
    arguments: Vec<String>,
    log: PathBuf,
    process: Option<Child>,
}

/// An etcd; it ends with the test.
#[derive(Debug)]
pub struct Etcd {
    program: PathBuf,
    members: Vec<Member>,
    urls: Vec<String>,
    files: Files,
}

impl Etcd {
    /// Starts one of so many members below the cluster's directory, with further arguments. None if it is not installed.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(
        cluster: &Cluster,
        version: Version,
        members: u8,
        further: &[&str],
        what: &str,
    ) -> Result<Option<Self>> {
        let program = match version {
            Version::Debian => tools::etcd_of_debian(),
            Version::Newer => tools::etcd(),
        };
        let program = match program {
            Ok(program) => program,
            Err(why) => {
                skip(what, &why.to_string());
                return Ok(None);
            }
        };
        let addresses: Vec<String> = (0..members)
            .map(|number| cluster.address(FIRST + number))
            .collect();
        // Nobody else speaks to this: members are on the loopback network of one test.
        let peer = |address: &str| format!("http://{address}:2380");
        let all: Vec<String> = addresses
            .iter()
            .enumerate()
            .map(|(number, address)| format!("m{number}={}", peer(address)))
            .collect();
        let first = cluster.address(FIRST);
        let files = cluster
            .authority()
            .coordinator("etcdclient", &first, Life::Now)?;
        let mut etcd = Self {
            program,
            members: Vec::new(),
            urls: Vec::new(),
            files,
        };
        for (number, address) in addresses.iter().enumerate() {
            let name = format!("m{number}");
            let tls =
                cluster
                    .authority()
                    .coordinator(&format!("etcd{number}"), address, Life::Now)?;
            let client = format!("https://{address}:2379");
            let text = |path: &Path| path.display().to_string();
            let arguments = [
                ("--name", name.clone()),
                ("--data-dir", text(&cluster.path(&format!("{name}.data")))),
                ("--listen-client-urls", client.clone()),
                ("--advertise-client-urls", client.clone()),
                ("--listen-peer-urls", peer(address)),
                ("--initial-advertise-peer-urls", peer(address)),
                ("--initial-cluster", all.join(",")),
                ("--trusted-ca-file", text(&tls.authority)),
                ("--cert-file", text(&tls.certificate)),
                ("--key-file", text(&tls.key)),
            ];
            let arguments = arguments
                .into_iter()
                .flat_map(|(name, value)| [name.to_owned(), value]);
            let further = further.iter().map(|word| (*word).to_owned());
            etcd.members.push(Member {
                arguments: arguments
                    .chain(["--client-cert-auth".to_owned()])
                    .chain(further)
                    .collect(),
                log: cluster.path(&format!("{name}.log")),
                process: None,
            });
            etcd.urls.push(client);
        }
        for number in 0..etcd.members.len() {
            etcd.launch(number)?;
        }
        Ok(Some(etcd))
    }

    /// Starts a member that is not there.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn launch(&mut self, number: usize) -> Result<()> {
        let member = &mut self.members[number];
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(&member.log)?;
        // Not left behind, however this process ends.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(&self.program)
            .args(&member.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        member.process = Some(child);
        Ok(())
    }

    /// Kills a member.
    ///
    /// # Errors
    /// It does not go.
    pub fn kill(&mut self, number: usize) -> Result<()> {
        self.members[number].kill()
    }

    /// A member stands still: its connections stay, and nothing comes over them.
    ///
    /// # Errors
    /// It does not run.
    pub fn stop(&self, number: usize) -> Result<()> {
        self.signal(number, Signal::STOP)
    }

    /// A member that stood still goes on.
    ///
    /// # Errors
    /// It does not run.
    pub fn go_on(&self, number: usize) -> Result<()> {
        self.signal(number, Signal::CONT)
    }

    fn signal(&self, number: usize, signal: Signal) -> Result<()> {
        let process = self.members[number].process.as_ref();
        let pid = Pid::from_child(process.context("it does not run")?);
        Ok(kill_process(pid, signal)?)
    }

    /// The section of the coordinator's file that names all members, after these endpoints, and goes on with these lines.
    #[must_use]
    pub fn section(&self, before: &[String], more: &str) -> String {
        let endpoints: Vec<&String> = before.iter().chain(&self.urls).collect();
        format!(
            "[store.etcd]\nendpoints = {endpoints:?}\nca = {:?}\ncert = {:?}\nkey = {:?}\n{more}",
            self.files.authority, self.files.certificate, self.files.key,
        )
    }

    /// Asks a member, as somebody who is not the coordinator; again as long as it does not answer.
    ///
    /// # Errors
    /// It does not take what it is asked.
    pub fn ask<T>(
        &self,
        number: usize,
        login: Option<(&str, &str)>,
        ask: &impl AsyncFn(&mut Client) -> Result<T, etcd_client::Error>,
    ) -> Result<T> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let tls = TlsOptions::new()
            .ca_certificate(Certificate::from_pem(fs::read(&self.files.authority)?))
            .identity(Identity::from_pem(
                fs::read(&self.files.certificate)?,
                fs::read(&self.files.key)?,
            ));
        let mut options = ConnectOptions::new()
            .with_tls(tls)
            .with_timeout(Duration::from_secs(10));
        if let Some((user, password)) = login {
            options = options.with_user(user, password);
        }
        eventually("etcd answers", Duration::from_secs(30), || {
            runtime.block_on(async {
                let connected = Client::connect([&self.urls[number]], Some(options.clone()));
                Ok(ask(&mut connected.await?).await?)
            })
        })
    }

    /// Turns users on: `root`, with the password `root`, and [`USER`], who may do what it needs below the cluster's prefix and
    /// nothing else.
    ///
    /// # Errors
    /// It does not take them.
    pub fn with_users(&self, password: &str) -> Result<()> {
        self.ask(0, None, &async |client| {
            client.user_add("root", "root", None).await?;
            client.role_add("root").await?;
            client.user_grant_role("root", "root").await?;
            client.user_add(USER, password, None).await?;
            client.role_add("interlock").await?;
            let below =
                Permission::new(PermissionType::Readwrite, "/interlock/local/").with_prefix();
            client.role_grant_permission("interlock", below).await?;
            client.user_grant_role(USER, "interlock").await?;
            client.auth_enable().await?;
            Ok(())
        })
    }

    /// Gives [`USER`] another password.
    ///
    /// # Errors
    /// It is not taken.
    pub fn change_password(&self, password: &str) -> Result<()> {
        self.ask(0, Some(("root", "root")), &async |client| {
            client.user_change_password(USER, password).await?;
            Ok(())
        })
    }

    /// Uses the quota of the only member up.
    ///
    /// # Errors
    /// It cannot be used up.
    pub fn fill(&self) -> Result<()> {
        let full = self.ask(0, None, &async |client| {
            for number in 0..100 {
                let key = format!("{FILLER}{number}");
                match client.put(key, vec![7; 256 * 1024], None).await {
                    Err(etcd_client::Error::GRpcStatus(status))
                        if status.message().contains("space exceeded") =>
                    {
                        return Ok(true);
                    }
                    other => other?,
                };
            }
            Ok(false)
        })?;
        match full {
            true => Ok(()),
            false => bail!("the quota is never used up"),
        }
    }

    /// Makes room in the only member, and takes its alarm away.
    ///
    /// # Errors
    /// It does not take that.
    pub fn make_room(&self) -> Result<()> {
        self.ask(0, None, &async |client| {
            let all = DeleteOptions::new().with_prefix();
            client.delete(FILLER, Some(all)).await?;
            Ok(())
        })?;
        self.compact()?;
        self.ask(0, None, &async |client| {
            client.defragment().await?;
            let raised = client
                .alarm(AlarmAction::Get, AlarmType::Nospace, None)
                .await?;
            for alarm in raised.alarms() {
                let mut of = AlarmOptions::new();
                of.with_member(alarm.member_id());
                let off = AlarmAction::Deactivate;
                client.alarm(off, AlarmType::Nospace, Some(of)).await?;
            }
            Ok(())
        })
    }

    /// Has it forget every revision before the present one.
    ///
    /// # Errors
    /// It does not.
    pub fn compact(&self) -> Result<()> {
        self.ask(0, None, &async |client| {
            let now = client.get("/", None).await?;
            let now = now.header().map_or(0, |header| header.revision());
            // Waits until the pages are free.
            let whole = CompactionOptions::new().with_physical();
            client.compact(now, Some(whole)).await?;
            Ok(())
        })
    }

    /// The member that leads.
    ///
    /// # Errors
    /// None does.
    pub fn leader(&self) -> Result<usize> {
        eventually("etcd has a leader", Duration::from_secs(30), || {
            for number in 0..self.members.len() {
                let leads = self.ask(number, None, &async |client| {
                    let status = client.status().await?;
                    let own = status.header().map(|header| header.member_id());
                    Ok(status.leader() != 0 && own == Some(status.leader()))
                })?;
                if leads {
                    return Ok(number);
                }
            }
            bail!("none")
        })
    }
}

impl Member {
    fn kill(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.kill()?;
            process.wait()?;
        }
        Ok(())
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        drop(self.kill());
    }
}
