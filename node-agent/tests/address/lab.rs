//! Hosts on one Ethernet: network namespaces on a bridge.
//!
//! Each test runs itself once more below `unshare`, where network, mounts and processes are its own: whatever it makes is gone
//! with its last process, also when it fails, and no packet leaves it.

use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use interlock_model::address::FloatingAddress;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Set where network, mounts and processes belong to this test alone.
const APART: &str = "INTERLOCK_TEST_APART";

/// Programs that the lab needs, with their packages.
const PROGRAMS: [(&str, &str); 3] = [
    ("/usr/bin/unshare", "util-linux"),
    ("/usr/sbin/ip", "iproute2"),
    ("/usr/sbin/nft", "nftables"),
];

/// How long something may take that is to come.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long nothing comes from where nothing is to come.
const SILENCE: Duration = Duration::from_millis(300);

/// The interface of each host.
pub(crate) const INTERFACE: &str = "eth0";

/// The floating addresses that the tests move, one of each family.
pub(crate) fn floating() -> [FloatingAddress; 2] {
    let on = |ip, prefix| FloatingAddress {
        ip,
        prefix,
        interface: INTERFACE.to_owned(),
        whole_interface: false,
    };
    [
        on(Ipv4Addr::new(10, 77, 0, 100).into(), 24),
        on(Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x100).into(), 64),
    ]
}

/// Runs the body of the test of this name in a lab of its own, or says that it was skipped.
pub(crate) fn in_a_lab(test: &str, body: impl FnOnce()) {
    if std::env::var_os(APART).is_some() {
        return body();
    }
    for (program, package) in PROGRAMS {
        if !Path::new(program).exists() {
            let why = format!("{program} is missing; `cargo xtask test` installs {package}");
            return skip(&why);
        }
    }
    let apart = "mount -t tmpfs tmpfs /run && ip link set lo up \
        && ip link add bridge type bridge && ip link set bridge up && exec \"$0\" \"$@\"";
    let ran = Command::new("unshare")
        .args(["--net", "--mount", "--pid", "--fork", "--kill-child"])
        .args([
            "--mount-proc",
            "--propagation",
            "private",
            "sh",
            "-c",
            apart,
        ])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", test])
        .env(APART, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned();
    if said.contains("unshare failed") {
        return skip("no network namespace can be made (needs root)");
    }
    assert!(ran.status.success() && said.contains("1 passed"), "{said}");
}

fn skip(why: &str) {
    crate::skip::skip("floating addresses", why);
}

/// A host on the bridge.
pub(crate) struct Host {
    name: &'static str,
}

impl Host {
    /// With these last parts of its own addresses.
    pub(crate) fn new(name: &'static str, number: u8) -> Self {
        ip(&["netns", "add", name]);
        ip(&[
            "link", "add", name, "type", "veth", "peer", INTERFACE, "netns", name,
        ]);
        ip(&["link", "set", name, "master", "bridge", "up"]);
        let host = Self { name };
        host.ip(&["link", "set", "lo", "up"]);
        host.ip(&[
            "addr",
            "add",
            &format!("10.77.0.{number}/24"),
            "dev",
            INTERFACE,
        ]);
        let own = format!("fd77::{number}/64");
        host.ip(&["addr", "add", &own, "dev", INTERFACE, "nodad"]);
        host.ip(&["link", "set", INTERFACE, "up"]);
        host.wait_for_carrier(true);
        host
    }

    /// Runs `ip` in the host.
    pub(crate) fn ip(&self, arguments: &[&str]) -> String {
        ip(&[&["-n", self.name], arguments].concat())
    }

    /// Runs a program in the host.
    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> String {
        self.inside(|| output(Command::new(program).args(arguments)))
    }

    /// Does something on a thread that is in the host.
    pub(crate) fn inside<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(Path::new("/run/netns").join(self.name)).unwrap();
        let enter = || {
            let network = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(namespace.as_fd(), network).unwrap();
            act()
        };
        thread::scope(|scope| scope.spawn(enter).join())
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// The address of its interface.
    pub(crate) fn mac(&self) -> String {
        let shown = self.ip(&["-oneline", "link", "show", INTERFACE]);
        let mut words = shown.split_whitespace();
        words.find(|word| *word == "link/ether").unwrap();
        words.next().unwrap().to_owned()
    }

    /// What the host believes to be the address of a neighbour's interface.
    pub(crate) fn neighbour(&self, address: IpAddr) -> Option<String> {
        let shown = self.ip(&["neigh", "show", &address.to_string()]);
        let mut words = shown.split_whitespace();
        words.find(|word| *word == "lladdr")?;
        words.next().map(str::to_owned)
    }

    /// Switches the port of the bridge on or off, at which the host is.
    pub(crate) fn plug(&self, in_: bool) {
        ip(&["link", "set", self.name, if in_ { "up" } else { "down" }]);
        self.wait_for_carrier(in_);
    }

    /// Makes the bridge send back to the host what comes from it, as some switches do.
    pub(crate) fn reflect(&self) {
        ip(&[
            "link",
            "set",
            self.name,
            "type",
            "bridge_slave",
            "hairpin",
            "on",
        ]);
    }

    fn wait_for_carrier(&self, carrier: bool) {
        eventually("the carrier", || {
            self.ip(&["link", "show", INTERFACE]).contains("LOWER_UP") == carrier
        });
    }

    /// A server in the host that sends back what it is sent, on a port of its own.
    pub(crate) fn echo(&self, at: IpAddr) -> SocketAddr {
        self.inside(|| {
            let listener = TcpListener::bind((at, 0)).unwrap();
            let address = listener.local_addr().unwrap();
            thread::spawn(move || {
                for stream in listener.incoming() {
                    let mut stream = stream.unwrap();
                    thread::spawn(move || std::io::copy(&mut stream.try_clone()?, &mut stream));
                }
            });
            address
        })
    }

    /// A connection from the host that works.
    pub(crate) fn talk(&self, to: SocketAddr) -> Talk {
        let stream = self
            .inside(|| TcpStream::connect_timeout(&to, PATIENCE))
            .unwrap();
        let mut talk = Talk(stream);
        talk.must_work();
        talk
    }

    /// Does a new connection from the host get nowhere?
    pub(crate) fn is_shut_out(&self, from: SocketAddr) -> bool {
        self.inside(|| TcpStream::connect_timeout(&from, SILENCE))
            .is_err()
    }
}

/// An established connection to an echo.
pub(crate) struct Talk(TcpStream);

impl Talk {
    /// Something is sent and comes back.
    pub(crate) fn must_work(&mut self) {
        assert!(self.works(PATIENCE), "the connection is cut");
    }

    /// Nothing comes back.
    pub(crate) fn is_cut(&mut self) -> bool {
        !self.works(SILENCE)
    }

    fn works(&mut self, limit: Duration) -> bool {
        self.0.set_read_timeout(Some(limit)).unwrap();
        // On the host itself the kernel tells the sender; from elsewhere the packet is gone.
        if let Err(error) = self.0.write_all(b"x") {
            assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
            return false;
        }
        match self.0.read(&mut [0]) {
            Ok(read) => read == 1,
            Err(error) => {
                assert!(
                    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
                    "{error}"
                );
                false
            }
        }
    }
}

/// Waits for something that is to come.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "{what} does not come");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Something holds, again and again, for at least this long.
pub(crate) fn all_the_time(time: Duration, mut holds: impl FnMut()) {
    let start = Instant::now();
    while start.elapsed() < time {
        holds();
        thread::sleep(Duration::from_millis(10));
    }
    holds();
}

fn ip(arguments: &[&str]) -> String {
    output(Command::new("ip").args(arguments))
}

fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}
