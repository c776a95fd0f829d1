//! A pair on which a case is run again and again.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use interlock_e2e::pair::{self, Pair, SOON};
use interlock_e2e::rows::Writers;
use interlock_e2e::{Host, Lab, Machine, eventually};
use rustix::time::{ClockId, clock_gettime};

use super::case::{Case, Fault, Service};
use super::gap::{Gap, Phases, Sample};

/// The program of the hosts, and where they have it.
const TOOL: &str = include_str!("failover.py");
pub(super) const TOOL_AT: &str = "/opt/failover.py";

/// Time for what was set right to be known everywhere, before the next fault.
const REST: Duration = Duration::from_secs(2);

/// Time in which a host that was switched on has booted.
const BOOT: Duration = Duration::from_secs(60);

/// Two members, of which one is primary.
#[derive(Debug)]
pub(super) struct Scene<'lab> {
    pub(super) case: Case,
    pub(super) pair: Pair<'lab>,
    /// An address that no service has.
    pub(super) free_address: String,
}

impl<'lab> Scene<'lab> {
    /// Builds it, and starts the service.
    pub(super) fn build(lab: &'lab Lab, case: Case) -> Result<Self> {
        let profile = case.profile();
        let pair = match case.service() {
            Service::Postgres => {
                let lease = format!("profile: {profile}, max_lag: 16MiB");
                let site = match case.is_plain() {
                    true => pair::postgres::Site::build_plain(lab, "rejoin: rewind")?,
                    false => pair::postgres::Site::under(lab, "rejoin: rewind", &lease)?,
                };
                site.begin()?;
                site.into_pair()
            }
            Service::Redis => {
                let site = pair::redis::Site::build(lab, "rejoin: clone")?;
                site.begin()?;
                site.into_pair()
            }
            Service::Address => {
                let site = pair::address::Site::build(lab)?;
                site.begin()?;
                site.into_pair()
            }
        };
        for host in [&pair.client, &pair.one, &pair.two] {
            host.put_file(TOOL_AT, TOOL.as_bytes(), 0o644)?;
        }
        Ok(Self {
            case,
            pair,
            free_address: lab.service_address(1)?.to_string(),
        })
    }

    /// Waits until somebody is primary and the other one could be; says who, and the epoch.
    pub(super) fn settle(&self) -> Result<(String, u64)> {
        let (primary, epoch) = eventually("a primary", SOON, || self.pair.primary())?;
        let other = self.pair.other(&primary).name();
        if self.case.service() == Service::Address {
            eventually(&format!("{other} to be a standby"), SOON, || {
                let seen = self.pair.cluster.node(other)?;
                let side = &seen["instances"][0]["role"]["side"];
                ensure!(seen["liveness"] == "alive" && side == "standby", "{seen}");
                Ok(())
            })?;
        } else {
            self.pair.wait_follows(other, epoch)?;
        }
        Ok((primary, epoch))
    }

    /// Runs the case once, and sets right what it broke.
    pub(super) fn run(&self, number: u32) -> Result<Sample> {
        let (primary, epoch) = self.settle()?;
        let mut writers = Writers::default();
        let protocol = match self.case.service() {
            Service::Postgres => "postgres",
            Service::Redis | Service::Address => "redis",
        };
        let words = ["python3", TOOL_AT, "write", protocol, &self.pair.address];
        let log = format!("writer-{number}");
        writers.add_process(self.pair.client.spawn(&log, &words)?);
        writers.wait_more(100)?;
        sleep(REST);
        let before = last_server(&writers)?;

        let since = seconds(ClockId::Monotonic);
        self.break_it(&primary)?;
        eventually("another server that takes rows", SOON, || {
            let now = last_server(&writers)?;
            ensure!(now != before, "{now} does still");
            Ok(())
        })?;
        writers.wait_more(20)?;
        let gap = Gap::find(&writers.rows()?, since)?;
        drop(writers);
        let phases = self.phases(epoch, gap)?;
        let host = self.pair.host(&primary);
        if !host.is_on() {
            host.power_on()?;
            host.wait_booted(BOOT)?;
        }
        Ok(Sample {
            gap: gap.length(),
            phases,
        })
    }

    fn break_it(&self, primary: &str) -> Result<()> {
        let host: &Host = self.pair.host(primary);
        match self.case.fault() {
            Fault::Kill => {
                let unit = pair::postgres::UNIT;
                let main = ["--signal=KILL", "--kill-whom=main", unit];
                let words = [["systemctl", "kill"].as_slice(), &main].concat();
                host.exec(&words).map(drop)
            }
            Fault::Loss => host.pull_plug(),
            Fault::Switchover => {
                let words = ["switchover", self.pair.service, "--yes"];
                self.pair.cluster.run(&words).map(drop)
            }
        }
    }

    /// Where the time went; none if the epoch is the one that it was.
    fn phases(&self, before: u64, gap: Gap) -> Result<Option<Phases>> {
        let (_, epoch) = eventually("a primary", SOON, || self.pair.primary())?;
        if epoch == before {
            return Ok(None);
        }
        // The first one after it: what came later was not in this gap.
        let next = (before + 1).to_string();
        let question = ["why", self.pair.service, "--epoch", next.as_str()];
        let decision = eventually("the decision to be complete", SOON, || {
            let told = self.pair.cluster.ask(&question)?;
            let decision = &told["decisions"][0];
            ensure!(decision["times"]["primary"].is_string(), "{decision}");
            Ok(decision.clone())
        })?;
        let wall = seconds(ClockId::Realtime) - seconds(ClockId::Monotonic);
        Phases::of(&decision, gap, wall).map(Some)
    }
}

fn last_server(writers: &Writers) -> Result<String> {
    let rows = writers.rows()?;
    let last = rows.last().context("no row was acknowledged")?;
    Ok(last.server.clone())
}

/// What a clock shows.
fn seconds(clock: ClockId) -> f64 {
    let time = clock_gettime(clock);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
