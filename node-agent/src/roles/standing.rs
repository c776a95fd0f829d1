//! How a seat looks: to coordinators, to the rest of the agent, and when something is due.

use std::sync::Arc;
use std::time::Duration;

use interlock_engine::lease::Clock;
use interlock_engine::lease::leader::Standing;
use interlock_model::observation::Side;

use super::clock;
use super::seat::{Seat, Shell};
use super::view::View;
use crate::session::LeaseSay;

/// How often it is said how an instance stands that holds nothing.
const IDLE: Duration = Duration::from_secs(1);

impl Seat {
    /// In how long something is due.
    pub(super) fn due_in(&self, now: Clock) -> Duration {
        let holder = self.holder.due_in(now);
        let force = self.force.as_ref().map(|force| force.again_in(now));
        let standing = self.told.as_ref().map_or(Duration::ZERO, |(_, at)| {
            self.rhythm().saturating_sub(now.longest_since(*at))
        });
        [holder, force]
            .into_iter()
            .flatten()
            .fold(standing, Duration::min)
    }

    /// Is there nothing to do for it until it is assigned again? What it has given back is told until it is written. It
    /// is kept for as long as the agent lives: another machine that begins with what was once read from the disk would
    /// not know what this one has given back since.
    pub(super) fn is_at_rest(&self) -> bool {
        self.unassigned && self.holder.is_standby() && self.holder.is_release_written()
    }

    /// How often it is said how it stands.
    fn rhythm(&self) -> Duration {
        match self.holder.tenure() {
            Some(tenure) => tenure.terms().timings.renewal(),
            None if self.holder.is_standby() => IDLE,
            None => IDLE / 4,
        }
    }

    /// Says how it stands, if that is news, or due.
    pub(super) fn say_standing(&mut self, anyway: bool, shell: &Shell) {
        let now = clock::read();
        let standing = self.holder.standing(now);
        let told = self.told.as_ref();
        let due = told.is_none_or(|(before, at)| {
            now.longest_since(*at) >= self.rhythm() || is_news(before, &standing)
        });
        if anyway || due {
            for mail in &shell.mails {
                mail.say(
                    &self.service,
                    LeaseSay::Standing(Box::new(standing.clone())),
                );
            }
            self.told = Some((standing, now));
        }
    }

    /// How it looks from outside.
    pub(super) fn view(&self) -> View {
        View {
            side: self.side,
            epoch: self.epoch(),
            detail: self.detail(),
            since: self.since,
            down: self.down.clone(),
            busy: self.work.is_some(),
            parts: Arc::clone(&self.leased.parts),
            torn: self.door.is_torn(),
            heard: self.heard.clone(),
            follows: self.holder.facts().follows,
            marked: self.holder.facts().mark.is_some(),
            asynchronous: self.asynchronous,
            promises: self.holder.promises(),
            lost: self.lost.clone(),
            awaited: self.awaited > 0,
            turn: self.turn,
        }
    }

    fn data_text(&self) -> String {
        let data = self.data.as_ref();
        data.map_or_else(String::new, |data| data.text.clone())
    }

    fn detail(&self) -> String {
        if let Some(force) = &self.force {
            return format!("being stopped by force: {}", force.why);
        }
        if let Some(work) = &self.work {
            return format!("{} is under way", work.what());
        }
        match (self.side, self.holder.tenure()) {
            (Side::Primary, _) if self.alone && self.down.is_none() => {
                "no coordinator renews its lease: it goes on for as long as all other members promise to wait".to_owned()
            }
            (Side::Primary, _) => {
                let why = self.down.clone().or_else(|| self.unlinked.clone());
                why.unwrap_or_else(|| self.data_text())
            }
            (Side::Standby, _) => {
                let why = self.why_unready().or_else(|| self.unlinked.clone());
                why.unwrap_or_else(|| self.data_text())
            }
            _ if self.blocked => "no client reaches it until its lease is renewed".to_owned(),
            (_, Some(_)) => "writing down that it is primary".to_owned(),
            (_, None) if self.holder.facts().released_through() >= self.epoch() => {
                "writing down that the role is given back".to_owned()
            }
            (_, None) => "no coordinator has acknowledged its lease yet".to_owned(),
        }
    }
}

/// Is this something else than what was said, apart from the time of the last renewal?
fn is_news(before: &Standing, now: &Standing) -> bool {
    let mut same_time = now.clone();
    if let (Some(then), Some(holding)) = (&before.holding, &mut same_time.holding) {
        holding.renewed = then.renewed;
    }
    same_time != *before
}
