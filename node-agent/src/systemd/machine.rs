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
