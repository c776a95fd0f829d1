//! Completions.

use crate::support::Workplace;

#[test]
fn each_shell_has_a_script_that_asks_this_program() {
    let place = Workplace::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = place.run(&format!("completions {shell}")).exits(0).stdout;
        assert!(
            script.contains("COMPLETE") && script.contains("interlockctl"),
            "{script}"
        );
    }
}

#[test]
fn without_a_cluster_live_names_are_silently_none() {
    let place = Workplace::new();
    let mut command = place.command("-- interlockctl node show");
    let output = command
        .arg("x")
        .env("COMPLETE", "bash")
        .env("_CLAP_COMPLETE_INDEX", "3")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(
        output.stdout.is_empty() && output.stderr.is_empty(),
        "{output:?}"
    );
}
