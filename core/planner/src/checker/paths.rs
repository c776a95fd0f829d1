//! Paths through a plan.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use interlock_model::action::Action;
use interlock_model::names::{NodeName, ServiceName};
use interlock_model::plan::{Plan, Step, StepId, Wait};

use crate::cost;

/// The transitive closure of a plan's edges, as one row of bits per step, and an index of its steps.
#[derive(Debug)]
pub(super) struct Paths<'a> {
    pub(super) steps: &'a [Step],
    /// By step: the steps that wait for it, and until when.
    next: Vec<Vec<(usize, Wait)>>,
    /// By step: the steps that start only after it has started.
    beyond: Vec<Vec<u64>>,
    by_node: BTreeMap<&'a NodeName, Vec<usize>>,
    joins: BTreeMap<&'a ServiceName, Vec<usize>>,
    starts: BTreeMap<&'a ServiceName, Vec<usize>>,
    by_place: BTreeMap<(Option<&'a ServiceName>, Option<&'a NodeName>), Vec<usize>>,
    by_id: BTreeMap<&'a StepId, usize>,
    /// What was asked of [`Paths::beyond`]: where many depend on many, the same is asked once for each edge.
    known: RefCell<BTreeMap<(usize, Wait), Rc<Beyond>>>,
}

/// A step that so many at most wait for is looked at edge by edge.
const FEW: usize = 8;

/// What starts only after some step has reached some condition.
#[derive(Debug)]
pub(super) struct Beyond(Vec<u64>);

impl Beyond {
    pub(super) fn contains(&self, step: usize) -> bool {
        self.0[step / 64] & (1 << (step % 64)) != 0
    }
}

impl<'a> Paths<'a> {
    /// The plan must be listed so that edges lead backwards only.
    pub(super) fn new(plan: &'a Plan) -> Self {
        let steps = plan.steps.as_slice();
        let by_id: BTreeMap<&StepId, usize> = steps
            .iter()
            .enumerate()
            .map(|(index, step)| (&step.id, index))
            .collect();
        let mut next = vec![Vec::new(); steps.len()];
        let mut by_place: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        let mut by_node: BTreeMap<&NodeName, Vec<usize>> = BTreeMap::new();
        let mut joins: BTreeMap<&ServiceName, Vec<usize>> = BTreeMap::new();
        let mut starts: BTreeMap<&ServiceName, Vec<usize>> = BTreeMap::new();
        for (index, step) in steps.iter().enumerate() {
            match (&step.service, &step.node) {
                (service, Some(node)) => {
                    by_node.entry(node).or_default().push(index);
                    if let Some(service) = service.as_ref().filter(|_| brings_up(&step.action)) {
                        starts.entry(service).or_default().push(index);
                    }
                }
                (Some(service), None) => joins.entry(service).or_default().push(index),
                (None, None) => {}
            }
            by_place
                .entry((step.service.as_ref(), step.node.as_ref()))
                .or_default()
                .push(index);
            for after in &step.after {
                if let Some(on) = by_id.get(&after.step) {
                    next[*on].push((index, after.until));
                }
            }
        }
        let words = steps.len().div_ceil(64);
        let mut beyond: Vec<Vec<u64>> = vec![Vec::new(); steps.len()];
        for index in (0..steps.len()).rev() {
            cost::count(next[index].len());
            let mut row = vec![0; words];
            for (step, _) in &next[index] {
                row[step / 64] |= 1 << (step % 64);
                row.iter_mut()
                    .zip(&beyond[*step])
                    .for_each(|(bits, more)| *bits |= more);
            }
            beyond[index] = row;
        }
        Self {
            steps,
            next,
            beyond,
            by_node,
            joins,
            starts,
            by_place,
            by_id,
            known: RefCell::default(),
        }
    }

    /// The steps that start only after `step` has reached `until`.
    pub(super) fn beyond(&self, step: usize, until: Wait) -> Rc<Beyond> {
        let known = self.known.borrow().get(&(step, until)).map(Rc::clone);
        known.unwrap_or_else(|| {
            let beyond = Rc::new(self.look_beyond(step, until));
            let mut known = self.known.borrow_mut();
            known.insert((step, until), Rc::clone(&beyond));
            beyond
        })
    }

    fn look_beyond(&self, step: usize, until: Wait) -> Beyond {
        cost::count(self.next[step].len());
        let mut row = vec![0; self.steps.len().div_ceil(64)];
        for next in self.after_it_reached(step, until) {
            row[next / 64] |= 1 << (next % 64);
            row.iter_mut()
                .zip(&self.beyond[next])
                .for_each(|(bits, more)| *bits |= more);
        }
        Beyond(row)
    }

    /// Does `later` start only after `step` has reached `until`?
    pub(super) fn awaits(&self, later: usize, step: usize, until: Wait) -> bool {
        if self.next[step].len() > FEW {
            return self.beyond(step, until).contains(later);
        }
        self.after_it_reached(step, until)
            .any(|next| next == later || self.leads_to(next, later))
    }

    /// The steps with an edge that waits for `step` until `until` or more.
    fn after_it_reached(&self, step: usize, until: Wait) -> impl Iterator<Item = usize> + use<'_> {
        // A check and a person's confirmation have one condition only: done.
        let only_done = matches!(
            self.steps[step].action,
            Action::Check | Action::VerifyRole { .. } | Action::CatchUp | Action::Approve { .. }
        );
        let enough = move |(_, condition): &&(usize, Wait)| only_done || *condition >= until;
        self.next[step].iter().filter(enough).map(|(next, _)| *next)
    }

    /// Does `later` start only after `step` has started?
    pub(super) fn leads_to(&self, step: usize, later: usize) -> bool {
        self.beyond[step][later / 64] & (1 << (later % 64)) != 0
    }

    /// The steps about one instance each, on this node, whose action is wanted.
    pub(super) fn on_node(
        &self,
        node: &'a NodeName,
        wanted: impl Fn(&Action) -> bool,
    ) -> Vec<(usize, &'a ServiceName)> {
        let here = self.by_node.get(node).into_iter().flatten().copied();
        here.filter(|step| wanted(&self.steps[*step].action))
            .filter_map(|step| Some((step, self.steps[step].service.as_ref()?)))
            .collect()
    }

    /// The step in which an instance becomes primary.
    pub(super) fn promote(&self, service: &'a ServiceName, node: &'a NodeName) -> Option<usize> {
        let here = self.by_place.get(&(Some(service), Some(node)))?;
        let mut here = here.iter().copied();
        here.find(|step| self.steps[*step].action == Action::Promote)
    }

    /// The points where many instances of a service meet.
    pub(super) fn joins(&self, service: &'a ServiceName) -> &[usize] {
        self.joins
            .get(service)
            .map(Vec::as_slice)
            .unwrap_or_default()
    }

    /// The steps that bring the instances of a service up, or wait for them.
    pub(super) fn starts(&self, service: &'a ServiceName) -> &[usize] {
        self.starts
            .get(service)
            .map(Vec::as_slice)
            .unwrap_or_default()
    }

    /// Does the step only wait for the health of something that the plan does not start?
    pub(super) fn only_looks(&self, step: usize, agentless: bool) -> bool {
        !agentless && matches!(self.steps[step].action, Action::Check)
    }

    pub(super) fn id(&self, id: &str) -> Option<usize> {
        self.by_id.get(&StepId::new(id)).copied()
    }

    fn at(
        &self,
        service: Option<&'a ServiceName>,
        node: Option<&'a NodeName>,
        wanted: impl Fn(&Action) -> bool,
    ) -> Option<usize> {
        let places = self.by_place.get(&(service, node))?;
        places
            .iter()
            .copied()
            .find(|index| wanted(&self.steps[*index].action))
    }

    /// The step that stops an instance. Where no agent is, its machine's power-off or a person's confirmation.
    pub(super) fn stop(
        &self,
        service: &'a ServiceName,
        node: &'a NodeName,
        agentless: bool,
    ) -> Option<usize> {
        if agentless {
            return self
                .power_off(node)
                .or_else(|| self.id(&format!("approve:stop.{service}.{node}")));
        }
        self.at(Some(service), Some(node), |action| {
            matches!(action, Action::Stop)
        })
    }

    /// The step that brings an instance up, or waits for it.
    pub(super) fn start(&self, service: &'a ServiceName, node: &'a NodeName) -> Option<usize> {
        self.at(Some(service), Some(node), brings_up)
    }

    pub(super) fn power_off(&self, node: &'a NodeName) -> Option<usize> {
        self.at(None, Some(node), |action| {
            matches!(action, Action::PowerOff { .. })
        })
    }

    pub(super) fn power_on(&self, node: &'a NodeName) -> Option<usize> {
        self.at(None, Some(node), |action| {
            matches!(action, Action::PowerOn { .. })
        })
    }
}

fn brings_up(action: &Action) -> bool {
    matches!(action, Action::Start | Action::Verify | Action::Check)
}
