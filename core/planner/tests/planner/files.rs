//! Restarts that change a file on the way.

use std::collections::BTreeMap;

use interlock_model::action::Action;
use interlock_model::check::{CheckFrom, Verdict};
use interlock_model::file::{Compared, Difference, Piece, ServiceFile, Untold};
use interlock_model::observation::InstanceState;
use interlock_model::permission::Permission;
use interlock_model::plan::{Plan, PlanKind, Wait};
use interlock_planner::Outcome;
use interlock_planner::checker::{self, Violation};

use crate::support::{Ask, Cluster, Seen, after, ask, name, precedes, services};

/// Two servers behind a load balancer, with a file that differs between them.
fn web() -> Cluster {
    let file = ServiceFile {
        values: BTreeMap::from([("level".into(), "info".into())]),
        nodes: BTreeMap::from([(
            name("jb2"),
            BTreeMap::from([("level".into(), "debug".into())]),
        )]),
    };
    Cluster::new()
        .service("lb", &["lb1"])
        .service("web", &["jb1", "jb2"])
        .check("web", "http", CheckFrom::Own)
        .member_of("web", "lb")
        .with("web", |web| {
            web.files.insert(name("app"), file);
        })
}

fn restart<'a>(cluster: &'a Cluster, seen: &'a Seen, template: &str) -> Ask<'a> {
    ask(cluster, PlanKind::Restart, services(&["web"]))
        .seeing(seen)
        .changing(template)
}

#[test]
fn every_node_tries_its_text_first_and_the_file_changes_between_stop_and_start() {
    let cluster = web();
    let seen = cluster.all_up(&[]);
    let plan = restart(&cluster, &seen, "level = {{ values.level }}\n").plan();
    for node in ["jb1", "jb2"] {
        let trial = format!("try-file:web@{node}");
        assert!(precedes(&plan, &trial, Wait::Up, "drain:web@jb1:lb@lb1"));
        assert_eq!(
            after(&plan, &format!("write-file:web@{node}")),
            [format!("stop:web@{node} down")]
        );
        assert!(precedes(
            &plan,
            &format!("write-file:web@{node}"),
            Wait::Up,
            &format!("start:web@{node}")
        ));
    }
    let said: Vec<String> = plan.texts.values().map(ToString::to_string).collect();
    assert!(
        said.len() == 2
            && said.contains(&"level = info\n".into())
            && said.contains(&"level = debug\n".into()),
        "{said:?}"
    );
}

#[test]
fn such_a_restart_is_taken_back_the_way_it_came_and_a_plain_one_is_not() {
    let undo = |plan: &Plan, id: &str| {
        let step = plan
            .steps
            .iter()
            .find(|step| step.id.as_str() == id)
            .unwrap();
        step.undo.as_ref().map_or("", |undo| undo.0.word())
    };
    let cluster = web();
    let seen = cluster.all_up(&[]);
    let plan = restart(&cluster, &seen, "x").plan();
    let undone = [
        "drain:web@jb1:lb@lb1",
        "stop:web@jb1",
        "write-file:web@jb1",
        "start:web@jb1",
        "admit:web@jb1:lb@lb1",
    ];
    assert_eq!(
        undone.map(|id| undo(&plan, id)),
        ["admit", "start", "restore-file", "stop", "drain"]
    );
    let plain = ask(&cluster, PlanKind::Restart, services(&["web"]))
        .seeing(&seen)
        .plan();
    assert_eq!(
        ["start:web@jb1", "admit:web@jb1:lb@lb1"].map(|id| undo(&plain, id)),
        ["", ""]
    );
    assert!(plain.texts.is_empty());
}

#[test]
fn what_a_template_does_not_find_refuses_the_plan_with_line_and_column() {
    let cluster = web();
    let seen = cluster.all_up(&[]);
    let each = "web@jb1";
    for (template, of, place) in [
        ("a\nb = {{ values.levle }}\n", each, "2:8"),
        ("{% for a in nodes %}", "service web", "at 1"),
        ("{{ node.host }}", each, "1:4"),
        ("{{ secret('db') }}{{ 1 + nothing }}", each, "1:22"),
    ] {
        let refusal = restart(&cluster, &seen, template).refusal();
        let told = refusal
            .iter()
            .any(|line| line.contains(of) && line.contains(place));
        assert!(told, "{template}: {refusal:?}");
    }
}

#[test]
fn a_text_without_an_end_and_one_that_is_too_long_are_refused() {
    let cluster = web();
    let seen = cluster.all_up(&[]);
    let long = "{% for a in range(9000) %}0123456789{% endfor %}";
    let refusal = restart(&cluster, &seen, long).refusal();
    assert!(
        refusal[0].contains("longer than 65536 bytes"),
        "{refusal:?}"
    );
    let endless = "{% for a in range(9000) %}{% for b in range(9000) %}{% endfor %}{% endfor %}";
    let refusal = restart(&cluster, &seen, endless).refusal();
    assert!(refusal[0].contains("fuel"), "{refusal:?}");
}

#[test]
fn a_secret_is_written_by_itself_and_nothing_is_made_of_it() {
    let cluster = web();
    let seen = cluster.all_up(&[]);
    let template = "{% set p = secret('db') %}p = {{ p }}!\n{% for n in nodes %}{{ secret('db') }}{% endfor %}";
    let plan = restart(&cluster, &seen, template).plan();
    let text = plan.texts.values().next().unwrap();
    let db = || Piece::Secret(name("db"));
    let pieces = [
        Piece::Plain("p = ".into()),
        db(),
        Piece::Plain("!\n".into()),
        db(),
        db(),
    ];
    assert_eq!(text.pieces, pieces);
    for misused in [
        "{{ secret('db') | upper }}",
        "{{ secret('db') | tojson }}",
        "{{ secret('db') | replace('a', 'b') }}",
        "{{ secret('db') | trim }}",
        "{{ secret('db') ~ '!' }}",
        "{{ [secret('db')] | join(',') }}",
        "{{ [secret('db')] }}",
        "{{ secret('db') == 'x' }}",
        "{{ 'x' in [secret('db')] }}",
        "{% if secret('db') %}x{% endif %}",
        "{% if not secret('db') %}x{% endif %}",
        "{{ secret('db') and 'x' }}",
        "{% filter upper %}{{ secret('db') }}{% endfilter %}",
        "{% set p %}{{ secret('db') }}{% endset %}{{ p | tojson }}",
        "{% set p %}{{ secret('db') }}{% endset %}{{ p | replace('a', 'b') }}",
        "{% set p = secret('db') %}",
        "{{ secret('db') }}{{ secret('mail') | string | length }}",
    ] {
        let refusal = restart(&cluster, &seen, misused).refusal().join("\n");
        assert!(
            refusal.contains("by itself, in no filter"),
            "{misused}: {refusal}"
        );
        let wrong = if misused.contains("mail") {
            "mail"
        } else {
            "db"
        };
        assert!(
            refusal.contains(&format!("the secret {wrong} is")),
            "{refusal}"
        );
    }
    let refusal = restart(&cluster, &seen, "{{ secret('../x') }}").refusal();
    assert!(refusal[0].contains("at 1:"), "{refusal:?}");
    assert!(refusal[0].contains("is no name of a secret"), "{refusal:?}");
}

#[test]
fn the_texts_of_all_nodes_together_have_a_bound() {
    let names: Vec<String> = (0..150).map(|number| format!("n{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let cluster = Cluster::new().service("web", &names).with("web", |web| {
        web.files.insert(name("app"), ServiceFile::default());
    });
    let seen = cluster.all_up(&[]);
    let busy = "{% for a in range(30000) %}{% endfor %}";
    let refusal = restart(&cluster, &seen, busy).refusal();
    let [refusal] = refusal.as_slice() else {
        panic!("{refusal:?}")
    };
    assert!(
        refusal.contains("more than 10000000 instructions together"),
        "{refusal}"
    );
    let long = "{{ node.name }}{% for a in range(5000) %}0123456789{% endfor %}";
    let refusal = restart(&cluster, &seen, long).refusal();
    let [refusal] = refusal.as_slice() else {
        panic!("{refusal:?}")
    };
    assert!(
        refusal.contains("more than 786432 bytes together"),
        "{refusal}"
    );
    assert!(refusal.contains("of 150 nodes"), "{refusal}");
    // A mistake is not told for each of hundreds of nodes.
    let refusal = restart(&cluster, &seen, "{{ values.nothing }}").refusal();
    assert_eq!(refusal.len(), 10, "{refusal:?}");
}

#[test]
fn a_change_is_about_one_service_and_a_file_that_the_spec_names() {
    let cluster = web().service("api", &["jb1"]);
    let seen = cluster.all_up(&[]);
    let refusal = |kind, names: &[&str]| {
        let ask = ask(&cluster, kind, services(names)).seeing(&seen);
        ask.changing("x").refusal().join("\n")
    };
    assert!(refusal(PlanKind::Restart, &["web", "api"]).contains("restart of one service"));
    assert!(refusal(PlanKind::Restart, &["api"]).contains("names no file"));
}

#[test]
fn a_file_that_is_changed_at_the_wrong_time_is_caught() {
    let cluster = web();
    let seen = cluster.all_up(&[]);
    let plan = restart(&cluster, &seen, "{{ node.name }}").plan();
    let found = |tamper: fn(&mut Plan)| {
        let mut plan = plan.clone();
        tamper(&mut plan);
        checker::check(&cluster.0, &plan, Some(&seen.0))
    };
    assert_eq!(found(|_| {}), []);
    let early = found(|plan| step(plan, "write-file:web@jb2").after.clear());
    assert!(
        early
            .iter()
            .any(|it| matches!(it, Violation::OutOfOrder { .. })),
        "{early:?}"
    );
    let late = found(|plan| {
        let start = &mut step(plan, "start:web@jb1").after;
        start.retain(|after| !after.step.as_str().starts_with("write"));
    });
    assert!(
        late.iter()
            .any(|it| matches!(it, Violation::OutOfOrder { .. })),
        "{late:?}"
    );
    let untried = found(|plan| {
        for step in &mut plan.steps {
            step.after
                .retain(|after| after.step.as_str() != "try-file:web@jb2");
        }
    });
    assert!(
        untried
            .iter()
            .any(|it| matches!(it, Violation::OutOfOrder { .. })),
        "{untried:?}"
    );
    let other = found(|plan| {
        let text = plan.texts.values_mut().next().unwrap();
        text.pieces.push(Piece::Plain("more".into()));
    });
    assert!(
        other
            .iter()
            .any(|it| matches!(it, Violation::WrongText { .. })),
        "{other:?}"
    );
    let undone = found(|plan| step(plan, "write-file:web@jb1").undo = None);
    assert!(
        undone
            .iter()
            .any(|it| matches!(it, Violation::WrongUndo { .. })),
        "{undone:?}"
    );
}

/// What an agent has found: these lines become different, or the file says so already, and runs with it or not.
fn found(lines: &str, in_use: bool) -> Result<Compared, Untold> {
    Ok(Compared {
        same: lines.is_empty(),
        in_use,
        difference: Difference::Lines(lines.to_owned()),
    })
}

fn unknown(why: &str) -> Result<Compared, Untold> {
    Err(Untold::Unknown(why.into()))
}

#[test]
fn a_text_that_an_agent_would_refuse_has_no_plan() {
    let cluster = web();
    let seen = cluster.all_up(&[]);
    let line = "set `secrets = [\"db\"]` under [file.app] in /etc/agent.toml";
    let refuses = Err(Untold::Refused(line.into()));
    let asked = restart(&cluster, &seen, "{{ secret('db') }}")
        .finding("jb1", found("", false))
        .finding("jb2", refuses.clone());
    let refusal = asked.refusal();
    let [only] = &refusal[..] else {
        panic!("{refusal:?}");
    };
    for part in ["web@jb2", "would refuse the text of its file app", line] {
        assert!(only.contains(part), "{only}");
    }
    // What it refuses whatever the text is, it has said by itself: that is told once.
    let permission = Permission::File {
        service: name("web"),
        file: name("app"),
    };
    let said = seen.refusing("jb2", permission);
    let asked = restart(&cluster, &said, "new\n").finding("jb2", refuses);
    assert_eq!(asked.refusal().len(), 1);
}

fn told(outcome: &Outcome) -> Vec<String> {
    let entries = outcome.report.entries().iter();
    entries.map(ToString::to_string).collect()
}

#[test]
fn what_changes_is_told_once_for_all_nodes_where_it_is_the_same() {
    let cluster = web();
    let seen = cluster.all_up(&[]);
    let lines = "@@ -1 +1 @@\n-old\n+new\n";
    let all = |ask: Ask<'_>| told(&ask.outcome());
    let same = all(restart(&cluster, &seen, "new\n")
        .finding("jb1", found(lines, true))
        .finding("jb2", found(lines, true)));
    let told = "changes: the file app of web on jb1, jb2:\n  @@ -1 +1 @@\n  -old\n  +new";
    assert!(same.contains(&told.to_owned()), "{same:?}");
    let hidden = Compared {
        same: false,
        in_use: true,
        difference: Difference::Hidden("mode 0640".into()),
    };
    let different = all(restart(&cluster, &seen, "new\n")
        .finding("jb1", Ok(hidden))
        .finding("jb2", unknown("its agent is of an earlier version")));
    for told in [
        "changes: the file app of web on jb1: what it says now is not shown: mode 0640",
        "warning: web@jb2: what its file app says now is not known: its agent is of an earlier version",
    ] {
        assert!(different.contains(&told.to_owned()), "{different:?}");
    }
    // One answer to one call.
    let much = format!("{lines}{}", "+x\n".repeat(200_000));
    let much = all(restart(&cluster, &seen, "new\n").finding("jb1", found(&much, true)));
    let hidden = |line: &String| line.starts_with("changes:") && line.contains("not shown");
    assert!(much.iter().any(hidden) && much.iter().all(|it| it.len() < 500));
}

#[test]
fn an_instance_that_is_well_and_runs_with_what_its_file_shall_say_is_left_alone() {
    let cluster = web().with("web", |web| web.at_least = 0);
    let seen = cluster.all_up(&[]);
    let asked = |seen| {
        restart(&cluster, seen, "new\n")
            .finding("jb1", found("", true))
            .finding("jb2", found("+new\n", true))
    };
    let outcome = asked(&seen).outcome();
    let plan = outcome.plan.as_ref().unwrap().plan();
    assert!(
        plan.steps
            .iter()
            .all(|step| !step.id.as_str().contains("@jb1")),
        "{plan:?}"
    );
    assert!(plan.steps.iter().any(|it| it.id.as_str() == "stop:web@jb2"));
    let done = "already done: web@jb1 is healthy, and runs with what its file app shall say";
    assert!(told(&outcome).contains(&done.to_owned()), "{outcome:?}");

    let restarted = |ask: Ask<'_>| {
        let plan = ask.plan();
        plan.steps.iter().any(|it| it.id.as_str() == "stop:web@jb1")
    };
    assert!(restarted(asked(&seen).even_if_unchanged()));
    // Not well, not where its clients are, started before the file became so, or nobody knows.
    let sick = cluster.all_up(&[]).saying("web.http", "jb1", Verdict::Bad);
    let unsure = cluster
        .all_up(&[])
        .saying("web.http", "jb1", Verdict::Unknown);
    let paused = cluster
        .all_up(&[])
        .state("web", "jb1", InstanceState::Paused);
    for seen in [&sick, &unsure, &paused] {
        assert!(restarted(asked(seen)));
    }
    let before = asked(&seen).finding("jb1", found("", false));
    let outcome = before.outcome();
    let why = "warning: web@jb1: its file app says so already, and nothing proves that it was started since: it is restarted";
    assert!(told(&outcome).contains(&why.to_owned()), "{outcome:?}");
    assert!(restarted(asked(&seen).finding("jb1", unknown("no"))));
    // Nothing is left to do: that is a plan, too.
    let all = asked(&seen).finding("jb2", found("", true)).plan();
    assert!(all.steps.is_empty() && all.texts.is_empty(), "{all:?}");
}

fn step<'p>(plan: &'p mut Plan, id: &str) -> &'p mut interlock_model::plan::Step {
    let found = plan.steps.iter_mut().find(|step| step.id.as_str() == id);
    let step = found.unwrap_or_else(|| panic!("there is no {id}"));
    assert_ne!(step.action, Action::Check);
    step
}
