//! The check of who takes part: what is down or out is bad, unless a plan has put it out.

use std::time::Duration;

use interlock_proto::v1;
use interlock_proto::v1::AttemptState as State;
use interlock_proto::v1::Verdict;
use interlock_proto::v1::assigned_check::Kind;
use interlock_proto::v1::dispatch::Command;

use super::Bed;

/// Looks at these backends, twenty times a second.
fn check(bed: &Bed, name: &str, backends: &[&str]) -> v1::AssignedCheck {
    v1::AssignedCheck {
        service: "lb".into(),
        check: name.into(),
        every_ms: 50,
        timeout_ms: 5_000,
        fail: 1,
        pass: 1,
        fresh_ms: 60_000,
        kind: Some(Kind::Haproxy(v1::HaproxyCheck {
            socket: bed.lab.path("admin.sock").display().to_string(),
            backends: backends.iter().map(|&it| it.to_owned()).collect(),
        })),
        ..v1::AssignedCheck::default()
    }
}

/// Waits until the check comes to this, with this piece of evidence.
async fn says(bed: &mut Bed, check: &str, verdict: Verdict, evidence: &str) {
    let wanted =
        |seen: &v1::CheckResult| seen.verdict() == verdict && seen.evidence.contains(evidence);
    bed.session.check(check, wanted).await;
}

#[tokio::test]
async fn who_is_out_is_bad_unless_a_plan_has_put_him_out() {
    let Some(mut bed) = Bed::new("\"web\"").await else {
        return;
    };
    // What somebody else switches is left as it is, so that the check can see it.
    let checks = vec![check(&bed, "members", &["web"]), check(&bed, "all", &[])];
    bed.assign_with(true, checks).await;
    let both = "2 servers take clients";
    says(&mut bed, "members", Verdict::Ok, both).await;
    says(&mut bed, "all", Verdict::Ok, both).await;

    bed.tell("set server web/jb2 state maint").await;
    says(&mut bed, "members", Verdict::Bad, "web/jb2 is MAINT").await;
    says(&mut bed, "all", Verdict::Bad, "web/jb2 is MAINT").await;
    bed.tell("set server web/jb2 state ready").await;
    says(&mut bed, "members", Verdict::Ok, both).await;

    let drain = Command::Drain(bed.member("web", "jb1", Duration::from_secs(1)));
    let done = bed.dispatch("drain", drain).await;
    assert_eq!(done.state(), State::Done, "{done:?}");
    let put = "1 server takes clients; put out by a plan: web/jb1 is MAINT";
    says(&mut bed, "members", Verdict::Ok, put).await;
    // That one is held out excuses no other.
    bed.tell("set server web/jb2 state drain").await;
    says(&mut bed, "members", Verdict::Bad, "web/jb2 is DRAIN").await;
    bed.tell("set server web/jb2 state ready").await;
    says(&mut bed, "members", Verdict::Ok, put).await;

    let admit = Command::Admit(bed.member("web", "jb1", Duration::ZERO));
    let done = bed.dispatch("admit", admit).await;
    assert_eq!(done.state(), State::Done, "{done:?}");
    says(&mut bed, "members", Verdict::Ok, both).await;
    // A plan has put it in, so nobody holds it out.
    bed.tell("set server web/jb1 state maint").await;
    says(&mut bed, "members", Verdict::Bad, "web/jb1 is MAINT").await;
}

#[tokio::test]
async fn a_balancer_without_the_backend_or_without_a_process_is_bad_and_one_that_is_not_permitted_unknown()
 {
    let Some(mut bed) = Bed::new("\"web\"").await else {
        return;
    };
    let mut elsewhere = check(&bed, "elsewhere", &[]);
    if let Some(Kind::Haproxy(haproxy)) = &mut elsewhere.kind {
        haproxy.socket = "/run/other.sock".into();
    }
    let checks = vec![
        check(&bed, "missing", &["web", "shop"]),
        check(&bed, "members", &[]),
        elsewhere,
    ];
    bed.assign_with(true, checks).await;
    let missing = "haproxy has no backend shop; it has";
    says(&mut bed, "missing", Verdict::Bad, missing).await;
    let refused = "check_sockets = [";
    says(&mut bed, "elsewhere", Verdict::Unknown, refused).await;
    bed.haproxy.kill().await.unwrap();
    says(&mut bed, "members", Verdict::Bad, "cannot be reached").await;
}
