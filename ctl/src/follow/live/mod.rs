//! The live tree: what is under way in full, the rest in a line, and never more than the terminal holds.
//!
//! Stages whose steps are all settled are one line, stages whose steps all wait are another. Between them stand the
//! stages where something happens, with each step that is under way: for how long, what it waits for, what was last
//! seen of it. If even that is too much, what needs a person comes first, and the rest is counted.
//!
//! A coordinator that says nothing leaves the last picture: it says so, and its clocks stand still.

mod steps;

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use interlock_proto::v1;

use super::progress::{Progress, is_settled};
use crate::failure::Failure;
use crate::render::{
    Out, Paint, Tone, age, clean, counted, cut, elapsed, ending, operation_tone, width_and_height,
    wrap,
};
use steps::{Place, active};

/// Width and height if the terminal does not tell, as those of a VT100.
const UNTOLD: (usize, usize) = (80, 24);

/// A part of the terminal that is drawn over.
#[derive(Debug)]
pub(super) struct Screen {
    talk: bool,
    paint: Paint,
    /// The lines between the drawing's first one and the cursor.
    drawn: usize,
    last: Vec<String>,
    /// A last line says which step Enter lets begin.
    step: bool,
}

impl Screen {
    /// A screen where standard output (or, for `talk`, standard error) is a terminal that can be drawn over.
    pub(super) fn on(talk: bool, step: bool, out: Out) -> Option<Self> {
        let terminal = if talk {
            io::stderr().is_terminal()
        } else {
            io::stdout().is_terminal()
        };
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        (terminal && !dumb).then(|| Self {
            talk,
            paint: if talk { out.talk_paint() } else { out.paint() },
            drawn: 0,
            last: Vec::new(),
            step,
        })
    }

    /// Draws the operation over what was drawn before.
    pub(super) fn draw(&mut self, progress: &Progress) -> Result<(), Failure> {
        if progress.operation().summary.is_none() {
            return Ok(());
        }
        let (width, height) = width_and_height().unwrap_or(UNTOLD);
        let hint = progress.offered().filter(|_| self.step);
        let hint = hint.map(|step| format!("Enter lets the next step begin: {}", clean(step)));
        // One line is the cursor's, and one the hint's.
        let height = height.saturating_sub(1 + usize::from(self.step));
        let quiet = progress.quiet(Instant::now());
        let mut lines = frame(progress, quiet, width, height, self.paint);
        lines.extend(hint.map(|hint| self.paint.tone(Tone::Faint, &cut(&hint, width))));
        if lines == self.last {
            return Ok(());
        }
        let mut text = self.back();
        for line in &lines {
            text.push_str(line);
            text.push('\n');
        }
        self.drawn = lines.len();
        self.last = lines;
        self.write(&text)
    }

    /// The terminal has shown a line end that was typed, so the cursor is one line further down.
    pub(super) fn echoed(&mut self) {
        if self.drawn > 0 {
            self.drawn += 1;
            self.last.clear();
        }
    }

    /// Takes the drawing away, for lines that stay.
    pub(super) fn clear(&mut self) -> Result<(), Failure> {
        let text = self.back();
        self.drawn = 0;
        self.last.clear();
        self.write(&text)
    }

    /// Up to the first drawn line, and erase from there (ECMA-48: CPL, ED).
    fn back(&self) -> String {
        match self.drawn {
            0 => String::new(),
            lines => format!("\u{1b}[{lines}F\u{1b}[J"),
        }
    }

    fn write(&self, text: &str) -> Result<(), Failure> {
        // In one piece, so that the terminal does not flicker.
        if self.talk {
            let mut stderr = io::stderr().lock();
            stderr.write_all(text.as_bytes())?;
            Ok(stderr.flush()?)
        } else {
            let mut stdout = io::stdout().lock();
            stdout.write_all(text.as_bytes())?;
            Ok(stdout.flush()?)
        }
    }
}

/// The lines of one drawing, at most `height` of at most `width` characters. After `quiet` without a word of the
/// coordinator it is drawn as it was then.
fn frame(
    progress: &Progress,
    quiet: Option<Duration>,
    width: usize,
    height: usize,
    paint: Paint,
) -> Vec<String> {
    let quiet = quiet.map(|quiet| u64::try_from(quiet.as_millis()).unwrap_or(u64::MAX));
    let now = progress.now().saturating_sub(quiet.unwrap_or(0));
    let mut lines = vec![head(progress, now, width, paint)];
    lines.extend(quiet.map(|quiet| {
        let text = format!(
            "no news from the coordinator for {}: this is how it was then",
            age(Some(quiet))
        );
        paint.tone(Tone::Bad, &cut(&text, width))
    }));
    if !progress.operation().end_waits_for.is_empty() {
        let wrapped = wrap(&ending(progress.operation()), 2, width);
        lines.extend(wrapped.iter().map(|line| paint.tone(Tone::Doubt, line)));
    }
    let mut stages: BTreeMap<u32, Vec<&v1::StepStatus>> = BTreeMap::new();
    for step in &progress.operation().steps {
        let stage = progress.stage(&step.step);
        stages.entry(stage).or_default().push(step);
    }
    let (settled, open): (Vec<_>, Vec<_>) = stages
        .into_iter()
        .partition(|(_, steps)| steps.iter().all(|step| is_settled(&step.state)));
    let (idle, busy): (Vec<_>, Vec<_>) = open.into_iter().partition(|(_, steps)| {
        steps
            .iter()
            .all(|step| step.state == "waiting" || is_settled(&step.state))
    });
    lines.extend(folded("✓", Tone::Good, "settled", &settled, width, paint));

    let foot = folded("·", Tone::Faint, "waiting", &idle, width, paint);
    let room = height.saturating_sub(lines.len() + usize::from(foot.is_some()));
    let place = Place {
        width,
        room,
        now,
        paint,
    };
    lines.extend(active(progress, &busy, place));
    lines.extend(foot);
    lines.truncate(height);
    lines
}

fn head(progress: &Progress, now: u64, width: usize, paint: Paint) -> String {
    let summary = progress.summary();
    let took = elapsed(Duration::from_millis(
        now.saturating_sub(summary.started_ms),
    ));
    let rest = format!(
        "  {}/{} steps  {took}  {} {}",
        summary.steps_done,
        summary.steps,
        clean(&summary.kind),
        clean(&summary.scope)
    );
    let used = summary.operation.chars().count() + 1 + summary.state.chars().count();
    format!(
        "{} {}{}",
        paint.tone(Tone::Strong, &clean(&summary.operation)),
        paint.tone(operation_tone(&summary.state), &clean(&summary.state)),
        cut(&rest, width.saturating_sub(used))
    )
}

type Stages<'a> = [(u32, Vec<&'a v1::StepStatus>)];

/// Stages of which there is nothing to say but how many.
fn folded(
    mark: &str,
    tone: Tone,
    word: &str,
    stages: &Stages<'_>,
    width: usize,
    paint: Paint,
) -> Option<String> {
    let (first, last) = (stages.first()?.0, stages.last()?.0);
    let steps: usize = stages.iter().map(|(_, steps)| steps.len()).sum();
    let which = if first == last {
        format!("stage {first}")
    } else {
        format!("stages {first}-{last}")
    };
    let text = cut(
        &format!("{which}: {} {word}", counted(steps, "step")),
        width.saturating_sub(2),
    );
    Some(format!("{} {text}", paint.tone(tone, mark)))
}

#[cfg(test)]
mod tests;
