//! The commands of the README, word for word: those that need no cluster, those of its last step at a coordinator that is
//! scripted, and `deploy/install.sh` into a directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use interlock_model::plan::PlanKind;
use interlock_planner::Scope;

use crate::following::{response_for, script, word};
use crate::scripted::Scripted;
use crate::support::{Ran, Workplace, mode};
use crate::terminal::Terminal;

const README: &str = include_str!("../../../README.md");
const CLUSTER: &str = include_str!("../../../deploy/clusters/shop.yaml");

/// The lines of its examples that begin with this.
fn lines(begin: &str) -> Vec<&'static str> {
    let lines = README.lines().map(str::trim);
    lines.filter(|line| line.starts_with(begin)).collect()
}

#[test]
fn what_the_readme_says_to_try_works_with_the_cluster_that_it_shows() {
    let place = Workplace::new();
    place.write("cluster.yaml", CLUSTER);
    let [check] = lines("interlockctl spec check")[..] else {
        panic!("one way to check");
    };
    let [plan] = lines("interlockctl plan shutdown")[..] else {
        panic!("one plan");
    };
    for line in [check, plan] {
        place
            .run(line.strip_prefix("interlockctl ").unwrap())
            .exits(0);
    }
    let [agents] = lines("interlockctl spec agent-config $node")[..] else {
        panic!("one way to make the agents' files");
    };
    let (command, _) = agents.split_once(" > ").unwrap();
    for node in ["mgmt1", "db1", "web1"] {
        let command = command.replace("$node", node);
        place
            .run(command.strip_prefix("interlockctl ").unwrap())
            .exits(0);
    }
}

#[test]
fn what_the_readme_says_of_certificates_works_as_it_stands() {
    let place = Workplace::new();
    let commands = lines("interlockctl pki");
    assert!(commands.len() > 3, "{commands:?}");
    for line in commands {
        place
            .run(line.strip_prefix("interlockctl ").unwrap())
            .exits(0);
    }
}

/// The last step of "Run it on three VMs", as the administrator goes it at a terminal.
#[test]
fn what_the_readme_says_from_the_context_to_the_shutdown_works_as_it_stands() {
    let mut all = script(vec![vec![word("done", "done", "is stopped")]]);
    all.plan = response_for(PlanKind::Shutdown, Scope::All, "db1");
    all.status.generation = 1;
    let coordinator = Scripted::start(all, "reader");
    let place = &coordinator.place;
    fs::remove_file(place.path("config.toml")).unwrap();
    place.write("cluster.yaml", CLUSTER);
    let after = README.split_once("5. Apply the spec").unwrap().1;
    let step = after.split("```").nth(1).unwrap();
    let lines = step.lines().filter_map(|line| {
        let command = line.trim().strip_prefix("interlockctl ")?;
        Some(command.split('#').next().unwrap().trim().to_owned())
    });
    let lines: Vec<String> = lines.collect();
    let [context, apply, status, verify, shutdown] = &lines[..] else {
        panic!("{step}");
    };
    let [operator] = self::lines("interlockctl pki issue operator")[..] else {
        panic!("one operator");
    };
    place
        .run(operator.strip_prefix("interlockctl ").unwrap())
        .exits(0);
    // The address is the reader's own, as the README says.
    let address = coordinator.address.to_string();
    place.run(&context.replace("10.9.0.5", &address)).exits(0);

    let mut terminal = Terminal::run(place, apply);
    terminal.shows("[y/N]");
    terminal.types("y\r");
    let (ended, seen) = terminal.ends();
    assert_eq!(ended.code(), Some(0), "{seen}");
    assert_eq!(coordinator.script.applied.lock().unwrap().len(), 1);
    place.run(status).exits(0);
    place.run(verify).exits(0);
    let mut terminal = Terminal::run(place, shutdown);
    terminal.shows("Type the cluster's name to go on:");
    terminal.types("shop\r");
    let (ended, seen) = terminal.ends();
    assert_eq!(ended.code(), Some(0), "{seen}");
    assert_eq!(coordinator.script.started.lock().unwrap().len(), 1);
}

/// `deploy/install.sh` of the repository with these words, everything below this directory.
fn install(below: &Path, words: &[&str]) -> Ran {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy");
    install_from(&deploy, below, words)
}

fn install_from(deploy: &Path, below: &Path, words: &[&str]) -> Ran {
    let output = Command::new("sh")
        .arg(deploy.join("install.sh"))
        .args(words)
        .env("DESTDIR", below)
        .output();
    Ran::of(output.unwrap())
}

/// A program of this role, which is this text, in a directory that is made.
fn build(directory: &Path, role: &str, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::create_dir_all(directory).unwrap();
    let program = directory.join(format!("interlock-{role}"));
    fs::write(&program, text).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
}

/// All files below a directory, from there.
fn files(below: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![PathBuf::from(below)];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let path = path.strip_prefix(below).unwrap();
                found.push(path.to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

/// Seen to fail with: a unit that starts another path than what is installed; a program that is installed without its unit;
/// a file of the administrator's that is installed as well.
#[test]
fn what_is_installed_is_all_that_its_unit_needs_and_nothing_of_the_administrators() {
    let place = Workplace::new();
    let built = place.path("built");
    for role in ["agent", "coordinator"] {
        build(&built, role, &format!("the {role}"));
        let built = built.to_str().unwrap();
        let below = place.path(&format!("{role}'s machine"));
        let ran = install(&below, &[role, built]).exits(0);
        assert!(ran.stdout.contains("not started"), "{}", ran.stdout);
        let program = below.join(format!("usr/bin/interlock-{role}"));
        assert_eq!(fs::read_to_string(&program).unwrap(), format!("the {role}"));
        assert_eq!(mode(&program), 0o755);
        let unit = below.join(format!("usr/lib/systemd/system/interlock-{role}.service"));
        let unit = fs::read_to_string(unit).unwrap();
        let starts = unit
            .lines()
            .find_map(|line| line.strip_prefix("ExecStart="));
        let starts = starts.unwrap().split_whitespace().next().unwrap();
        assert_eq!(starts, format!("/usr/bin/interlock-{role}"));
        let man = format!("usr/share/man/man8/interlock-{role}.8");
        let all = files(&below);
        assert!(all.contains(&man), "{all:?}");
        let mut other = all.iter().filter(|file| {
            !file.contains(&format!("interlock-{role}")) && !file.contains("sysusers.d")
        });
        assert_eq!(other.next(), None, "{all:?}");
        assert_eq!(mode(&below.join("etc/interlock/tls")), 0o755);
        // The user that the coordinator's unit names is made where it is installed.
        let user = unit.lines().find_map(|line| line.strip_prefix("User="));
        let makes = below.join("usr/lib/sysusers.d/interlock.conf");
        match user {
            Some(user) => {
                let makes = fs::read_to_string(makes).unwrap();
                assert!(makes.contains(&format!("u {user} ")), "{makes}");
            }
            None => assert!(!makes.exists(), "{role}"),
        }
    }
}

/// Seen to fail with an agent that is taken from where the coordinator is.
#[test]
fn an_agent_is_installed_as_it_is_built_for_its_size_and_no_other_is_taken_for_it() {
    let place = Workplace::new();
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy");
    let copied = Command::new("cp")
        .arg("-r")
        .arg(deploy)
        .arg(place.path("deploy"))
        .status();
    assert!(copied.unwrap().success());
    let (deploy, below) = (place.path("deploy"), place.path("machine"));
    for role in ["agent", "coordinator"] {
        build(&place.path("target/release"), role, "for its speed");
    }
    let ran = install_from(&deploy, &below, &["agent"]).exits(1);
    let build_it = "cargo build --profile small --package interlock-agent";
    assert!(ran.stderr.contains(build_it), "{}", ran.stderr);
    assert!(README.contains(build_it));
    build(&place.path("target/small"), "agent", "for its size");
    for (role, text) in [("agent", "for its size"), ("coordinator", "for its speed")] {
        install_from(&deploy, &below, &[role]).exits(0);
        let installed = fs::read_to_string(below.join(format!("usr/bin/interlock-{role}")));
        assert_eq!(installed.unwrap(), text);
    }
}

#[test]
fn what_cannot_be_installed_says_what_to_do() {
    let place = Workplace::new();
    let below = place.path("machine");
    let ran = install(&below, &[]).exits(64);
    assert!(ran.stderr.contains("agent|coordinator"), "{}", ran.stderr);
    let nowhere = place.path("nowhere");
    let ran = install(&below, &["agent", nowhere.to_str().unwrap()]).exits(1);
    assert!(
        ran.stderr
            .contains("nowhere/interlock-agent is not there: build it"),
        "{}",
        ran.stderr
    );
    assert!(!below.exists());
}
