//! The watchdog device: what stands in for it is a pipe, whose other end is looked at here. What the kernel would tell of it is in
//! files of a directory.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;

use super::*;

/// The device as the kernel would have it: every byte that was written to it since it was last looked at.
struct Device {
    pipe: File,
    all: Vec<u8>,
}

impl Device {
    /// In this lab, with this time in seconds.
    fn new(lab: &Lab, time: u64) -> Self {
        let path = lab.path("dog");
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.unwrap().success());
        let sysfs = lab.path("sysfs");
        fs::create_dir(&sysfs).unwrap();
        for (file, text) in [
            ("timeout", time.to_string().as_str()),
            ("identity", "stand-in"),
            ("nowayout", "0"),
            ("state", "inactive"),
        ] {
            fs::write(sysfs.join(file), format!("{text}\n")).unwrap();
        }
        let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap();
        // For both, so that it is open whoever else has it.
        let pipe = File::options()
            .read(true)
            .write(true)
            .custom_flags(flags)
            .open(path)
            .unwrap();
        Self {
            pipe,
            all: Vec::new(),
        }
    }

    /// What was written since this was last asked.
    fn news(&mut self) -> Vec<u8> {
        let mut news = Vec::new();
        // Nothing more is there for now.
        let _ = self.pipe.read_to_end(&mut news);
        self.all.extend(&news);
        news
    }

    async fn wait_for(&mut self, wanted: impl Fn(&[u8]) -> bool) {
        let waiting = async {
            loop {
                self.news();
                if wanted(&self.all) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        patiently(waiting).await;
    }
}

fn with_watchdog(lab: &Lab, endpoint: &str, mode: &str, more: &str) {
    let here = lab.here();
    let watchdog = format!(
        "[watchdog]\nmode = \"{mode}\"\ndevice = \"{here}/dog\"\nsysfs = \"{here}/sysfs\"\n{more}\n"
    );
    lab.configure(
        endpoint,
        &format!("{DB}[lease]\nruntime_dir = \"{here}/run\"\n{watchdog}"),
    );
}

async fn promises_a_watchdog(book: &Book, session: &mut Session, armed: bool) {
    book.until(session, |said| {
        renewal_in(said).is_some_and(|it| it.watchdog == armed)
    })
    .await;
}

#[tokio::test]
async fn a_watchdog_is_petted_by_acknowledged_renewals_alone_and_disarmed_when_nothing_is_left() {
    let lab = Lab::new();
    let mut device = Device::new(&lab, 5);
    let mut coordinator = lab.coordinator().await;
    with_watchdog(&lab, &coordinator.endpoint, "required", "");
    let agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    let mut book = Book::new(ControlLoss::Demote, Profile::Conservative);
    standby(&mut session, &book, 0).await;
    assert_eq!(device.news(), b"", "a standby arms nothing");

    // The claim is not acknowledged at once.
    book.acknowledges = false;
    book.promote(&session, 1).await;
    let said = book
        .until(&mut session, |said| renewal_in(said).is_some())
        .await;
    let first = renewal_in(&said).unwrap().clone();
    assert!(!first.watchdog);
    assert_eq!(device.news(), b"", "a command arms nothing");
    book.acknowledges = true;
    book.acknowledge(&session, &first).await;
    book.role(&mut session, |role| role.side() == v1::Side::Primary)
        .await;
    promises_a_watchdog(&book, &mut session, true).await;
    device.wait_for(|all| all.len() > 3).await;
    let node = lab
        .node(&agent, |node| node.watchdog.contains("armed for db"))
        .await;
    let told = format!(
        "{}/dog (stand-in, 5s), required: armed for db, petted ",
        lab.here()
    );
    assert!(node.watchdog.starts_with(&told), "{}", node.watchdog);

    // Of the conservative profile acknowledgements pet until they are 4.5 s old, and the right ends 8 s after its last one.
    book.acknowledges = false;
    let silent = Instant::now();
    let pid = main_pid(&lab).unwrap();
    let (quiet, looked) = (Duration::from_millis(5500), Duration::from_millis(7000));
    let mut after = None;
    while silent.elapsed() < looked {
        let passed = tokio::time::timeout(Duration::from_millis(50), book.next(&mut session)).await;
        drop(passed);
        if silent.elapsed() >= quiet {
            let news = device.news();
            // The first look takes what was before.
            match &mut after {
                None => after = Some(Vec::new()),
                Some(after) => after.extend(news),
            }
        }
    }
    assert_eq!(after, Some(Vec::new()), "it was petted without a word");
    let release = book.release(&mut session).await;
    assert!(!lives(pid) && release.epoch == 1, "{release:?}");
    device.wait_for(|all| all.ends_with(b"V")).await;
    let pets = &device.all[..device.all.len() - 1];
    assert!(!pets.contains(&b'V'), "{pets:?}");
    let node = lab.node(&agent, |_| true).await;
    assert!(
        node.watchdog.ends_with("required: not armed"),
        "{}",
        node.watchdog
    );
}

#[tokio::test]
async fn an_orderly_stop_disarms_the_watchdog_and_the_end_of_the_agent_by_force_does_not() {
    let lab = Lab::new();
    let mut device = Device::new(&lab, 5);
    let mut coordinator = lab.coordinator().await;
    with_watchdog(&lab, &coordinator.endpoint, "automatic", "");
    let agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    let book = Book::new(ControlLoss::Demote, Profile::Conservative);
    standby(&mut session, &book, 0).await;
    primary(&mut session, &book, 1).await;
    promises_a_watchdog(&book, &mut session, true).await;

    agent.kill().await;
    device.news();
    assert!(!device.all.contains(&b'V'), "nobody has disarmed it");
    let so_far = device.all.len();
    // The next one takes it up again.
    let agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    promises_a_watchdog(&book, &mut session, true).await;
    device.wait_for(|all| all.len() > so_far + 2).await;
    assert!(!device.all.contains(&b'V'), "nobody has disarmed it");

    session.dispatch(id("stop", 1), Command::Stop(base())).await;
    book.release(&mut session).await;
    device.wait_for(|all| all.ends_with(b"V")).await;

    // An agent that ends, and whose record says that its primary goes on without it.
    book.say(&session, 1, Word::ReleaseWritten(1)).await;
    session.outcome(&id("stop", 1)).await;
    session
        .dispatch(id("start", 2), Command::Start(base()))
        .await;
    session.outcome(&id("start", 2)).await;
    book.standing(&mut session, |it| it.idle && it.unready.is_empty())
        .await;
    primary(&mut session, &book, 2).await;
    device.wait_for(|all| !all.ends_with(b"V")).await;
    let held = Book::new(ControlLoss::Hold, Profile::Conservative);
    let stopping = tokio::spawn(agent.stop());
    held.until(&mut session, |said| matches!(said, Said::Goodbye(_)))
        .await;
    stopping.await.unwrap();
    device.wait_for(|all| all.ends_with(b"V")).await;
    assert!(main_pid(&lab).is_some_and(lives), "it goes on");
}

#[tokio::test]
async fn a_node_that_requires_a_watchdog_takes_no_role_without_one_that_suits_its_lease() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    with_watchdog(&lab, &coordinator.endpoint, "required", "");
    let book = Book::new(ControlLoss::Demote, Profile::Fast);
    let tells = async |session: &mut Session, why: &str| {
        let promoting = async {
            loop {
                book.promote(session, 1).await;
                let told = book.standing(session, |it| it.unready.contains(why));
                if let Ok(told) = tokio::time::timeout(Duration::from_millis(300), told).await {
                    return told;
                }
            }
        };
        let standing = patiently(promoting).await;
        assert!(standing.holding.is_none() && standing.idle, "{standing:?}");
        assert_eq!(main_pid(&lab), None);
    };

    let agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    assign(&session, 0).await;
    tells(&mut session, "its watchdog is required and cannot be used").await;
    let node = lab.node(&agent, |_| true).await;
    assert!(
        node.watchdog.starts_with("required, and cannot be used: "),
        "{}",
        node.watchdog
    );
    agent.stop().await;

    let mut device = Device::new(&lab, 60);
    let agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    session
        .dispatch(id("start", 1), Command::Start(base()))
        .await;
    session.outcome(&id("start", 1)).await;
    tells(&mut session, "A + W = 1s 100ms + 1m = 1m 1s 100ms").await;
    assert_eq!(device.news(), b"", "it was not armed for that");
    agent.stop().await;

    // What sets its time does, and what is read back counts.
    let program = lab.path("wdctl");
    let script = format!(
        "#!/bin/sh\nset -e\n[ \"$1 $3\" = \"--settimeout {0}/dog\" ]\necho \"$2\" > {0}/sysfs/timeout\n",
        lab.here()
    );
    fs::write(&program, script).unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&program, executable).unwrap();
    let more = format!("timeout = \"1s\"\nwdctl = \"{}\"", program.display());
    with_watchdog(&lab, &coordinator.endpoint, "required", &more);
    let _agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    book.standing(&mut session, |it| it.idle && it.unready.is_empty())
        .await;
    primary(&mut session, &book, 1).await;
    promises_a_watchdog(&book, &mut session, true).await;
    device.wait_for(|all| !all.is_empty()).await;
}

#[tokio::test]
async fn without_a_device_that_suits_it_an_automatic_watchdog_is_promised_to_nobody() {
    let lab = Lab::new();
    let mut device = Device::new(&lab, 60);
    let mut coordinator = lab.coordinator().await;
    with_watchdog(&lab, &coordinator.endpoint, "automatic", "");
    let agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    let book = Book::new(ControlLoss::Demote, Profile::Conservative);
    standby(&mut session, &book, 0).await;
    primary(&mut session, &book, 1).await;
    promises_a_watchdog(&book, &mut session, false).await;
    assert_eq!(device.news(), b"");
    let node = lab.node(&agent, |_| true).await;
    assert!(
        node.watchdog.contains("not armed; last time: W of "),
        "{}",
        node.watchdog
    );
}

/// Its device has 5 s, which the timings of the profile `fast` do not suit.
async fn keeps_its_terms_and_its_watchdog(mode: &str) {
    let lab = Lab::new();
    let mut device = Device::new(&lab, 5);
    let mut coordinator = lab.coordinator().await;
    with_watchdog(&lab, &coordinator.endpoint, mode, "");
    let agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    let book = Book::new(ControlLoss::Demote, Profile::Conservative);
    standby(&mut session, &book, 0).await;
    primary(&mut session, &book, 1).await;
    promises_a_watchdog(&book, &mut session, true).await;
    let other = Book::new(ControlLoss::Demote, Profile::Fast).terms;
    let proposal = Word::Propose(other.clone());
    for _ in 0..3 {
        book.say(&session, session.term, proposal.clone()).await;
        let said = book
            .until(&mut session, |said| renewal_in(said).is_some())
            .await;
        let renewal = renewal_in(&said).unwrap();
        assert!(renewal.watchdog, "{renewal:?}");
        assert_ne!(renewal.terms, Some(other.clone()));
    }
    device.news();
    assert!(!device.all.contains(&b'V'), "it was disarmed");
    let node = lab.node(&agent, |_| true).await;
    let told = "other terms of db are not accepted: W of ";
    assert!(
        node.watchdog.contains("armed for db, petted"),
        "{}",
        node.watchdog
    );
    assert!(node.watchdog.contains(told), "{}", node.watchdog);
    // What its device suits is accepted.
    let mut softer = book.terms.clone();
    softer.max_lag = 1;
    book.say(&session, session.term, Word::Propose(softer.clone()))
        .await;
    book.until(&mut session, |said| {
        renewal_in(said).is_some_and(|it| it.terms.as_ref() == Some(&softer))
    })
    .await;
}

#[tokio::test]
async fn terms_that_the_device_does_not_suit_are_not_accepted_where_a_watchdog_is_required() {
    keeps_its_terms_and_its_watchdog("required").await;
}

#[tokio::test]
async fn nor_where_the_record_tells_of_one() {
    keeps_its_terms_and_its_watchdog("automatic").await;
}

/// With a real device: `INTERLOCK_TEST_WATCHDOG=/dev/watchdog`, in a virtual machine that may be reset (`modprobe softdog`). That the
/// machine is gone within five seconds of the last line is what this shows; whoever runs it looks.
#[tokio::test]
#[ignore = "resets the machine that it runs on"]
async fn a_real_device_spares_a_machine_that_stopped_in_order_and_resets_one_whose_agent_was_killed()
 {
    let path = std::env::var("INTERLOCK_TEST_WATCHDOG").expect("a device");
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    let here = lab.here();
    lab.configure(
        &coordinator.endpoint,
        &format!(
            "{DB}[lease]\nruntime_dir = \"{here}/run\"\n[watchdog]\nmode = \"required\"\ndevice = \"{path}\"\ntimeout = \"5s\"\n"
        ),
    );
    let agent = lab.start().await;
    let mut session = coordinator.session(1).await;
    let book = Book::new(ControlLoss::Demote, Profile::Conservative);
    standby(&mut session, &book, 0).await;
    primary(&mut session, &book, 1).await;
    promises_a_watchdog(&book, &mut session, true).await;
    println!("{}", lab.node(&agent, |_| true).await.watchdog);
    // Longer than its time: it is petted.
    let petted = async {
        loop {
            book.next(&mut session).await;
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(12), petted).await;
    println!("petted for 12 s, and the machine lives");

    session.dispatch(id("stop", 1), Command::Stop(base())).await;
    book.release(&mut session).await;
    tokio::time::sleep(Duration::from_secs(12)).await;
    println!("disarmed for 12 s, and the machine lives");
    println!("{}", lab.node(&agent, |_| true).await.watchdog);

    book.say(&session, 1, Word::ReleaseWritten(1)).await;
    session
        .dispatch(id("start", 2), Command::Start(base()))
        .await;
    session.outcome(&id("start", 2)).await;
    book.standing(&mut session, |it| it.idle && it.unready.is_empty())
        .await;
    primary(&mut session, &book, 2).await;
    promises_a_watchdog(&book, &mut session, true).await;
    println!("killing its agent: the machine is to be reset within 5 s");
    agent.kill().await;
    let killed = Instant::now();
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        println!("{} s later", killed.elapsed().as_secs());
        assert!(killed.elapsed() < Duration::from_secs(30), "it still lives");
    }
}
