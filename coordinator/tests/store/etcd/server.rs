//! Real etcd servers on loopback, with TLS in both directions.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use etcd_client::{Certificate, Client, ConnectOptions, Identity, TlsOptions};
use interlock_coordinator::store::etcd::{Access, Etcd, IfHeld, OpenError, Options};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};
use tempfile::TempDir;

/// How long a server, or what depends on it, may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Which etcd.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Version {
    /// 3.4, Debian's.
    Debian,
    /// 3.5.
    Newer,
}

impl Version {
    /// The program, if it is installed; says so in the run's list of skips if not.
    pub(crate) fn program(self) -> Option<PathBuf> {
        let name = match self {
            Self::Debian => "etcd-server",
            Self::Newer => "etcd",
        };
        // target/debug/deps/store-…: the tools are beside `debug`.
        let own = std::env::current_exe().unwrap();
        let program = own.ancestors().nth(3).unwrap().join("tools").join(name);
        if program.is_file() {
            return Some(program);
        }
        let program = program.display();
        let why = format!("{program} is missing; `cargo xtask test` installs it");
        crate::skip::skip(&format!("the store on etcd ({self:?})"), &why);
        None
    }
}

/// A certificate authority with what it has issued.
#[derive(Debug)]
pub(crate) struct Pki(PathBuf);

impl Pki {
    /// A new authority, with a certificate for servers and one for a client, in `directory`.
    pub(crate) fn new(directory: &Path) -> Self {
        std::fs::create_dir_all(directory).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let name = directory.display().to_string();
        authority.distinguished_name.push(DnType::CommonName, name);
        let own = authority.self_signed(&key).unwrap();
        std::fs::write(directory.join("ca.crt"), own.pem()).unwrap();
        let issuer = Issuer::new(authority, key);
        for name in ["server", "client"] {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
            params.distinguished_name.push(DnType::CommonName, name);
            params.extended_key_usages = vec![
                ExtendedKeyUsagePurpose::ServerAuth,
                ExtendedKeyUsagePurpose::ClientAuth,
            ];
            let issued = params.signed_by(&key, &issuer).unwrap();
            std::fs::write(directory.join(format!("{name}.crt")), issued.pem()).unwrap();
            std::fs::write(directory.join(format!("{name}.key")), key.serialize_pem()).unwrap();
        }
        Self(directory.to_owned())
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

/// One member.
#[derive(Debug)]
struct Member {
    process: Option<Child>,
    arguments: Vec<String>,
    client: u16,
    log: PathBuf,
}

/// A cluster of etcd; dropping it ends all members.
#[derive(Debug)]
pub(crate) struct Cluster {
    program: PathBuf,
    members: Vec<Member>,
    pub(crate) pki: Pki,
    pub(crate) directory: TempDir,
}

impl Cluster {
    /// One member.
    pub(crate) fn start(version: Version) -> Option<Self> {
        Self::with(version, 1, &[])
    }

    /// So many members, with further arguments.
    pub(crate) fn with(version: Version, members: usize, further: &[&str]) -> Option<Self> {
        let program = version.program()?;
        let directory = TempDir::new().unwrap();
        let pki = Pki::new(&directory.path().join("pki"));
        let mut cluster = Self {
            program,
            members: Vec::new(),
            pki,
            directory,
        };
        // Somebody else may take a free port before etcd does.
        for _ in 0..5 {
            cluster.configure(members, further);
            if (0..members).all(|member| cluster.launch(member)) && cluster.all_listen() {
                return Some(cluster);
            }
            cluster.members.clear();
        }
        panic!(
            "etcd does not start: see its logs in {:?}",
            cluster.directory.keep()
        );
    }

    fn configure(&mut self, members: usize, further: &[&str]) {
        let here = self.directory.path();
        // Held until all are chosen, so that they differ.
        let ports: Vec<TcpListener> = (0..2 * members)
            .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
            .collect();
        let port = |index: usize| ports[index].local_addr().unwrap().port();
        let peer = |member| format!("https://127.0.0.1:{}", port(2 * member));
        let initial: Vec<String> = (0..members)
            .map(|member| format!("m{member}={}", peer(member)))
            .collect();
        for member in 0..members {
            let client = port(2 * member + 1);
            let url = format!("https://127.0.0.1:{client}");
            let data = here.join(format!("m{member}-{client}"));
            let pki = |name: &str| self.pki.file(name).display().to_string();
            let mut arguments: Vec<String> = Vec::new();
            let mut set = |name: &str, value: &str| {
                arguments.extend([format!("--{name}"), value.to_owned()]);
            };
            set("name", &format!("m{member}"));
            set("data-dir", &data.display().to_string());
            set("listen-client-urls", &url);
            set("advertise-client-urls", &url);
            set("listen-peer-urls", &peer(member));
            set("initial-advertise-peer-urls", &peer(member));
            set("initial-cluster", &initial.join(","));
            // Testbed figures: leases can then be as short as a second.
            set("heartbeat-interval", "100");
            set("election-timeout", "600");
            for (what, with) in [("cert-file", "server.crt"), ("key-file", "server.key")] {
                set(what, &pki(with));
                set(&format!("peer-{what}"), &pki(with));
            }
            set("trusted-ca-file", &pki("ca.crt"));
            set("peer-trusted-ca-file", &pki("ca.crt"));
            arguments.extend([
                "--client-cert-auth".to_owned(),
                "--peer-client-cert-auth".to_owned(),
            ]);
            arguments.extend(further.iter().map(|&word| word.to_owned()));
            self.members.push(Member {
                process: None,
                arguments,
                client,
                log: here.join(format!("m{member}.log")),
            });
        }
    }

    fn launch(&mut self, member: usize) -> bool {
        let member = &mut self.members[member];
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(&member.log)
            .unwrap();
        let child = Command::new(&self.program)
            .args(&member.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        member.process = Some(child.unwrap());
        true
    }

    /// Whether all listen; false if one has ended.
    fn all_listen(&mut self) -> bool {
        let give_up = Instant::now() + PATIENCE;
        self.members.iter_mut().all(|member| {
            let process = member.process.as_mut().unwrap();
            loop {
                if std::net::TcpStream::connect(("127.0.0.1", member.client)).is_ok() {
                    return true;
                }
                if process.try_wait().unwrap().is_some() || Instant::now() > give_up {
                    return false;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        })
    }

    /// The members' URLs.
    pub(crate) fn endpoints(&self) -> Vec<String> {
        let url = |member: &Member| format!("https://127.0.0.1:{}", member.client);
        self.members.iter().map(url).collect()
    }

    pub(crate) fn access(&self) -> Access {
        Access {
            endpoints: self.endpoints(),
            ca: self.pki.file("ca.crt"),
            cert: self.pki.file("client.crt"),
            key: self.pki.file("client.key"),
            login: None,
        }
    }

    pub(crate) fn options(&self) -> Options {
        Options {
            access: self.access(),
            prefix: "/interlock/test".to_owned(),
            coordinator: "mgmt1".to_owned(),
            if_held: IfHeld::Wait,
            lease: Duration::from_secs(4),
            compact: None,
        }
    }

    pub(crate) async fn open(&self) -> Result<Etcd, OpenError> {
        Etcd::open(self.options()).await
    }

    /// A client that is not the store's.
    pub(crate) async fn client(&self, login: Option<(&str, &str)>) -> Client {
        let read = |name: &str| std::fs::read(self.pki.file(name)).unwrap();
        let tls = TlsOptions::new()
            .ca_certificate(Certificate::from_pem(read("ca.crt")))
            .identity(Identity::from_pem(read("client.crt"), read("client.key")));
        let mut options = ConnectOptions::new().with_tls(tls);
        if let Some((user, password)) = login {
            options = options.with_user(user, password);
        }
        let endpoints = self.endpoints();
        Client::connect(&endpoints[..1], Some(options))
            .await
            .unwrap()
    }

    /// Sends a member SIGSTOP: connections stay, answers do not come.
    pub(crate) fn stop(&self, member: usize) {
        self.signal(member, rustix::process::Signal::STOP);
    }

    /// Sends a member SIGCONT.
    pub(crate) fn go_on(&self, member: usize) {
        self.signal(member, rustix::process::Signal::CONT);
    }

    fn signal(&self, member: usize, signal: rustix::process::Signal) {
        let process = self.members[member].process.as_ref().unwrap();
        let pid = rustix::process::Pid::from_child(process);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Kills a member with SIGKILL.
    pub(crate) fn kill(&mut self, member: usize) {
        let mut process = self.members[member].process.take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// Starts a member again on its data.
    pub(crate) fn restart(&mut self, member: usize) {
        self.launch(member);
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            drop(process.kill());
            drop(process.wait());
        }
    }
}
