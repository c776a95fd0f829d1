//! Power-off and reboot of this machine.
//!
//! Preferred: `PowerOff` and `Reboot` of systemd-logind, which honour inhibitors and announce the shutdown. Where
//! logind is not installed, the job for `poweroff.target` or `reboot.target` is queued, which is what logind does in
//! the end. The methods of the same names on systemd's own manager are **not** used: they kill what runs and go down
//! without stopping any unit in order (org.freedesktop.systemd1(5)).
//!
//! Success means *accepted*: the machine goes down afterwards. That it is down is proven elsewhere, by its power
//! source or a new boot id.

use super::link::Link;
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
        let what = match how {
            Down::PowerOff => "power off",
            Down::Reboot => "reboot",
        };
        let mut logind_absent = false;
        let asked = link.call(what, None, async {
            match ask_logind(&link, how).await {
                Err(zbus::Error::FDO(error)) if is_absent(&error) => {
                    logind_absent = true;
                    Ok(())
                }
                answer => answer,
            }
        });
        asked.await?;
        if !logind_absent {
            return Ok(());
        }
        let target = match how {
            Down::PowerOff => "poweroff.target",
            Down::Reboot => "reboot.target",
        };
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

async fn ask_logind(link: &Link, how: Down) -> zbus::Result<()> {
    let login = link.login().await?;
    match how {
        Down::PowerOff => login.power_off(false).await,
        Down::Reboot => login.reboot(false).await,
    }
}

/// Whether the answer says that nobody provides logind on this bus.
fn is_absent(error: &zbus::fdo::Error) -> bool {
    use zbus::fdo::Error as Fdo;
    matches!(
        error,
        Fdo::ServiceUnknown(_)
            | Fdo::NameHasNoOwner(_)
            | Fdo::SpawnServiceNotFound(_)
            | Fdo::SpawnExecFailed(_)
            | Fdo::SpawnChildExited(_)
            | Fdo::SpawnFailed(_)
    )
}
