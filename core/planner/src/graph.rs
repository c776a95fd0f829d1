//! The graph under construction: steps, edges, joins, and their final order.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use interlock_model::action::Action;
use interlock_model::plan::{After, Step, StepId, Wait};

/// More edges than this between two groups of steps, and a joining step stands in between. Low enough to keep a plan
/// for a thousand nodes linear, high enough that ordinary clusters read without joins.
pub(crate) const FAN: usize = 64;

/// A step of the graph, by the order in which it was added.
pub(crate) type Handle = usize;

/// Steps with their edges. Among steps that may run at once, the one that was added first is issued first.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    steps: Vec<Step>,
    after: Vec<BTreeMap<Handle, Wait>>,
    /// The step in whose place each is issued: itself, or the one that it belongs to.
    place: Vec<Handle>,
}

impl Graph {
    pub(crate) fn add(&mut self, step: Step) -> Handle {
        self.steps.push(step);
        self.after.push(BTreeMap::new());
        self.place.push(self.steps.len() - 1);
        self.steps.len() - 1
    }

    /// Adds a step that belongs to another one, and is issued as if it had been added with it.
    pub(crate) fn add_beside(&mut self, step: Step, other: Handle) -> Handle {
        let handle = self.add(step);
        self.place[handle] = self.place[other];
        handle
    }

    pub(crate) fn len(&self) -> usize {
        self.steps.len()
    }

    pub(crate) fn step(&self, handle: Handle) -> &Step {
        &self.steps[handle]
    }

    /// What `step` waits for.
    pub(crate) fn edges(&self, step: Handle) -> &BTreeMap<Handle, Wait> {
        &self.after[step]
    }

    /// Lets `step` wait for `on`. Two edges between the same steps become the stronger one.
    pub(crate) fn after(&mut self, step: Handle, on: Handle, until: Wait) {
        if until == Wait::None || step == on {
            return;
        }
        let until = self.reachable(on, until);
        self.after[step]
            .entry(on)
            .and_modify(|known| *known = until.max(*known))
            .or_insert(until);
    }

    pub(crate) fn forget(&mut self, step: Handle, on: Handle) {
        self.after[step].remove(&on);
    }

    /// A wait condition that the step can reach: a person's confirmation is never *down*, and a check is *healthy* or
    /// nothing.
    fn reachable(&self, on: Handle, until: Wait) -> Wait {
        match self.steps[on].action {
            Action::Check
            | Action::VerifyRole { .. }
            | Action::CatchUp
            | Action::Approve { .. } => self.end(on),
            Action::Start
            | Action::Stop
            | Action::Verify
            | Action::Promote
            | Action::PowerOn { .. }
            | Action::PowerOff { .. }
            | Action::Drain { .. }
            | Action::Admit { .. }
            | Action::TryFile { .. }
            | Action::WriteFile { .. }
            | Action::RestoreFile { .. }
            | Action::Reboot => until,
        }
    }

    /// The condition that a step reaches last.
    pub(crate) fn end(&self, handle: Handle) -> Wait {
        match self.steps[handle].action {
            Action::Stop | Action::PowerOff { .. } | Action::Drain { .. } => Wait::Down,
            Action::PowerOn { .. }
            | Action::Reboot
            | Action::Admit { .. }
            | Action::TryFile { .. }
            | Action::WriteFile { .. }
            | Action::RestoreFile { .. }
            | Action::Approve { .. } => Wait::Up,
            Action::Start
            | Action::Verify
            | Action::Promote
            | Action::VerifyRole { .. }
            | Action::CatchUp
            | Action::Check => Wait::Healthy,
        }
    }

    /// Each of `to` waits for all of `from`; through the step that `join` makes if that would be many edges.
    pub(crate) fn fan(
        &mut self,
        from: &[(Handle, Wait)],
        to: &[Handle],
        join: impl FnOnce() -> Step,
    ) {
        if from.len() > 1 && to.len() > 1 && from.len().saturating_mul(to.len()) > FAN {
            let middle = self.add(join());
            from.iter()
                .for_each(|(on, until)| self.after(middle, *on, *until));
            to.iter()
                .for_each(|step| self.after(*step, middle, Wait::Healthy));
        } else {
            for step in to {
                from.iter()
                    .for_each(|(on, until)| self.after(*step, *on, *until));
            }
        }
    }

    /// The steps that nothing waits for until their very end, with that end. Whoever waits for all of these waits for
    /// everything: whatever is not among them is awaited by a step that is, or by one that leads to such a step.
    pub(crate) fn unawaited(&self) -> Vec<(Handle, Wait)> {
        let mut awaited = vec![false; self.steps.len()];
        for (on, until) in self.after.iter().flatten() {
            awaited[*on] |= *until == self.end(*on);
        }
        let steps = (0..self.steps.len()).filter(|step| !awaited[*step]);
        steps.map(|step| (step, self.end(step))).collect()
    }

    /// The steps that wait for each step.
    pub(crate) fn successors(&self) -> Vec<Vec<Handle>> {
        let mut successors = vec![Vec::new(); self.steps.len()];
        for (step, after) in self.after.iter().enumerate() {
            after.keys().for_each(|on| successors[*on].push(step));
        }
        successors
    }

    /// All steps so that each comes after what it waits for, those added first first.
    ///
    /// # Errors
    /// The steps that wait for each other in a circle, or for one of these.
    pub(crate) fn topological(&self) -> Result<Vec<Handle>, Vec<Handle>> {
        let successors = self.successors();
        let mut missing: Vec<usize> = self.after.iter().map(BTreeMap::len).collect();
        let turn = |step: Handle| Reverse((self.place[step], step));
        let mut ready: BinaryHeap<Reverse<(Handle, Handle)>> = (0..self.steps.len())
            .filter(|step| missing[*step] == 0)
            .map(turn)
            .collect();
        let mut order = Vec::with_capacity(self.steps.len());
        while let Some(Reverse((_, step))) = ready.pop() {
            order.push(step);
            for next in &successors[step] {
                missing[*next] -= 1;
                if missing[*next] == 0 {
                    ready.push(turn(*next));
                }
            }
        }
        if order.len() == self.steps.len() {
            Ok(order)
        } else {
            Err((0..self.steps.len())
                .filter(|step| missing[*step] > 0)
                .collect())
        }
    }

    /// The steps in `order`, each with its edges in that order too.
    pub(crate) fn into_steps(self, order: &[Handle]) -> Vec<Step> {
        let mut place = vec![0; order.len()];
        order
            .iter()
            .enumerate()
            .for_each(|(index, handle)| place[*handle] = index);
        let ids: Vec<StepId> = self.steps.iter().map(|step| step.id.clone()).collect();
        let mut steps: Vec<Step> = Vec::with_capacity(order.len());
        for (mut step, edges) in self.steps.into_iter().zip(self.after) {
            let mut edges: Vec<(Handle, Wait)> = edges.into_iter().collect();
            edges.sort_by_key(|(on, _)| place[*on]);
            step.after = edges
                .into_iter()
                .map(|(on, until)| After {
                    step: ids[on].clone(),
                    until,
                })
                .collect();
            steps.push(step);
        }
        let mut numbered: Vec<(usize, Step)> = steps.into_iter().enumerate().collect();
        numbered.sort_by_key(|(handle, _)| place[*handle]);
        numbered.into_iter().map(|(_, step)| step).collect()
    }
}
