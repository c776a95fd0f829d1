//! What runs a check, with secrets and commands of its own.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use interlock_agent::config::Secrets;
use interlock_agent::probe::{
    CommandOutput, CommandRunner, FileProbes, Names, NobodyPutOut, Passwords, Running, Tools, Trust,
};
use interlock_agent::systemd::{Options, Systemd};
use interlock_model::check::{CheckKind, Login, ProbeResult, Verdict};
use interlock_model::names::LocalName;
use tempfile::TempDir;

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Prints this, whatever the command.
#[derive(Debug, Default)]
struct Prints(Mutex<String>);

impl CommandRunner for Prints {
    fn run<'r>(&'r self, _: &'r LocalName, _: Duration) -> Running<'r> {
        let output = self.0.lock().unwrap().clone();
        Box::pin(async {
            Ok(CommandOutput {
                code: Some(0),
                output,
            })
        })
    }
}

/// A place from which checks run.
pub(crate) struct Bed {
    tools: Tools,
    prints: Arc<Prints>,
    secrets: TempDir,
}

impl Bed {
    pub(crate) fn new() -> Self {
        Self::trusting(Trust::default())
    }

    pub(crate) fn trusting(trust: Trust) -> Self {
        let secrets = tempfile::tempdir().unwrap();
        let prints = Arc::new(Prints::default());
        let helper = PathBuf::from(env!("CARGO_BIN_EXE_interlock-agent"));
        let tools = Tools {
            runner: prints.clone(),
            systemd: Systemd::new(Options::default()),
            files: Arc::new(FileProbes::new(helper, "n1".parse().unwrap())),
            names: Names::default(),
            passwords: Passwords::new(Secrets {
                dir: secrets.path().to_owned(),
            }),
            trust,
            put_out: Arc::new(NobodyPutOut),
        };
        Self {
            tools,
            prints,
            secrets,
        }
    }

    /// What commands print from now on.
    pub(crate) fn prints(&self, text: &str) {
        text.clone_into(&mut self.prints.0.lock().unwrap());
    }

    /// A login with a secret of this value.
    pub(crate) fn login(&self, user: &str, password: &str) -> Login {
        let name = format!("secret-{}", self.secrets.path().read_dir().unwrap().count());
        let file = self.secrets.path().join(&name);
        fs::write(&file, password).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        Login {
            user: (!user.is_empty()).then(|| user.to_owned()),
            password: Some(name.parse().unwrap()),
        }
    }

    /// Runs the check once.
    pub(crate) async fn look(&self, check: CheckKind) -> ProbeResult {
        self.look_within(check, Duration::from_secs(30)).await
    }

    pub(crate) async fn look_within(&self, check: CheckKind, limit: Duration) -> ProbeResult {
        let result = self.tools.run(&check, limit).await;
        assert!(
            result.evidence.len() <= 300 && !result.evidence.contains(char::is_control),
            "{result:?}"
        );
        result
    }

    /// Runs the check until it comes to this, with a piece of evidence.
    pub(crate) async fn until(&self, check: CheckKind, verdict: Verdict, evidence: &str) {
        let patience = tokio::time::Instant::now() + PATIENCE;
        loop {
            let result = self.look(check.clone()).await;
            if result.verdict == verdict && result.evidence.contains(evidence) {
                return;
            }
            let waited = tokio::time::Instant::now() >= patience;
            assert!(!waited, "waited for {verdict} '{evidence}': {result:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The check comes to this, with all these pieces of evidence.
    pub(crate) async fn says(&self, check: CheckKind, verdict: Verdict, evidence: &[&str]) {
        let result = self.look(check).await;
        assert_eq!(result.verdict, verdict, "{result:?}");
        for piece in evidence {
            assert!(result.evidence.contains(piece), "'{piece}': {result:?}");
        }
    }
}

/// Without a user and without a password.
pub(crate) fn nobody() -> Login {
    Login {
        user: None,
        password: None,
    }
}
