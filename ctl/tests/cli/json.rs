//! `docs/json.md` and what is printed are the same: every field that is printed has its row, and every row is printed.

use std::collections::{BTreeMap, BTreeSet};

use interlock_proto::v1;
use serde_json::Value;

use crate::filled::filled;
use crate::following::{script, word};
use crate::scripted::{Script, Scripted};
use crate::support::{SPEC, Workplace};

const PAGE: &str = include_str!("../../../docs/json.md");

/// What only a cluster with logs, or with a store, prints; the tests of `tests/e2e` look at it.
const ELSEWHERE: [&str; 2] = ["collected", "store"];

/// The tables of the page: of each shape its fields with their types.
struct Page(BTreeMap<&'static str, BTreeMap<&'static str, &'static str>>);

impl Page {
    fn read() -> Self {
        let mut shapes: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
        let mut shape = "";
        for line in PAGE.lines() {
            if let Some(heading) = line.strip_prefix("## ") {
                shape = heading;
            }
            let Some(row) = line.strip_prefix("| `").filter(|_| shape != "Commands") else {
                continue;
            };
            let (field, rest) = row.split_once("` |").unwrap();
            let kind = rest.split('|').next().unwrap().trim();
            shapes.entry(shape).or_default().insert(field, kind);
        }
        Self(shapes)
    }

    /// The type of a field; an operation has those of its summary, too.
    fn kind(&self, shape: &str, field: &str) -> Option<(&'static str, &'static str)> {
        let own = self.0.get_key_value(shape)?;
        match own.1.get(field) {
            Some(kind) => Some((own.0, kind)),
            None if shape == "operation" => self.kind("summary", field),
            None => None,
        }
    }

    fn begins(&self, shape: &str, with: &str) -> bool {
        self.0[shape].keys().any(|field| field.starts_with(with))
    }
}

/// What was printed so far.
struct Printed {
    page: Page,
    seen: BTreeSet<(&'static str, String)>,
    wrong: BTreeSet<String>,
}

impl Printed {
    fn list(&mut self, shape: &str, list: &Value) {
        let all = list.as_array().unwrap();
        assert!(!all.is_empty(), "{shape}: nothing is printed");
        all.iter().for_each(|one| self.value(shape, one));
    }

    fn value(&mut self, shape: &str, value: &Value) {
        assert!(self.page.0.contains_key(shape), "the page has no {shape}");
        self.walk(shape, "", value);
    }

    fn walk(&mut self, shape: &str, path: &str, value: &Value) {
        if let Some((of, kind)) = self.page.kind(shape, path) {
            self.seen.insert((of, path.to_owned()));
            if self.page.0.contains_key(kind) {
                if !value.is_null() {
                    self.walk(kind, "", value);
                }
            } else if !fits(kind, value) {
                self.wrong
                    .insert(format!("{shape}: {path} is {value}, and no {kind}"));
            }
            return;
        }
        match value {
            Value::Object(fields) => {
                let any_name = format!("{path}.{{}}");
                let is_map = self.page.begins(shape, &any_name);
                for (name, field) in fields {
                    let dot = if path.is_empty() { "" } else { "." };
                    let below = if is_map {
                        any_name.clone()
                    } else {
                        format!("{path}{dot}{name}")
                    };
                    let rest = format!("{path}.*");
                    if self.page.kind(shape, &below).is_none()
                        && self.page.kind(shape, &rest).is_some()
                    {
                        self.walk(shape, &rest, field);
                    } else {
                        self.walk(shape, &below, field);
                    }
                }
            }
            Value::Array(all) => {
                let below = format!("{path}[]");
                if all.is_empty() && self.page.kind(shape, &below).is_some() {
                    let (of, _) = self.page.kind(shape, &below).unwrap();
                    self.seen.insert((of, below));
                } else if all.is_empty() && !self.page.begins(shape, &below) {
                    self.wrong.insert(format!("{shape}: {below} has no row"));
                } else {
                    all.iter().for_each(|one| self.walk(shape, &below, one));
                }
            }
            Value::Null if self.page.begins(shape, &format!("{path}.")) => {}
            Value::Null if self.page.begins(shape, &format!("{path}[]")) => {}
            _ => {
                self.wrong
                    .insert(format!("{shape}: {path} has no row: {value}"));
            }
        }
    }

    fn compare(mut self) {
        for (shape, fields) in &self.page.0 {
            if ELSEWHERE.contains(shape) {
                continue;
            }
            for field in fields.keys() {
                if !self.seen.contains(&(*shape, (*field).to_owned())) {
                    self.wrong
                        .insert(format!("{shape}: {field} has a row and is not printed"));
                }
            }
        }
        let wrong: Vec<String> = self.wrong.into_iter().collect();
        assert!(wrong.is_empty(), "docs/json.md:\n{}", wrong.join("\n"));
    }
}

/// Is the value of the type that the page says?
fn fits(kind: &str, value: &Value) -> bool {
    match kind.strip_suffix(" or null") {
        Some(_) if value.is_null() => true,
        Some(kind) => fits(kind, value),
        None => match kind {
            "any" => true,
            "text" | "duration" => value.is_string(),
            "number" => value.is_u64(),
            "flag" => value.is_boolean(),
            "time" => value.as_str().is_some_and(|text| {
                text.ends_with('Z') && text.len() == "2026-03-01T03:00:00.000Z".len()
            }),
            other => panic!("{other} is no type of the page"),
        },
    }
}

/// A coordinator that has something to say of everything.
fn full() -> Script {
    let mut full = script(vec![]);
    let mut operation: v1::Operation = filled("Operation");
    let told = word("running", "running", "");
    // A step that no plan without a cluster has.
    let mut plan: Value = serde_json::from_str(&told.plan_json).unwrap();
    let arrival = serde_json::json!({
        "id": "verify-role:db@db1",
        "action": "verify-role",
        "addresses": ["10.1.0.9"],
        "from": ["web1"],
        "node": "db1",
        "service": "db",
        "after": [],
        "timeout": "1m",
        "undo": null,
    });
    plan["steps"].as_array_mut().unwrap().push(arrival);
    operation.plan_json = plan.to_string();
    for (step, planned) in operation.steps.iter_mut().zip(&told.steps) {
        step.step.clone_from(&planned.step);
    }
    full.operations = [("op-7".to_owned(), operation)].into();
    full.status = filled("Status");
    full.events = vec![filled("Event")];
    full.decisions = vec![filled("Decision")];
    full.journal = vec![v1::JournalEntry {
        json: r#"{"what":"started"}"#.to_owned(),
        ..filled("JournalEntry")
    }];
    full.matches = vec![filled("PowerMatch")];
    full.agent_types = vec![filled("NodeAgentTypes")];
    full.spec = v1::GetSpecResponse {
        source: SPEC.into(),
        ..filled("GetSpecResponse")
    };
    full
}

/// A spec with a mistake that is near to something, and a note about another place.
const BAD: &str = "\
cluster: shop
nodes: { db1: { address: a }, db2: { adress: b } }
services:
  web: { nodes: [db1], manager: { systemd: { unit: web.service } }, requires: [dbb] }
  db: { nodes: [db1], manager: { systemd: { unit: db.service } } }
  db: { nodes: [db2], manager: { systemd: { unit: db.service } } }
";

#[test]
fn the_page_has_every_field_that_is_printed_and_no_other() {
    let mut printed = Printed {
        page: Page::read(),
        seen: BTreeSet::new(),
        wrong: BTreeSet::new(),
    };
    let empty = Scripted::start(Script::default(), "reader");
    let bundle = empty.place.run("support bundle --out b.tar.zst -o json");
    printed.value("bundle", &bundle.exits(8).json());
    let coordinator = Scripted::start(full(), "admin");
    let place = &coordinator.place;
    let json = |line: &str, code: i32| place.run(&format!("{line} -o json")).exits(code).json();
    printed.value("status", &json("status", 0));
    printed.list("maintenance", &json("maintenance list", 0));
    printed.list("block", &json("unblock --all --reason x", 0));
    printed.list("summary", &json("operation list", 0));
    printed.value("operation", &json("operation show op-7", 0));
    printed.list("entry", &json("operation journal op-7", 0));
    printed.list("event", &json("events", 0));
    printed.value("why", &json("why x", 0));
    printed.value("why", &json("why 1", 0));
    printed.list("plug", &json("power verify", 0));
    printed.list("types", &json("agent-types", 0));
    printed.list("types", &json("agent-types x", 0));
    printed.value("node", &json("node show x", 0));
    printed.value("spec", &json("spec show", 0));
    place.write("shop.yaml", &SPEC.replace("alive:", "lively:"));
    printed.value("apply", &json("spec apply shop.yaml --dry-run --base 1", 0));
    printed.value("diff", &json("spec diff shop.yaml", 0));
    place.write("shop.yaml", SPEC);
    place.write(
        "agent.toml",
        "[node]\nname = 'web1'\n[process.web]\nstop_grace = '1h'\n",
    );
    printed.value(
        "check",
        &json("spec check shop.yaml --agent-config agent.toml", 0),
    );
    place.write("bad.yaml", BAD);
    printed.value("check", &json("spec check bad.yaml", 2));
    printed.list("context", &json("context list", 0));
    printed.value("context", &json("context show", 0));
    let refused = place.run("operation show op-8 -o json").exits(2);
    assert_eq!(refused.stdout, "");
    let last = refused.stderr.lines().last().unwrap();
    printed.value("error", &serde_json::from_str(last).unwrap());

    for scope in [
        "shutdown --all",
        "startup --all",
        "restart --service web --force web.alive,web.fit",
        "shutdown --service nobody",
    ] {
        let line = format!("plan {scope} -f shop.yaml --offline --assume-active db=db1 -o json");
        printed.value("plan", &place.run(&line).json());
    }
    place.write("rolling.yaml", ROLLING);
    place.write("app.conf", "level = info\n");
    let rolling = "plan restart --service app --config app.conf -f rolling.yaml --offline";
    printed.value("plan", &json(rolling, 0));
    let gated = "plan startup --all -f rolling.yaml --offline";
    printed.value("plan", &json(gated, 0));

    let agent = Scripted::agent(
        Script {
            node: filled("Node"),
            ledger: vec![filled("LedgerEntry")],
            instance: filled("Instance"),
            ..Script::default()
        },
        "operator",
    );
    let target = format!("--node db1={} -o json", agent.address);
    let ask = |line: &str| agent.place.run(&format!("{line} {target}")).exits(0).json();
    printed.value("agent", &ask("node show"));
    printed.list("attempt", &ask("node attempts"));
    let mut started = ask("node start web --reason because");
    let evidence = started.as_object_mut().unwrap().remove("evidence");
    assert_eq!(evidence, Some("seen".into()));
    printed.value("instance", &started);
    printed.compare();
}

/// Instances that leave a load balancer while their file is changed.
const ROLLING: &str = "\
cluster: rolling
nodes: { lb: { address: 10.0.0.1 }, \"app[1-2]\": { address: \"10.0.0.[11-12]\" } }
services:
  lb: { nodes: [lb], manager: { systemd: { unit: haproxy.service } }, balancer: { haproxy: { socket: /run/h.sock } } }
  db: { nodes: [lb], manager: { systemd: { unit: db.service } }, checks: { reached: { tcp: 10.0.0.1:5432, from: consumers } } }
  app:
    nodes: \"app[1-2]\"
    active: all
    manager: { systemd: { unit: app.service } }
    member_of: { lb: { backend: app } }
    files: { conf: {} }
    requires: [db]
    checks: { alive: { tcp: \"{address}:80\" } }
";

#[test]
fn every_command_that_prints_values_is_on_the_page() {
    let place = Workplace::new();
    place.run("man pages").exits(0);
    let (_, commands) = PAGE.split_once("## Commands").unwrap();
    let commands = commands.split("## status").next().unwrap();
    let cells = commands.lines().filter_map(|line| line.split('|').nth(1));
    let quoted = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    let quoted = quoted.filter(|command| !command.starts_with('-'));
    let told: BTreeSet<String> = quoted.map(|command| command.replace(' ', "-")).collect();
    let mut has = BTreeSet::new();
    for file in std::fs::read_dir(place.path("pages")).unwrap() {
        let file = file.unwrap();
        let name = file.file_name().into_string().unwrap();
        let text = std::fs::read_to_string(file.path()).unwrap();
        let options = ["\\fB\\-o\\fR, \\fB\\-\\-output", "\\fB\\-\\-format"];
        if options.iter().any(|option| text.contains(option)) {
            let command = name.strip_suffix(".1").unwrap();
            has.insert(command.replacen("interlockctl-", "", 1));
        }
    }
    assert!(has.len() > 20, "{has:?}");
    assert_eq!(told, has);
}
