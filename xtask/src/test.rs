//! `cargo xtask test`: everything that has to hold, in one command.
//!
//! It runs to the end whatever fails, so that one run tells all. What this machine cannot do is left
//! out and listed at the end.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum;
use interlock_e2e::{HOSTED_TESTS_VARIABLE, SKIPS_VARIABLE, programs, rootfs, tools};

use crate::report::Report;
use crate::{flaky, install, layers, rehearsal};

/// A part of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Step {
    /// Install what the tests need.
    Install,
    /// rustfmt.
    Format,
    /// Who depends on whom.
    Layers,
    /// Licences and origins of the dependencies.
    Deny,
    /// Lints.
    Clippy,
    /// The API documentation builds without a warning.
    Doc,
    /// Build the programs, and the root file system of the hosts that run them.
    Build,
    /// The demo, from its beginning to what it leaves running, and to its end.
    Demo,
    /// The examples in the documentation.
    Doctest,
    /// Unit, property, simulation and end-to-end tests.
    Test,
}

/// Options of `cargo xtask test`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Run only these steps.
    steps: Vec<Step>,
    /// Run all but these steps.
    #[arg(long, value_name = "STEP", conflicts_with = "steps")]
    without: Vec<Step>,
}

/// Runs the steps and prints the report.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let cargo = Cargo::find()?;
    let mut report = Report::new(cargo.root.join("target/xtask/skips"))?;
    for &step in Step::value_variants() {
        let named = arguments.steps.is_empty() || arguments.steps.contains(&step);
        if !named || arguments.without.contains(&step) {
            report.skip(&format!("step {step:?}").to_lowercase(), "not asked for");
            continue;
        }
        one(step, &cargo, &mut report);
    }
    Ok(if report.close()? {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn one(step: Step, cargo: &Cargo, report: &mut Report) {
    match step {
        Step::Install => {
            report.step("install packages", install::packages);
            report.step("install tools", install::tools);
            report.step("unpack what is not installed", install::unpacked);
            report.step("install the proto compiler", |_| install::proto_compiler());
        }
        Step::Format => report.step("format", |report| {
            if !cargo.has("fmt") {
                report.skip("format", "rustfmt is not installed");
                return Ok(());
            }
            cargo.run(&["fmt", "--all", "--check"], &[])
        }),
        Step::Layers => {
            report.step("layers", |_| layers::check(&cargo.program, &cargo.root));
        }
        Step::Deny => report.step("licences and origins", |report| deny(cargo, report)),
        Step::Clippy => report.step("clippy", |report| {
            if !cargo.has("clippy") {
                report.skip("clippy", "it is not installed");
                return Ok(());
            }
            cargo.run(
                &[
                    "clippy",
                    "--workspace",
                    "--all-targets",
                    "--",
                    "--deny",
                    "warnings",
                ],
                &[],
            )
        }),
        Step::Doc => report.step("documentation", |_| {
            cargo.run(
                &["doc", "--workspace", "--no-deps"],
                &[("RUSTDOCFLAGS", "--deny warnings")],
            )
        }),
        Step::Build => {
            report.step("programs", |_| {
                cargo.run(&["build", "--workspace", "--bins"], &[])
            });
            report.step("root file system", |report| {
                if let Err(why) = tools::can_have_a_lab() {
                    report.skip("the hosts' root file system", &why.to_string());
                    return Ok(());
                }
                rootfs::prepare().map(drop)
            });
        }
        // With the programs of the step before, beside this one; without that, with what was built last.
        Step::Demo => report.step("demo", |_| rehearsal::play(&programs::directory()?)),
        Step::Doctest => report.step("tests in documentation", |_| {
            cargo.run(&["test", "--workspace", "--doc"], &[])
        }),
        // Last, so that its count is the last one in a log.
        Step::Test => report.step("tests", |report| tests(cargo, report)),
    }
}

fn tests(cargo: &Cargo, report: &mut Report) -> Result<()> {
    let list = report.list().to_string_lossy().into_owned();
    let hosted = cargo.hosted_tests()?;
    let environment = [
        (SKIPS_VARIABLE, list.as_str()),
        (HOSTED_TESTS_VARIABLE, hosted.as_str()),
    ];
    if cargo.has("nextest") {
        let results = cargo.root.join("target/nextest/ci/junit.xml");
        // If this run ends before its first test, nothing of an earlier one is told.
        drop(std::fs::remove_file(&results));
        let ran = cargo.run(
            &["nextest", "run", "--workspace", "--profile", "ci"],
            &environment,
        );
        match std::fs::read_to_string(&results) {
            Ok(results) => flaky::in_results(&results)
                .iter()
                .for_each(|test| report.flaky(test)),
            Err(error) => report.skip("the list of flaky tests", &error.to_string()),
        }
        return ran;
    }
    // Without nextest's groups, labs would run beside each other.
    let one_by_one = [
        "test",
        "--workspace",
        "--lib",
        "--bins",
        "--tests",
        "--no-fail-fast",
        "--",
    ];
    cargo.run(
        &[one_by_one.as_slice(), &["--test-threads=1"]].concat(),
        &environment,
    )
}

fn deny(cargo: &Cargo, report: &mut Report) -> Result<()> {
    report.skip(
        "security advisories",
        "their database is in no package registry",
    );
    // Of every platform, which no build here asks for. What cannot be had is said by the check itself.
    let _ = cargo.run(&["fetch", "--quiet", "--locked"], &[]);
    let checks = ["--offline", "check", "bans", "licenses", "sources"];
    if cargo.has("deny") {
        return cargo.run(&[["deny"].as_slice(), &checks].concat(), &[]);
    }
    let installed = tools::directory()?.join("cargo-deny");
    if !installed.is_file() {
        report.skip("licences and origins", "cargo-deny is not installed");
        return Ok(());
    }
    succeed(
        Command::new(installed)
            .args(checks)
            .current_dir(&cargo.root),
    )
}

/// Cargo, at the root of the workspace.
#[derive(Debug)]
struct Cargo {
    program: String,
    root: PathBuf,
}

impl Cargo {
    fn find() -> Result<Self> {
        let own = std::env::var("CARGO_MANIFEST_DIR").context("run this as `cargo xtask`")?;
        let root = Path::new(&own)
            .parent()
            .context("this package is in no workspace")?;
        let program = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        Ok(Self {
            program,
            root: root.to_path_buf(),
        })
    }

    /// Whether the subcommand is installed.
    fn has(&self, subcommand: &str) -> bool {
        let output = Command::new(&self.program)
            .args([subcommand, "--version"])
            .output();
        output.is_ok_and(|output| output.status.success())
    }

    /// Builds all tests, and says where those are that want a machine of their own.
    fn hosted_tests(&self) -> Result<String> {
        let output = Command::new(&self.program)
            .args([
                "test",
                "--workspace",
                "--lib",
                "--bins",
                "--tests",
                "--no-run",
            ])
            .arg("--message-format=json-render-diagnostics")
            .current_dir(&self.root)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .context("cannot run cargo")?;
        ensure!(output.status.success(), "the tests do not build");
        let mut found = Vec::new();
        for line in output.stdout.split(|byte| *byte == b'\n') {
            let Ok(message) = serde_json::from_slice::<serde_json::Value>(line) else {
                continue;
            };
            let of_agent = message["manifest_path"]
                .as_str()
                .is_some_and(|path| path.ends_with("node-agent/Cargo.toml"));
            let is_hosted = ["systemd", "agent"]
                .iter()
                .any(|name| message["target"]["name"] == *name);
            let is_test = message["target"]["kind"][0] == "test";
            if let (true, Some(program)) = (
                of_agent && is_hosted && is_test,
                message["executable"].as_str(),
            ) {
                found.push(PathBuf::from(program));
            }
        }
        let list = std::env::join_paths(found).context("a path has a colon")?;
        Ok(list.to_string_lossy().into_owned())
    }

    fn run(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Result<()> {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .current_dir(&self.root)
            .envs(environment.iter().copied());
        succeed(&mut command)
    }
}

/// Runs a command with its output shown.
fn succeed(command: &mut Command) -> Result<()> {
    let status = command.stdin(Stdio::null()).status();
    let program = Path::new(command.get_program())
        .file_name()
        .unwrap_or_default();
    let words = std::iter::once(program).chain(command.get_args());
    let line = words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ");
    let status = status.with_context(|| format!("cannot run `{line}`"))?;
    ensure!(status.success(), "`{line}`: {status}");
    Ok(())
}
