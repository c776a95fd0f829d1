//! Where clients come in: the addresses of the primary, and the path to them that the kernel keeps open for a time.

use std::time::Duration;

use interlock_engine::lease::Clock;
use interlock_engine::lease::holder::Found;
use interlock_model::action::Part;
use interlock_model::address::FloatingAddress;
use interlock_model::spec::Clients;

use super::clock;
use crate::address::{Addresses, ClientPath, path};
use crate::run::chain;

/// How often a path is opened anew because this process was stopped in between. Then the next renewal does it.
const TRIES: u32 = 3;

/// The addresses among the primary parts of a service, and who may reach them. Every call is system calls alone, but for
/// [`Door::make`].
#[derive(Debug, Clone)]
pub(crate) struct Door {
    addresses: Vec<FloatingAddress>,
    /// None if there are no addresses, or no way to handle them.
    net: Option<Addresses>,
    /// None if clients may come in other ways.
    path: Option<ClientPath>,
    /// Why nobody may be let in.
    trouble: Option<String>,
    /// The table of the path was not there when it was last needed: everybody reaches the addresses.
    torn: bool,
}

impl Door {
    /// The door of a service with these primary parts. Closed, unless a primary was found behind it: whether clients may
    /// still reach that is for its lease to say. Runs `nft`: it blocks.
    pub(crate) fn make(parts: &[Part], clients: Clients, found: Found) -> Self {
        let addresses: Vec<FloatingAddress> = parts.iter().filter_map(address).cloned().collect();
        let mut door = Self {
            addresses,
            net: None,
            path: None,
            trouble: None,
            torn: false,
        };
        if door.addresses.is_empty() {
            return door;
        }
        match Addresses::new() {
            Ok(net) => door.net = Some(net),
            Err(error) => door.trouble = Some(chain(&error)),
        }
        if clients == Clients::Address {
            match door.guard(found) {
                Ok(path) => door.path = Some(path),
                Err(error) => door.trouble = Some(chain(&error)),
            }
        }
        door
    }

    /// No door at all, and why.
    pub(crate) fn none(why: &str) -> Self {
        Self {
            addresses: Vec::new(),
            net: None,
            path: None,
            trouble: Some(why.to_owned()),
            torn: false,
        }
    }

    /// The same door, but for a reason nobody is let in.
    pub(crate) fn kept_shut(mut self, why: Option<String>) -> Self {
        self.trouble = why.or(self.trouble);
        self
    }

    fn guard(&self, found: Found) -> Result<ClientPath, path::Error> {
        let path = ClientPath::new()?;
        // A ticket is given only where the table is.
        if path.ticket().is_err() {
            path.prepare(&self.addresses)?;
        } else if found != Found::Primary {
            path.close(&self.addresses)?;
        }
        Ok(path)
    }

    /// Makes the table of the path again, which something has deleted, and guards the addresses among these parts. What was
    /// opened since stays open. Runs `nft`: it blocks.
    ///
    /// # Errors
    /// Why everybody still reaches them.
    pub(crate) fn mend(parts: &[Part]) -> Result<(), String> {
        let addresses: Vec<FloatingAddress> = parts.iter().filter_map(address).cloned().collect();
        let path = ClientPath::new();
        let mended = path.and_then(|path| path.adopt(&addresses));
        mended.map_err(|error| chain(&error))
    }

    /// Why nobody may be let in here; none if they may.
    pub(super) fn trouble(&self) -> Option<&str> {
        let torn =
            "the table `inet interlock`, which closes its addresses, was deleted on this node";
        self.trouble.as_deref().or(self.torn.then_some(torn))
    }

    /// Does the kernel close the path by itself, as far as was seen last?
    pub(super) fn is_guarded(&self) -> bool {
        self.has_path() && !self.torn
    }

    /// Do clients come by these addresses alone?
    pub(super) fn has_path(&self) -> bool {
        self.path.is_some()
    }

    /// Is the table of the path to be made again?
    pub(super) fn is_torn(&self) -> bool {
        self.torn
    }

    /// Switches the interface of an address on where that is the role's; tells whether it has a carrier.
    ///
    /// # Errors
    /// Why it cannot be there.
    pub(crate) fn raise(&self, address: &FloatingAddress) -> Result<bool, String> {
        self.nothing_else(address)?;
        self.net()?.raise(address).map_err(|error| chain(&error))
    }

    /// Puts an address on its interface.
    ///
    /// # Errors
    /// Why it cannot be there.
    pub(crate) fn add(&self, address: &FloatingAddress) -> Result<(), String> {
        self.nothing_else(address)?;
        self.net()?.add(address).map_err(|error| chain(&error))
    }

    /// Is there nothing on an interface of the role that the kernel would not close with its path?
    fn nothing_else(&self, address: &FloatingAddress) -> Result<(), String> {
        if !address.whole_interface || !self.has_path() {
            return Ok(());
        }
        let mut others = self.net()?.others(address).map_err(|error| chain(&error))?;
        others.retain(|ip| self.addresses.iter().all(|own| own.ip != *ip));
        let Some(ip) = others.first() else {
            return Ok(());
        };
        Err(format!(
            "{ip} is on that interface as well, and nothing would keep its clients out when the lease ends; take it off, or name it in \
             the spec as another `address` of the role"
        ))
    }

    /// Takes an address off its interface.
    ///
    /// # Errors
    /// Why it may still be there.
    pub(crate) fn remove(&self, address: &FloatingAddress) -> Result<(), String> {
        let net = self.net()?;
        net.remove(address).map_err(|error| chain(&error))
    }

    /// Is an address there?
    ///
    /// # Errors
    /// If nobody can tell.
    pub(crate) fn is_present(&self, address: &FloatingAddress) -> Result<bool, String> {
        let net = self.net()?;
        net.is_present(address).map_err(|error| chain(&error))
    }

    /// Tells the neighbours once more that the addresses are here.
    pub(crate) fn refresh(&self) {
        for address in &self.addresses {
            if let Some(net) = &self.net
                && let Err(error) = net.refresh(address)
            {
                tracing::debug!(%address, error = chain(&error), "neighbours are not told");
            }
        }
    }

    /// Tells the neighbours that the addresses are here now.
    pub(super) fn announce(&self) {
        for address in &self.addresses {
            if let Some(net) = &self.net
                && let Err(error) = net.announce(address)
            {
                tracing::warn!(%address, error = chain(&error), "neighbours are not told where it is now");
            }
        }
    }

    /// Takes all addresses away.
    ///
    /// # Errors
    /// The first reason why one may still be there; the others were taken away all the same.
    pub(super) fn clear(&self) -> Result<(), String> {
        let removed = self.addresses.iter().map(|address| self.remove(address));
        removed.fold(Ok(()), Result::and)
    }

    /// Puts all of them back.
    ///
    /// # Errors
    /// Why one is not there.
    pub(super) fn restore(&self) -> Result<(), String> {
        self.addresses
            .iter()
            .try_for_each(|address| self.add(address))
    }

    /// Is none of them there?
    ///
    /// # Errors
    /// If nobody can tell.
    pub(super) fn is_clear(&self) -> Result<bool, String> {
        for address in &self.addresses {
            if self.is_present(address)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Lets clients in until `left` has passed since `decided`; none is without end. Whatever stops this process in between,
    /// the kernel does not keep it open for longer.
    ///
    /// # Errors
    /// Why they are not let in; what was open closes when it was to.
    pub(super) fn open(&mut self, left: Option<Duration>, decided: Clock) -> Result<(), String> {
        let Some(path) = &self.path else {
            return Ok(());
        };
        let mut outcome = Ok(());
        for _ in 0..TRIES {
            // Before the look at the clock: see there.
            outcome = path.ticket().and_then(|ticket| {
                let gone = clock::read().longest_since(decided);
                let time = left.map(|left| left.saturating_sub(gone));
                path.open_with(ticket, &self.addresses, time)
            });
            if !matches!(outcome, Err(path::Error::TooLate(_))) {
                break;
            }
        }
        self.torn = is_torn(&outcome, self.torn);
        outcome.map_err(|error| chain(&error))
    }

    /// Shuts clients out.
    ///
    /// # Errors
    /// Why they may still come in; the kernel ends that when it was to.
    pub(super) fn close(&mut self) -> Result<(), String> {
        let Some(path) = &self.path else {
            return Ok(());
        };
        let outcome = path.close(&self.addresses);
        self.torn = is_torn(&outcome, self.torn);
        outcome.map_err(|error| chain(&error))
    }

    fn net(&self) -> Result<&Addresses, String> {
        self.net
            .as_ref()
            .ok_or_else(|| self.trouble.clone().unwrap_or_default())
    }
}

/// After this, is the table missing? What has gone well guards the addresses; another failure says nothing of it.
fn is_torn(outcome: &Result<(), path::Error>, before: bool) -> bool {
    match outcome {
        Ok(()) => false,
        Err(path::Error::NoTable(_)) => true,
        Err(_) => before,
    }
}

fn address(part: &Part) -> Option<&FloatingAddress> {
    match part {
        Part::Address(address) => Some(address),
        Part::Systemd { .. }
        | Part::Process { .. }
        | Part::Exec { .. }
        | Part::Ocf(_)
        | Part::Postgres(_)
        | Part::Redis(_)
        | Part::Mariadb(_) => None,
    }
}
