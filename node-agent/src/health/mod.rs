//! What load balancers are told of roles, over plain HTTP.
//!
//! # Purpose
//! A load balancer sends writers to the primary and readers to standbys. It asks each node, and takes 200 for yes and 503 for no. A
//! node that can renew its lease no more says no as soon as less than S of the lease is left, and not when it ends: its clients are
//! sent away before anybody else may be primary ([`Tenure::is_ample`](interlock_engine::lease::holder::Tenure::is_ample)).
//!
//! ```text
//!  thread of the roles ── Sign, every turn ──► answer (pure): question, sign, both clocks ──► 200 or 503, and why
//! ```
//!
//! # Invariants
//! * The clocks are read with each question: an agent whose other parts hang, or that has just thawed, does not say yes.
//! * What is not known, or was not looked at for [`STALE`], is no.
//! * Nothing is changed by a question, and nothing is told but the state of the role. It listens where the agent's own file says so,
//!   and nowhere else.
//! * However many ask, and however slowly, nothing but their own connections waits.
//!
//! | file | holds |
//! |---|---|
//! | `question` | paths and parameters |
//! | `answer` | what is answered, without I/O |
//! | `server` | connections |

mod answer;
mod question;
mod server;

use std::sync::Arc;
use std::time::Duration;

use crate::config::Config;
use crate::roles::Roles;

/// How old a look at an instance may be. Looks follow each other within a second.
const STALE: Duration = Duration::from_secs(5);

/// Listens wherever the agent's file says so, for as long as the agent runs. An address that cannot be had is tried again and
/// again: what else the agent does matters more.
pub(crate) fn serve(config: &Config, roles: &Roles) {
    for (service, health) in &config.health {
        let served = Arc::new(server::Served {
            node: config.node.clone(),
            service: service.clone(),
            signs: roles.signs(),
        });
        for address in &health.listen {
            tokio::spawn(server::listen(Arc::clone(&served), *address));
        }
    }
}
