//! Power-off and reboot of this machine.
//!
//! Preferred: `PowerOff` and `Reboot` of systemd-logind, which honour inhibitors and announce the shutdown. Where
//! logind is not installed, the job for `poweroff.target` or `reboot.target` is queued, which is what logind does in
//! the end. The methods of the same names on systemd's own manager are **not** used: they kill what runs and go down
//! without stopping any unit in order (org.freedesktop.systemd1(5)).
//!
//! Success means *accepted*: the machine goes down afterwards. That it is down is proven elsewhere, by its power
//! source or a new boot id.

use super::{Error, Systemd};

/// The object of the service manager, and its interface.
const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";

/// The two ways to go down.
#[derive(Debug, Clone, Copy)]
enum Down {
    PowerOff,
    Reboot,
}

impl Systemd {
    /// Asks the machine to power off in order.
    ///
    /// # Errors
    /// Those of a call; [`Error::Denied`] if the agent is not root.
    pub async fn poweroff(&self) -> Result<(), Error> {
        self.go_down(Down::PowerOff).await
    }

    /// Asks the machine to reboot in order.
    ///
    /// # Errors
    /// Those of a call; [`Error::Denied`] if the agent is not root.
    pub async fn reboot(&self) -> Result<(), Error> {
        self.go_down(Down::Reboot).await
    }

    /// Is the machine on its way down? `SystemState` of
    /// org.freedesktop.systemd1(5): the answer to `systemctl is-system-running`.
    ///
    /// # Errors
    /// Those of a call.
    pub async fn is_going_down(&self) -> Result<bool, Error> {
        let link = self.link().await?;
        let state = link.property(MANAGER_PATH, MANAGER, "SystemState");
        let state = link.call("observe", None, state).await?;
        Ok(state
            .downcast_ref::<&str>()
            .is_ok_and(|state| state == "stopping"))
    }

    async fn go_down(&self, how: Down) -> Result<(), Error> {
        let link = self.link().await?;
        if link.has_login().await {
            return link
                .call(how.words(), None, async {
                    let login = link.login().await?;
                    match how {
                        Down::PowerOff => login.power_off(false).await,
                        Down::Reboot => login.reboot(false).await,
                    }
                })
                .await;
        }
        let target = how.target();
        tracing::info!(
            target,
            "systemd-logind is not available, queueing the target"
        );
        // Irreversibly, as systemctl does: a later start of some unit must not cancel the way down.
        let queue = async {
            link.manager()
                .await?
                .start_unit(target, "replace-irreversibly")
                .await
        };
        link.call("start", Some(target), queue).await.map(|_| ())
    }
}

impl Down {
    fn words(self) -> &'static str {
        match self {
            Self::PowerOff => "power off",
            Self::Reboot => "reboot",
        }
    }

    fn target(self) -> &'static str {
        match self {
            Self::PowerOff => "poweroff.target",
            Self::Reboot => "reboot.target",
        }
    }
}
