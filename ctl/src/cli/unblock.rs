//! `unblock`.

use clap::Args;
use interlock_model::names::ServiceName;

use super::{Output, complete, reason};

/// Let something fail over by itself again.
///
/// A service that has failed over as often as its budget permits, and a cluster in which more roles have moved than is
/// likely, wait for a person; `status` shows which. Find out why before. It has its whole budget again afterwards.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("what").required(true)))]
pub(crate) struct Unblock {
    /// This service.
    #[arg(long, value_name = "SERVICE", group = "what", add = complete::services())]
    pub(crate) service: Option<ServiceName>,
    /// The cluster, and every service.
    #[arg(long, group = "what")]
    pub(crate) all: bool,
    /// Why it may; everybody sees it.
    #[arg(long, value_name = "TEXT", value_parser = reason::given)]
    pub(crate) reason: String,
    #[command(flatten)]
    pub(crate) output: Output,
}
