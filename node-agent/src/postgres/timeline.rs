//! Timelines, and how one came from another.

use std::fmt;

use super::Lsn;

/// The number of a timeline: one more at each promotion (PostgreSQL documentation, *Timelines*).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timeline(pub u32);

impl Timeline {
    /// The file of `pg_wal` that says where it comes from. The first timeline has none.
    #[must_use]
    pub fn history_file(self) -> String {
        format!("{:08X}.history", self.0)
    }

    /// The file of `pg_wal` that holds this position, with segments of so many bytes (a power of two of at least 1 MiB).
    #[must_use]
    pub fn segment(self, at: Lsn, segment_bytes: u64) -> String {
        let number = at.0 / segment_bytes.max(1);
        let each = (1_u64 << 32) / segment_bytes.max(1);
        format!(
            "{:08X}{:08X}{:08X}",
            self.0,
            number / each.max(1),
            number % each.max(1)
        )
    }

    /// The timeline that the name of a file of `pg_wal` begins with.
    #[must_use]
    pub fn of_segment(name: &str) -> Option<Self> {
        let digits = name.get(..8)?;
        let hexadecimal = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = u32::from_str_radix(digits, 16).ok()?;
        hexadecimal.then_some(Self(number))
    }
}

impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a mark begins with: a comment to the server, which copies the history of a timeline into that of each that comes from it.
const MARK: &str = "# promoted ";

/// Where a timeline comes from: its ancestors, each up to where the next one left it.
///
/// # Numbers are not enough
/// Two servers that leave one timeline, at one position even, each begin a timeline of the same number: a primary that was killed
/// and promoted in place, and the standby that takes over before it has heard of that. To the server and its tools their
/// logs are one. So before a promotion the history of the timeline that is left gets a **mark** at its end, unlike any
/// other ([`marked`](Self::marked)): the server copies it into the history of the new timeline, in front of the line of
/// the old one, and that file goes to all that follow. Timelines are the same if number and mark are.
///
/// # Invariant
/// The ancestors have rising numbers, and where they end does not fall.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    ancestors: Vec<Ancestor>,
    timeline: Timeline,
}

/// A timeline that another one has left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ancestor {
    /// Which.
    pub timeline: Timeline,
    /// Where it was left: nothing behind this is of the history.
    pub end: Lsn,
    /// The mark of the one that left it; empty if it has none.
    pub left_by: String,
}

/// A timeline of a history, up to where it goes.
#[derive(Debug, PartialEq, Eq)]
struct Stretch<'h> {
    timeline: Timeline,
    mark: &'h str,
    end: Lsn,
}

/// A history that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the history of timeline {timeline} makes no sense in the line '{line}'")]
pub struct BadHistory {
    timeline: Timeline,
    line: String,
}

impl History {
    /// Of a timeline without ancestors.
    #[must_use]
    pub fn alone(timeline: Timeline) -> Self {
        Self {
            ancestors: Vec::new(),
            timeline,
        }
    }

    /// Reads a history file: lines of a timeline, the position where it was left, and a reason, between tabs or blanks;
    /// what begins with `#` is a comment (PostgreSQL's `src/backend/access/transam/timeline.c`). A mark that no line follows is
    /// that of a promotion that has not been, or has gone into another file.
    ///
    /// # Errors
    /// With the line that makes no sense.
    pub fn parse(timeline: Timeline, text: &str) -> Result<Self, BadHistory> {
        let mut ancestors: Vec<Ancestor> = Vec::new();
        let mut mark = "";
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            if line.starts_with('#') {
                if line.starts_with(MARK) {
                    mark = line;
                }
                continue;
            }
            let bad = || BadHistory {
                timeline,
                line: line.chars().take(80).collect(),
            };
            let mut fields = line.split_whitespace();
            let number = fields.next().and_then(|field| field.parse().ok());
            let end = fields.next().and_then(|field| field.parse().ok());
            let (number, end) = number.zip(end).ok_or_else(bad)?;
            let ancestor = Ancestor {
                timeline: Timeline(number),
                end,
                left_by: std::mem::take(&mut mark).to_owned(),
            };
            let rises = ancestors
                .last()
                .is_none_or(|last| last.timeline < ancestor.timeline && last.end <= end);
            if !rises || ancestor.timeline >= timeline {
                return Err(bad());
            }
            ancestors.push(ancestor);
        }
        Ok(Self {
            ancestors,
            timeline,
        })
    }

    /// The timeline.
    #[must_use]
    pub fn timeline(&self) -> Timeline {
        self.timeline
    }

    /// The text of a history file, with this mark for the timeline that is about to leave it. A mark that stands at its end is
    /// of an earlier try, and makes room.
    #[must_use]
    pub fn marked(text: &str, mark: &str) -> String {
        let lines: Vec<&str> = text.lines().collect();
        let of_tries = lines.iter().rev();
        let tries = of_tries.take_while(|line| line.starts_with(MARK)).count();
        let mut marked = String::new();
        for line in lines.iter().take(lines.len() - tries) {
            marked += line;
            marked.push('\n');
        }
        // No line may end in it, nor begin another one.
        let mark = mark.replace(|c: char| c.is_control(), " ");
        marked + MARK + &mark + "\n"
    }

    /// Up to where a server that is at `end` of this history shares its log with one that is at `other_end` of another.
    ///
    /// Two servers that left a timeline at one and the same position, each for a timeline of the same number, can be told apart by
    /// its mark alone: without marks (the server was promoted by somebody else) they cannot.
    #[must_use]
    pub fn common(&self, end: Lsn, other: &Self, other_end: Lsn) -> Option<Lsn> {
        self.common_if(end, other, other_end, |own, theirs| own.mark == theirs.mark)
    }

    /// The same as the server and its tools see it: by the numbers alone.
    #[must_use]
    pub fn common_by_number(&self, end: Lsn, other: &Self, other_end: Lsn) -> Option<Lsn> {
        self.common_if(end, other, other_end, |_, _| true)
    }

    fn common_if(
        &self,
        end: Lsn,
        other: &Self,
        other_end: Lsn,
        same: impl Fn(&Stretch<'_>, &Stretch<'_>) -> bool,
    ) -> Option<Lsn> {
        let mut common = None;
        for (own, theirs) in self.stretches(end).zip(other.stretches(other_end)) {
            if own.timeline != theirs.timeline || !same(&own, &theirs) {
                break;
            }
            common = Some(own.end.min(theirs.end));
            if own.end != theirs.end {
                break;
            }
        }
        common
    }

    fn stretches(&self, end: Lsn) -> impl Iterator<Item = Stretch<'_>> {
        let marks = self.ancestors.iter().map(|ancestor| &*ancestor.left_by);
        let ends = self.ancestors.iter().map(|it| (it.timeline, it.end));
        let ends = ends.chain([(self.timeline, end)]);
        [""].into_iter()
            .chain(marks)
            .zip(ends)
            .map(|(mark, (timeline, end))| Stretch {
                timeline,
                mark,
                end,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THIRD: &str = "1\t0/3000000\tno recovery target specified\n\n2\t0/5000000\tno recovery target specified\n";

    fn history(timeline: u32, text: &str) -> History {
        History::parse(Timeline(timeline), text).unwrap()
    }

    #[test]
    fn a_history_that_goes_back_or_is_cut_is_refused() {
        assert_eq!(history(3, THIRD).ancestors.len(), 2);
        for bad in [
            "1",
            "1\tx",
            "2\t0/3\n1\t0/4",
            "1\t0/4\n2\t0/3",
            "3\t0/3",
            "x\t0/3",
        ] {
            assert!(History::parse(Timeline(3), bad).is_err(), "{bad}");
        }
        assert_eq!(history(2, "# nothing\n"), History::alone(Timeline(2)));
    }

    #[test]
    fn timelines_of_one_number_that_begin_at_one_position_are_two_if_their_marks_are() {
        let left = |mark: &str| {
            // As the server does it: the history of the one that was left, an empty line, and the line of that.
            let parent = History::marked("", mark);
            history(
                2,
                &format!("{parent}\n1\t0/3000000\tno recovery target specified\n"),
            )
        };
        let (first, second) = (left("on db1, 1"), left("on db2, 2"));
        let at = |lsn: &str| -> Lsn { lsn.parse().unwrap() };
        let (end, now) = (at("0/4000000"), at("0/9000000"));
        assert_eq!(first.common(end, &left("on db1, 1"), now), Some(end));
        assert_eq!(first.common(end, &second, now), Some(at("0/3000000")));
        assert_eq!(first.common_by_number(end, &second, now), Some(end));
        // What comes from them as well.
        let third = |mark: &str| {
            let parent = format!("{}\n1\t0/3000000\tx\n", History::marked("", mark));
            let parent = History::marked(&parent, "on db3, 3");
            history(3, &format!("{parent}\n2\t0/5000000\tx\n"))
        };
        let later = third("on db1, 1");
        assert_eq!(first.common(end, &later, now), Some(end));
        assert_eq!(second.common(end, &later, now), Some(at("0/3000000")));
    }

    #[test]
    fn a_mark_replaces_that_of_an_earlier_try_and_no_other() {
        let once = History::marked(THIRD, "on db1, 1");
        assert_eq!(
            history(3, &once),
            history(3, THIRD),
            "it says nothing of this one"
        );
        let twice = History::marked(&once, "on db1,\n2");
        assert_eq!(twice, format!("{THIRD}# promoted on db1, 2\n"));
        let child = format!("{twice}\n3\t0/6000000\tx\n");
        assert_eq!(
            History::marked(&child, "z"),
            format!("{child}# promoted z\n")
        );
    }

    #[test]
    fn what_two_servers_share_ends_where_one_of_them_left() {
        let first = History::alone(Timeline(1));
        let third = history(3, THIRD);
        let at = |lsn: &str| -> Lsn { lsn.parse().unwrap() };
        let now = at("0/9000000");
        // It has nothing that the other has not, and then something.
        assert_eq!(
            first.common(at("0/2000000"), &third, now),
            Some(at("0/2000000"))
        );
        assert_eq!(
            first.common(at("0/3000000"), &third, now),
            Some(at("0/3000000"))
        );
        assert_eq!(
            first.common(at("0/3000060"), &third, now),
            Some(at("0/3000000"))
        );
        // On the second timeline, and on another second one.
        let second = history(2, "1\t0/3000000\tx\n");
        assert_eq!(
            second.common(at("0/6000000"), &third, now),
            Some(at("0/5000000"))
        );
        let rival = history(2, "1\t0/2000000\tx\n");
        assert_eq!(
            rival.common(at("0/6000000"), &third, now),
            Some(at("0/2000000"))
        );
        assert_eq!(
            second.common(at("0/4000000"), &second, at("0/3500000")),
            Some(at("0/3500000"))
        );
        // A timeline that the other has never seen.
        assert_eq!(
            history(5, THIRD).common(now, &third, at("0/7000000")),
            Some(at("0/5000000"))
        );
        assert_eq!(History::alone(Timeline(4)).common(now, &third, now), None);
    }

    #[test]
    fn segments_are_named_as_the_server_names_them() {
        let sixteen = 16 << 20;
        let at: Lsn = "16/B374D848".parse().unwrap();
        assert_eq!(Timeline(2).segment(at, sixteen), "0000000200000016000000B3");
        assert_eq!(Timeline(1).segment(at, 1 << 30), "000000010000001600000002");
        assert_eq!(
            Timeline::of_segment("0000000A00000016000000B3"),
            Some(Timeline(10))
        );
        assert_eq!(Timeline::of_segment("short"), None);
    }
}
