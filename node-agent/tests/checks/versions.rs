//! `same` of what a command prints.

use interlock_model::check::{CheckKind, Compared, Verdict};

use crate::bed::Bed;

#[tokio::test]
async fn a_version_is_what_a_command_prints_and_nothing_printed_is_unknown() {
    let bed = Bed::new();
    let check = || CheckKind::Same {
        what: Compared::Command("version".parse().unwrap()),
    };
    bed.prints("wildfly 31.0.1\n");
    let first = bed.look(check()).await;
    assert_eq!(
        (first.verdict, first.value.as_deref()),
        (Verdict::Ok, Some("wildfly 31.0.1"))
    );
    bed.prints("wildfly 31.0.2\n");
    assert_ne!(bed.look(check()).await.value, first.value);
    bed.prints("\n");
    let nothing = bed.look(check()).await;
    assert_eq!((nothing.verdict, nothing.value), (Verdict::Unknown, None));
}
