//! The least that a move costs on this machine: a promotion, and an address that changes its machine, both by hand.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use interlock_e2e::Machine;

use super::case::Service;
use super::scene::{Scene, TOOL_AT};
use crate::stats::middle;

/// For how long is asked after an address that moves.
const ASKED: &str = "3";

/// What was measured, in seconds.
#[derive(Debug, Default)]
pub(super) struct Floors {
    /// From `pg_promote` to the first row.
    promotions: Vec<f64>,
    /// From the command that adds an address to the first answer from there.
    moves: Vec<f64>,
}

impl Floors {
    /// Measures them on the hosts of a scene, whose service goes on.
    pub(super) fn measure(&mut self, scene: &Scene<'_>, times: u32) -> Result<()> {
        let pair = &scene.pair;
        let mut echoes = Vec::new();
        for host in [&pair.one, &pair.two] {
            echoes.push(host.spawn("echo", &["python3", TOOL_AT, "echo"])?);
        }
        for number in 0..=times {
            let moved = move_address(scene, number)?;
            // At first nobody had it.
            if number > 0 {
                self.moves.push(moved);
            }
        }
        drop(echoes);
        if scene.case.service() == Service::Postgres {
            let (primary, _) = pair.primary()?;
            let host = pair.other(&primary);
            for _ in 0..times {
                let words = ["runuser", "-u", "postgres", "--", "python3", TOOL_AT];
                let words = [words.as_slice(), &["promote", &pair.address]].concat();
                let said = host.exec(&words)?;
                self.promotions
                    .push(said.trim().parse().context("no duration")?);
            }
        }
        Ok(())
    }

    /// What a move of this service needs at least.
    pub(super) fn sum(&self) -> Option<f64> {
        let moved = middle(&mut self.moves.clone())?;
        Some(moved + middle(&mut self.promotions.clone()).unwrap_or(0.0))
    }

    /// The floors one by one, in a line.
    pub(super) fn told(&self) -> Option<String> {
        let moved = middle(&mut self.moves.clone())?;
        Some(match middle(&mut self.promotions.clone()) {
            Some(promoted) => format!(
                "floor: promote to first row {promoted:.3}, address to first packet {moved:.3}"
            ),
            None => format!("floor: address to first packet {moved:.3}"),
        })
    }
}

/// Moves an address that no service has to the other member, while a client asks after it every millisecond.
fn move_address(scene: &Scene<'_>, number: u32) -> Result<f64> {
    let pair = &scene.pair;
    let (from, to) = if number.is_multiple_of(2) {
        (&pair.one, &pair.two)
    } else {
        (&pair.two, &pair.one)
    };
    let address = scene.free_address.as_str();
    let words = ["python3", TOOL_AT, "ask", address, ASKED];
    let mut asker = pair.client.spawn(&format!("asker-{number}"), &words)?;
    if number > 0 {
        let net = format!("{address}/24");
        from.exec(&["ip", "addr", "del", &net, "dev", "host0"])?;
    }
    let said = to.exec(&["python3", TOOL_AT, "take", address])?;
    let began: f64 = said.trim().parse().context("no time")?;
    asker.wait(std::time::Duration::from_secs(20))?;
    let log = fs::read_to_string(asker.log())?;
    let answers = log.lines().filter_map(|line| line.split_once(' '));
    let first = answers
        .filter(|(_, name)| *name == to.name())
        .find_map(|(at, _)| at.parse::<f64>().ok().filter(|at| *at > began));
    let first = first.with_context(|| format!("{} never answered: {log}", to.name()))?;
    ensure!(first > began, "an answer before the question");
    Ok(first - began)
}
