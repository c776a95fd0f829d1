//! A plain HAProxy before the service: it asks the agents who the primary is, and nobody tells it.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use interlock_e2e::rows::Writers;
use interlock_e2e::{Host, Lab, Machine, Process, eventually};

use crate::site::{HEALTH_PORT, SOON, Site};

const ASKER: &str = include_str!("asker.py");
const ASKER_AT: &str = "/opt/asker.py";
const HAPROXY_AT: &str = "/opt/haproxy.cfg";

/// Where writers reach the primary on the client's machine.
const FRONT: u16 = 6380;

/// An answer of an agent.
#[derive(Debug, Clone, Copy)]
struct Answer {
    asked: f64,
    answered: f64,
    status: u16,
}

/// The service with a load balancer on the client's machine.
struct Balanced<'lab> {
    site: Site<'lab>,
    /// By node: who asks it.
    askers: Vec<(String, Process)>,
    haproxy: Process,
    writers: Writers,
}

impl<'lab> Balanced<'lab> {
    fn build(lab: &'lab Lab) -> Result<Self> {
        let site = Site::build(lab)?;
        let client = &site.client;
        client.put_file(ASKER_AT, ASKER.as_bytes(), 0o644)?;
        client.put_file(HAPROXY_AT, config(&site).as_bytes(), 0o644)?;
        site.cluster
            .run(&["startup", "--service", "register", "--yes"])?;
        let mut askers = Vec::new();
        for host in [&site.one, &site.two] {
            let (address, port) = (host.address().to_string(), HEALTH_PORT.to_string());
            let argv = ["python3", ASKER_AT, &address, &port, "/primary"];
            let asker = client.spawn(&format!("asker-{}", host.name()), &argv)?;
            askers.push((host.name().to_owned(), asker));
        }
        let haproxy = client.spawn("haproxy", &["/usr/sbin/haproxy", "-db", "-f", HAPROXY_AT])?;
        let mut writers = Writers::default();
        writers.add(client, &format!("127.0.0.1:{FRONT}"))?;
        let balanced = Self {
            site,
            askers,
            haproxy,
            writers,
        };
        balanced.writes_go_on()?;
        Ok(balanced)
    }

    /// Writes are taken by way of the load balancer.
    fn writes_go_on(&self) -> Result<()> {
        let before = self.writers.count()?;
        eventually("writes through the load balancer", SOON, || {
            let count = self.writers.count()?;
            ensure!(
                count > before + 50,
                "{count} after {before}; {}",
                fs::read_to_string(self.haproxy.log())?
            );
            Ok(())
        })
    }

    /// What a node's agent answered.
    fn answers(&self, node: &str) -> Result<Vec<Answer>> {
        let asker = self.askers.iter().find(|(name, _)| name == node);
        let (_, asker) = asker.context("nobody asks it")?;
        let log = fs::read_to_string(asker.log())?;
        let mut answers = Vec::new();
        for line in log.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            if let [asked, answered, status] = words.as_slice()
                && let (Ok(asked), Ok(answered), Ok(status)) =
                    (asked.parse(), answered.parse(), status.parse())
            {
                answers.push(Answer {
                    asked,
                    answered,
                    status,
                });
            }
        }
        Ok(answers)
    }

    /// The former primary said no, before the new one said yes for the first time, and did not say yes again.
    fn no_before_yes(&self, old: &str, new: &str) -> Result<()> {
        let yes = |answer: &&Answer| answer.status == 200;
        let (old_answers, new_answers) = (self.answers(old)?, self.answers(new)?);
        let first = new_answers.iter().find(yes).context("never yes")?;
        let last = old_answers.iter().rfind(yes).context("never yes")?;
        let no = old_answers
            .iter()
            .find(|it| it.status == 503 && it.asked > last.answered)
            .context("never no")?;
        ensure!(
            last.asked < first.answered,
            "{old} said yes at {last:?}, {new} at {first:?}"
        );
        ensure!(
            no.asked < first.answered,
            "{old} said no at {no:?}, {new} yes at {first:?}"
        );
        println!(
            "{old} said no {:.3} s before {new} said yes",
            first.answered - no.asked
        );
        Ok(())
    }
}

/// As its manual has it: no word of Interlock in it.
fn config(site: &Site<'_>) -> String {
    let server = |host: &Host| {
        format!(
            "  server {} {}:6379 check port {HEALTH_PORT}\n",
            host.name(),
            host.address()
        )
    };
    format!(
        "global\n  maxconn 200\ndefaults\n  mode tcp\n  timeout connect 1s\n  timeout client 30s\n  timeout server 30s\n\
         listen writers\n  bind 127.0.0.1:{FRONT}\n  option httpchk OPTIONS /primary\n  http-check expect status 200\n  \
         default-server inter 100ms fall 2 rise 1 on-marked-down shutdown-sessions\n{}{}",
        server(&site.one),
        server(&site.two)
    )
}

#[test]
fn a_plain_haproxy_follows_the_role_and_hears_no_before_anybody_hears_yes() -> Result<()> {
    let Some(lab) = Lab::open("lease-haproxy")? else {
        return Ok(());
    };
    let it = Balanced::build(&lab)?;
    let (first, _) = it.site.primary()?;
    let second = it.site.other(&first).name().to_owned();
    it.site.cluster.run(&["switchover", "register", "--yes"])?;
    it.writes_go_on()?;
    it.no_before_yes(&first, &second)?;
    lab.close()
}

#[test]
fn a_primary_that_no_coordinator_hears_sends_its_clients_away_before_it_is_replaced() -> Result<()>
{
    let Some(lab) = Lab::open("lease-haproxy-cut")? else {
        return Ok(());
    };
    let it = Balanced::build(&lab)?;
    let (first, _) = it.site.primary()?;
    let second = it.site.other(&first).name().to_owned();
    // Its clients, and the load balancer, still reach it.
    lab.cut(&first, "mgmt1")?;
    eventually("the other one to be primary", SOON, || {
        let found = it.answers(&second)?;
        ensure!(found.iter().any(|it| it.status == 200), "{second} says no");
        Ok(())
    })?;
    it.writes_go_on()?;
    it.no_before_yes(&first, &second)?;
    println!(
        "without its coordinator: no write for {:?}",
        it.writers.longest_gap()?
    );
    lab.heal()?;
    // It comes back as a standby, and nobody is sent to it.
    eventually("the machine to be a standby", SOON, || {
        let node = it.site.cluster.node(&first)?;
        let side = &node["instances"][0]["role"]["side"];
        ensure!(node["liveness"] == "alive" && side == "standby", "{node}");
        Ok(())
    })?;
    std::thread::sleep(Duration::from_secs(1));
    it.no_before_yes(&first, &second)?;
    it.writers.never_two_at_once()?;
    lab.close()
}
