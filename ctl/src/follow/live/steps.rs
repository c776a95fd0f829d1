//! The steps that are under way, in the room that there is.
//!
//! Each has two forms: one line, cut where the terminal ends, and as many lines as it takes to read everything. The full
//! ones are drawn where there is room for all of them; else what needs a person gets it first, and no row stays free while
//! there is more to say of a step.

use std::time::Duration;

use interlock_model::time::human;
use interlock_proto::v1;

use super::super::commands;
use super::super::progress::{Progress, is_settled, needs_person};
use crate::render::{Paint, Tone, clean, cut, elapsed, step_tone, wrap};

/// What is not on a step's own line stands this far in.
const INDENT: usize = 6;

/// Where the steps are drawn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// Characters of a line.
    pub(super) width: usize,
    /// Lines.
    pub(super) room: usize,
    /// The moment that is drawn, in milliseconds since 1970.
    pub(super) now: u64,
    pub(super) paint: Paint,
}

/// One step.
struct Block {
    urgency: u8,
    brief: String,
    full: Vec<String>,
}

/// Stages where something happens: under its title the steps of each that are under way.
pub(super) fn active(
    progress: &Progress,
    stages: &[(u32, Vec<&v1::StepStatus>)],
    place: Place,
) -> Vec<String> {
    let acting = |steps: &[&v1::StepStatus]| -> Vec<v1::StepStatus> {
        let acting = steps.iter().filter(|step| is_acting(&step.state));
        acting.map(|step| (*step).clone()).collect()
    };
    let names = stages.iter().flat_map(|(_, steps)| acting(steps));
    let longest = names.map(|step| step.step.chars().count()).max();
    // Two fifths are enough of a line for a name; what is longer gets a line of its own.
    let most = place
        .width
        .saturating_sub(12)
        .min(12.max(place.width * 2 / 5));
    let name = longest.unwrap_or(0).min(most);

    let mut lines = Vec::new();
    let mut blocks = Vec::new();
    for (stage, steps) in stages {
        let settled = steps.iter().filter(|step| is_settled(&step.state)).count();
        let title = format!("▸ stage {stage}: {settled} of {} settled", steps.len());
        lines.push(place.paint.tone(Tone::Strong, &cut(&title, place.width)));
        for step in acting(steps) {
            let block = Block::new(progress, &step, name, place);
            lines.extend(block.full.iter().cloned());
            blocks.push(block);
        }
    }
    if lines.len() <= place.room {
        return lines;
    }
    squeezed(blocks, place)
}

/// Too much for this terminal: without titles, what needs a person first, then what runs, then what waits. A line for each,
/// then in the same order more and more of it, row by row, as far as that goes; what has no line is counted.
fn squeezed(mut blocks: Vec<Block>, place: Place) -> Vec<String> {
    blocks.sort_by_key(|block| block.urgency);
    let missing = blocks.len().saturating_sub(place.room);
    // One more gives its line for the number of those that have none.
    let missing = if missing > 0 { missing + 1 } else { 0 };
    blocks.truncate(blocks.len() - missing.min(blocks.len()));
    let mut spare = place
        .room
        .saturating_sub(blocks.len() + usize::from(missing > 0));
    let mut rows = vec![0; blocks.len()];
    for urgency in 0..=MILDEST {
        let mut gave = true;
        while gave && spare > 0 {
            gave = false;
            let alike = blocks.iter().zip(&mut rows);
            for (block, row) in alike.filter(|(block, _)| block.urgency == urgency) {
                if *row + 1 < block.full.len() && spare > 0 {
                    (*row, spare, gave) = (*row + 1, spare - 1, true);
                }
            }
        }
    }
    let drawn = blocks.into_iter().zip(rows);
    let mut lines: Vec<String> = drawn
        .flat_map(|(block, more)| block.beginning(more, place.width))
        .collect();
    if missing > 0 {
        let text = format!("  … and {missing} more under way");
        lines.push(cut(&text, place.width));
    }
    lines
}

fn is_acting(state: &str) -> bool {
    state != "waiting" && !is_settled(state)
}

/// The urgency of what only waits.
const MILDEST: u8 = 2;

fn urgency(state: &str) -> u8 {
    match state {
        _ if needs_person(state) => 0,
        "running" | "undoing" => 1,
        _ => MILDEST,
    }
}

impl Block {
    /// A step that is under way: since when, of how long, what it waits for, what was last seen. What waits for a person
    /// has the command for it on a line of its own.
    fn new(progress: &Progress, step: &v1::StepStatus, room: usize, place: Place) -> Self {
        let (width, paint) = (place.width, place.paint);
        let id = clean(&step.step);
        let state = format!("{:<8}", clean(&step.state));
        let line = |name: &str, after: &str| {
            let before = format!("  {:<room$} ", cut(name, room));
            let used = before.chars().count() + state.chars().count();
            let after = cut(after.trim_end(), width.saturating_sub(used));
            let state = if after.is_empty() {
                state.trim_end()
            } else {
                &state
            };
            format!(
                "{before}{}{after}",
                paint.tone(step_tone(&step.state), state)
            )
        };
        let time = time(progress, step, place.now);
        let said: Vec<String> = said(progress, step).iter().map(|it| clean(it)).collect();
        let on_one = format!(" {time:<12} {}", said.join("; "));
        let used = 3 + room + state.chars().count();
        let brief = line(&id, &on_one);
        let fits = id.chars().count() <= room && used + on_one.trim_end().chars().count() <= width;
        let full = if fits {
            vec![brief.clone()]
        } else {
            let mut full = if id.chars().count() > room {
                let mut full = wrap(&id, 2, width);
                full.push(line("", &format!(" {time}")));
                full
            } else {
                vec![line(&id, &format!(" {time}"))]
            };
            full.extend(said.iter().flat_map(|it| wrap(it, INDENT, width)));
            full
        };
        Self {
            urgency: urgency(&step.state),
            brief,
            full,
        }
    }

    /// Its beginning in so many lines more than one. What is left out is marked.
    fn beginning(mut self, more: usize, width: usize) -> Vec<String> {
        if more == 0 && self.full.len() > 1 {
            return vec![self.brief];
        }
        let whole = self.full.len() <= more + 1;
        self.full.truncate(more + 1);
        if let Some(last) = self.full.last_mut().filter(|_| !whole) {
            // Behind the first line nothing is coloured.
            *last = cut(&format!("{last} …"), width);
        }
        self.full
    }
}

/// For how long it has been so: `1m 05s of 2m`; of a step that has not begun, how long it has been its turn.
fn time(progress: &Progress, step: &v1::StepStatus, now: u64) -> String {
    let since = |began: u64| elapsed(Duration::from_millis(now.saturating_sub(began)));
    match (step.turn_ms, step.began_ms) {
        (0, 0) => String::new(),
        (0, began) => match progress.planned(&step.step) {
            Some(planned) => format!("{} of {}", since(began), human::text(planned.timeout)),
            None => since(began),
        },
        (turn, _) => since(turn),
    }
}

/// What there is to say of a step: what keeps it, and in the end what was last seen of it. What waits for a person ends in
/// the command.
fn said(progress: &Progress, step: &v1::StepStatus) -> Vec<String> {
    if let Some((question, command)) = commands::approval(progress, &step.step) {
        return vec![question, command];
    }
    // First, for it is why nothing happens: more than what the agent was told last, which it may never have heard.
    let mut facts: Vec<String> = progress.silent(step).into_iter().collect();
    facts.extend(
        step.reached
            .last()
            .filter(|_| step.state == "running")
            .cloned(),
    );
    if step.attempt > 1 {
        facts.push(format!("attempt {}", step.attempt));
    }
    // Where the coordinator waits for the agent's next word, the one repeats the other.
    if !step.waits_for.is_empty() && step.waits_for != step.evidence {
        facts.push(format!("waits for {}", step.waits_for));
    }
    let mut said = Vec::new();
    if !facts.is_empty() {
        said.push(facts.join("; "));
    }
    if !step.evidence.is_empty() {
        said.push(step.evidence.clone());
    }
    said
}
