//! A primary that no coordinator renews, and what its peers promise. The tests with two agents need root, for a network of
//! their own: agents find each other at one port.

use std::time::{Duration, Instant};

use interlock_mesh::identity::Kind;
use interlock_model::lease::{Durations, RateError};
use interlock_proto::v1::peer_service_client::PeerServiceClient;
use tonic::Code;

use super::*;
use crate::scripted::Coordinator;

/// Longer than `fast`: an agent is restarted within it, and on a machine that does much else.
fn timings() -> Timings {
    let millis = Duration::from_millis;
    Timings::new(Durations {
        renewal: millis(500),
        life: millis(6000),
        fence: millis(4500),
        stop: millis(500),
        watchdog: millis(2000),
        pet_age: millis(2000),
        rate_error: RateError::DEFAULT,
    })
    .unwrap()
}

fn failsafe() -> Book {
    let mut book = Book::new(ControlLoss::Failsafe, Profile::Fast);
    let terms = Terms {
        timings: timings(),
        on_control_loss: ControlLoss::Failsafe,
        vm_pause: VmPause::Accepted,
        members: ["n1", "n2"].map(|node| node.parse().unwrap()).into(),
        max_lag: 0,
    };
    book.terms = terms_to_wire(&terms);
    book
}

/// Assigned with its peer, started, and ready.
async fn member(session: &mut Session, book: &Book, peer: (&str, &str)) {
    let peer = v1::LeasePeer {
        node: peer.0.into(),
        address: peer.1.into(),
    };
    session
        .assign_all(&[base()], 0, Vec::new(), |instance| {
            instance.exclusive = true;
            instance.primary_parts = vec![part("main")];
            instance.lease = Some(v1::LeaseAssignment {
                peers: vec![peer.clone()],
                ..v1::LeaseAssignment::default()
            });
        })
        .await;
    session
        .dispatch(id("start", 1), Command::Start(base()))
        .await;
    session.outcome(&id("start", 1)).await;
    book.standing(session, |it| it.idle && it.unready.is_empty())
        .await;
}

/// A command is repeated as long as it holds: an agent that has just started waits, for it may have promised something.
async fn until_renewal(session: &mut Session, book: &Book, epoch: u64) {
    loop {
        book.promote(session, epoch).await;
        let renews = book.until(session, |said| {
            renewal_in(said).is_some_and(|it| it.epoch == epoch)
        });
        if tokio::time::timeout(Duration::from_millis(100), renews)
            .await
            .is_ok()
        {
            return;
        }
    }
}

fn request(node: &str, epoch: u64) -> v1::PromiseRequest {
    v1::PromiseRequest {
        service: "db".into(),
        holder: Some(v1::LeaseHolder {
            node: node.into(),
            boot_id: "boot-9".into(),
        }),
        epoch,
        life_ms: u64::try_from(timings().life().as_millis()).unwrap(),
    }
}

#[tokio::test]
async fn who_has_promised_a_peer_to_wait_claims_nothing_meanwhile_also_when_its_agent_was_killed() {
    for killed in [false, true] {
        let lab = Lab::new();
        let mut coordinator = lab.coordinator().await;
        configure(&lab, &coordinator.endpoint);
        let mut agent = lab.start().await;
        let mut session = coordinator.session(1).await;
        let book = failsafe();
        member(&mut session, &book, ("n2", "127.0.0.1")).await;

        let peer = "interlock://lab/agent/n2";
        let channel = lab.channel_as(&agent, peer, Kind::Agent).await;
        let mut n2 = PeerServiceClient::new(channel);
        let asked = Instant::now();
        let answer = n2.promise(request("n2", 1)).await.unwrap().into_inner();
        assert!(answer.promised, "{answer:?}");
        book.standing(&mut session, |it| it.promised).await;
        if killed {
            agent.kill().await;
            agent = lab.start().await;
            session = coordinator.session(1).await;
            book.standing(&mut session, |it| it.idle && it.unready.is_empty())
                .await;
        }
        until_renewal(&mut session, &book, 2).await;
        let waited = asked.elapsed();
        assert!(
            waited >= timings().life(),
            "killed {killed}: it waited for {waited:?} only"
        );
        drop(agent);
    }
}

#[tokio::test]
async fn a_promise_is_given_to_members_alone_and_never_for_an_epoch_that_is_over() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    configure(&lab, &coordinator.endpoint);
    let agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    let book = failsafe();
    member(&mut session, &book, ("n2", "127.0.0.1")).await;

    let ask = async |caller: &str, kind, request| {
        let channel = lab.channel_as(&agent, caller, kind).await;
        PeerServiceClient::new(channel).promise(request).await
    };
    let n2 = "interlock://lab/agent/n2";
    let n3 = "interlock://lab/agent/n3";
    let admin = "interlock://lab/operator/anna?role=admin";
    for (caller, kind) in [(n3, Kind::Agent), (admin, Kind::Operator)] {
        let refused = ask(caller, kind, request("n2", 1)).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{refused:?}");
    }
    let mut long = request("n2", 1);
    long.life_ms = 7_200_000;
    let refused = ask(n2, Kind::Agent, long).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");

    let why = async |caller, request| {
        let answer = ask(caller, Kind::Agent, request).await.unwrap();
        let answer = answer.into_inner();
        assert!(!answer.promised, "{answer:?}");
        answer.reason
    };
    assert_eq!(
        why(n3, request("n3", 1)).await,
        "this node was not told that n3 is a member of it"
    );
    let mut unknown = request("n2", 1);
    unknown.service = "other".into();
    assert_eq!(why(n2, unknown).await, "no role of it is kept on this node");
    let heard = v1::LeaseHeard {
        epoch: 5,
        ..v1::LeaseHeard::default()
    };
    book.say(&session, 1, Word::Heard(heard)).await;
    book.standing(&mut session, |it| it.seen == 5).await;
    assert_eq!(
        why(n2, request("n2", 4)).await,
        "it has heard of epoch 5, and was asked for epoch 4"
    );
    until_renewal(&mut session, &book, 6).await;
    book.role(&mut session, |role| role.side() == v1::Side::Primary)
        .await;
    assert_eq!(why(n2, request("n2", 6)).await, "it is no idle standby");
}

/// Two agents on one machine, of which `n1` is primary; then their coordinator is gone.
async fn alone(body: impl AsyncFnOnce(&Lab, crate::lab::Agent, crate::lab::Agent)) {
    let one = Lab::new().beside("n1", "127.0.0.1:7444");
    let two = one.beside("n2", "127.0.0.2:7444");
    let mut coordinator: Coordinator = one.coordinator().await;
    configure(&one, &coordinator.endpoint);
    configure(&two, &coordinator.endpoint);
    let book = failsafe();
    let first = one.start().await;
    let mut session = coordinator.session(1).await;
    member(&mut session, &book, ("n2", "127.0.0.2")).await;
    let second = two.start().await;
    let mut other = coordinator.session(1).await;
    member(&mut other, &book, ("n1", "127.0.0.1")).await;
    until_renewal(&mut session, &book, 1).await;
    book.role(&mut session, |role| role.side() == v1::Side::Primary)
        .await;
    coordinator.vanish().await;
    drop((session, other));
    body(&one, first, second).await;
}

fn in_a_network_of_its_own(test: &str, body: impl Future<Output = ()>) {
    apart::in_a_lab(&format!("roles::failsafe::{test}"), || {
        tokio::runtime::Runtime::new().unwrap().block_on(body);
    });
}

/// It goes on for longer than any right lasts that nobody has prolonged.
async fn goes_on(lab: &Lab, pid: u32) {
    let until = Instant::now() + timings().life();
    while Instant::now() < until {
        assert!(lives(pid), "{}", lab.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[test]
fn a_primary_without_coordinators_goes_on_while_its_peer_promises_and_ends_when_that_is_gone() {
    let test =
        "a_primary_without_coordinators_goes_on_while_its_peer_promises_and_ends_when_that_is_gone";
    let body = alone(async |lab, first, second| {
        let pid = main_pid(lab).unwrap();
        goes_on(lab, pid).await;
        let node = lab
            .node(&first, |node| {
                let role = node.instances[0].role.as_ref();
                role.is_some_and(|role| role.detail.contains("all other members promise"))
            })
            .await;
        assert_eq!(
            node.instances[0].role.as_ref().unwrap().side(),
            v1::Side::Primary
        );
        // Where its peers are it knows from its own disk.
        first.kill().await;
        let _first = lab.start().await;
        goes_on(lab, pid).await;

        second.kill().await;
        let ends = async {
            while lives(pid) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        patiently(ends).await;
        assert!(
            lab.log()
                .contains("stopping by force: its lease is about to end"),
            "{}",
            lab.log()
        );
    });
    in_a_network_of_its_own(test, body);
}
