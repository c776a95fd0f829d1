//! A role that moves by an OCF resource agent: the one of the package `resource-agents` that has nothing but states, and one that
//! does what it is told.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use super::*;
use crate::scripted::Coordinator;

/// Where the package puts its agents.
const STATEFUL: &str = "/usr/lib/ocf/resource.d/heartbeat/Stateful";

/// An agent with roles. It runs if `up` is there, and is promoted if `promoted` is. `fail-ACTION` ends an action with the code in
/// it, and `hold-ACTION` holds one up. Its score is what `score` says. It writes down each call, whether what is held up goes on beside
/// it, and what it is notified of; like Stateful it does not stop what is promoted.
const ROLES: &str = r#"#!/bin/sh
here="$OCF_RESKEY_dir"
case "$1" in
meta-data)
    cat <<END
<resource-agent name="Roles" version="1.1"><shortdesc>Has roles</shortdesc><parameters>
<parameter name="dir" required="1"><shortdesc>Its directory</shortdesc><content type="string"/></parameter>
</parameters><actions><action name="start" timeout="30s"/><action name="stop" timeout="30s"/>
<action name="promote" timeout="30s"/><action name="demote" timeout="10s"/><action name="notify" timeout="900s"/>
<action name="validate-all" timeout="30s"/>
<action name="monitor" timeout="30s" interval="1s"/><action name="meta-data" timeout="5s"/></actions></resource-agent>
END
    exit 0 ;;
notify)
    notice() { eval "echo \"\$OCF_RESKEY_CRM_meta_notify_$1\""; }
    echo "$(notice type)-$(notice operation) at $(notice "$(notice operation)_uname") of $(notice all_uname)" >> "$here/notices"
    while [ -e "$here/hold-notice-of-$(notice "$(notice operation)_uname")" ]; do sleep 0.05; done
    exit 0 ;;
validate-all) ;;
monitor)
    echo >> "$here/monitors"
    [ -e "$here/score" ] && "$HA_SBIN_DIR/crm_attribute" -p -v "$(cat "$here/score")" ;;
*)
    echo "$1" >> "$here/calls"
    [ -e "$here/held" ] && kill -0 "$(cat "$here/held")" && echo "$1" >> "$here/beside" ;;
esac
[ -e "$here/fail-$1" ] && exit "$(cat "$here/fail-$1")"
if [ -e "$here/hold-$1" ]; then
    echo $$ > "$here/held"
    while [ -e "$here/hold-$1" ]; do sleep 0.05; done
fi
case "$1" in
start) [ -e "$here/promoted" ] && exit 8; touch "$here/up" ;;
promote) touch "$here/promoted" ;;
demote)
    [ -e "$here/idle-demote" ] && rm "$here/idle-demote" && exit 0
    rm -f "$here/promoted" "$here/fail-monitor"
    [ -e "$here/breaking-demote" ] && mv "$here/breaking-demote" "$here/fail-monitor" ;;
stop) [ -e "$here/promoted" ] && exit 8; rm -f "$here/up" "$here/fail-monitor" ;;
monitor) [ -e "$here/promoted" ] && exit 8; [ -e "$here/up" ] || exit 7 ;;
validate-all) ;;
*) exit 3 ;;
esac
exit 0
"#;

/// A node with a resource that is promotable.
struct Bed {
    lab: Lab,
    part: v1::Part,
}

impl Bed {
    fn new(lab: Lab, endpoint: &str, agent: &str, parameter: &str, at: &Path) -> Self {
        let here = lab.here();
        lab.configure(
            endpoint,
            &format!(
                "[ocf]\npath = [\"{here}/ocf.d\", \"/usr/lib/ocf/resource.d\"]\nstate = \"{here}/ocf\"\n[allow.services]\ndb = {{ ocf = [{{ \
                 agent = \"{agent}\", parameters = {{ {parameter} = true }} }}] }}\n[lease]\nruntime_dir = \"{here}/run\"\n"
            ),
        );
        let at = at.display().to_string();
        let mut command = crate::scripted::ocf("db", agent, &[(parameter, &at)]);
        let mut part = command.parts.remove(0);
        if let Some(v1::part::Part::Ocf(resource)) = &mut part.part {
            resource.promotable = true;
        }
        Self { lab, part }
    }

    fn command(&self) -> v1::InstanceCommand {
        v1::InstanceCommand {
            service: "db".into(),
            parts: vec![self.part.clone()],
        }
    }

    async fn assign(&self, session: &Session) {
        session
            .assign_all(&[self.command()], 0, Vec::new(), |instance| {
                instance.exclusive = true;
                instance.primary_parts = vec![self.part.clone()];
                let other = v1::LeasePeer {
                    node: "n2".into(),
                    address: "127.0.0.2".into(),
                };
                instance.lease = Some(v1::LeaseAssignment {
                    peers: vec![other],
                    ..v1::LeaseAssignment::default()
                });
            })
            .await;
    }

    async fn start(&self, session: &mut Session) {
        self.assign(session).await;
        session
            .dispatch(id("start", 1), Command::Start(self.command()))
            .await;
        let done = session.outcome(&id("start", 1)).await;
        assert_eq!(done.state(), v1::AttemptState::Done, "{done:?}");
    }
}

/// The agent of the package, and its file of state; none where it is not installed.
struct Stateful {
    bed: Bed,
    state: PathBuf,
}

impl Stateful {
    fn on(lab: Lab, endpoint: &str) -> Option<Self> {
        if !crate::lab::has("roles of OCF resource agents", STATEFUL, "resource-agents") {
            return None;
        }
        let state = lab.path("stateful");
        let bed = Bed::new(lab, endpoint, "heartbeat:Stateful", "state", &state);
        Some(Self { bed, state })
    }

    /// `slave` or `master`, in its own words; empty if it does not run.
    fn state(&self) -> String {
        let state = fs::read_to_string(&self.state).unwrap_or_default();
        state.trim().to_owned()
    }

    async fn until(&self, state: &str) {
        let waiting = async {
            while self.state() != state {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        patiently(waiting).await;
    }
}

/// The agent that does what it is told.
struct Told {
    bed: Bed,
    dir: PathBuf,
}

impl Told {
    fn on(lab: Lab, endpoint: &str) -> Self {
        let (agents, dir) = (lab.path("ocf.d/test"), lab.path("thing"));
        for made in [&agents, &dir] {
            fs::create_dir_all(made).unwrap();
        }
        fs::write(agents.join("Roles"), ROLES).unwrap();
        fs::set_permissions(agents.join("Roles"), fs::Permissions::from_mode(0o755)).unwrap();
        let bed = Bed::new(lab, endpoint, "test:Roles", "dir", &dir);
        Self { bed, dir }
    }

    fn set(&self, name: &str, text: &str) {
        // As a whole, for an agent that may look at any moment.
        fs::write(self.dir.join("new"), text).unwrap();
        fs::rename(self.dir.join("new"), self.dir.join(name)).unwrap();
    }

    fn is(&self, name: &str) -> bool {
        self.dir.join(name).exists()
    }

    fn calls(&self) -> Vec<String> {
        self.lines("calls")
    }

    /// The action that is held up.
    fn held(&self) -> Option<u32> {
        self.lines("held").first()?.parse().ok()
    }

    fn lines(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.dir.join(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

async fn ready(session: &mut Session, book: &Book) {
    book.standing(session, |it| it.idle && it.unready.is_empty())
        .await;
}

#[tokio::test]
async fn the_packages_agent_is_promoted_with_the_role_demoted_when_it_goes_and_stopped_when_its_lease_ends()
 {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    let Some(stateful) = Stateful::on(lab, &coordinator.endpoint) else {
        return;
    };
    let _agent = stateful.bed.lab.start().await;
    let mut session = coordinator.session(1).await;
    let mut book = Book::new(ControlLoss::Demote, Profile::Fast);
    stateful.bed.start(&mut session).await;
    ready(&mut session, &book).await;
    assert_eq!(stateful.state(), "slave", "started, and not promoted");

    primary(&mut session, &book, 1).await;
    assert_eq!(stateful.state(), "master");
    book.role(&mut session, |role| role.detail == "score 10")
        .await;

    book.say(&session, 1, Word::Release(1)).await;
    let release = book.release(&mut session).await;
    assert_eq!(release.epoch, 1);
    assert_eq!(
        stateful.state(),
        "slave",
        "demoted before it is told, and goes on"
    );
    book.say(&session, 1, Word::ReleaseWritten(1)).await;
    ready(&mut session, &book).await;

    primary(&mut session, &book, 2).await;
    assert_eq!(stateful.state(), "master");
    book.acknowledges = false;
    let release = book.release(&mut session).await;
    assert_eq!(release.epoch, 2);
    assert_ne!(stateful.state(), "master", "it has fenced itself");
    let log = stateful.bed.lab.log();
    assert!(
        log.contains("stopping by force: its lease is about to end"),
        "{log}"
    );
    book.acknowledges = true;
    book.say(&session, 1, Word::ReleaseWritten(2)).await;
    // It stands by again without anybody's order.
    stateful.until("slave").await;
    ready(&mut session, &book).await;
}

#[tokio::test]
async fn a_primary_that_dies_is_not_promoted_again_in_its_place() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    let Some(stateful) = Stateful::on(lab, &coordinator.endpoint) else {
        return;
    };
    let _agent = stateful.bed.lab.start().await;
    let mut session = coordinator.session(1).await;
    let book = Book::new(ControlLoss::Demote, Profile::Fast);
    stateful.bed.start(&mut session).await;
    ready(&mut session, &book).await;
    primary(&mut session, &book, 1).await;
    fs::remove_file(&stateful.state).unwrap();
    let release = book.release(&mut session).await;
    assert_eq!(release.epoch, 1, "its role is given back");
    book.say(&session, 1, Word::ReleaseWritten(1)).await;
    stateful.until("slave").await;
}

#[tokio::test]
async fn what_is_promoted_when_the_agent_starts_without_a_lease_is_demoted_and_stopped() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    let Some(stateful) = Stateful::on(lab, &coordinator.endpoint) else {
        return;
    };
    fs::write(&stateful.state, "master\n").unwrap();
    let _agent = stateful.bed.lab.start().await;
    let mut session = coordinator.session(1).await;
    stateful.bed.assign(&session).await;
    // Nothing wants it to run.
    stateful.until("").await;
    let book = Book::new(ControlLoss::Demote, Profile::Fast);
    book.standing(&mut session, |it| it.idle).await;
}

#[tokio::test]
async fn what_its_agent_gives_no_score_is_not_promoted() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    let told = Told::on(lab, &coordinator.endpoint);
    let _agent = told.bed.lab.start().await;
    let mut session = coordinator.session(1).await;
    let book = Book::new(ControlLoss::Demote, Profile::Fast);
    told.bed.start(&mut session).await;
    let no_score = |it: &v1::LeaseStanding| it.unready.contains("its agent has given it no score");
    book.standing(&mut session, no_score).await;
    book.promote(&session, 1).await;
    told.set("score", "-5");
    let below = |it: &v1::LeaseStanding| it.unready.contains("a score of -5");
    book.standing(&mut session, below).await;
    assert!(!told.is("promoted"));
    told.set("score", "100");
    let scored = |it: &v1::LeaseStanding| it.score == Some(100);
    book.standing(&mut session, scored).await;
    ready(&mut session, &book).await;
    primary(&mut session, &book, 2).await;
    assert!(told.is("promoted"));
    // It was told before and after, and of whom there are.
    let mut notices = told.lines("notices");
    notices.retain(|notice| notice.contains("promote"));
    assert_eq!(
        notices,
        ["pre-promote at n1 of n1 n2", "post-promote at n1 of n1 n2"]
    );
}

#[tokio::test]
async fn what_may_be_promoted_and_has_failed_is_demoted_and_then_stopped_wherever_the_role_is() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    let told = Told::on(lab, &coordinator.endpoint);
    told.set("score", "5");
    let _agent = told.bed.lab.start().await;
    let mut session = coordinator.session(1).await;
    let book = Book::new(ControlLoss::Demote, Profile::Fast);
    told.bed.start(&mut session).await;
    ready(&mut session, &book).await;
    let before = told.calls().len();
    // Nobody gave it the role here.
    told.set("fail-monitor", "9");
    let ended = async {
        while told.calls().len() < before + 3 {
            book.next(&mut session).await;
        }
    };
    patiently(ended).await;
    assert_eq!(
        told.calls()[before..before + 3],
        ["demote", "stop", "start"]
    );
    ready(&mut session, &book).await;

    primary(&mut session, &book, 1).await;
    told.set("fail-monitor", "9");
    let release = book.release(&mut session).await;
    assert_eq!(release.epoch, 1);
    assert!(!told.is("promoted"));
}

#[tokio::test]
async fn a_demotion_that_fails_ends_in_a_stop_or_in_no_release() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    let told = Told::on(lab, &coordinator.endpoint);
    told.set("score", "5");
    let _agent = told.bed.lab.start().await;
    let mut session = coordinator.session(1).await;
    let book = Book::new(ControlLoss::Demote, Profile::Fast);
    told.bed.start(&mut session).await;
    ready(&mut session, &book).await;
    primary(&mut session, &book, 1).await;
    told.set("fail-demote", "1");
    book.say(&session, 1, Word::Release(1)).await;
    let tried = async {
        // In order, and then more than once before a stop, which does not stop what is promoted.
        while told.calls().iter().filter(|call| *call == "stop").count() < 2 {
            let said = book.next(&mut session).await;
            assert!(release_in(&said).is_none(), "it may be promoted");
        }
    };
    patiently(tried).await;
    assert!(told.is("promoted"));
    fs::remove_file(told.dir.join("fail-demote")).unwrap();
    let release = book.release(&mut session).await;
    assert_eq!(release.epoch, 1);
    assert!(!told.is("promoted") && !told.is("up"));
}

/// The agent is killed while a `promote` goes on, and what it has left is `left` of the resource when the next one looks.
async fn outlived_by_a_promotion(left: impl FnOnce(&Told)) {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    let told = Told::on(lab, &coordinator.endpoint);
    told.set("score", "5");
    told.set("hold-promote", "");
    let agent = told.bed.lab.start().await;
    let mut session = coordinator.session(1).await;
    let book = Book::new(ControlLoss::Demote, Profile::Fast);
    told.bed.start(&mut session).await;
    ready(&mut session, &book).await;
    book.promote(&session, 1).await;
    book.until(&mut session, |_| told.held().is_some()).await;
    let promotion = told.held().unwrap();
    agent.kill().await;
    assert!(lives(promotion), "its shim has it go on");
    left(&told);

    let _agent = told.bed.lab.start().await;
    let mut session = coordinator.session(1).await;
    let release = book.release(&mut session).await;
    assert_eq!(release.epoch, 1);
    assert!(!lives(promotion), "it would promote what was given back");
    assert!(!told.is("promoted"));
}

#[tokio::test]
async fn a_promotion_that_outlives_its_agent_is_ended_before_the_role_is_given_back() {
    outlived_by_a_promotion(|_| {}).await;
}

#[tokio::test]
async fn a_promotion_that_outlives_its_agent_is_ended_also_where_nothing_else_runs() {
    outlived_by_a_promotion(|told| fs::remove_file(told.dir.join("up")).unwrap()).await;
}

/// The agent is killed while what has died is started again as a standby.
async fn outlived_by_a_start(told: &Told, coordinator: &mut Coordinator) -> (u32, Book) {
    told.set("score", "5");
    let agent = told.bed.lab.start().await;
    let mut session = coordinator.session(1).await;
    let book = Book::new(ControlLoss::Demote, Profile::Fast);
    told.bed.start(&mut session).await;
    ready(&mut session, &book).await;
    told.set("hold-start", "");
    fs::remove_file(told.dir.join("up")).unwrap();
    book.until(&mut session, |_| told.held().is_some()).await;
    let start = told.held().unwrap();
    agent.kill().await;
    assert!(lives(start), "its shim has it go on");
    (start, book)
}

#[tokio::test]
async fn a_start_that_outlives_its_agent_is_ended_before_fencing_stops_what_it_starts() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    let told = Told::on(lab, &coordinator.endpoint);
    let (start, book) = outlived_by_a_start(&told, &mut coordinator).await;
    // It goes on, and there is something that nobody may be.
    told.set("up", "");
    told.set("promoted", "");

    let _agent = told.bed.lab.start().await;
    let mut session = coordinator.session(1).await;
    let stopped = |told: &Told| !told.is("promoted") && told.calls().contains(&"stop".to_owned());
    book.until(&mut session, |_| stopped(&told)).await;
    assert!(!lives(start), "it would start what was stopped");
    assert_eq!(told.lines("beside"), [""; 0], "what ended it had to wait");
}

#[tokio::test]
async fn a_start_that_outlives_its_agent_is_ended_before_what_it_starts_is_promoted() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    let told = Told::on(lab, &coordinator.endpoint);
    let (start, book) = outlived_by_a_start(&told, &mut coordinator).await;
    // By its monitor it is there already.
    told.set("up", "");

    let _agent = told.bed.lab.start().await;
    let mut session = coordinator.session(1).await;
    ready(&mut session, &book).await;
    assert!(lives(start), "nobody has a reason to end it");
    primary(&mut session, &book, 1).await;
    assert!(!lives(start), "it went on beside a promotion");
    assert_eq!(told.lines("beside"), [""; 0]);
}

/// A demotion that says that it has demoted, and has not.
async fn ended_by_force(told_to: &str) {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    let told = Told::on(lab, &coordinator.endpoint);
    told.set("score", "5");
    let _agent = told.bed.lab.start().await;
    let mut session = coordinator.session(1).await;
    let book = Book::new(ControlLoss::Demote, Profile::Fast);
    told.bed.start(&mut session).await;
    ready(&mut session, &book).await;
    primary(&mut session, &book, 1).await;
    told.set(told_to, "1");
    book.say(&session, 1, Word::Release(1)).await;
    let release = book.release(&mut session).await;
    assert_eq!(release.epoch, 1);
    assert!(!told.is("promoted") && !told.is("up"));
}

#[tokio::test]
async fn a_demotion_that_breaks_what_it_demotes_ends_in_a_stop() {
    ended_by_force("breaking-demote").await;
}

#[tokio::test]
async fn a_demotion_that_demotes_nothing_ends_in_a_stop_at_its_own_limit() {
    ended_by_force("idle-demote").await;
}

#[tokio::test]
async fn a_notice_that_hangs_keeps_nobody_from_fencing() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    let told = Told::on(lab, &coordinator.endpoint);
    told.set("score", "5");
    let _agent = told.bed.lab.start().await;
    let mut session = coordinator.session(1).await;
    let mut book = Book::new(ControlLoss::Demote, Profile::Fast);
    told.bed.start(&mut session).await;
    ready(&mut session, &book).await;
    primary(&mut session, &book, 1).await;
    told.set("hold-notice-of-n1", "");
    book.acknowledges = false;
    let release = book.release(&mut session).await;
    assert_eq!(release.epoch, 1);
    assert!(!told.is("promoted") && !told.is("up"));
}

#[tokio::test]
async fn a_notice_of_another_primary_that_hangs_keeps_nobody_from_a_promotion() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    let told = Told::on(lab, &coordinator.endpoint);
    told.set("score", "5");
    told.set("hold-notice-of-n2", "");
    let _agent = told.bed.lab.start().await;
    let mut session = coordinator.session(1).await;
    let book = Book::new(ControlLoss::Demote, Profile::Fast);
    told.bed.start(&mut session).await;
    ready(&mut session, &book).await;
    let other = v1::LeaseHolder {
        node: "n2".into(),
        boot_id: "boot-2".into(),
    };
    let heard = v1::LeaseHeard {
        epoch: 5,
        holder: Some(other),
        ..v1::LeaseHeard::default()
    };
    book.say(&session, 1, Word::Heard(heard)).await;
    let noticed = || told.lines("notices").iter().any(|it| it.contains("at n2"));
    let noticing = async {
        while !noticed() {
            book.next(&mut session).await;
        }
    };
    patiently(noticing).await;
    primary(&mut session, &book, 6).await;
    assert!(told.is("promoted"));
}

#[tokio::test]
async fn what_is_promoted_while_a_start_of_it_is_prepared_stays_promoted() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    let told = Told::on(lab, &coordinator.endpoint);
    told.set("score", "5");
    let _agent = told.bed.lab.start().await;
    let mut session = coordinator.session(1).await;
    let book = Book::new(ControlLoss::Demote, Profile::Fast);
    told.bed.start(&mut session).await;
    ready(&mut session, &book).await;
    told.set("hold-validate-all", "");
    told.set("fail-monitor", "1");
    book.until(&mut session, |_| told.held().is_some()).await;
    fs::remove_file(told.dir.join("fail-monitor")).unwrap();
    ready(&mut session, &book).await;
    primary(&mut session, &book, 1).await;
    let before = told.calls().len();
    let validation = told.held().unwrap();
    fs::remove_file(told.dir.join("hold-validate-all")).unwrap();
    book.until(&mut session, |_| !lives(validation)).await;
    // Nobody looks while something is done.
    let seen = told.lines("monitors").len() + 4;
    let looked = async {
        while told.lines("monitors").len() < seen {
            book.next(&mut session).await;
        }
    };
    patiently(looked).await;
    assert!(told.calls()[before..].is_empty(), "{:?}", told.calls());
    assert!(told.is("promoted"));
}
