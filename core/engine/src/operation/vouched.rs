//! Starts, promotions, looks and reboots that a person takes for done, and what is built upon them.
//!
//! A person may go on without an instance. They may not have a database started upon a store that is seen to be down: what
//! waits for a step would take it for up. So a `skip` is refused while it is seen that the step has not happened and something
//! that has yet to begin needs it; where nobody can tell, the person's word stands, and what comes to light later holds up what
//! needs it.
//!
//! | step | is seen not to have happened by |
//! |---|---|
//! | start, verify, promotion | its agent: stopped, failed, stopping; its machine is off; for who waits for *healthy*, a red check of it |
//! | look at what has no agent, going up | a red check |
//! | reboot | its agent, heard from the boot in which it was to be rebooted, or in which something was done there before it |
//!
//! | needs a step | does not |
//! |---|---|
//! | what its service requires, if without this instance too few are left | what waits for the order alone (`after`, `--serial`) |
//! | the rest of the same instance: its promotion, its way back to its load balancer | what only has to be issued |
//! | what starts on a machine that was to be rebooted | what only looks |
//! | what would be taken away next: a batch begins upon the one before | |

use std::collections::BTreeSet;

use interlock_model::action::Action;
use interlock_model::check::Verdict;
use interlock_model::ids::BootId;
use interlock_model::observation::InstanceState;
use interlock_model::plan::{Step, Wait};

use super::gates::Readiness;
use super::word::Word;
use super::{Ctx, Operation, Phase, State, Verb};

/// How many steps an error names.
const NAMED: usize = 5;

impl Operation {
    /// What is seen, and which steps would begin upon a step, if that was taken for done now; none if nothing speaks against it.
    pub(super) fn would_begin_upon(&self, at: usize, ctx: &Ctx<'_>) -> Option<(String, String)> {
        let mut seen = None;
        let mut who = Vec::new();
        for (later, until) in self.waiting_behind(at) {
            let needs = self.needs(later, at, ctx);
            if let Some(what) = self.seen_against(at, until, ctx).filter(|_| needs) {
                seen.get_or_insert(what);
                who.push(self.step(later).id.to_string());
            }
        }
        let more = who.len().saturating_sub(NAMED);
        who.truncate(NAMED);
        let mut who = who.join(", ");
        if more > 0 {
            who.push_str(&format!(" and {more} more"));
        }
        seen.map(|seen| (seen, who))
    }

    /// Is nothing that a person took for done, and that this step needs, seen not to have happened?
    pub(super) fn stands_upon_skipped(&self, at: usize, ctx: &Ctx<'_>) -> Readiness {
        if !self.asked.iter().any(|asked| asked.verb == Verb::Skip) {
            return Readiness::Yes;
        }
        let mut open = self.before[at].clone();
        let mut met = BTreeSet::new();
        while let Some((other, until)) = open.pop() {
            let seen = match self.steps[other].phase {
                Phase::Skipped => self.seen_against(other, until, ctx),
                _ => None,
            };
            if let Some(what) = seen.filter(|_| self.needs(at, other, ctx)) {
                return Readiness::NotYet(format!(
                    "{what}, and {} was taken for done: repair that, or abort and plan again",
                    self.step(other).id
                ));
            }
            if is_meeting(self.step(other)) && met.insert(other) {
                open.extend(self.before[other].iter().copied());
            }
        }
        Readiness::Yes
    }

    /// May a person leave a step out that has not begun, and cannot, since a step that it is behind awaits a decision?
    pub(super) fn may_be_left_out(&self, at: usize) -> bool {
        self.state == State::NeedsAttention
            && !self.goes_back()
            && self.steps[at].phase == Phase::Waiting
            && matches!(
                self.step(at).action,
                Action::Start | Action::Verify | Action::Promote | Action::Admit { .. }
            )
            && self.is_behind_trouble(at)
    }

    fn is_behind_trouble(&self, at: usize) -> bool {
        let mut seen = BTreeSet::new();
        let mut open = vec![at];
        while let Some(other) = open.pop() {
            if self.steps[other].phase.needs_person() {
                return true;
            }
            let before = self.before[other].iter().map(|(before, _)| *before);
            let unsettled = before.filter(|before| !self.steps[*before].phase.is_settled());
            open.extend(unsettled.filter(|before| seen.insert(*before)));
        }
        false
    }

    /// The steps that have yet to be done and wait for one, also through what many meet at, and how far it has to be for them.
    fn waiting_behind(&self, at: usize) -> Vec<(usize, Wait)> {
        let mut waiting = Vec::new();
        let mut seen = BTreeSet::new();
        let mut open: Vec<(usize, usize, Option<Wait>)> = Vec::new();
        open.extend(self.behind[at].iter().map(|later| (*later, at, None)));
        while let Some((later, from, first)) = open.pop() {
            if self.steps[later].phase.is_settled() {
                continue;
            }
            let edges = self.before[later].iter();
            let until = edges
                .filter(|(other, _)| *other == from)
                .map(|(_, until)| *until)
                .max();
            let Some(until) = first.or(until) else {
                continue;
            };
            if matches!(until, Wait::None | Wait::Issued | Wait::GoingDown)
                || !seen.insert((later, until))
            {
                continue;
            }
            if is_meeting(self.step(later)) {
                let further = self.behind[later].iter();
                open.extend(further.map(|further| (*further, later, Some(until))));
            } else {
                waiting.push((later, until));
            }
        }
        waiting.sort_unstable();
        waiting.dedup_by_key(|(later, _)| *later);
        waiting
    }

    /// Does a step need what another one was to bring about, and not only its turn behind it?
    fn needs(&self, later: usize, at: usize, ctx: &Ctx<'_>) -> bool {
        let (first, next) = (self.step(at), self.step(later));
        let is_instance = first.service.is_some();
        match &next.action {
            Action::Stop
            | Action::Drain { .. }
            | Action::PowerOff { .. }
            | Action::Reboot
            | Action::WriteFile { .. } => true,
            Action::Admit { member } => {
                Some(&member.service) == first.service.as_ref()
                    && Some(&member.node) == first.node.as_ref()
            }
            Action::Start
            | Action::Verify
            | Action::Promote
            | Action::VerifyRole { .. }
            | Action::CatchUp => {
                let on_it = first.node == next.node;
                on_it && (!is_instance || first.service == next.service)
                    || self.is_required(later, at, ctx)
            }
            Action::PowerOn { .. }
            | Action::Check
            | Action::Approve { .. }
            | Action::TryFile { .. }
            | Action::RestoreFile { .. } => false,
        }
    }

    /// Does the service of a step require that of another one, and are too few instances of it left without that?
    fn is_required(&self, later: usize, at: usize, ctx: &Ctx<'_>) -> bool {
        let name = |at: usize| self.step(at).service.as_ref();
        let service = |at: usize| ctx.spec.services.get(name(at)?);
        let (Some(dependant), Some(required)) = (service(later), service(at)) else {
            return false;
        };
        let edge = dependant.dependencies.get(&required.name);
        if !edge.is_some_and(|edge| edge.needed && edge.start >= Wait::Up) {
            return false;
        }
        let node = self.step(at).node.as_ref();
        if required.is_exclusive() {
            let primary = self.final_side(&required.name);
            return primary.is_none_or(|primary| Some(&primary) == node);
        }
        let at_least = usize::try_from(required.at_least).unwrap_or(usize::MAX);
        let others = required.nodes.iter().filter(|other| Some(*other) != node);
        let left = others.filter(|other| {
            let mut places = self.places_of(&required.name, other).iter().peekable();
            match places.peek() {
                None => matches!(
                    ctx.view.state(ctx.spec, other, &required.name),
                    InstanceState::Running | InstanceState::Paused
                ),
                Some(_) => places.all(|&it| {
                    let phase = self.steps[it].phase;
                    let is_vouched = phase == Phase::Skipped;
                    let is_out = phase.needs_person()
                        || is_vouched && self.seen_against(it, Wait::Healthy, ctx).is_some();
                    !is_out
                }),
            }
        });
        left.count() < at_least.max(1)
    }

    /// Why it is seen that a step has not brought about what others wait for; none if nothing says so.
    fn seen_against(&self, at: usize, until: Wait, ctx: &Ctx<'_>) -> Option<String> {
        let step = self.step(at);
        let node = step.node.as_ref()?;
        match (&step.action, &step.service) {
            (Action::Start | Action::Verify | Action::Promote, Some(name)) => {
                if ctx.view.is_off(node) {
                    return Some(format!("{name} on {node} is down: its machine is off"));
                }
                if matches!(self.word(node, name, ctx), Word::Down | Word::GoingDown(_)) {
                    let (seen, _) = ctx.view.instance(node, name)?;
                    let why = match seen.reason.as_str() {
                        "" => String::new(),
                        reason => format!(": {reason}"),
                    };
                    return Some(format!(
                        "{name} on {node} is {}{why}, says its agent",
                        seen.state
                    ));
                }
                (until == Wait::Healthy)
                    .then(|| self.red_check(at, ctx))
                    .flatten()
            }
            (Action::Check, Some(_)) if !self.plan().kind.goes_down() => self.red_check(at, ctx),
            (Action::Reboot, _) => {
                let boot = ctx.view.node(node)?.boot.as_ref()?;
                let is_old = self.boots_before(at).any(|before| before == boot);
                (ctx.view.alive(node) && is_old).then(|| {
                    let boot: String = boot.0.chars().take(8).collect();
                    format!("{node} is in the boot {boot} in which it was to be rebooted, says its agent")
                })
            }
            _ => None,
        }
    }

    /// The boots in which a machine was when its reboot was intended, or had its turn, or something before it was done there.
    /// The last is in the journal also where the reboot itself was never sent.
    fn boots_before(&self, at: usize) -> impl Iterator<Item = &BootId> {
        let node = self.step(at).node.as_ref();
        let first = (0..=at).filter(move |it| self.step(*it).node.as_ref() == node);
        let recorded = first.filter_map(|it| self.steps[it].boot.as_ref());
        recorded.chain(self.live[at].boot.as_ref())
    }

    /// A check by which a step would be proven, and that is bad by its last result.
    fn red_check(&self, at: usize, ctx: &Ctx<'_>) -> Option<String> {
        let step = self.step(at);
        let looks = step.action == Action::Check;
        let gates = step.gates.iter().filter(|_| looks);
        let mut asked = gates
            .chain(&step.healthy)
            .filter(|gate| !self.plan().forced.contains(&gate.check));
        asked.find_map(|gate| {
            let seen = ctx.view.check(ctx.spec, &gate.on, &gate.check, ctx.now);
            (seen.verdict == Verdict::Bad)
                .then(|| format!("{} on {} is bad: {}", gate.check, gate.on, seen.evidence))
        })
    }
}

/// Is a step no more than the place where many meet, or where a person is asked?
fn is_meeting(step: &Step) -> bool {
    match step.action {
        Action::Check => step.node.is_none(),
        Action::Approve { .. } => true,
        _ => false,
    }
}
