//! What the program says of its command line and its file, before it serves anything.

use std::fs;
use std::process::{Command, Output};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_interlock-coordinator"))
        .args(arguments)
        .output()
        .expect("the program was built with this test")
}

fn says(output: &Output) -> (Option<i32>, String) {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), said)
}

#[test]
fn a_file_whose_certificate_is_not_there_cannot_be_used() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("c.toml");
    let missing = directory.path().join("coordinator.crt");
    let tls = |name: &str| directory.path().join(name).display().to_string();
    fs::write(
        &file,
        format!(
            "name = 'mgmt1'\n[tls]\nca = '{}'\ncert = '{}'\nkey = '{}'\n",
            tls("ca.crt"),
            missing.display(),
            tls("coordinator.key")
        ),
    )
    .unwrap();
    let (code, said) = says(&run(&["config", "check", &file.display().to_string()]));
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("c.toml") && said.contains("cannot read"),
        "{said}"
    );
    // For another machine it is good, and what was not looked at is told.
    let elsewhere = [
        "config",
        "check",
        &file.display().to_string(),
        "--elsewhere",
    ];
    let (code, said) = says(&run(&elsewhere));
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains(&missing.display().to_string()), "{said}");
    fs::write(&file, "nome = 'mgmt1'\n").unwrap();
    let (code, said) = says(&run(&elsewhere));
    assert_eq!(code, Some(2), "{said}");
}

#[test]
fn a_filter_for_the_log_that_cannot_be_read_is_wrong_usage() {
    let line = ["run", "--config", "none.toml"];
    // A word that is no level would be a target, and of all else there would be no log.
    for bad in ["a==b", "inof", "!!", "warn,mesh", ""] {
        let (code, said) = says(&run(&[&line[..], &["--log", bad]].concat()));
        assert_eq!(code, Some(64), "{said}");
        assert!(
            said.contains(&format!("--log '{bad}' is no filter")),
            "{said}"
        );
    }
    let by_variable = Command::new(env!("CARGO_BIN_EXE_interlock-coordinator"))
        .args(line)
        .env("INTERLOCK_LOG", "inof")
        .output()
        .unwrap();
    let (code, said) = says(&by_variable);
    assert_eq!(code, Some(64), "{said}");
    assert!(said.contains("INTERLOCK_LOG 'inof' is no filter"), "{said}");
    for good in ["debug", "warn,interlock_mesh=debug", "off"] {
        let (code, said) = says(&run(&[&line[..], &["--log", good]].concat()));
        assert_eq!(code, Some(2), "the file is not there: {said}");
    }
}
