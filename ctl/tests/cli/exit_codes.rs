//! Exit codes, and that they are documented.

use std::net::TcpListener;

use crate::following::{script, word};
use crate::scripted::Scripted;
use crate::support::{Ran, Workplace};

#[test]
fn the_help_and_the_page_have_the_same_codes_with_the_same_meaning() {
    let help = Workplace::new().run("--help").exits(0).stdout;
    let of_help: Vec<(String, String)> = help
        .lines()
        .skip_while(|line| *line != "Exit codes:")
        .skip(1)
        .filter_map(|line| line.trim().split_once("  "))
        .map(|(code, meaning)| (code.to_owned(), meaning.trim().to_owned()))
        .collect();
    let page = include_str!("../../../docs/exit-codes.md");
    let of_page: Vec<(String, String)> = page
        .lines()
        .filter_map(|line| {
            let mut cells = line.split('|').map(str::trim).skip(1);
            let (code, meaning) = (cells.next()?, cells.next()?);
            code.parse::<u8>().ok()?;
            Some((code.to_owned(), meaning.to_owned()))
        })
        .collect();
    assert!(of_help.len() > 5, "{help}");
    assert_eq!(of_help, of_page);
}

#[test]
fn wrong_usage_is_64_and_says_what_would_be_right() {
    let place = Workplace::with_spec();
    let ran = place.run("plan shutdown -f shop.yaml --offline").exits(64);
    assert!(ran.stderr.contains("--all"), "{}", ran.stderr);
    let ran = place
        .run("plan shutdown --all --service db -f shop.yaml --offline")
        .exits(64);
    assert!(ran.stderr.contains("cannot be used with"), "{}", ran.stderr);
    place.run("plan shutdown --all --offline").exits(64);
    place.run("statsu").exits(64);
    // Nobody loses writes without saying why, and nothing else is asked for that has to be true.
    for (words, missing) in [
        ("failover db --yes", "--attest-down"),
        ("failover db --accept-loss --yes", "--reason"),
        (
            "failover db --attest-down n --lose-writes-of db",
            "--accept-loss",
        ),
    ] {
        let ran = place.run(words).exits(64);
        assert!(ran.stderr.contains(missing), "{}", ran.stderr);
    }
    // An attestation without a word attests nothing.
    let ran = place.run("power verify db1 --attest=").exits(64);
    assert!(ran.stderr.contains("say why"), "{}", ran.stderr);
    for kind in ["shutdown", "startup"] {
        let ran = place
            .run(&format!(
                "plan {kind} --all --batch 2 -f shop.yaml --offline"
            ))
            .exits(64);
        assert!(
            ran.stderr.contains("--batch is for restart and reboot"),
            "{}",
            ran.stderr
        );
    }
}

#[test]
fn the_usage_does_not_ask_for_what_the_environment_says() {
    let place = Workplace::new();
    for (line, usage) in [
        ("operation show", "operation show <OPERATION>"),
        ("plan shutdown", "plan shutdown <--all|"),
        ("operation show 1 2", "operation show [OPTIONS] <OPERATION>"),
    ] {
        let mut command = place.command(line);
        command
            .env("INTERLOCK_CONTEXT", "shop")
            .env("INTERLOCK_ENDPOINT", "mgmt1")
            .env("INTERLOCK_TLS_DIR", "pki");
        let ran = Ran::of(command.output().unwrap()).exits(64);
        let usage = format!("Usage: interlockctl {usage}");
        assert!(ran.stderr.contains(&usage), "{}", ran.stderr);
    }
}

/// A person has taken a step for done: nobody has proven it.
#[test]
fn an_operation_with_a_skipped_step_is_7_and_names_it() {
    let mut done = word("done", "done", "");
    done.steps[1].state = "skipped".into();
    let mut known = script(vec![vec![done.clone()]]);
    known.operations = [("op-7".to_owned(), done)].into();
    let coordinator = Scripted::start(known, "reader");
    let ran = coordinator.place.run("operation watch op-7").exits(7);
    assert!(
        ran.stdout.contains("not proven stop:web@web2"),
        "{}",
        ran.stdout
    );
}

/// 3, 4, 5, 6, 7 and 130 take a coordinator, or its absence: they have tests where it plays its part.
#[test]
fn what_cannot_be_written_is_1_and_what_cannot_be_read_is_2() {
    let place = Workplace::with_spec();
    let full = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let program = std::process::Command::new(env!("CARGO_BIN_EXE_interlockctl"))
        .args(["spec", "schema"])
        .stdout(full)
        .stderr(std::process::Stdio::piped())
        .output()
        .unwrap();
    let ran = Ran::of(program).exits(1);
    assert!(
        ran.stderr.contains("cannot write the output"),
        "{}",
        ran.stderr
    );
    for line in [
        "spec check nowhere.yaml",
        "plan shutdown --all --offline -f nowhere.yaml",
        "spec agent-config db1 -f nowhere.yaml",
    ] {
        let ran = place.run(line).exits(2);
        assert!(ran.stderr.contains("nowhere.yaml"), "{}", ran.stderr);
    }
    place.run("spec check shop.yaml").exits(0);
}

#[test]
fn without_a_context_the_message_has_the_commands_that_make_one() {
    let ran = Workplace::new().run("status").exits(64);
    assert!(
        ran.stderr.contains("interlockctl context add"),
        "{}",
        ran.stderr
    );
}

#[test]
fn nobody_there_is_3_and_each_address_is_named() {
    let place = Workplace::new();
    place.run("pki init --cluster shop").exits(0);
    place.run("pki issue operator anna").exits(0);
    // Ports that were free a moment ago: nothing listens there.
    let free = || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().to_string()
    };
    let (one, two) = (free(), free());
    let ran = place
        .run(&format!(
            "status --endpoint {one},{two} --tls-dir pki/operator/anna"
        ))
        .exits(3);
    assert!(
        ran.stderr.contains(&one) && ran.stderr.contains(&two),
        "{}",
        ran.stderr
    );
    assert!(ran.stdout.is_empty());
}

#[test]
fn a_certificate_that_cannot_be_used_is_2_and_says_why() {
    let place = Workplace::new();
    place.run("pki init --cluster shop").exits(0);
    place.run("pki issue agent db1").exits(0);
    let ran = place
        .run("status --endpoint 127.0.0.1:1 --tls-dir pki/agent/db1")
        .exits(2);
    assert!(
        ran.stderr.contains("needs the certificate of an operator"),
        "{}",
        ran.stderr
    );
    let ran = place
        .run("status --endpoint 127.0.0.1:1 --tls-dir nowhere")
        .exits(2);
    assert!(ran.stderr.contains("pki issue operator"), "{}", ran.stderr);
}

/// Also where the command line cannot even be read.
#[test]
fn with_json_the_last_line_of_an_error_is_json_whatever_is_wrong() {
    let place = Workplace::with_spec();
    for (line, code, exit) in [
        ("plan shutdown -f shop.yaml --offline -o json", "usage", 64),
        ("plan restart --all --batch 0 --output=json", "usage", 64),
        ("shutdown -ojson --all --bogus", "usage", 64),
        ("statsu -o json", "usage", 64),
        ("status -wo json extra", "usage", 64),
        ("logs collect --bogus --format json", "usage", 64),
        ("plan shutdown --label ab -o json", "usage", 64),
        (
            "plan shutdown --all -f shop.yaml --offline -o json",
            "no-plan",
            5,
        ),
    ] {
        let ran = place.run(line).exits(exit);
        let last = ran.stderr.lines().last().unwrap();
        let value: serde_json::Value =
            serde_json::from_str(last).unwrap_or_else(|_| panic!("{line}: {}", ran.stderr));
        assert_eq!(value["error"]["code"], code, "{line}: {value}");
        assert_eq!(value["error"]["exit"], exit, "{line}: {value}");
        let message = value["error"]["message"].as_str().unwrap();
        assert!(!message.is_empty() && !message.starts_with("error"));
    }
    // For people it stays a text, also where the word is only a value.
    for line in [
        "plan shutdown -f shop.yaml --offline -o yaml",
        "status --bogus json",
        "status --bogus -- -o json",
    ] {
        let ran = place.run(line).exits(64);
        assert!(ran.stderr.starts_with("error: "), "{line}: {}", ran.stderr);
    }
}

/// Before anything is asked: there is no context that could be.
#[test]
fn a_label_or_a_host_that_is_none_is_wrong_usage() {
    let place = Workplace::new();
    for (line, said) in [
        ("shutdown --label ab", "write KEY=VALUE, such as tier=web"),
        ("shutdown --label =web", "write KEY=VALUE, such as tier=web"),
        ("shutdown --host a/b", "a name is made of letters"),
    ] {
        let ran = place.run(line).exits(64);
        assert!(ran.stderr.contains(said), "{line}: {}", ran.stderr);
    }
}
