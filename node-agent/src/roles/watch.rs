//! The watchdog of the node, as one of its primaries has it armed and petted.

use interlock_engine::lease::Clock;
use interlock_engine::lease::holder::Watchdog;

use super::clock;
use super::seat::{Seat, Shell};

impl Seat {
    /// Has it armed for this primary; is it?
    pub(super) fn arm(&mut self, shell: &mut Shell) -> bool {
        let Some(tenure) = self.holder.tenure() else {
            return false;
        };
        let was = shell.dog.armed().contains(&self.service);
        match shell.dog.arm(&self.service, tenure, clock::read()) {
            Ok(()) => {
                if !was {
                    tracing::info!(service = %self.service, "the watchdog is armed");
                }
                true
            }
            Err(why) => {
                tracing::error!(service = %self.service, "the watchdog is not armed: {why}");
                if shell.dog.use_of_it() == Watchdog::Required {
                    self.refusal.failed(&why, clock::read());
                }
                false
            }
        }
    }

    /// Would it have the watchdog petted at this moment?
    pub(super) fn would_pet(&self, now: Clock) -> bool {
        let tenure = self.holder.tenure();
        self.pets && tenure.is_some_and(|tenure| tenure.may_pet(now))
    }
}
