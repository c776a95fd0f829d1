//! What the agent's own file has to say of roles.

use super::*;

/// What only the primary of `db` would have is run by `other` here, and the file does not give it to `db`. The command shows
/// that it ran.
fn foreign(here: &str) -> String {
    let see = format!("[\"/bin/sh\", \"-c\", \"touch {here}/asked; exit 1\"]");
    format!(
        "[allow.services]\ndb = {{ process = [\"base\"] }}\nother = {{ process = [\"main\"], exec = \"tool\" }}\n\
         [process.base]\ncommand = [\"/bin/sleep\", \"1000\"]\n[process.main]\ncommand = [\"/bin/sleep\", \"1000\"]\n\
         [exec.tool]\nstart = {see}\nstop = {see}\ncheck = {see}\n[lease]\nruntime_dir = \"{here}/run\"\n"
    )
}

#[tokio::test]
async fn an_assignment_neither_asks_nor_ends_what_the_agents_file_does_not_permit() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    lab.configure(&coordinator.endpoint, &foreign(&lab.here()));
    let _agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    let other = v1::InstanceCommand {
        service: "other".into(),
        parts: vec![part("main")],
    };
    session.assign(std::slice::from_ref(&other), 0).await;
    session
        .dispatch(id("start", 1), Command::Start(other))
        .await;
    let done = session.outcome(&id("start", 1)).await;
    assert_eq!(done.state(), v1::AttemptState::Done, "{done:?}");
    let pid = main_pid(&lab).unwrap();

    let tool = v1::Part {
        part: Some(v1::part::Part::Exec("tool".into())),
    };
    session
        .assign_all(&[base()], 0, Vec::new(), |instance| {
            instance.exclusive = true;
            instance.primary_parts = vec![part("main"), tool.clone()];
            instance.lease = Some(v1::LeaseAssignment::default());
        })
        .await;
    let book = Book::new(ControlLoss::Demote, Profile::Conservative);
    let standing = book
        .standing(&mut session, |it| it.unready.contains("main"))
        .await;
    assert!(
        standing.idle && standing.unready.contains("allow"),
        "{standing:?}"
    );
    assert!(lives(pid), "it is somebody else's");
    assert!(!lab.path("asked").exists(), "an assignment runs nothing");
}

#[tokio::test]
async fn what_nobody_can_tell_is_neither_promoted_nor_ended_where_it_never_was_primary() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    let here = lab.here();
    lab.configure(
        &coordinator.endpoint,
        &format!(
            "[allow.services]\ndb = {{ process = [\"base\"], exec = \"main\" }}\n[process.base]\ncommand = [\"/bin/sleep\", \
             \"1000\"]\n[exec.main]\nstart = [\"/bin/true\"]\nstop = [\"/bin/touch\", \"{here}/ended\"]\ncheck = \
             [\"/bin/sh\", \"-c\", \"exit 77\"]\n[lease]\nruntime_dir = \"{here}/run\"\n"
        ),
    );
    let _agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    session
        .assign_all(&[base()], 0, Vec::new(), |instance| {
            instance.exclusive = true;
            instance.primary_parts = crate::scripted::exec("main").parts;
            instance.lease = Some(v1::LeaseAssignment::default());
        })
        .await;
    let book = Book::new(ControlLoss::Demote, Profile::Conservative);
    let standing = book
        .standing(&mut session, |it| it.unready.contains("main"))
        .await;
    assert!(standing.idle, "{standing:?}");
    assert!(!lab.log().contains("stopping by force"));
    assert!(!lab.path("ended").exists());
}
