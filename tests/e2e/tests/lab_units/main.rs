//! The agent under a real systemd: its own tests of units, what it runs besides units ([`kept`]), and the journal ([`journal`]).
//!
//! The agent's own tests stop and break units, so a developer's machine is no place for them: there they pass without having
//! run. Here they run in a host that boots systemd. `cargo xtask test` says where it built them.

mod journal;
mod kept;
mod site;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};
use interlock_e2e::{HOSTED_TESTS_VARIABLE, Host, Lab, Machine, programs, skip};

const BOOT: Duration = Duration::from_secs(60);

/// The test programs, by the name of their target.
fn built(target: &str) -> Option<PathBuf> {
    let list = std::env::var_os(HOSTED_TESTS_VARIABLE)?;
    std::env::split_paths(&list).find(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.rsplit_once('-')
            .is_some_and(|(name, _)| name == target)
    })
}

/// Runs the tests of a program whose names hold `filter`, one by one; fails if one fails or none ran.
fn run(host: &Host, program: &Path, filter: &str) -> Result<()> {
    let inside = format!(
        "/opt/{}",
        program.file_name().unwrap_or_default().to_string_lossy()
    );
    host.copy_file(program, &inside, 0o755)?;
    let output = host.output(&[
        "env",
        "INTERLOCK_TEST_SYSTEMD=1",
        &inside,
        filter,
        "--test-threads=1",
        "--nocapture",
    ])?;
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    let ran = said.matches("... ").count();
    ensure!(output.status.success() && ran > 0, "{said}");
    // One that takes this for no machine of its own passes, too.
    ensure!(!said.contains("(INTERLOCK_TEST_SYSTEMD=1)"), "{said}");
    println!("{inside} {filter}: {ran} tests");
    Ok(())
}

#[test]
fn the_agents_tests_of_units_pass_on_a_host_that_boots_systemd() -> Result<()> {
    let (Some(systemd), Some(agent)) = (built("systemd"), built("agent")) else {
        skip(
            "the agent's tests of units",
            "cargo xtask test tells where they are built",
        );
        return Ok(());
    };
    let Some(lab) = Lab::open("units")? else {
        return Ok(());
    };
    let host = lab.nspawn("h1")?;
    host.power_on()?;
    host.wait_booted(BOOT)?;
    // The tests start the agent where they were built.
    let program = programs::agent()?;
    let place = program.to_string_lossy();
    // From inside, since a directory such as /tmp is another one there.
    host.copy_file(&program, "/opt/interlock-agent", 0o755)?;
    host.exec(&["install", "-D", "/opt/interlock-agent", &place])?;
    run(&host, &systemd, "")?;
    run(&host, &agent, "units::")?;
    lab.close()
}
