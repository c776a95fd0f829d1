//! Each moment at which a rewind or a clone can be interrupted, as what it leaves on disk.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use rustix::process::{getegid, geteuid};
use tempfile::TempDir;

use super::Trouble;
use super::layout::{Layout, Place, STANDBY};
use crate::shim::User;

struct Bed {
    dir: TempDir,
    layout: Layout,
}

impl Bed {
    /// A data directory of a primary.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let owner = User {
            uid: geteuid().as_raw(),
            gid: getegid().as_raw(),
        };
        let layout = Layout::new(&dir.path().join("main"), owner);
        fill(&layout.data, "own");
        Self { dir, layout }
    }

    fn beside(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join("main.interlock").join(name)
    }

    fn is_standby(&self) -> bool {
        self.layout.data.join(STANDBY).exists()
    }
}

fn fill(dir: &Path, whose: &str) {
    fs::create_dir_all(dir).unwrap();
    fs::write(dir.join("PG_VERSION"), whose).unwrap();
    fs::write(dir.join("postgresql.conf"), whose).unwrap();
}

fn whose(dir: &Path, file: &str) -> String {
    fs::read_to_string(dir.join(file)).unwrap()
}

#[test]
fn what_was_only_recovered_is_put_back_as_a_standby() {
    let bed = Bed::new();
    let layout = &bed.layout;
    layout.make_beside().unwrap();
    layout.make_standby(&layout.data).unwrap();
    let recovering = layout.take().unwrap();
    assert_eq!(layout.place().unwrap(), Place::Nothing);
    layout.without_signals(&recovering).unwrap();
    assert_eq!(layout.settle().unwrap(), Place::Data);
    assert!(bed.is_standby() && !recovering.exists());
    assert_eq!(whose(&layout.data, "PG_VERSION"), "own");
}

#[test]
fn what_is_half_rewound_never_comes_back_to_its_place() {
    let bed = Bed::new();
    let layout = &bed.layout;
    layout.make_beside().unwrap();
    layout.keep_local().unwrap();
    fs::rename(layout.take().unwrap(), layout.rewinding()).unwrap();
    for _ in 0..2 {
        let place = layout.settle().unwrap();
        assert_eq!(place, Place::HalfRewound);
        assert!(matches!(
            layout.need_data(place),
            Err(Trouble::HalfRewound(_))
        ));
        assert!(!layout.data.exists());
    }
    // A clone, which has the files of this machine and not those of another.
    fill(&layout.cloning(), "copy");
    layout.restore_local(&layout.cloning()).unwrap();
    layout.make_standby(&layout.cloning()).unwrap();
    layout.complete(&layout.cloning()).unwrap();
    assert_eq!(layout.settle().unwrap(), Place::Data);
    assert!(bed.is_standby() && !layout.rewinding().exists());
    assert_eq!(whose(&layout.data, "PG_VERSION"), "copy");
    assert_eq!(whose(&layout.data, "postgresql.conf"), "own");
    assert_eq!(whose(&bed.beside("old"), "PG_VERSION"), "own");
}

#[test]
fn a_complete_directory_comes_to_its_place_wherever_that_was_interrupted() {
    for moved_away in [false, true] {
        let bed = Bed::new();
        let layout = &bed.layout;
        layout.make_beside().unwrap();
        fill(&bed.beside("old"), "older");
        fill(&bed.beside("ready"), "copy");
        layout.make_standby(&bed.beside("ready")).unwrap();
        if moved_away {
            fs::remove_dir_all(bed.beside("old")).unwrap();
            fs::rename(&layout.data, bed.beside("old")).unwrap();
        }
        assert_eq!(layout.settle().unwrap(), Place::Data);
        assert_eq!(whose(&layout.data, "PG_VERSION"), "copy");
        assert_eq!(whose(&bed.beside("old"), "PG_VERSION"), "own");
        assert!(bed.is_standby());
    }
}

#[test]
fn what_a_person_has_put_into_its_place_is_not_replaced_by_what_was_recovered() {
    let bed = Bed::new();
    let layout = &bed.layout;
    layout.make_beside().unwrap();
    layout.take().unwrap();
    fill(&layout.data, "restored");
    assert_eq!(layout.settle().unwrap(), Place::Data);
    assert_eq!(whose(&layout.data, "PG_VERSION"), "restored");
    assert!(layout.recovering().exists());
}

#[test]
fn a_directory_that_is_in_pieces_or_a_link_is_not_replaced() {
    let bed = Bed::new();
    let layout = &bed.layout;
    layout.make_beside().unwrap();
    layout.need_one_piece().unwrap();
    symlink("/elsewhere", layout.data.join("pg_wal")).unwrap();
    assert!(matches!(
        layout.need_one_piece(),
        Err(Trouble::Unmovable(..))
    ));
    fs::remove_file(layout.data.join("pg_wal")).unwrap();
    fs::create_dir_all(layout.data.join("pg_tblspc/16384")).unwrap();
    assert!(matches!(
        layout.need_one_piece(),
        Err(Trouble::Unmovable(..))
    ));

    let elsewhere = bed.dir.path().join("elsewhere");
    fs::rename(&layout.data, &elsewhere).unwrap();
    symlink(&elsewhere, &layout.data).unwrap();
    assert!(matches!(layout.make_beside(), Err(Trouble::Unmovable(..))));
}
