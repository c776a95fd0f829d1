//! Load balancers, as they are told who takes part.
//!
//! | module | speaks to |
//! |---|---|
//! | `haproxy` | HAProxy, through its runtime socket |

mod haproxy;

pub(crate) use haproxy::{Admin, Error, Haproxy, Server};
