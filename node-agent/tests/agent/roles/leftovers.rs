//! What is left of a primary that its managers call down, and when its role is given back.

use std::fs;

use interlock_model::lease::{ControlLoss, Profile};
use interlock_proto::v1;
use interlock_proto::v1::dispatch::Command;
use interlock_proto::v1::lease_word::Word;

use super::{Book, base, lives, pid_in, primary};
use crate::lab::Lab;
use crate::scripted::{Session, exec, id};

/// The primary part is commands: what `start` leaves behind writes on although `check` and `stop` know nothing of it.
fn configure_orphan(lab: &Lab, endpoint: &str) {
    let here = lab.here();
    lab.configure(
        endpoint,
        &format!(
            "[allow.services]\ndb = {{ process = [\"base\"], exec = \"main\" }}\n[process.base]\ncommand = [\"/bin/sleep\", \
             \"1000\"]\n[exec.main]\nstart = [\"/bin/sh\", \"-c\", \"setsid sleep 1000 >/dev/null 2>&1 & echo $! > {here}/orphan; \
             touch {here}/up\"]\nstop = [\"/bin/rm\", \"-f\", \"{here}/up\"]\ncheck = [\"/bin/sh\", \"-c\", \
             \"test -e {here}/up || exit 3\"]\n[lease]\nruntime_dir = \"{here}/run\"\n"
        ),
    );
}

async fn primary_with_orphan(lab: &Lab, session: &mut Session, book: &Book) -> u32 {
    session
        .assign_all(&[base()], 0, Vec::new(), |instance| {
            instance.exclusive = true;
            instance.primary_parts = exec("main").parts;
            instance.lease = Some(v1::LeaseAssignment::default());
        })
        .await;
    session
        .dispatch(id("start", 1), Command::Start(base()))
        .await;
    session.outcome(&id("start", 1)).await;
    book.standing(session, |it| it.idle && it.unready.is_empty())
        .await;
    primary(session, book, 1).await;
    let orphan = fs::read_to_string(lab.path("orphan")).unwrap();
    let orphan = orphan.trim().parse().unwrap();
    assert!(lives(orphan));
    orphan
}

#[tokio::test]
async fn a_role_is_given_back_only_when_nothing_is_left_of_what_its_managers_call_down() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    configure_orphan(&lab, &coordinator.endpoint);
    let _agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    let book = Book::new(ControlLoss::Demote, Profile::Conservative);
    let orphan = primary_with_orphan(&lab, &mut session, &book).await;
    book.say(&session, 1, Word::Release(1)).await;
    let release = book.release(&mut session).await;
    assert!(!lives(orphan) && release.began, "{release:?}");
}

#[tokio::test]
async fn an_agent_that_starts_ends_what_is_left_of_a_primary_that_is_down_before_it_gives_the_role_back()
 {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    configure_orphan(&lab, &coordinator.endpoint);
    let agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    let book = Book::new(ControlLoss::Demote, Profile::Conservative);
    let orphan = primary_with_orphan(&lab, &mut session, &book).await;
    agent.kill().await;
    crate::lab::signal(pid_in(&lab, "base").unwrap(), rustix::process::Signal::KILL);
    fs::remove_file(lab.path("up")).unwrap();
    fs::remove_file(lab.path("run/db.json")).unwrap();
    let _agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    let release = book.release(&mut session).await;
    assert!(!lives(orphan) && release.began, "{release:?}");
}
