//! The path of the clients: open for a time, then closed by the kernel.

use std::io::{BufRead as _, BufReader};
use std::net::{IpAddr, SocketAddr};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use interlock_agent::address::Addresses;
use interlock_agent::address::path::{ClientPath, Error, TICKET_LIFE};
use interlock_model::address::FloatingAddress;

use crate::lab::{Host, all_the_time, eventually, floating, in_a_lab};

/// A time after which a path is closed that a test waits for.
const SHORT: Duration = Duration::from_secs(1);

/// A time that does not end during a test.
const LONG: Duration = Duration::from_secs(600);

/// A client, a server with the floating addresses, and the path to those: prepared.
fn guarded() -> (Host, Host, ClientPath, [FloatingAddress; 2]) {
    let (client, server) = (Host::new("client", 1), Host::new("server", 2));
    let addresses = floating();
    for address in &addresses {
        server.inside(|| Addresses::new().unwrap().add(address).unwrap());
    }
    let path = prepared(&server, &addresses);
    (client, server, path, addresses)
}

fn prepared(host: &Host, addresses: &[FloatingAddress]) -> ClientPath {
    host.inside(|| {
        let path = ClientPath::new().unwrap();
        path.prepare(addresses).unwrap();
        path
    })
}

#[test]
fn a_path_that_is_opened_for_a_time_closes_by_itself_for_everybody() {
    in_a_lab(
        "path::a_path_that_is_opened_for_a_time_closes_by_itself_for_everybody",
        || {
            let (client, server, path, addresses) = guarded();
            for address in addresses {
                let echo = server.echo(address.ip);
                let only = std::slice::from_ref(&address);
                assert!(client.is_shut_out(echo) && server.is_shut_out(echo));

                path.open(only, Some(LONG)).unwrap();
                let mut talks = [client.talk(echo), server.talk(echo)];
                path.open(only, Some(SHORT)).unwrap();
                for talk in &mut talks {
                    eventually("the end", || talk.is_cut());
                }
                assert!(client.is_shut_out(echo), "a new one from elsewhere");
                assert!(server.is_shut_out(echo), "a new one from here");
            }
        },
    );
}

#[test]
fn a_path_that_is_opened_again_stays_open_as_long_as_was_said_last() {
    in_a_lab(
        "path::a_path_that_is_opened_again_stays_open_as_long_as_was_said_last",
        || {
            let (client, server, path, addresses) = guarded();
            let mut talks = addresses.clone().map(|address| {
                path.open(std::slice::from_ref(&address), Some(LONG))
                    .unwrap();
                client.talk(server.echo(address.ip))
            });
            for last in [Some(LONG), None] {
                path.open(&addresses, Some(SHORT)).unwrap();
                path.open(&addresses, last).unwrap();
                all_the_time(SHORT * 2, || {
                    talks.iter_mut().for_each(|talk| talk.must_work())
                });
            }
        },
    );
}

#[test]
fn a_path_is_closed_at_once() {
    in_a_lab("path::a_path_is_closed_at_once", || {
        let (client, server, path, addresses) = guarded();
        let too_short_to_be_said = Some(Duration::from_micros(900));
        let ways: [&(dyn Fn() + Sync); 3] = [
            &|| path.close(&addresses).unwrap(),
            &|| path.prepare(&addresses).unwrap(),
            &|| path.open(&addresses, too_short_to_be_said).unwrap(),
        ];
        for way in ways {
            let close = || server.inside(way);
            for life in [Some(LONG), None] {
                path.open(&addresses, life).unwrap();
                let echoes = addresses.clone().map(|address| server.echo(address.ip));
                let mut talks = echoes.map(|echo| client.talk(echo));
                close();
                assert!(talks.iter_mut().all(|talk| talk.is_cut()));
                assert!(echoes.into_iter().all(|echo| client.is_shut_out(echo)));
                close();
            }
        }
    });
}

#[test]
fn an_agent_that_starts_again_may_leave_open_what_is() {
    in_a_lab(
        "path::an_agent_that_starts_again_may_leave_open_what_is",
        || {
            let (client, server, path, addresses) = guarded();
            let [known, new] = &addresses;
            path.forget(&addresses).unwrap();
            path.open(std::slice::from_ref(known), Some(LONG)).unwrap();
            let mut open = client.talk(server.echo(known.ip));
            let mut unguarded = client.talk(server.echo(new.ip));
            server.inside(|| path.adopt(&addresses)).unwrap();
            open.must_work();
            assert!(unguarded.is_cut());

            path.open(&addresses, Some(SHORT)).unwrap();
            server.inside(|| path.adopt(&addresses)).unwrap();
            eventually("the end", || open.is_cut());
        },
    );
}

#[test]
fn the_end_of_the_process_that_opened_a_path_changes_nothing() {
    in_a_lab(
        "path::the_end_of_the_process_that_opened_a_path_changes_nothing",
        || {
            let (client, server, _, addresses) = guarded();
            let echoes = addresses.map(|address| server.echo(address.ip));
            let mut opener = server.inside(|| {
                Command::new(std::env::current_exe().unwrap())
                    .args(["--exact", "--ignored", "--nocapture", "path::opens"])
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .spawn()
                    .unwrap()
            });
            let mut said = BufReader::new(opener.stdout.take().unwrap()).lines();
            while !said.next().expect("it opens").unwrap().contains("open now") {}
            let mut talks = echoes.map(|echo| client.talk(echo));
            opener.kill().unwrap();
            opener.wait().unwrap();
            talks.iter_mut().for_each(|talk| talk.must_work());
            for talk in &mut talks {
                eventually("the end", || talk.is_cut());
            }
            assert!(echoes.into_iter().all(|echo| client.is_shut_out(echo)));
        },
    );
}

/// Long enough for two connections, short enough to be waited for.
const LIFE_OF_THE_OPENER: Duration = Duration::from_secs(4);

#[test]
#[ignore = "a process of the_end_of_the_process_that_opened_a_path_changes_nothing"]
fn opens() {
    let path = ClientPath::new().unwrap();
    path.open(&floating(), Some(LIFE_OF_THE_OPENER)).unwrap();
    println!("\nopen now");
    let _ = std::io::stdin().read_line(&mut String::new());
}

#[test]
fn a_process_that_was_stopped_after_it_looked_at_the_clock_opens_nothing() {
    in_a_lab(
        "path::a_process_that_was_stopped_after_it_looked_at_the_clock_opens_nothing",
        || {
            let (client, server, path, addresses) = guarded();
            let echo = server.echo(addresses[0].ip);
            let old = path.ticket().unwrap();
            let fresh = path.ticket().unwrap();
            path.open_with(fresh, &addresses, Some(LONG)).unwrap();
            let mut talk = client.talk(echo);
            path.close(&addresses).unwrap();
            assert!(talk.is_cut());

            thread::sleep(TICKET_LIFE * 2);
            // What others do meanwhile does not make it good again.
            let other = server.inside(|| ClientPath::new().unwrap());
            let _its_own = [other.ticket().unwrap(), other.ticket().unwrap()];
            let error = path.open_with(old, &addresses, Some(LONG)).unwrap_err();
            assert!(matches!(error, Error::TooLate(_)), "{error}");
            assert!(client.is_shut_out(echo));
            let fresh = path.ticket().unwrap();
            path.open_with(fresh, &addresses, Some(TICKET_LIFE))
                .unwrap();
            assert!(client.is_shut_out(echo), "the ticket's life is taken off");
        },
    );
}

#[test]
fn a_node_that_does_not_have_the_address_reaches_the_one_that_has_it() {
    in_a_lab(
        "path::a_node_that_does_not_have_the_address_reaches_the_one_that_has_it",
        || {
            let (standby, server, path, addresses) = guarded();
            path.open(&addresses, None).unwrap();
            let there = prepared(&standby, &addresses);
            for address in &addresses {
                let mut talk = standby.talk(server.echo(address.ip));
                there.close(&addresses).unwrap();
                talk.must_work();
            }
        },
    );
}

/// Makes the host send on what is for one IPv4 address to another, as a container engine does, also what it sends itself.
fn send_on(host: &Host, from: IpAddr, to: IpAddr) {
    host.inside(|| std::fs::write("/proc/sys/net/ipv4/ip_forward", "1"))
        .unwrap();
    let send = format!("ip daddr {from} dnat to {to}");
    let chain =
        |name, hook, act: &str| format!("chain {name} {{ type nat hook {hook}; {act}; }}\n");
    let chains = [
        chain("arriving", "prerouting priority dstnat", &send),
        chain("own", "output priority -100", &send),
        chain("leaving", "postrouting priority srcnat", "masquerade"),
    ];
    host.run("nft", &[&format!("table ip nat {{\n{}}}", chains.concat())]);
}

#[test]
fn who_is_sent_on_to_a_container_is_shut_out_too() {
    in_a_lab(
        "path::who_is_sent_on_to_a_container_is_shut_out_too",
        || {
            let (client, server, path, [address, _]) = guarded();
            let container = Host::new("container", 3);
            let echo = container.echo("10.77.0.3".parse().unwrap());
            send_on(&server, address.ip, echo.ip());
            let published = (address.ip, echo.port()).into();
            shuts_out_both(&client, &server, published, &path, &address);
        },
    );
}

#[test]
fn who_is_sent_on_to_the_address_is_shut_out_too() {
    in_a_lab(
        "path::who_is_sent_on_to_the_address_is_shut_out_too",
        || {
            let (client, server, path, [address, _]) = guarded();
            let echo = server.echo(address.ip);
            let own = "10.77.0.2".parse().unwrap();
            send_on(&server, own, echo.ip());
            shuts_out_both(&client, &server, (own, echo.port()).into(), &path, &address);
        },
    );
}

/// A path lets in a client elsewhere and one on the server, and cuts them.
fn shuts_out_both(
    client: &Host,
    server: &Host,
    at: SocketAddr,
    path: &ClientPath,
    address: &FloatingAddress,
) {
    let address = std::slice::from_ref(address);
    assert!(client.is_shut_out(at) && server.is_shut_out(at));
    path.open(address, Some(LONG)).unwrap();
    let mut talks = [client.talk(at), server.talk(at)];
    path.close(address).unwrap();
    assert!(talks.iter_mut().all(|talk| talk.is_cut()));
    assert!(client.is_shut_out(at) && server.is_shut_out(at));
}

#[test]
fn a_table_that_was_deleted_is_noticed() {
    in_a_lab("path::a_table_that_was_deleted_is_noticed", || {
        let (client, server, path, addresses) = guarded();
        let echo = server.echo(addresses[0].ip);
        let ticket = path.ticket().unwrap();
        server.run("nft", &["flush ruleset"]);
        for outcome in [
            path.open(&addresses, Some(LONG)),
            path.open_with(ticket, &addresses, Some(LONG)),
            path.close(&addresses),
            path.ticket().map(drop),
        ] {
            let error = outcome.unwrap_err();
            assert!(matches!(error, Error::NoTable(_)), "{error}");
        }
        path.forget(&addresses).unwrap();
        client.talk(echo);

        server.inside(|| path.prepare(&addresses)).unwrap();
        assert!(client.is_shut_out(echo));
        path.forget(&addresses).unwrap();
        path.forget(&addresses).unwrap();
        client.talk(echo);
    });
}

#[test]
fn what_is_missing_without_nft_is_named() {
    in_a_lab("path::what_is_missing_without_nft_is_named", || {
        let hidden = Command::new("sh")
            .args(["-c", "mount -t tmpfs tmpfs /usr/sbin"])
            .status();
        assert!(hidden.unwrap().success());
        let error = ClientPath::new().unwrap().prepare(&[]).unwrap_err();
        assert!(matches!(error, Error::NoProgram(_)), "{error}");
        assert!(
            error.to_string().contains("install the package nftables"),
            "{error}"
        );
    });
}
