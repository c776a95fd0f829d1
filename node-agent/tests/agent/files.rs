//! Files of a service that operations write, with a real `nginx -t` as the checker.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use interlock_proto::v1;
use interlock_proto::v1::AttemptState as State;
use interlock_proto::v1::agent_message::Message as Said;
use interlock_proto::v1::coordinator_message::Message as Order;
use interlock_proto::v1::dispatch::Command;
use interlock_proto::v1::file_command::Work;
use interlock_proto::v1::file_compared::Answer;
use interlock_proto::v1::file_difference::Shown;
use interlock_proto::v1::file_piece::Piece;

use crate::lab::{Agent, Lab, has};
use crate::scripted::{Coordinator, Session, exec, id, process};

const NGINX: &str = "/usr/sbin/nginx";

/// A configuration that nginx takes, and in which this comment tells one from another.
fn good(comment: &str) -> String {
    format!("# {comment}\npid /dev/null;\nevents {{}}\n")
}

/// An agent that may write one file of a service.
struct Bed {
    lab: Lab,
    /// Its end would end the session.
    coordinator: Coordinator,
    agent: Option<Agent>,
    session: Session,
}

impl Bed {
    /// None, with a word about it, where there is no nginx. `check` is what checks the file, `more` what else is said of it.
    async fn new(check: &str, more: &str) -> Option<Self> {
        if !has("files that nginx checks", NGINX, "nginx") {
            return None;
        }
        let check = format!("\"{NGINX}\", \"-t\", \"-e\", \"stderr\", \"-c\", \"{check}\"");
        Some(Self::checked_by(&check, more).await)
    }

    /// With this command as the checker; HERE stands for the directory of the file.
    async fn checked_by(command: &str, more: &str) -> Self {
        Self::managed(command, more, "process").await
    }

    /// Of a service with this manager.
    async fn managed(command: &str, more: &str, manager: &str) -> Self {
        let lab = Lab::new();
        let mut coordinator = lab.coordinator().await;
        let here = lab.here();
        let more = more.replace("HERE", &here);
        fs::create_dir(lab.path("secrets")).unwrap();
        fs::set_permissions(lab.path("secrets"), fs::Permissions::from_mode(0o700)).unwrap();
        fs::write(lab.path("secrets/db"), "hunter2\n").unwrap();
        fs::set_permissions(lab.path("secrets/db"), fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(lab.path("web.conf"), good("old")).unwrap();
        fs::set_permissions(lab.path("web.conf"), fs::Permissions::from_mode(0o640)).unwrap();
        lab.configure(
            &coordinator.endpoint,
            &format!(
                "[secrets]\ndir = \"{here}/secrets\"\n[file.app]\npath = \"{here}/web.conf\"\ncheck = [{}]\n{more}[process.web]\ncommand = [\"/bin/sleep\", \
                 \"60\"]\n[allow.services]\nweb = {{ {manager} = \"web\", files = [\"app\"] }}\n",
                command.replace("HERE", &here)
            ),
        );
        let agent = lab.start().await;
        let session = coordinator.session(1).await;
        Self {
            lab,
            coordinator,
            agent: Some(agent),
            session,
        }
    }

    /// Ends the agent as a power cut would, and starts another one.
    async fn again(&mut self) {
        self.agent.take().unwrap().kill().await;
        self.agent = Some(self.lab.start().await);
        self.session = self.coordinator.session(1).await;
    }

    /// Has an attempt of this operation do this.
    async fn work(
        &mut self,
        operation: u64,
        step: &str,
        attempt: u64,
        work: Work,
    ) -> v1::AttemptReport {
        let id = v1::AttemptId {
            operation,
            step: step.to_owned(),
            attempt,
        };
        let command = Command::File(v1::FileCommand {
            service: "web".into(),
            file: "app".into(),
            work: Some(work),
        });
        self.session.dispatch(id.clone(), command).await;
        self.session.outcome(&id).await
    }

    /// Asks how the file compares with this text.
    async fn compare(&mut self, wanted: &str) -> Result<v1::FileDifference, String> {
        let question = v1::CompareFile {
            ask: 7,
            service: "web".into(),
            file: "app".into(),
            text: Some(text(wanted)),
        };
        self.session.order(Order::CompareFile(question)).await;
        loop {
            if let Said::File(answer) = self.session.next().await {
                assert_eq!(answer.ask, 7);
                return match answer.answer.unwrap() {
                    Answer::Difference(found) => Ok(found),
                    Answer::Failed(why) => Err(format!("failed: {why}")),
                    Answer::Refused(why) => Err(format!("refused: {why}")),
                };
            }
        }
    }

    fn text(&self) -> String {
        fs::read_to_string(self.lab.path("web.conf")).unwrap()
    }

    fn mode(&self) -> u32 {
        let metadata = fs::metadata(self.lab.path("web.conf")).unwrap();
        metadata.permissions().mode() & 0o7777
    }

    /// The names in the directory of the file.
    fn beside(&self) -> Vec<String> {
        let entries = fs::read_dir(self.lab.path(".")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.contains("web.conf")).collect()
    }
}

fn text(text: &str) -> v1::FileText {
    let mut pieces = Vec::new();
    for (index, part) in text.split("@@").enumerate() {
        if index > 0 {
            pieces.push(v1::FilePiece {
                piece: Some(Piece::Secret("db".into())),
            });
        }
        pieces.push(v1::FilePiece {
            piece: Some(Piece::Plain(part.to_owned())),
        });
    }
    v1::FileText { pieces }
}

fn restore() -> Work {
    Work::Restore(v1::RestoreFile {})
}

#[tokio::test]
async fn a_text_is_looked_at_before_it_is_in_its_place_and_what_nginx_refuses_touches_nothing() {
    let Some(mut bed) = Bed::new("{file}", "").await else {
        return;
    };
    let bad = "events {}\nserve_r;\n";
    for (step, work) in [
        ("try", Work::TryText(text(bad))),
        ("write", Work::Write(text(bad))),
    ] {
        let refused = bed.work(5, step, 1, work).await;
        assert_eq!(refused.state(), State::Failed, "{refused:?}");
        let said = format!(
            "unknown directive \"serve_r\" in {}:2",
            bed.lab.path("web.conf").display()
        );
        assert!(refused.evidence.contains(&said), "{refused:?}");
        assert_eq!(
            (bed.text(), bed.beside()),
            (good("old"), vec!["web.conf".to_owned()])
        );
    }
    let tried = bed
        .work(5, "try-again", 1, Work::TryText(text(&good("new"))))
        .await;
    assert_eq!(
        (tried.state(), bed.text()),
        (State::Done, good("old")),
        "{tried:?}"
    );
}

#[tokio::test]
async fn what_an_operation_has_written_is_put_back_byte_for_byte_also_by_the_next_agent() {
    let Some(mut bed) = Bed::new("{file}", "mode = \"0600\"\n").await else {
        return;
    };
    let written = bed
        .work(5, "write", 1, Work::Write(text(&good("new"))))
        .await;
    assert_eq!(written.state(), State::Done, "{written:?}");
    assert_eq!((bed.text(), bed.mode()), (good("new"), 0o600));
    bed.again().await;
    // Another attempt of the same operation keeps what was before it, and not what it has written itself.
    let again = bed
        .work(5, "write", 2, Work::Write(text(&good("new"))))
        .await;
    assert!(again.evidence.contains("says so already"), "{again:?}");
    let back = bed.work(5, "back", 1, restore()).await;
    assert_eq!(back.state(), State::Done, "{back:?}");
    assert_eq!((bed.text(), bed.mode()), (good("old"), 0o640));
    let twice = bed.work(5, "back", 2, restore()).await;
    assert_eq!(
        (twice.state(), bed.text()),
        (State::Done, good("old")),
        "{twice:?}"
    );
}

#[tokio::test]
async fn an_operation_never_takes_the_text_of_another_one_for_what_was_before_it() {
    let Some(mut bed) = Bed::new("{file}", "").await else {
        return;
    };
    bed.work(5, "write", 1, Work::Write(text(&good("five"))))
        .await;
    // It has written nothing, so it has nothing to put back.
    let nothing = bed.work(6, "back", 1, restore()).await;
    assert_eq!(
        (nothing.state(), bed.text()),
        (State::Done, good("five")),
        "{nothing:?}"
    );
    bed.work(6, "write", 1, Work::Write(text(&good("six"))))
        .await;
    let back = bed.work(6, "back", 2, restore()).await;
    assert_eq!(
        (back.state(), bed.text()),
        (State::Done, good("five")),
        "{back:?}"
    );
}

#[tokio::test]
async fn what_somebody_else_has_changed_since_is_neither_written_nor_put_back() {
    let Some(mut bed) = Bed::new("{file}", "").await else {
        return;
    };
    bed.work(5, "write", 1, Work::Write(text(&good("new"))))
        .await;
    fs::write(bed.lab.path("web.conf"), good("theirs")).unwrap();
    for (step, work) in [
        ("back", restore()),
        ("again", Work::Write(text(&good("new")))),
    ] {
        let refused = bed.work(5, step, 1, work).await;
        assert_eq!(refused.state(), State::Failed, "{refused:?}");
        assert!(refused.evidence.contains("somebody else"), "{refused:?}");
    }
    assert_eq!(bed.text(), good("theirs"));
}

#[tokio::test]
async fn a_checker_that_looks_at_the_file_in_its_place_has_it_put_back_when_it_refuses() {
    let Some(mut bed) = Bed::new("HERE/web.conf", "").await else {
        return;
    };
    let tried = bed.work(5, "try", 1, Work::TryText(text("serve_r;"))).await;
    assert!(
        tried.evidence.contains("when it is in its place"),
        "{tried:?}"
    );
    let refused = bed.work(5, "write", 1, Work::Write(text("serve_r;"))).await;
    assert_eq!(refused.state(), State::Failed, "{refused:?}");
    assert!(
        refused.evidence.contains("unknown directive"),
        "{refused:?}"
    );
    assert_eq!((bed.text(), bed.mode()), (good("old"), 0o640));
    let written = bed
        .work(5, "write", 2, Work::Write(text(&good("new"))))
        .await;
    assert_eq!(
        (written.state(), bed.text()),
        (State::Done, good("new")),
        "{written:?}"
    );
    let back = bed.work(5, "back", 1, restore()).await;
    assert_eq!(
        (back.state(), bed.text()),
        (State::Done, good("old")),
        "{back:?}"
    );
}

#[tokio::test]
async fn what_somebody_else_writes_while_the_checker_looks_is_not_put_back_over() {
    let theirs = "\"/bin/sh\", \"-c\", \"echo theirs > HERE/web.conf; echo no; exit 1\"";
    let mut bed = Bed::checked_by(theirs, "").await;
    let refused = bed.work(5, "write", 1, Work::Write(text("new\n"))).await;
    assert_eq!(refused.state(), State::Failed, "{refused:?}");
    assert!(refused.evidence.contains("somebody else"), "{refused:?}");
    assert_eq!(bed.text(), "theirs\n");
}

/// What starts after the attempt is over must not read a text that nobody has found good, and that goes away under it.
#[tokio::test]
async fn a_checker_that_still_looks_when_the_attempt_is_cancelled_is_ended_and_the_file_put_back_before_that_is_told()
 {
    let slow = "\"/bin/sh\", \"-c\", \"echo > HERE/asked; sleep 60 # HERE/web.conf\"";
    let mut bed = Bed::checked_by(slow, "").await;
    let command = Command::File(v1::FileCommand {
        service: "web".into(),
        file: "app".into(),
        work: Some(Work::Write(text("new\n"))),
    });
    bed.session.dispatch(id("write", 1), command).await;
    crate::lab::content(&bed.lab.path("asked"), |said| said == "\n").await;
    assert_eq!(bed.text(), "new\n");
    let cancel = v1::Cancel {
        term: 1,
        id: Some(id("write", 1)),
    };
    bed.session.order(Order::Cancel(cancel)).await;
    let cancelled = bed.session.outcome(&id("write", 1)).await;
    assert_eq!(
        (cancelled.state(), bed.text()),
        (State::Failed, good("old")),
        "{cancelled:?}"
    );
    assert!(cancelled.evidence.contains("was ended"), "{cancelled:?}");
}

#[tokio::test]
async fn the_look_finds_that_a_file_cannot_be_written_also_where_its_checker_looks_later() {
    let mut bed = Bed::checked_by("\"/bin/true\"", "").await;
    let tried = bed.work(5, "try", 1, Work::TryText(text("new\n"))).await;
    assert_eq!(tried.state(), State::Done, "{tried:?}");
    // Nothing can be put where a directory is.
    fs::create_dir(bed.lab.path(".interlock-try.web.conf")).unwrap();
    let tried = bed.work(5, "try", 2, Work::TryText(text("new\n"))).await;
    assert_eq!(tried.state(), State::Failed, "{tried:?}");
    assert!(tried.evidence.contains("cannot be written"), "{tried:?}");
    assert_eq!(bed.text(), good("old"));
}

#[tokio::test]
async fn a_checker_tells_no_secret_of_the_node_whatever_it_prints() {
    let chatty = "\"/bin/sh\", \"-c\", \"printf 'the password hunt%s is wrong' er2; exit 1\"";
    let mut bed = Bed::checked_by(chatty, "").await;
    let refused = bed.work(5, "write", 1, Work::Write(text("new\n"))).await;
    assert!(refused.evidence.contains("the password"), "{refused:?}");
    assert!(!refused.evidence.contains("hunter2"), "{refused:?}");
}

#[tokio::test]
async fn a_secret_is_put_in_on_the_node_where_the_file_may_have_it_and_told_nowhere() {
    let Some(mut bed) = Bed::new("{file}", "secrets = [\"db\"]\n").await else {
        return;
    };
    let with_secret = good("password @@");
    let written = bed
        .work(5, "write", 1, Work::Write(text(&with_secret)))
        .await;
    assert_eq!(written.state(), State::Done, "{written:?}");
    assert_eq!(bed.text(), good("password hunter2"));
    let refused = bed
        .work(5, "try", 1, Work::TryText(text("events {}\n@@ 1;\n")))
        .await;
    assert_eq!(refused.state(), State::Failed, "{refused:?}");
    assert!(!refused.evidence.contains("hunter2"), "{refused:?}");
    // What keeps the old text is for nobody else's eyes, and nothing else has the new one.
    let notes = bed.lab.path("state/files");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(
        (mode(&notes), mode(&notes.join("app.json"))),
        (0o700, 0o600)
    );
    assert!(!bed.lab.log().contains("hunter2"));
    fs::set_permissions(bed.lab.path("web.conf"), fs::Permissions::from_mode(0o644)).unwrap();
    let refused = bed
        .work(6, "write", 1, Work::Write(text(&with_secret)))
        .await;
    assert!(
        refused.evidence.contains("may be read by everybody"),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_file_or_a_secret_that_the_agents_own_file_does_not_permit_is_refused_with_the_line() {
    let Some(mut bed) = Bed::new("{file}", "").await else {
        return;
    };
    let refused = bed.work(5, "write", 1, Work::Write(text("# @@\n"))).await;
    assert_eq!(refused.state(), State::Refused, "{refused:?}");
    assert!(
        refused
            .evidence
            .contains("set `secrets = [\"db\"]` under [file.app] in"),
        "{refused:?}"
    );
    let id = v1::AttemptId {
        operation: 5,
        step: "other".into(),
        attempt: 1,
    };
    let command = Command::File(v1::FileCommand {
        service: "web".into(),
        file: "passwd".into(),
        work: Some(Work::Write(text("x"))),
    });
    bed.session.dispatch(id.clone(), command).await;
    let refused = bed.session.outcome(&id).await;
    assert_eq!(refused.state(), State::Refused, "{refused:?}");
    assert!(
        refused.evidence.contains("files = [\"app\", \"passwd\"]"),
        "{refused:?}"
    );
}

/// Whoever may write into the directory would choose which file of the machine is replaced.
#[tokio::test]
async fn a_link_in_the_place_of_the_file_is_not_followed() {
    let Some(mut bed) = Bed::new("{file}", "").await else {
        return;
    };
    let (file, precious) = (bed.lab.path("web.conf"), bed.lab.path("precious"));
    fs::rename(&file, &precious).unwrap();
    std::os::unix::fs::symlink(&precious, &file).unwrap();
    for (step, work) in [
        ("try", Work::TryText(text(&good("new")))),
        ("write", Work::Write(text(&good("new")))),
        ("back", restore()),
    ] {
        let refused = bed.work(5, step, 1, work).await;
        assert_eq!(refused.state(), State::Failed, "{refused:?}");
        assert!(
            refused.evidence.contains("is a symbolic link"),
            "{refused:?}"
        );
    }
    assert_eq!(fs::read_to_string(&precious).unwrap(), good("old"));
    assert!(fs::symlink_metadata(&file).unwrap().is_symlink());
}

#[tokio::test]
async fn a_file_is_compared_with_a_text_and_who_has_started_since_runs_with_it() {
    let mut bed = Bed::checked_by("\"/bin/true\"", "secrets = [\"db\"]\nshow = true\n").await;
    bed.session.assign(&[process("web")], 0).await;
    fs::write(bed.lab.path("web.conf"), "a\npassword hunter1\n").unwrap();

    // An older value of a secret is not shown, nor is the one of now.
    let wanted = "b\npassword @@\n";
    let found = bed.compare(wanted).await.unwrap();
    assert!(!found.same && !found.in_use, "{found:?}");
    let lines = lines(&found);
    assert!(
        lines.contains("+password <secret db>") && lines.contains("+b"),
        "{lines}"
    );
    assert!(!lines.contains("hunter"), "{lines}");
    assert_eq!(bed.text(), "a\npassword hunter1\n", "nothing is written");
    assert_eq!(bed.beside(), ["web.conf"]);

    // It says so, and nothing runs; it runs; it was written once more since.
    let written = bed.work(5, "write", 1, Work::Write(text(wanted))).await;
    assert_eq!(written.state(), State::Done, "{written:?}");
    let found = bed.compare(wanted).await.unwrap();
    assert_eq!((found.same, found.in_use), (true, false));
    // Longer than a tick of the kernel's clock, by which it tells when a process was started.
    tokio::time::sleep(Duration::from_millis(50)).await;
    bed.session
        .dispatch(id("start", 1), Command::Start(process("web")))
        .await;
    let started = bed.session.outcome(&id("start", 1)).await;
    assert_eq!(started.state(), State::Done, "{started:?}");
    let found = bed.compare(wanted).await.unwrap();
    assert_eq!((found.same, found.in_use), (true, true));
    fs::write(bed.lab.path("web.conf"), bed.text()).unwrap();
    let found = bed.compare(wanted).await.unwrap();
    assert_eq!((found.same, found.in_use), (true, false));

    assert!(!bed.lab.log().contains("hunter"));
}

#[tokio::test]
async fn what_a_command_has_started_runs_with_its_file_if_this_agent_began_that_later() {
    let commands = "[exec.web]\nstart = [\"/bin/touch\", \"HERE/up\"]\nstop = [\"/bin/rm\", \"HERE/up\"]\ncheck = [\"/bin/sh\", \
                    \"-c\", \"[ -e HERE/up ] || exit 3\"]\n";
    let mut bed = Bed::managed("\"/bin/true\"", commands, "exec").await;
    bed.session.assign(&[exec("web")], 0).await;
    let wanted = "wanted\n";
    let written = bed.work(5, "write", 1, Work::Write(text(wanted))).await;
    assert_eq!(written.state(), State::Done, "{written:?}");

    // A person has started it, nobody knows when.
    fs::write(bed.lab.path("up"), "").unwrap();
    let found = bed.compare(wanted).await.unwrap();
    assert_eq!((found.same, found.in_use), (true, false));
    let dispatch = |step: &str, command| (id(step, 1), command);
    for (at, command) in [
        dispatch("found-up", Command::Start(exec("web"))),
        dispatch("stop", Command::Stop(exec("web"))),
        dispatch("start", Command::Start(exec("web"))),
    ] {
        let (is_up_already, is_start) = (at.step == "found-up", at.step == "start");
        bed.session.dispatch(at.clone(), command).await;
        let done = bed.session.outcome(&at).await;
        assert_eq!(done.state(), State::Done, "{done:?}");
        let found = bed.compare(wanted).await.unwrap();
        assert_eq!(found.in_use, is_start, "{at:?} {found:?}");
        assert_eq!(is_up_already, done.evidence.contains("already"), "{done:?}");
    }

    fs::write(bed.lab.path("web.conf"), wanted).unwrap();
    let found = bed.compare(wanted).await.unwrap();
    assert_eq!((found.same, found.in_use), (true, false), "written since");
}

#[tokio::test]
async fn what_not_everybody_may_read_and_what_is_not_permitted_is_not_shown() {
    let mut bed = Bed::checked_by("\"/bin/true\"", "").await;
    let found = bed.compare("new\n").await.unwrap();
    let Some(Shown::Hidden(why)) = found.shown else {
        panic!("{found:?}");
    };
    assert!(why.contains("[file.app]"), "{why}");
    let refused = bed.compare("@@").await.unwrap_err();
    assert!(refused.starts_with("refused: "), "{refused}");
    assert!(refused.contains("secrets = [\"db\"]"), "{refused}");
}

#[tokio::test]
async fn a_text_whose_secret_is_permitted_and_not_there_would_be_refused() {
    let mut bed = Bed::checked_by("\"/bin/true\"", "secrets = [\"db\"]\n").await;
    fs::remove_file(bed.lab.path("secrets/db")).unwrap();
    let refused = bed.compare("@@").await.unwrap_err();
    assert!(refused.starts_with("refused: "), "{refused}");
    assert!(refused.contains("a secret that is not there"), "{refused}");
}

/// What becomes different, as it is shown.
fn lines(found: &v1::FileDifference) -> String {
    match &found.shown {
        Some(Shown::Lines(lines)) => lines.clone(),
        other => panic!("{other:?}"),
    }
}
