//! What the control file of a data directory says, as pg_controldata(1) shows it.
//!
//! Read of a stopped server only. Of a running one it is as old as its last checkpoint: the timeline there is the old one
//! until a while after a promotion.

use super::{Lsn, SystemId, Timeline};

/// The control file of a data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// How the server was left.
    pub state: ControlState,
    /// The database cluster.
    pub system: SystemId,
    /// Where the latest checkpoint, or restart point, was written.
    pub checkpoint: Lsn,
    /// Where recovery begins.
    pub redo: Lsn,
    /// The timeline of the latest checkpoint.
    pub timeline: Timeline,
    /// Up to where a standby has to recover before it is consistent, and the timeline there. None of a primary.
    pub consistent: Option<(Lsn, Timeline)>,
    /// Bytes in a file of the log.
    pub segment_bytes: u64,
    /// Does the log say of every page that it was changed? Then pg_rewind(1) can find those that have to be copied.
    pub rewindable: bool,
}

/// How a server was left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ControlState {
    /// A primary was shut down: all that it had is in its log, which ends with the checkpoint of the shutdown.
    ShutDown,
    /// A standby was shut down.
    ShutDownInRecovery,
    /// Anything else: it runs, or was killed.
    Other(String),
}

/// What pg_controldata(1) said cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadControl {
    /// A line that is needed is missing, or not as expected.
    #[error("the control file shows no usable '{0}'")]
    Field(&'static str),
    /// The check sum is wrong.
    #[error("the control file is damaged: its check sum is wrong")]
    Damaged,
}

impl Control {
    /// Reads the output, which must be in English (`LC_ALL=C`).
    ///
    /// # Errors
    /// If it says nothing that can be relied on.
    pub fn parse(text: &str) -> Result<Self, BadControl> {
        if text.contains("Calculated CRC checksum does not match") {
            return Err(BadControl::Damaged);
        }
        let said = Said(text);
        let consistent = said.lsn("Minimum recovery ending location")?;
        let consistent = (consistent != Lsn(0))
            .then(|| {
                let timeline = said.number("Min recovery ending loc's timeline")?;
                Ok((consistent, Timeline(timeline)))
            })
            .transpose()?;
        let logs_hints = said.text("wal_log_hints setting")? == "on";
        let checksums = said.number("Data page checksum version")?;
        Ok(Self {
            state: match said.text("Database cluster state")? {
                "shut down" => ControlState::ShutDown,
                "shut down in recovery" => ControlState::ShutDownInRecovery,
                other => ControlState::Other(other.to_owned()),
            },
            system: SystemId(said.number64("Database system identifier")?),
            checkpoint: said.lsn("Latest checkpoint location")?,
            redo: said.lsn("Latest checkpoint's REDO location")?,
            timeline: Timeline(said.number("Latest checkpoint's TimeLineID")?),
            consistent,
            segment_bytes: u64::from(said.number("Bytes per WAL segment")?),
            rewindable: logs_hints || checksums != 0,
        })
    }

    /// Was it ended in an orderly way, as a primary or as a standby?
    #[must_use]
    pub fn is_clean(&self) -> bool {
        matches!(
            self.state,
            ControlState::ShutDown | ControlState::ShutDownInRecovery
        )
    }

    /// The position of the shutdown's checkpoint of a primary that was shut down. A standby that has **replayed beyond it** has
    /// everything; being *at* it is never enough, because the record of the checkpoint itself begins there.
    #[must_use]
    pub fn ended_at(&self) -> Option<Lsn> {
        (self.state == ControlState::ShutDown).then_some(self.checkpoint)
    }

    /// The newest timeline that it knows of itself.
    #[must_use]
    pub fn newest_timeline(&self) -> Timeline {
        let recovered = self.consistent.map(|(_, timeline)| timeline);
        recovered.map_or(self.timeline, |timeline| timeline.max(self.timeline))
    }
}

struct Said<'t>(&'t str);

impl<'t> Said<'t> {
    fn text(&self, field: &'static str) -> Result<&'t str, BadControl> {
        let lines = self.0.lines().filter_map(|line| line.split_once(':'));
        let mut values = lines.filter(|(name, _)| *name == field);
        let value = values.next().map(|(_, value)| value.trim());
        value.ok_or(BadControl::Field(field))
    }

    fn lsn(&self, field: &'static str) -> Result<Lsn, BadControl> {
        let text = self.text(field)?;
        text.parse().map_err(|_| BadControl::Field(field))
    }

    fn number(&self, field: &'static str) -> Result<u32, BadControl> {
        let text = self.text(field)?;
        text.parse().map_err(|_| BadControl::Field(field))
    }

    fn number64(&self, field: &'static str) -> Result<u64, BadControl> {
        let text = self.text(field)?;
        text.parse().map_err(|_| BadControl::Field(field))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of PostgreSQL 15, without the lines that nobody here reads.
    const STOPPED: &str = "\
pg_control version number:            1300
Database system identifier:           7412345678901234567
Database cluster state:               shut down
pg_control last modified:             Sun Nov 22 21:57:36 2026
Latest checkpoint location:           0/15B3C48
Latest checkpoint's REDO location:    0/15B3C48
Latest checkpoint's TimeLineID:       1
Minimum recovery ending location:     0/0
Min recovery ending loc's timeline:   0
wal_log_hints setting:                on
Bytes per WAL segment:                16777216
Data page checksum version:           0
";

    #[test]
    fn a_primary_that_was_shut_down_says_where() {
        let control = Control::parse(STOPPED).unwrap();
        assert_eq!(control.ended_at(), Some(Lsn(0x15B_3C48)));
        assert_eq!(control.system, SystemId(7_412_345_678_901_234_567));
        assert!(control.is_clean() && control.rewindable);
        assert_eq!(control.consistent, None);
    }

    #[test]
    fn one_that_was_killed_and_a_standby_have_no_position_of_a_shutdown() {
        for state in [
            "in production",
            "shut down in recovery",
            "in archive recovery",
        ] {
            let text = STOPPED.replace("shut down", state);
            let text = text.replace("location:     0/0", "location:     0/2000000");
            let text = text.replace("timeline:   0", "timeline:   4");
            let control = Control::parse(&text).unwrap();
            assert_eq!(control.ended_at(), None, "{state}");
            assert_eq!(control.newest_timeline(), Timeline(4));
        }
        let plain = STOPPED.replace("setting:                on", "setting:                off");
        assert!(!Control::parse(&plain).unwrap().rewindable);
    }

    #[test]
    fn what_is_cut_or_damaged_is_refused() {
        let cut = STOPPED.split_once("Latest").unwrap().0;
        assert!(matches!(Control::parse(cut), Err(BadControl::Field(_))));
        let damaged = format!(
            "WARNING: Calculated CRC checksum does not match value stored in file.\n{STOPPED}"
        );
        assert_eq!(Control::parse(&damaged), Err(BadControl::Damaged));
    }
}
