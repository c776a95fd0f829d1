//! A PostgreSQL server that lets a user in, in its role.
//!
//! The protocol is spoken here, as much of it as one login and a few queries take (PostgreSQL documentation, *Frontend/Backend
//! Protocol*, version 3.0): then the application's own way in can be checked from its own machine, where no client of the
//! database is installed, and no answer can make this program grow, whatever length it announces. Why no library does
//! it: `docs/decisions/0007-checks-of-servers.md`.
//!
//! | file | |
//! |---|---|
//! | `message` | one message, in and out |
//! | `session` | login and queries |
//! | `scram` | the login by SCRAM-SHA-256 |
//! | `facts` | what is asked, and what the answers amount to |

mod facts;
mod message;
mod scram;
mod session;

use interlock_model::check::{PostgresCheck, ProbeResult};

use super::talk::Patience;
use super::{Names, Trust};
use crate::power::Secret;
pub(crate) use session::{End, Rows, Session, Trouble, Visitor};

/// Looks at the server.
pub(super) async fn probe(
    names: &Names,
    trust: &Trust,
    check: &PostgresCheck,
    password: Option<&Secret>,
    patience: Patience,
) -> ProbeResult {
    let stream = match patience.connect(names, &check.target).await {
        Ok(stream) => stream,
        Err(result) => return result,
    };
    let talk = async {
        let mut session = match Session::open(stream, trust, check, password).await {
            Ok(session) => session,
            Err(result) => return result,
        };
        let result = facts::look(&mut session, check).await;
        session.close().await;
        match result {
            Ok(result) | Err(result) => result,
        }
    };
    patience.talk(&check.target, talk).await
}
