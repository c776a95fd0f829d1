//! Addresses on interfaces: coming, going, conflicts, and what the neighbours believe.

use std::error::Error as _;
use std::net::{IpAddr, UdpSocket};

use interlock_agent::address::{Addresses, Error};
use interlock_model::address::FloatingAddress;

use crate::lab::{Host, INTERFACE, eventually, floating, in_a_lab};

fn addresses(host: &Host) -> Addresses {
    host.inside(|| Addresses::new().unwrap())
}

#[test]
fn an_address_is_reached_while_it_is_here() {
    in_a_lab("moving::an_address_is_reached_while_it_is_here", || {
        let (client, server) = (Host::new("client", 1), Host::new("server", 2));
        let here = addresses(&server);
        for address in floating() {
            assert!(!here.is_present(&address).unwrap());
            here.remove(&address).unwrap();
            here.add(&address).unwrap();
            here.add(&address).unwrap();
            assert!(here.is_present(&address).unwrap());
            let echo = server.echo(address.ip);
            client.talk(echo);

            here.remove(&address).unwrap();
            assert!(!here.is_present(&address).unwrap());
            assert!(client.is_shut_out(echo));
        }
    });
}

#[test]
fn an_address_goes_whatever_its_prefix_is() {
    in_a_lab("moving::an_address_goes_whatever_its_prefix_is", || {
        let server = Host::new("server", 2);
        let here = addresses(&server);
        for address in floating() {
            let other = FloatingAddress {
                prefix: address.prefix - 8,
                ..address.clone()
            };
            server.ip(&[
                "addr",
                "add",
                &format!("{}/{}", other.ip, other.prefix),
                "dev",
                INTERFACE,
            ]);
            assert!(here.is_present(&address).unwrap());
            here.remove(&address).unwrap();
            assert!(!here.is_present(&address).unwrap());
        }
        let own = server.ip(&["addr", "show", INTERFACE]);
        assert!(
            own.contains("10.77.0.2/24") && own.contains("fd77::2/64"),
            "{own}"
        );
    });
}

/// Makes the client ask who has the address.
fn acquaint(client: &Host, address: IpAddr) {
    let any = if address.is_ipv4() {
        "0.0.0.0:0"
    } else {
        "[::]:0"
    };
    client.inside(|| {
        let socket = UdpSocket::bind(any).unwrap();
        socket.send_to(b"x", (address, 9)).unwrap();
    });
}

#[test]
fn an_announced_address_is_at_once_where_it_moved_to() {
    in_a_lab(
        "moving::an_announced_address_is_at_once_where_it_moved_to",
        || {
            let (client, old, new) = (
                Host::new("client", 1),
                Host::new("old", 2),
                Host::new("new", 3),
            );
            let (there, here) = (addresses(&old), addresses(&new));
            for address in floating() {
                there.add(&address).unwrap();
                acquaint(&client, address.ip);
                let believes = |host: &Host| client.neighbour(address.ip) == Some(host.mac());
                eventually("the acquaintance", || believes(&old));

                there.remove(&address).unwrap();
                here.add(&address).unwrap();
                assert!(believes(&old), "nobody has told it");
                new.inside(|| here.announce(&address)).unwrap();
                eventually("the news", || believes(&new));

                here.remove(&address).unwrap();
                there.add(&address).unwrap();
                old.inside(|| there.refresh(&address)).unwrap();
                eventually("the old news", || believes(&old));
            }
        },
    );
}

#[test]
fn only_a_node_that_has_an_address_announces_it() {
    in_a_lab(
        "moving::only_a_node_that_has_an_address_announces_it",
        || {
            let server = Host::new("server", 2);
            for address in floating() {
                let error = addresses(&server).announce(&address).unwrap_err();
                assert!(matches!(error, Error::NotHere(_)), "{error}");
            }
        },
    );
}

#[test]
fn another_that_has_the_address_is_found() {
    in_a_lab("moving::another_that_has_the_address_is_found", || {
        let (one, two) = (Host::new("one", 1), Host::new("two", 2));
        let (of_one, of_two) = (addresses(&one), addresses(&two));
        let [address, _] = floating();
        let ask = |host: &Host, of: &Addresses| {
            let found = host.inside(|| of.conflict(&address).unwrap());
            found.map(|mac| mac.to_string())
        };
        assert_eq!(ask(&two, &of_two), None);
        of_one.add(&address).unwrap();
        assert_eq!(ask(&two, &of_two), Some(one.mac()));
        one.reflect();
        assert_eq!(ask(&one, &of_one), None, "its own is no conflict");
        of_two.add(&address).unwrap();
        assert_eq!(ask(&one, &of_one), Some(two.mac()));
    });
}

#[test]
fn where_nobody_can_be_asked_there_is_no_conflict() {
    in_a_lab(
        "moving::where_nobody_can_be_asked_there_is_no_conflict",
        || {
            let server = Host::new("server", 2);
            server.ip(&["link", "set", INTERFACE, "arp", "off"]);
            let here = addresses(&server);
            for address in floating() {
                for interface in ["lo", INTERFACE] {
                    let address = FloatingAddress {
                        interface: interface.to_owned(),
                        ..address.clone()
                    };
                    here.add(&address).unwrap();
                    let found = server.inside(|| here.conflict(&address).unwrap());
                    assert_eq!(found, None);
                    server.inside(|| here.announce(&address).unwrap());
                    here.remove(&address).unwrap();
                }
            }
        },
    );
}

#[test]
fn an_interface_that_is_the_roles_is_up_for_as_long_as_an_address_is_here() {
    in_a_lab(
        "moving::an_interface_that_is_the_roles_is_up_for_as_long_as_an_address_is_here",
        || {
            let (client, server) = (Host::new("client", 1), Host::new("server", 2));
            let here = addresses(&server);
            let whole = floating().map(|address| FloatingAddress {
                whole_interface: true,
                ..address
            });
            server.ip(&["addr", "flush", "dev", INTERFACE]);
            server.ip(&["link", "set", INTERFACE, "down"]);
            let is_up = || server.ip(&["link", "show", INTERFACE]).contains(",UP");
            for address in whole {
                // Nobody knows of a cable at an interface that is off.
                assert_eq!(here.interface(&address).unwrap().unlinked, None);
                assert!(!here.is_serving(&address).unwrap());
                eventually("a carrier", || here.raise(&address).unwrap());
                assert!(is_up() && !here.is_present(&address).unwrap());
                here.add(&address).unwrap();
                assert!(here.is_serving(&address).unwrap());
                client.talk(server.echo(address.ip));

                // Somebody else has switched it off, and what is on it serves nobody.
                if address.ip.is_ipv4() {
                    server.ip(&["link", "set", INTERFACE, "down"]);
                    assert!(here.is_present(&address).unwrap());
                    assert!(!here.is_serving(&address).unwrap());
                }
                here.remove(&address).unwrap();
                here.remove(&address).unwrap();
                assert!(!is_up() && !here.is_present(&address).unwrap());
                assert!(here.others(&address).unwrap().is_empty());

                // It is put back at once where it has a cable.
                eventually("a carrier", || here.add(&address).is_ok());
                assert!(here.is_serving(&address).unwrap());
                server.ip(&["addr", "add", "10.77.0.9/24", "dev", INTERFACE]);
                let foreign: IpAddr = "10.77.0.9".parse().unwrap();
                assert_eq!(here.others(&address).unwrap(), [foreign]);
                server.ip(&["addr", "del", "10.77.0.9/24", "dev", INTERFACE]);
                here.remove(&address).unwrap();
                assert!(!is_up());
            }
            let [address, _] = floating();
            here.remove(&address).unwrap();
            assert!(!is_up(), "what is not the role's is left as it is");
            server.ip(&["link", "set", INTERFACE, "up"]);
            here.remove(&address).unwrap();
            assert!(is_up());
        },
    );
}

#[test]
fn an_interface_that_cannot_carry_the_address_is_named() {
    in_a_lab(
        "moving::an_interface_that_cannot_carry_the_address_is_named",
        || {
            let server = Host::new("server", 2);
            let here = addresses(&server);
            let [address, _] = floating();

            server.plug(false);
            let error = here.add(&address).unwrap_err();
            assert!(matches!(error, Error::NoCarrier(_)), "{error}");
            assert!(
                error
                    .to_string()
                    .contains("on eth0 cannot be here: the interface has no carrier")
            );
            server.ip(&["link", "set", INTERFACE, "down"]);
            let error = here.add(&address).unwrap_err();
            assert!(matches!(error, Error::Down(_)), "{error}");
            assert!(error.to_string().contains("`ip link set eth0 up`"));

            let whole = FloatingAddress {
                whole_interface: true,
                ..address.clone()
            };
            server.ip(&["link", "set", INTERFACE, "down"]);
            assert!(!here.raise(&whole).unwrap());
            let error = here.add(&whole).unwrap_err();
            assert!(matches!(error, Error::NoCarrier(_)), "{error}");
            here.remove(&whole).unwrap();

            let nowhere = FloatingAddress {
                interface: "eth9".to_owned(),
                ..address
            };
            let error = here.add(&nowhere).unwrap_err();
            assert!(matches!(error, Error::NoInterface(_)), "{error}");
            assert!(!here.is_present(&nowhere).unwrap());
            here.remove(&nowhere).unwrap();

            let impossible = FloatingAddress {
                ip: "0.0.0.0".parse().unwrap(),
                interface: "lo".to_owned(),
                prefix: 64,
                whole_interface: false,
            };
            let error = here.add(&impossible).unwrap_err();
            assert_eq!(error.to_string(), "cannot add 0.0.0.0/64 on lo");
            assert!(error.source().is_some(), "{error}");
        },
    );
}
