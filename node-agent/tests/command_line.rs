//! What the agent's command line refuses.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall say so")]

use std::process::Command;

/// The exit code of `run` with these arguments, and what it says.
fn run(arguments: &[&str], variable: Option<&str>) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_interlock-agent"));
    command
        .args(["run", "--config", "none.toml"])
        .args(arguments)
        .env_remove("INTERLOCK_LOG")
        .envs(variable.map(|value| ("INTERLOCK_LOG", value)));
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), said)
}

#[test]
fn a_filter_for_the_log_that_cannot_be_read_is_wrong_usage() {
    for bad in ["a==b", "inof", "warn,session", ""] {
        let (code, said) = run(&["--log", bad], None);
        assert_eq!(code, Some(64), "{said}");
        assert!(
            said.contains(&format!("--log '{bad}' is no filter")),
            "{said}"
        );
    }
    let (code, said) = run(&[], Some("inof"));
    assert_eq!(code, Some(64), "{said}");
    assert!(said.contains("INTERLOCK_LOG 'inof' is no filter"), "{said}");
    for good in ["debug", "warn,interlock_agent::session=debug", "off"] {
        let (code, said) = run(&["--log", good], None);
        assert_eq!(code, Some(1), "the file is not there: {said}");
    }
}

#[test]
fn a_file_for_another_machine_is_checked_without_the_certificates_that_lie_there() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("interlock-agent.toml");
    let check = |elsewhere: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_interlock-agent"));
        let command = command.args(["config", "check"]).arg(&file).args(elsewhere);
        let output = command.output().unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let text = "coordinators = [\"https://10.9.0.5:7443\"]\n[node]\nname = \"db1\"\nstate_dir = \"/nowhere/state\"\n\
                [listen]\naddress = \"0.0.0.0:7444\"\n[tls]\nca = \"/nowhere/ca.crt\"\n\
                cert = \"/nowhere/agent.crt\"\nkey = \"/nowhere/agent.key\"\n";
    std::fs::write(&file, text).unwrap();
    let (code, said) = check(&[]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("/nowhere/agent.crt"), "{said}");
    let (code, said) = check(&["--elsewhere"]);
    assert_eq!(code, Some(0), "{said}");
    for told in [
        "/nowhere/ca.crt",
        "/nowhere/agent.crt",
        "/nowhere/agent.key",
        "in order",
    ] {
        assert!(said.contains(told), "{told}: {said}");
    }
    std::fs::write(&file, text.replace("[node]", "[nodes]")).unwrap();
    let (code, said) = check(&["--elsewhere"]);
    assert_eq!(code, Some(2), "{said}");
}
