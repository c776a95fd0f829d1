//! A MariaDB or MySQL server that lets a user in, and replicates as it should.
//!
//! Asked through the server's own command-line client, which speaks whatever login and encryption the server's version
//! has grown; machines that run such a server have it, and elsewhere the check is *unknown* with the remedy
//! (`docs/decisions/0007-checks-of-servers.md`).
//!
//! * **The password is in no argument, no environment and no file.** The client reads its options from its standard input
//!   (`--defaults-file=/dev/stdin`), and nothing else: no file of the machine changes what is asked.
//! * It runs in a process group that is killed at the limit, and no more than a bound of its output is kept.
//! * A bare TCP connection is made only after the client got none: the server counts those as errors, and blocks the host
//!   after a hundred (`max_connect_errors`).
//!
//! | file | |
//! |---|---|
//! | `client` | one run of the client, and what its errors mean |
//! | `facts` | what is asked, and what the answers amount to |

mod client;
mod facts;

use interlock_model::check::{MariadbCheck, ProbeResult};

use super::talk::Patience;
use super::{Names, Trust};
use crate::power::Secret;
use client::Client;
pub(crate) use client::{PROGRAMS, Table, error_of, quoted, table};

/// Looks at the server.
pub(super) async fn probe(
    names: &Names,
    trust: &Trust,
    check: &MariadbCheck,
    password: Option<&Secret>,
    patience: Patience,
) -> ProbeResult {
    let client = match Client::find(names, trust, check, password, patience) {
        Ok(client) => client,
        Err(result) => return result,
    };
    match facts::look(&client, check).await {
        Ok(result) | Err(result) => result,
    }
}
