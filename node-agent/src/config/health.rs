//! Where load balancers may ask for the health of a leased service.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use interlock_model::names::ServiceName;
use toml::Spanned;

use super::check::Check;
use super::raw;

/// Where one service is told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// Plain HTTP, at each of these. At least one.
    pub listen: Vec<SocketAddr>,
}

impl Check<'_> {
    pub(super) fn health(
        &mut self,
        given: BTreeMap<Spanned<ServiceName>, raw::Health>,
        allow: &raw::Allow,
        own: SocketAddr,
    ) -> BTreeMap<ServiceName, Health> {
        let mut taken = vec![own];
        let mut all = BTreeMap::new();
        for (service, health) in given {
            let span = service.span();
            let service = service.into_inner();
            if !allow.services.contains_key(&service) {
                let what = format!("nothing of {service} is permitted on this node");
                let remedy =
                    "correct the name, or say in [allow.services] what may be operated in its name";
                self.report(&span, what, remedy);
            }
            if health.listen.get_ref().is_empty() {
                let remedy = "name at least one address, as \"10.9.0.11:8008\"";
                self.report(&health.listen.span(), "it listens nowhere", remedy);
            }
            let mut listen = Vec::new();
            for address in health.listen.into_inner() {
                let span = address.span();
                let address = address.into_inner();
                // Port 0 is another one each time.
                if address.port() != 0 && taken.contains(&address) {
                    let what = format!("something of this file listens on {address} already");
                    self.report(&span, what, "give each service a port of its own");
                }
                taken.push(address);
                listen.push(address);
            }
            all.insert(service, Health { listen });
        }
        all
    }
}
