//! Identities and their URIs.

use interlock_mesh::identity::{Identity, Kind, ParseError, ROLES, Role, Subject};
use proptest::prelude::*;

/// Every text that the grammar of names admits.
const NAME: &str = "[A-Za-z0-9][A-Za-z0-9._-]{0,62}";

fn identities() -> impl Strategy<Value = Identity> {
    (NAME, NAME, 0..3_usize, 0..3_usize).prop_map(|(cluster, name, kind, role)| {
        let cluster = cluster.parse().unwrap();
        let subject = match Kind::ALL[kind] {
            Kind::Agent => Subject::Agent(name.parse().unwrap()),
            Kind::Coordinator => Subject::Coordinator(name.parse().unwrap()),
            Kind::Operator => Subject::Operator {
                name: name.parse().unwrap(),
                role: ROLES[role],
            },
        };
        Identity::new(cluster, subject)
    })
}

proptest! {
    #[test]
    fn what_is_printed_is_read_again(identity in identities()) {
        prop_assert_eq!(identity.to_string().parse::<Identity>(), Ok(identity));
    }

    #[test]
    fn there_is_one_spelling_of_an_identity(
        text in "interlock://[a-z%A/]{1,6}/(agent|coordinator|operator|Agent)/[a-z/%?=]{1,8}([?]role=[a-z]{1,8})?"
    ) {
        if let Ok(identity) = text.parse::<Identity>() {
            prop_assert_eq!(identity.to_string(), text);
        }
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in ".*", tail in ".*") {
        prop_assert!(text.parse::<Identity>().is_err() || text.starts_with("interlock://"));
        drop(format!("interlock://{tail}").parse::<Identity>());
    }
}

#[test]
fn the_parts_are_what_they_say() {
    let anna: Identity = "interlock://acd-prod/operator/anna?role=admin"
        .parse()
        .unwrap();
    assert_eq!(anna.cluster().as_str(), "acd-prod");
    assert_eq!(
        (anna.kind(), anna.name(), anna.role()),
        (Kind::Operator, "anna", Some(Role::Admin))
    );
    assert_eq!(anna.caller().to_string(), "operator anna (admin)");

    let agent: Identity = "interlock://acd-prod/agent/dbm1".parse().unwrap();
    assert_eq!(
        (agent.kind(), agent.name(), agent.role()),
        (Kind::Agent, "dbm1", None)
    );
    assert_eq!(agent.caller().to_string(), "agent dbm1");
}

#[test]
fn a_text_that_is_no_identity_is_refused_with_the_part_that_is_wrong() {
    let error = |text: &str| text.parse::<Identity>().unwrap_err();
    assert!(matches!(
        error("spiffe://acd/agent/dbm1"),
        ParseError::Scheme(_)
    ));
    assert!(matches!(
        error("INTERLOCK://acd/agent/dbm1"),
        ParseError::Scheme(_)
    ));
    assert!(matches!(error("interlock://acd"), ParseError::Shape(_)));
    assert!(matches!(
        error("interlock://acd/agent"),
        ParseError::Shape(_)
    ));
    assert!(matches!(
        error("interlock://acd/agent/dbm1/"),
        ParseError::Shape(_)
    ));
    assert!(matches!(
        error("interlock:///agent/dbm1"),
        ParseError::Cluster { .. }
    ));
    assert!(matches!(
        error("interlock://acd/server/dbm1"),
        ParseError::Kind { .. }
    ));
    assert!(matches!(
        error("interlock://acd/agent/"),
        ParseError::Name { .. }
    ));
    assert!(matches!(
        error("interlock://acd/agent/dbm1?role=admin"),
        ParseError::Name { .. }
    ));
    assert!(matches!(
        error("interlock://acd/agent/dbm%31"),
        ParseError::Name { .. }
    ));
    assert!(matches!(
        error("interlock://acd/operator/anna"),
        ParseError::NoRole(_)
    ));
    assert!(matches!(
        error("interlock://acd/operator/anna?role="),
        ParseError::Role { .. }
    ));
    assert!(matches!(
        error("interlock://acd/operator/anna?role=root"),
        ParseError::Role { .. }
    ));
    assert!(matches!(
        error("interlock://acd/operator/anna?role=reader?role=admin"),
        ParseError::Role { .. }
    ));
}
