//! The path of the clients of a primary, and what becomes of its role when something deletes the table that closes it. Needs
//! root, `ip` and `nft`.

use std::process::Command as Program;

use super::*;

/// The process and the address are what only the primary has.
fn configure_address(lab: &Lab, endpoint: &str, whole: bool) {
    let here = lab.here();
    lab.configure(
        endpoint,
        &format!(
            "[allow.services]\ndb = {{ process = [\"base\", \"main\"], address = [{{ ip = \"10.77.0.100\", prefix = 24, \
             interface = \"eth0\", whole_interface = {whole} }}] }}\n[process.base]\ncommand = [\"/bin/sleep\", \"1000\"]\n[process.main]\ncommand = \
             [\"/bin/sleep\", \"1000\"]\n[lease]\nruntime_dir = \"{here}/run\"\n"
        ),
    );
}

fn address(whole_interface: bool) -> v1::Part {
    let address = v1::FloatingAddress {
        ip: "10.77.0.100".into(),
        prefix: 24,
        interface: apart::INTERFACE.into(),
        whole_interface,
    };
    v1::Part {
        part: Some(v1::part::Part::Address(address)),
    }
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Program::new(program).args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {output:?}"
    );
    String::from_utf8(output.stdout).unwrap()
}

/// A primary whose clients come by its address alone, on a machine of its own network.
fn with_a_primary(test: &str, profile: Profile, body: impl AsyncFnOnce(Lab, &mut Session, Book)) {
    with_a_standby(test, profile, false, async |lab, session, book| {
        primary(session, &book, 1).await;
        renewal(&book, session, true).await;
        body(lab, session, book).await;
    });
}

/// What may become such a primary; with an interface that is the role's, which is off.
fn with_a_standby(
    test: &str,
    profile: Profile,
    whole: bool,
    body: impl AsyncFnOnce(Lab, &mut Session, Book),
) {
    let everything = async {
        run(
            "ip",
            &[
                "link",
                "add",
                apart::INTERFACE,
                "type",
                "veth",
                "peer",
                "eth1",
            ],
        );
        run("ip", &["link", "set", "eth1", "up"]);
        if !whole {
            run("ip", &["link", "set", apart::INTERFACE, "up"]);
        }
        let lab = Lab::new();
        let mut coordinator = lab.coordinator().await;
        configure_address(&lab, &coordinator.endpoint, whole);
        let _agent = lab.start().await;
        let mut session = coordinator.session(1).await;
        session
            .assign_all(&[base()], 0, Vec::new(), |instance| {
                instance.exclusive = true;
                instance.primary_parts = vec![part("main"), address(whole)];
                instance.lease = Some(v1::LeaseAssignment {
                    clients_by_address: true,
                    ..v1::LeaseAssignment::default()
                });
            })
            .await;
        session
            .dispatch(id("start", 1), Command::Start(base()))
            .await;
        session.outcome(&id("start", 1)).await;
        let book = Book::new(ControlLoss::Demote, profile);
        book.standing(&mut session, |it| it.idle && it.unready.is_empty())
            .await;
        body(lab, &mut session, book).await;
    };
    apart::in_a_lab(&format!("roles::path::{test}"), || {
        tokio::runtime::Runtime::new().unwrap().block_on(everything);
    });
}

/// Waits for a renewal that promises this of the path.
async fn renewal(book: &Book, session: &mut Session, client_path: bool) {
    book.until(session, |said| {
        renewal_in(said).is_some_and(|renewal| renewal.client_path == client_path)
    })
    .await;
}

#[test]
fn a_record_promises_no_path_whose_table_was_deleted_until_it_is_made_again() {
    let test = "a_record_promises_no_path_whose_table_was_deleted_until_it_is_made_again";
    with_a_primary(test, Profile::Fast, async |_, session, book| {
        run("nft", &["flush", "ruleset"]);
        renewal(&book, session, false).await;
        renewal(&book, session, true).await;
        let guarded = run("nft", &["list", "set", "inet", "interlock", "guarded4"]);
        assert!(guarded.contains("10.77.0.100"), "{guarded}");
        let open = run("nft", &["list", "set", "inet", "interlock", "open4"]);
        assert!(open.contains("10.77.0.100"), "{open}");
    });
}

fn is_on() -> bool {
    run("ip", &["link", "show", apart::INTERFACE]).contains(",UP")
}

#[test]
fn an_interface_that_is_the_roles_is_on_with_it_alone_and_the_kernel_closes_its_address_in_time() {
    let test = "an_interface_that_is_the_roles_is_on_with_it_alone_and_the_kernel_closes_its_address_in_time";
    with_a_standby(test, Profile::Fast, true, async |lab, session, mut book| {
        assert!(!is_on());
        primary(session, &book, 1).await;
        renewal(&book, session, true).await;
        assert!(is_on());
        let open = run("nft", &["list", "set", "inet", "interlock", "open4"]);
        assert!(
            open.contains("10.77.0.100") && open.contains("expires"),
            "{open}"
        );
        let pid = main_pid(&lab).unwrap();
        book.acknowledges = false;
        let release = book.release(session).await;
        assert!(!lives(pid) && release.began, "{release:?}");
        assert!(!is_on(), "it is on, and the role is gone");
    });
}

#[test]
fn nobody_takes_a_role_by_an_interface_with_something_on_it_that_the_kernel_would_not_close() {
    let test =
        "nobody_takes_a_role_by_an_interface_with_something_on_it_that_the_kernel_would_not_close";
    with_a_standby(test, Profile::Fast, true, async |_, session, book| {
        let foreign = ["addr", "add", "10.77.0.9/24", "dev", apart::INTERFACE];
        run("ip", &foreign);
        book.promote(session, 1).await;
        let release = book.release(session).await;
        assert_eq!(release.epoch, 1);
        assert!(!is_on());
        let told = |it: &v1::LeaseStanding| it.unready.contains("10.77.0.9 is on that interface");
        book.standing(session, told).await;
    });
}

#[test]
fn a_role_is_given_back_although_the_table_of_its_path_cannot_be_made_again() {
    let test = "a_role_is_given_back_although_the_table_of_its_path_cannot_be_made_again";
    with_a_primary(test, Profile::Fast, async |lab, session, mut book| {
        run("nft", &["flush", "ruleset"]);
        run("mount", &["-t", "tmpfs", "tmpfs", "/usr/sbin"]);
        renewal(&book, session, false).await;
        let pid = main_pid(&lab).unwrap();
        book.acknowledges = false;
        let release = book.release(session).await;
        assert!(!lives(pid) && release.began, "{release:?}");
    });
}
