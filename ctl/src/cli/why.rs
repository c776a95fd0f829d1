//! `why`: what it is asked about.

use std::str::FromStr;

use clap::Args;
use interlock_model::names::{NameError, ServiceName};

use super::{Output, complete};

/// What a person wants to know the reason of. A number is an event.
#[derive(Debug, Clone)]
pub(crate) enum WhyAbout {
    /// Where the role of this service is.
    Service(ServiceName),
    /// The event with this number.
    Event(u64),
}

impl FromStr for WhyAbout {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.parse() {
            Ok(number) => Ok(Self::Event(number)),
            Err(_) => text.parse().map(Self::Service),
        }
    }
}

/// `why`.
#[derive(Debug, Args)]
pub(crate) struct Why {
    /// An exclusive service, or the number of an event; without it, the newest decision over each service with a lease.
    #[arg(value_name = "SERVICE|EVENT", add = complete::services())]
    pub(crate) about: Option<WhyAbout>,
    /// That of this epoch of the service.
    #[arg(
        long,
        value_name = "NUMBER",
        requires = "about",
        conflicts_with = "last"
    )]
    pub(crate) epoch: Option<u64>,
    /// The last N of the service, newest first.
    #[arg(long, value_name = "N", requires = "about", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) last: Option<u32>,
    #[command(flatten)]
    pub(crate) output: Output,
}

impl Why {
    /// The option that only a service has, if one is said.
    pub(crate) fn of_service(&self) -> Option<&'static str> {
        let epoch = self.epoch.map(|_| "--epoch");
        epoch.or(self.last.map(|_| "--last"))
    }
}
