//! `cargo xtask demo --system hcdc`: a whole system by its shipped spec, with real servers, and with stand-ins for the
//! closed product.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use clap::ValueEnum;
use interlock_e2e::eventually;
use interlock_e2e::local::vm::Process;
use interlock_e2e::systems::{System, hcdc, mstr};

use super::end::KEEPER;
use super::story::{self, act, look_around, say};

/// The longest that anything takes here.
const SOON: Duration = Duration::from_secs(60);

/// The systems that can be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Name {
    /// jtel ACD, of stand-ins alone: thirteen machines that are switched.
    Jtel,
    /// Hipchat Data Center: real PostgreSQL, Redis and HAProxy. Needs root, to mount a share.
    Hcdc,
    /// MicroStrategy Collaboration Server: real PostgreSQL, Redis and nginx.
    Mstr,
}

impl Name {
    /// What this machine lacks for it, in a line.
    pub(super) fn missing(self) -> Option<String> {
        match self {
            Self::Hcdc => hcdc::missing(),
            Self::Mstr => mstr::missing(),
            Self::Jtel => None,
        }
    }
}

/// Shows one of those with real servers; none of `Jtel`.
pub(crate) fn tell(name: Name, keep: bool) -> Result<()> {
    say(match name {
        Name::Hcdc => {
            "A Hipchat Data Center as deploy/clusters/hcdc.yaml has it, on this machine's loopback network: a real \
             PostgreSQL, Redis and HAProxy, a share, and three nodes. Those are stand-ins for the closed product, which \
             log in to both stores and write into the share."
        }
        Name::Mstr => {
            "A MicroStrategy Collaboration Server as deploy/clusters/mstr.yaml has it, on this machine's loopback \
             network: a real PostgreSQL, Redis and nginx, and three instances. Those are stand-ins for the closed product, \
             which log in to both stores and talk to each other through Redis; the rest of it does nothing but listen."
        }
        Name::Jtel => bail!("jtel has a story of its own"),
    });
    let gone = "something went missing meanwhile";
    match name {
        Name::Hcdc => tell_of(hcdc::Site::begin()?.context(gone)?, keep),
        Name::Mstr => tell_of(mstr::Site::begin()?.context(gone)?, keep),
        Name::Jtel => Ok(()),
    }
}

fn tell_of(site: impl System, keep: bool) -> Result<()> {
    show(&site)?;
    if keep {
        act(5, "And up again, to be looked at.");
        operation(&site, &["startup", "--all"])?;
        let (ctl, product) = (site.ctl()?, site.product());
        let (directory, keeper) = site.keep()?;
        Process::running(keeper)?.write(&directory.join(KEEPER))?;
        look_around(&ctl, &directory, product);
    }
    Ok(())
}

/// Runs an operation, and shows it.
fn operation(site: &impl System, words: &[&str]) -> Result<()> {
    let always = ["--yes", "--cluster", "local", "--reason", "demo"];
    ctl(site, &[words, &always].concat())
}

fn show(site: &impl System) -> Result<()> {
    let began = Instant::now();
    let (product, (store, on)) = (site.product(), site.store());
    let operation = |words: &[&str]| operation(site, words);
    let is = |state: &str| site.operator().until_service(product, state, &[]);

    act(
        1,
        "Bring everything up, in order: each store is asked from each machine that needs it, and the load balancer gets \
         each instance when that is healthy.",
    );
    operation(&["startup", "--all"])?;

    act(
        2,
        &format!(
            "Somebody stops {store}, past all plans. All instances miss it; there is one cause."
        ),
    );
    let agent = format!("{on}={}", site.cluster().agent_endpoint(on)?);
    let by_hand = |verb: &str| {
        let words = ["node", verb, "--node", &agent, "--reason", "demo", store];
        ctl(site, &words)
    };
    let before = site.processes()?;
    by_hand("stop")?;
    eventually("the cause is seen", SOON, || {
        let causes = site.operator().status()?.causes;
        let of_all = |dependants: &[String]| dependants.iter().any(|it| it == product);
        let seen = causes.iter().any(|it| of_all(&it.dependants));
        ensure!(seen, "{causes:?}");
        Ok(())
    })?;
    ctl(site, &["status"])?;
    by_hand("start")?;
    is("ok")?;
    ensure!(site.processes()? == before, "an instance was restarted");
    println!("It is back, and so are all instances, each as the process that it was.");

    act(
        3,
        "Restart the instances, while somebody asks for pages: each is taken out of the load balancer, restarted, and \
         let in again when it is well.",
    );
    let (over, pages) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|clients| -> Result<()> {
        let client = clients.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                site.ask().context("a page was lost")?;
                pages.fetch_add(1, Ordering::Relaxed);
            }
            anyhow::Ok(())
        });
        let restarted = operation(&["restart", "--service", product]);
        over.store(true, Ordering::Relaxed);
        let asked = client.join();
        restarted?;
        asked.map_err(|_| anyhow::anyhow!("the client panicked"))?
    })?;
    is("ok")?;
    let pages = pages.load(Ordering::Relaxed);
    println!("\n{pages} pages were asked for meanwhile, and none was lost.");

    act(4, "Take everything down, in the reverse order.");
    let losses = site.losses()?;
    operation(&["shutdown", "--all"])?;
    ensure!(site.losses()? == losses, "a store went before its users");
    println!(
        "\nNo instance has lost a store on the way down, says its own log.\nThe demo took {} s.",
        began.elapsed().as_secs()
    );
    Ok(())
}

/// Runs a command of the operator, and shows it and what it prints.
fn ctl(site: &impl System, arguments: &[&str]) -> Result<()> {
    story::show(site.ctl()?.args(arguments), arguments)
}
