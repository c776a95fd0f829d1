//! An agent that starts: what it finds, and what it may believe (safety rule E12).
//!
//! | found | deadline in `/run` | what follows |
//! |---|---|---|
//! | primary | valid: this boot, this epoch, not over | goes on with it |
//! | primary | none, with a mark of this boot | writes are blocked, the same epoch is renewed, then unblocked |
//! | primary | none, no mark of this boot | nobody gave it that role: stopped by force |
//! | standby | any, with a mark that was not released | stopped by force, then released |
//! | nothing | any, with a mark that was not released | released: whatever held it is gone |

use super::{Clock, Config, Effect, Facts, Found, Holder, Mark, Phase, Released, Tenure};
use interlock_model::lease::{Holder as Member, Synchrony};
use std::collections::{BTreeMap, VecDeque};

impl Holder {
    /// The machine of an agent that has just started, and what it wants done first.
    ///
    /// `kept` is what was last kept in `/run`, `found` what is so on the node, both looked at before anything is touched.
    #[must_use]
    pub fn start(
        config: Config,
        facts: Facts,
        kept: Option<Tenure>,
        found: Found,
        now: Clock,
    ) -> (Self, Vec<Effect>) {
        let released = facts.released.as_ref();
        let unreported = released.map(|released| released.report(&config.service));
        let mut holder = Self {
            started: now,
            durable_seen: facts.seen,
            seen_at_start: facts.seen,
            last_batch: 0,
            committing: VecDeque::new(),
            phase: Phase::Standby,
            tenure: None,
            claimed: None,
            mark_before: None,
            unwritten: false,
            wished: None,
            sent: BTreeMap::new(),
            last_sent: None,
            // What the life before this one has sent, it has sent before now.
            highest_sent: now.boottime,
            turn: 0,
            armed: false,
            arms: false,
            synchrony: Synchrony::Off,
            degrading: false,
            // What the life before this one has said is not known.
            recorded_off: false,
            position: None,
            unready: Some("its agent has just started".to_owned()),
            unlinked: None,
            hears: false,
            score: None,
            promise: None,
            questions: VecDeque::new(),
            unreported,
            last_report: None,
            exiting: false,
            last_call: Some(now),
            facts,
            config,
        };
        let mut out = Vec::new();
        holder.begin(kept, found, now, &mut out);
        (holder, out)
    }

    fn begin(&mut self, kept: Option<Tenure>, found: Found, now: Clock, out: &mut Vec<Effect>) {
        let open = self.facts.mark.clone();
        let open = open.filter(|mark| mark.epoch > self.facts.released_through());
        match (found, open) {
            (Found::Primary, Some(mark)) if mark.boot == self.config.me.boot => {
                let valid = kept.filter(|tenure| {
                    tenure.boot() == &mark.boot
                        && tenure.epoch() == mark.epoch
                        && !tenure.has_lapsed(now)
                });
                match valid {
                    Some(tenure) => self.adopt(tenure, now, out),
                    None => self.block(&mark, now, out),
                }
            }
            (Found::Primary, _) => {
                self.force_stop_unowned(now, "nobody gave it that role", out);
                self.forget_line(out);
            }
            (Found::Standby, Some(_)) => {
                self.force_stop_unowned(now, "it is no primary any more", out);
            }
            (Found::Nothing, Some(mark)) => {
                if mark.boot == self.config.me.boot {
                    self.disarm(out);
                }
                let by = Member {
                    node: self.config.me.node.clone(),
                    boot: mark.boot,
                };
                self.free(
                    Released {
                        epoch: mark.epoch,
                        by,
                        began: true,
                        position: None,
                    },
                    out,
                );
            }
            (Found::Standby | Found::Nothing, None) => {}
        }
    }

    /// Goes on with what the agent before this one had.
    fn adopt(&mut self, tenure: Tenure, now: Clock, out: &mut Vec<Effect>) {
        self.tenure = Some(tenure);
        self.phase = Phase::Primary;
        // An armed watchdog stays armed over a restart of its agent (a device that is closed without the magic character
        // goes on). To open it again pets it, so an older right waits for its next renewal.
        self.arm(now, out);
        self.open_path(now, out);
    }

    fn block(&mut self, mark: &Mark, now: Clock, out: &mut Vec<Effect>) {
        out.extend([Effect::ClosePath, Effect::Block, Effect::Keep(None)]);
        self.phase = Phase::Blocked {
            epoch: mark.epoch,
            since: now,
        };
    }
}
