use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::super::answer::EVIDENCE;
use super::super::process::MARKER;
use super::super::{OptionValue, Plug, RetryRule, Secret};
use super::*;

const LONG: Duration = Duration::from_secs(60);

/// The head of a script that follows the contract: it describes itself, and reads its input into `$input`.
const HEAD: &str = r#"#!/bin/sh
input=$(cat)
case "$input" in *action=metadata*)
cat <<XML
<resource-agent name="fence_test"><parameters><parameter name="action"/><parameter name="plug"/>
<parameter name="password"/><parameter name="disable_timeout"/><parameter name="debug_file"/></parameters>
<actions><action name="on"/><action name="off"/><action name="status"/><action name="monitor"/><action name="list"/></actions>
</resource-agent>
XML
exit 0;; esac
"#;

struct Bed {
    dir: tempfile::TempDir,
    fencer: Fencer,
}

impl Bed {
    /// A fencer whose only agent is a script with this body.
    fn new(body: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let bed = Self {
            fencer: fencer(dir.path()),
            dir,
        };
        bed.install(&format!("{HEAD}{body}\n"));
        bed
    }

    fn install(&self, script: &str) {
        // Written under another name: a program that is open for writing cannot be run.
        let path = self.dir.path().join("new");
        let mut options = std::fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o755)
            .open(&path)
            .unwrap();
        std::io::Write::write_all(&mut file, script.as_bytes()).unwrap();
        drop(file);
        std::fs::rename(path, self.dir.path().join("fence_test")).unwrap();
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    async fn run(&self, action: Action) -> Result<Reply, FenceError> {
        self.fencer.run(&request(action)).await
    }
}

fn fencer(dir: &Path) -> Fencer {
    Fencer::new(Options {
        search: vec![dir.to_owned()],
        owner: dir.display().to_string(),
        ..Options::default()
    })
}

fn request(action: Action) -> FenceRequest {
    FenceRequest {
        device: "kvm1".parse().unwrap(),
        agent: "fence_test".to_owned(),
        action,
        plug: "VM-4711".to_owned(),
        node: "store1".parse().unwrap(),
        options: BTreeMap::from([(
            "password".to_owned(),
            OptionValue::Secret(Secret::new("hunter2")),
        )]),
        limit: LONG,
        retry: RetryRule {
            attempts: 1,
            ..RetryRule::default()
        },
    }
}

#[tokio::test]
async fn every_exit_code_has_the_meaning_of_the_contract_and_no_other() {
    let on = Some(Reply::Power(PowerState::On));
    let off = Some(Reply::Power(PowerState::Off));
    for (action, code, expected) in [
        (Action::On, 0, on.clone()),
        (Action::On, 1, None),
        (Action::On, 2, None),
        (Action::Off, 0, off.clone()),
        (Action::Off, 1, None),
        (Action::Off, 2, None),
        (Action::Monitor, 0, Some(Reply::Works)),
        (Action::Monitor, 1, None),
        (Action::Monitor, 2, None),
        (Action::List, 2, None),
        (Action::Status, 0, on),
        (Action::Status, 2, off),
    ] {
        let got = Bed::new(&format!("exit {code}")).run(action).await;
        match expected {
            Some(expected) => assert_eq!(got.unwrap(), expected, "{action} {code}"),
            None => assert!(
                matches!(got, Err(FenceError::Failed { .. })),
                "{action} {code}: {got:?}"
            ),
        }
    }
}

#[tokio::test]
async fn a_status_that_fails_is_unknown_with_the_reason() {
    for code in [1, 3, 126, 255] {
        let reply = Bed::new(&format!("echo cannot connect >&2; exit {code}"))
            .run(Action::Status)
            .await
            .unwrap();
        let Reply::Power(PowerState::Unknown { why }) = reply else {
            panic!("{code}: {reply:?}")
        };
        assert!(
            why.contains("cannot connect") && why.contains(&code.to_string()),
            "{why}"
        );
    }
}

#[tokio::test]
async fn a_hanging_agent_is_killed_with_its_children_and_its_outcome_is_unknown() {
    let bed = Bed::new("cd ${0%/*}; sleep 1000 & echo $! > child; wait");
    let mut asked = request(Action::Off);
    asked.limit = Duration::from_secs(1);
    asked.retry.attempts = 5;
    let error = bed.fencer.run(&asked).await.unwrap_err();
    assert!(
        matches!(error, FenceError::TimedOut { .. }) && error.outcome_is_unknown(),
        "{error}"
    );
    let stat = format!("/proc/{}/stat", bed.read("child").trim());
    while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z")) {
        tokio::task::yield_now().await;
    }
    asked.action = Action::Status;
    let reply = bed.fencer.run(&asked).await.unwrap();
    assert!(
        matches!(reply, Reply::Power(PowerState::Unknown { .. })),
        "{reply:?}"
    );
}

#[tokio::test]
async fn options_arrive_on_standard_input_and_nothing_arrives_in_arguments_or_environment() {
    let bed = Bed::new("cd ${0%/*}; echo \"$input\" > in; echo \"$#\" > args; env > env; exit 0");
    bed.run(Action::Off).await.unwrap();
    assert_eq!(
        bed.read("in"),
        "action=off\nnodename=store1\nplug=VM-4711\ndisable_timeout=false\npassword=hunter2\n"
    );
    assert_eq!(bed.read("args"), "0\n");
    let environment = bed.read("env");
    let names: BTreeSet<&str> = environment
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, _)| name)
        .collect();
    assert!(
        names.is_subset(&BTreeSet::from([
            "PATH", "LC_ALL", "HOME", "PWD", "OLDPWD", "_", "SHLVL", MARKER
        ])),
        "{names:?}"
    );
}

#[tokio::test]
async fn a_secret_that_the_agent_prints_is_not_reported() {
    let bed = Bed::new("echo \"login with hunter2 failed\" >&2; exit 1");
    let error = bed.run(Action::Off).await.unwrap_err();
    assert!(
        error.to_string().contains("login with [secret] failed"),
        "{error}"
    );
    assert!(!format!("{error:?}").contains("hunter2"));
    assert!(!format!("{:?}", request(Action::Off)).contains("hunter2"));
}

#[tokio::test]
async fn endless_garbage_is_cut_and_not_taken_for_an_answer() {
    let bed = Bed::new("head -c 3000000 /dev/urandom >&2; exit 9");
    let error = bed.run(Action::On).await.unwrap_err();
    assert!(
        matches!(&error, FenceError::Failed { evidence, .. } if evidence.chars().count() <= EVIDENCE + 3)
    );
}

#[tokio::test]
async fn a_failure_is_repeated_as_often_as_the_rule_says() {
    let bed = Bed::new("cd ${0%/*}; echo x >> tries; test $(wc -l < tries) -ge 2");
    assert!(matches!(
        bed.run(Action::Off).await,
        Err(FenceError::Failed { attempts: 1, .. })
    ));
    std::fs::remove_file(bed.path("tries")).unwrap();
    let asked = FenceRequest {
        retry: RetryRule::default(),
        ..request(Action::Off)
    };
    assert_eq!(
        bed.fencer.run(&asked).await.unwrap(),
        Reply::Power(PowerState::Off)
    );
    assert_eq!(bed.read("tries"), "x\nx\n");
}

#[tokio::test]
async fn one_request_at_a_time_runs_against_a_device() {
    // mkdir is atomic: a second agent at the same time fails.
    let bed = Bed::new(
        "cd ${0%/*}; mkdir busy || exit 1; cat /proc/loadavg > /dev/null; sleep 0.1; rmdir busy",
    );
    let same = request(Action::On);
    let runs = futures_util::future::join_all((0..5).map(|_| bed.fencer.run(&same))).await;
    assert!(runs.iter().all(Result::is_ok), "{runs:?}");
}

#[tokio::test]
async fn a_device_that_stays_busy_is_reported_and_nothing_is_done() {
    let bed = Bed::new("cd ${0%/*}; echo x >> runs; mkfifo hold 2>/dev/null; cat hold");
    let first = request(Action::On);
    let second = FenceRequest {
        limit: Duration::from_millis(200),
        ..request(Action::Off)
    };
    let fencer = &bed.fencer;
    fencer.metadata("fence_test").await.unwrap();
    let mut holding = Box::pin(fencer.run(&first));
    while bed.read("runs").is_empty() {
        tokio::select! {
            _ = &mut holding => panic!("it must not end by itself"),
            () = tokio::task::yield_now() => {}
        }
    }
    let error = fencer.run(&second).await.unwrap_err();
    assert!(
        matches!(error, FenceError::Busy { .. }) && !error.outcome_is_unknown(),
        "{error}"
    );
    assert_eq!(bed.read("runs"), "x\n");
}

#[tokio::test]
async fn who_waits_behind_a_plug_that_hangs_has_its_whole_limit() {
    let bed = Bed::new(
        "cd ${0%/*}; if [ ! -e first ]; then touch first; mkfifo hold; cat hold; fi; exit 0",
    );
    let fencer = &bed.fencer;
    fencer.metadata("fence_test").await.unwrap();
    let hangs = FenceRequest {
        limit: Duration::from_secs(6),
        ..request(Action::Status)
    };
    // Began to wait with less than what the other one takes.
    let waits = FenceRequest {
        limit: Duration::from_secs(5),
        ..request(Action::Status)
    };
    let mut holding = Box::pin(fencer.run(&hangs));
    while !std::path::Path::new(&bed.path("first")).exists() {
        tokio::select! {
            _ = &mut holding => panic!("it must not end by itself"),
            () = tokio::task::yield_now() => {}
        }
    }
    let (hung, waited) = tokio::join!(holding, fencer.run(&waits));
    let Ok(Reply::Power(PowerState::Unknown { why })) = hung else {
        panic!("{hung:?}")
    };
    assert!(why.contains("killed"), "{why}");
    assert_eq!(waited.unwrap(), Reply::Power(PowerState::On));
}

#[tokio::test]
async fn plugs_are_listed_with_their_aliases() {
    let bed = Bed::new("printf 'VM-1,db, first\\n\\nVM-2,\\nVM-3\\n'");
    let plug = |plug: &str, alias: Option<&str>| Plug {
        plug: plug.to_owned(),
        alias: alias.map(str::to_owned),
    };
    let expected = vec![
        plug("VM-1", Some("db, first")),
        plug("VM-2", None),
        plug("VM-3", None),
    ];
    assert_eq!(bed.run(Action::List).await.unwrap(), Reply::Plugs(expected));
}

#[tokio::test]
async fn what_agents_print_in_place_of_a_list_is_no_plug() {
    for said in [
        "N/A",
        "NOTICE: List option is not working on this device yet",
    ] {
        let bed = Bed::new(&format!("echo '{said}'"));
        assert_eq!(bed.run(Action::List).await.unwrap(), Reply::NoPlugs);
    }
}

#[tokio::test]
async fn what_the_metadata_does_not_allow_never_reaches_the_agent() {
    let bed = Bed::new("cd ${0%/*}; echo x >> runs; exit 0");
    let with = |option: &str, value: &str| {
        let mut asked = request(Action::Off);
        asked
            .options
            .insert(option.to_owned(), OptionValue::Plain(value.to_owned()));
        asked
    };
    let error = bed.fencer.run(&with("pasword", "x")).await.unwrap_err();
    assert!(
        error.to_string().contains("did you mean 'password'"),
        "{error}"
    );
    for (option, value, needle) in [
        ("action", "on", "set by Interlock"),
        ("port", "VM-1", "set by Interlock"),
        ("debug-file", "/etc/x", "fence_options"),
        ("password", "a\naction=on", "line break"),
    ] {
        let error = bed.fencer.run(&with(option, value)).await.unwrap_err();
        assert!(error.to_string().contains(needle), "{option}: {error}");
    }
    let stray = FenceRequest {
        plug: "VM-1\naction=on".to_owned(),
        ..request(Action::Off)
    };
    assert!(matches!(
        bed.fencer.run(&stray).await,
        Err(FenceError::BadValue { .. })
    ));
    assert_eq!(bed.read("runs"), "", "the agent ran");
}

#[tokio::test]
async fn an_action_that_is_not_offered_is_refused_and_a_new_agent_file_is_asked_again() {
    let bed = Bed::new("exit 0");
    bed.install(&format!("{HEAD}exit 0\n").replace("<action name=\"list\"/>", ""));
    assert!(matches!(
        bed.run(Action::List).await,
        Err(FenceError::Unsupported { .. })
    ));
    bed.install(&format!("{HEAD}exit 0\n"));
    assert!(matches!(bed.run(Action::List).await, Ok(Reply::Plugs(_))));
}

#[tokio::test]
async fn only_installed_fence_agents_are_run() {
    let bed = Bed::new("exit 0");
    for name in ["reboot", "../fence_test", "fence_../x", "fence_a b", ""] {
        assert!(
            matches!(
                bed.fencer.metadata(name).await,
                Err(FenceError::BadName { .. })
            ),
            "{name}"
        );
    }
    let error = bed.fencer.metadata("fence_missing").await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains(&bed.dir.path().display().to_string()),
        "{error}"
    );
    bed.install("#!/bin/sh\necho not xml\n");
    assert!(matches!(
        bed.fencer.metadata("fence_test").await,
        Err(FenceError::NoMetadata { .. })
    ));
}

fn not_installed(agent: &str) {
    let why = format!("{agent} is missing; `cargo xtask test` installs fence-agents");
    crate::skip::skip("real fence agents", &why);
}

/// The real package, or a note that this test could not run.
fn real_agents(test: &str) -> Option<Fencer> {
    if !Path::new("/usr/sbin/fence_dummy").exists() {
        not_installed("fence_dummy");
        return None;
    }
    let permit = BTreeSet::from(["status_file".to_owned()]);
    Some(Fencer::new(Options {
        permit,
        owner: format!("{test}, {}", std::process::id()),
        ..Options::default()
    }))
}

fn dummy(action: Action, options: &[(&str, &str)]) -> FenceRequest {
    let options = options
        .iter()
        .map(|(k, v)| ((*k).to_owned(), OptionValue::Plain((*v).to_owned())))
        .collect();
    FenceRequest {
        agent: "fence_dummy".to_owned(),
        options,
        ..request(action)
    }
}

#[tokio::test]
async fn the_real_fence_dummy_switches_off_and_on_and_says_which() {
    let Some(fencer) = real_agents("1") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("plug").display().to_string();
    std::fs::write(&file, "on").unwrap();
    let ask = async |action| {
        fencer
            .run(&dummy(
                action,
                &[("status-file", &file), ("stonith_status_sleep", "0")],
            ))
            .await
    };
    for (action, state) in [
        (Action::Status, PowerState::On),
        (Action::Off, PowerState::Off),
        (Action::Status, PowerState::Off),
        (Action::Off, PowerState::Off),
        (Action::On, PowerState::On),
        (Action::Status, PowerState::On),
    ] {
        assert_eq!(ask(action).await.unwrap(), Reply::Power(state), "{action}");
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "on");
    assert_eq!(ask(Action::Monitor).await.unwrap(), Reply::Works);
    assert!(matches!(
        ask(Action::List).await,
        Err(FenceError::Unsupported { .. })
    ));
}

#[tokio::test]
async fn the_real_fence_dummy_that_cannot_switch_is_a_failure() {
    let Some(fencer) = real_agents("2") else {
        return;
    };
    let stuck = [
        ("type", "fail"),
        ("power_timeout", "1"),
        ("stonith_status_sleep", "1"),
    ];
    let error = fencer.run(&dummy(Action::Off, &stuck)).await.unwrap_err();
    assert!(
        matches!(error, FenceError::Failed { .. }) && error.outcome_is_unknown(),
        "{error}"
    );
}

#[tokio::test]
async fn every_real_agent_describes_itself() {
    let Some(fencer) = real_agents("3") else {
        return;
    };
    for (agent, plug) in [
        ("fence_virsh", Some("plug")),
        ("fence_redfish", Some("plug")),
        ("fence_dummy", None),
    ] {
        if !Path::new("/usr/sbin").join(agent).exists() {
            not_installed(agent);
            continue;
        }
        let metadata = fencer.metadata(agent).await.unwrap();
        assert_eq!(metadata.plug_parameter(), plug, "{agent}");
        assert!(
            metadata.actions.contains_key("off") && metadata.has("disable_timeout"),
            "{agent}"
        );
    }
}
